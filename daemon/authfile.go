package daemon

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"vrrpd/internal/trusted"
	"vrrpd/vrrp"
)

// authFile keeps what the authentication of a virtual router must not forget over a
// restart: the numbers that may have been used, and those that peers have used. It
// lies in the run directory, INSTANCE.auth.
//
// The loop only puts the newest state down; a goroutine of its own writes it, because
// the directory may be on a disk that hangs. Two records are written in turn, each with a
// check sum: one that was torn, by a crash of the machine or by whatever else writes
// there, leaves the one before it.
type authFile struct {
	file   *os.File
	failed func(error) // told when writing fails, and has not before
	bell   chan struct{}
	done   chan struct{}

	mu         sync.Mutex
	state      authState
	generation uint64
	closed     bool
	unwritten  bool // something was put down that the writer has not taken
	writing    bool

	buf [authRecord]byte // of the writer
}

// authState is the content.
type authState struct {
	scheme  vrrp.AuthKind
	tag     [8]byte // of the key, where a new key begins a new numbering
	reserve uint64  // vrrp.Sequence
	marks   vrrp.Marks
}

// A record: magic, generation, tag, reserve, 8 bytes each; scheme, number of marks,
// 2 bytes of zero, check sum of everything else; marks of 24 bytes each (an IPv4
// address as ::ffff:a.b.c.d, the number).
const (
	authRecord  = 512
	authMagic   = "vrrpaut1"
	authSumAt   = 36
	authMarksAt = 40
	authMark    = 24
)

// openAuthFile opens or creates the file and returns what it remembers; nothing, with
// an explanation, if that is damaged. What is not a file of ours is replaced.
func openAuthFile(path string, failed func(error)) (f *authFile, state authState, damage string, err error) {
	file, err := openOwn(path)
	if err != nil {
		return nil, state, "", fmt.Errorf("keep the numbers of adverts in %s: %w", path, trusted.Reason(err))
	}
	f = &authFile{file: file, failed: failed, bell: make(chan struct{}, 1), done: make(chan struct{})}
	content := make([]byte, 2*authRecord)
	n, _ := file.ReadAt(content, 0) // short at the end of the file
	for i := range 2 {
		if s, generation, ok := decodeAuth(content[i*authRecord : (i+1)*authRecord]); ok && generation > f.generation {
			state, f.generation = s, generation
		}
	}
	if f.generation == 0 && n > 0 {
		damage = path + " is damaged: the numbers of former adverts are forgotten, and a recorded one could be taken for new"
	}
	f.state = state
	return f, state, damage, nil
}

// openOwn opens the file for us alone.
func openOwn(path string) (*os.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | unix.O_NOFOLLOW | unix.O_NONBLOCK
	f, err := os.OpenFile(path, flags, 0o600)
	if err == nil {
		var st unix.Stat_t
		err = unix.Fstat(int(f.Fd()), &st)
		if err == nil && st.Mode == unix.S_IFREG|0o600 && st.Uid == uint32(os.Geteuid()) && st.Nlink == 1 {
			return f, nil
		}
		f.Close()
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return os.OpenFile(path, flags|os.O_EXCL, 0o600)
}

func encodeAuth(b *[authRecord]byte, s *authState, generation uint64) {
	clear(b[:])
	copy(b[:], authMagic)
	binary.BigEndian.PutUint64(b[8:], generation)
	copy(b[16:24], s.tag[:])
	binary.BigEndian.PutUint64(b[24:], s.reserve)
	b[32] = uint8(s.scheme)
	at := authMarksAt
	for src, sequence := range s.marks.All() {
		a := src.As16()
		copy(b[at:], a[:])
		binary.BigEndian.PutUint64(b[at+16:], sequence)
		at += authMark
		b[33]++
	}
	binary.BigEndian.PutUint32(b[authSumAt:], authSum(b[:]))
}

func authSum(b []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(b[:authSumAt]), crc32.IEEETable, b[authMarksAt:])
}

func decodeAuth(b []byte) (s authState, generation uint64, ok bool) {
	if string(b[:8]) != authMagic || binary.BigEndian.Uint32(b[authSumAt:]) != authSum(b) || b[33] > vrrp.MaxMarks {
		return s, 0, false
	}
	s.scheme = vrrp.AuthKind(b[32])
	copy(s.tag[:], b[16:24])
	s.reserve = binary.BigEndian.Uint64(b[24:])
	for i := range int(b[33]) {
		at := authMarksAt + i*authMark
		s.marks.Restore(netip.AddrFrom16([16]byte(b[at:])).Unmap(), binary.BigEndian.Uint64(b[at+16:]))
	}
	return s, binary.BigEndian.Uint64(b[8:]), true
}

// keep changes what will be written next. It waits for no disk.
func (f *authFile) keep(change func(*authState)) {
	f.mu.Lock()
	change(&f.state)
	f.unwritten = true
	f.mu.Unlock()
	f.ring()
}

// keepMarks is keep for each advert that is heard, without allocating.
func (f *authFile) keepMarks(m *vrrp.Marks) {
	f.mu.Lock()
	f.state.marks = *m
	f.unwritten = true
	f.mu.Unlock()
	f.ring()
}

// idle reports that everything is written.
func (f *authFile) idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.unwritten && !f.writing
}

func (f *authFile) ring() {
	select {
	case f.bell <- struct{}{}:
	default:
	}
}

// run writes until close; what was kept before close is written.
func (f *authFile) run() {
	defer close(f.done)
	broken := false
	for range f.bell {
		f.mu.Lock()
		f.generation++
		encodeAuth(&f.buf, &f.state, f.generation)
		at, closed := int64(f.generation%2)*authRecord, f.closed
		f.unwritten, f.writing = false, true
		f.mu.Unlock()
		_, err := f.file.WriteAt(f.buf[:], at)
		f.mu.Lock()
		f.writing = false
		f.mu.Unlock()
		if err != nil && !broken {
			f.failed(fmt.Errorf("store the numbers of adverts: %w", err))
		}
		broken = err != nil
		if closed {
			return
		}
	}
}

// close writes the last state and waits until that is done.
func (f *authFile) close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.ring()
	<-f.done
	return f.file.Close()
}
