package grouplock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"vrrpd/election"
)

// MaxProcesses is how many processes of one machine can form a group.
const MaxProcesses = 9

// MaxRouters is how many virtual routers the record of one process can hold.
const MaxRouters = 4096

// MaxFrame is the length of the longest frame in an Identity, in bytes: an
// Ethernet frame without VLAN tag and checksum.
const MaxFrame = 1514

// Identity is what somebody needs who cleans up after a virtual router whose
// process is dead or stuck.
type Identity struct {
	Parent string // parent interface, at most 15 bytes
	VMAC   string // macvlan interface; "": the addresses are on the parent
	Family uint8  // 4 or 6
	VRID   uint8  // 1..255
	// Frame is a ready-made advert of priority 0, from the Ethernet header on, to
	// be sent on Parent as it is; at most MaxFrame bytes. Empty: none.
	Frame []byte
	// Beside is another one, to be sent after Frame: in the other version of the
	// protocol. Both together have at most MaxFrame bytes. Empty: none.
	Beside []byte
}

// Frames are the adverts that resign, in the order in which they are sent.
func (id Identity) Frames() [][]byte {
	var all [][]byte
	for _, f := range [...][]byte{id.Frame, id.Beside} {
		if len(f) > 0 {
			all = append(all, f)
		}
	}
	return all
}

// A member file is one process's record, in words of 64 bits:
const (
	recMagic       = iota // recordMagic; 0 while the owner is writing the header
	recVersion            // recordVersion<<32 | size of election.Facts in bytes
	recSize               // of the whole record, in bytes
	recCapacity           // virtual routers that fit
	recStart              // boottime ns at which the process joined: its incarnation
	recPid                // as the process sees itself in its pid namespace
	recBoot0              // boot id
	recBoot1              //
	recWanted             // -M
	recSlot               // 1..MaxProcesses
	recGroupIno           // inode of the group file that the process has mapped
	recState              // recLive or recLeft
	recRealised           // election.Word whose state the process has carried out
	recPublished          // 1 + number of valid facts; 0: nothing published yet
	recCleaner            // pid of the process that holds the flock to clean up
	recBell               // one byte is written here with pwrite, for inotify
	recGroup              // name of the group, maxName+1 bytes, NUL-padded
	recGroupEnd    = recGroup + (maxName+1)/8
	recHeaderWords = 32
)

const (
	recordMagic   = 0x565252_50_44_4d_42_31 // "VRRPDMB1"
	recordVersion = 3

	recLive = 1
	recLeft = 2
)

// After the header come the facts of the virtual routers, a latch for each, and then their
// identities. Those are latches, too, but lie across: the sequence numbers of all, the first
// words of all, the second ones, and so on. A frame may have 1,514 bytes, nearly all have
// 60, and what nobody writes to takes no memory.
const (
	identityHead  = 6 + 16 + 16 // family, VRID, the two lengths; parent; vmac
	identityBytes = identityHead + MaxFrame
	identityWords = (identityBytes + 7) / 8
	routerWords   = 1 + 2*factsWords + 1 + 2*identityWords
)

// recordRoom is how many bytes a record needs whose identities have at most so many words.
func recordRoom(capacity, words int) int {
	return 8 * (recHeaderWords + capacity*(1+2*factsWords+1+2*words))
}

func recordBytes(capacity int) int { return 8 * (recHeaderWords + capacity*routerWords) }

func factsLatch(i int) latch {
	l := latch{n: factsWords}
	l.at = recHeaderWords + i*l.size()
	return l
}

// across is a latch of which the words are stride apart, those of the two copies by turns.
type across struct{ at, stride int }

func identityLatch(capacity, i int) across {
	return across{at: recHeaderWords + capacity*factsLatch(0).size() + i, stride: capacity}
}

func (l across) word(k int, seq uint64) int { return l.at + (1+2*k+int(seq&1))*l.stride }

// write makes src the valid block.
func (l across) write(c *cells, src []uint64) {
	seq := c.load(l.at) + 1
	for k, v := range src {
		c.store(l.word(k, seq), v)
	}
	c.store(l.at, seq)
}

// read copies into dst as many words of the block as more, which is told those that have
// been read already, asks for. False: the writer was faster every time.
func (l across) read(c *cells, dst []uint64, more func([]uint64) int) (n int, ok bool) {
	for range latchTries {
		seq := c.load(l.at)
		n = 0
		for want := more(nil); n < min(want, len(dst)); want = more(dst[:n]) {
			for ; n < min(want, len(dst)); n++ {
				dst[n] = c.load(l.word(n, seq))
			}
		}
		if c.load(l.at) == seq {
			return n, true
		}
	}
	return 0, false
}

// header is the part of a record that does not change while its owner lives.
type header struct {
	capacity int
	start    election.Time
	pid      int
	boot     [2]uint64
	wanted   int
	slot     uint8
	groupIno uint64
	group    string
}

// errUnfinished: there is no complete header (yet); the file may be new.
var errUnfinished = errors.New("no complete record")

// readHeader decodes and checks the header of a record. It accepts any content.
func readHeader(c *cells) (header, error) {
	if len(c.words) < recHeaderWords || c.load(recMagic) == 0 {
		return header{}, errUnfinished
	}
	if m := c.load(recMagic); m != recordMagic {
		return header{}, fmt.Errorf("not a vrrpd member file (magic %#x)", m)
	}
	if v := c.load(recVersion); v != recordVersion<<32|uint64(8*factsWords) {
		return header{}, fmt.Errorf("written by another version of vrrpd (format %#x)", v)
	}
	capacity := c.load(recCapacity)
	if capacity > MaxRouters {
		return header{}, fmt.Errorf("%d virtual routers, more than %d", capacity, MaxRouters)
	}
	h := header{
		capacity: int(capacity),
		start:    election.Time(c.load(recStart)),
		boot:     [2]uint64{c.load(recBoot0), c.load(recBoot1)},
		groupIno: c.load(recGroupIno),
	}
	if size := c.load(recSize); size != uint64(recordBytes(h.capacity)) || size > uint64(8*len(c.words)) {
		return header{}, fmt.Errorf("size %d of %d routers does not fit a file of %d bytes",
			size, capacity, 8*len(c.words))
	}
	pid, wanted, slot := c.load(recPid), c.load(recWanted), c.load(recSlot)
	switch {
	case h.start <= 0:
		return header{}, fmt.Errorf("start time %d", h.start)
	case pid == 0 || pid > 1<<31-1:
		return header{}, fmt.Errorf("pid %d", pid)
	case wanted == 0 || wanted > MaxProcesses:
		return header{}, fmt.Errorf("-M %d", wanted)
	case slot == 0 || slot > MaxProcesses:
		return header{}, fmt.Errorf("slot %d", slot)
	}
	h.pid, h.wanted, h.slot = int(pid), int(wanted), uint8(slot)
	var name [8 * (recGroupEnd - recGroup)]byte
	for i := recGroup; i < recGroupEnd; i++ {
		binary.NativeEndian.PutUint64(name[8*(i-recGroup):], c.load(i))
	}
	var err error
	if h.group, err = text(name[:]); err == nil {
		err = checkName("group", h.group)
	}
	return h, err
}

// writeHeader makes c, which is empty, the record of a new incarnation. The
// magic goes last: whoever reads before that finds no record.
func writeHeader(c *cells, h header) {
	c.store(recVersion, recordVersion<<32|uint64(8*factsWords))
	c.store(recSize, uint64(recordBytes(h.capacity)))
	c.store(recCapacity, uint64(h.capacity))
	c.store(recStart, uint64(h.start))
	c.store(recPid, uint64(h.pid))
	c.store(recBoot0, h.boot[0])
	c.store(recBoot1, h.boot[1])
	c.store(recWanted, uint64(h.wanted))
	c.store(recSlot, uint64(h.slot))
	c.store(recGroupIno, h.groupIno)
	c.store(recState, recLive)
	var name [8 * (recGroupEnd - recGroup)]byte
	copy(name[:], h.group)
	for i := recGroup; i < recGroupEnd; i++ {
		c.store(i, binary.NativeEndian.Uint64(name[8*(i-recGroup):]))
	}
	c.store(recMagic, recordMagic)
}

// headWords are those that tell how many there are.
const headWords = (identityHead + 7) / 8

// words is how many the identity takes.
func (id *Identity) words() int { return wordsOf(len(id.Frame) + len(id.Beside)) }

func wordsOf(frames int) int { return (identityHead + frames + 7) / 8 }

// writeIdentity describes virtual router i.
func writeIdentity(c *cells, capacity, i int, id Identity) {
	var b [8 * identityWords]byte
	b[0], b[1] = id.Family, id.VRID
	binary.NativeEndian.PutUint16(b[2:], uint16(len(id.Frame)))
	binary.NativeEndian.PutUint16(b[4:], uint16(len(id.Beside)))
	copy(b[6:22], id.Parent)
	copy(b[22:38], id.VMAC)
	copy(b[identityHead+copy(b[identityHead:], id.Frame):], id.Beside)
	var block [identityWords]uint64
	used := block[:id.words()]
	for i := range used {
		used[i] = binary.NativeEndian.Uint64(b[8*i:])
	}
	identityLatch(capacity, i).write(c, used)
}

// moreIdentity is how many words there are, as far as those that were read tell.
func moreIdentity(read []uint64) int {
	if len(read) < headWords {
		return headWords
	}
	b := binary.NativeEndian.AppendUint64(nil, read[0])
	return wordsOf(int(binary.NativeEndian.Uint16(b[2:])) + int(binary.NativeEndian.Uint16(b[4:])))
}

// readIdentity decodes and checks the description of virtual router i; false
// means that it has none.
func readIdentity(c *cells, capacity, i int) (Identity, bool, error) {
	l := identityLatch(capacity, i)
	if c.load(l.at) == 0 {
		return Identity{}, false, nil
	}
	var block [identityWords]uint64
	read, ok := l.read(c, block[:], moreIdentity)
	if !ok {
		return Identity{}, false, fmt.Errorf("router %d: identity is changing all the time", i)
	}
	var b [8 * identityWords]byte
	for i, v := range block[:read] {
		binary.NativeEndian.PutUint64(b[8*i:], v)
	}
	id := Identity{Family: b[0], VRID: b[1]}
	if id.Family == 0 && id.VRID == 0 {
		return Identity{}, false, nil
	}
	n, beside := int(binary.NativeEndian.Uint16(b[2:])), int(binary.NativeEndian.Uint16(b[4:]))
	if n+beside > MaxFrame {
		return Identity{}, false, fmt.Errorf("router %d: frames of %d and %d bytes", i, n, beside)
	}
	var err1, err2 error
	id.Parent, err1 = text(b[6:22])
	id.VMAC, err2 = text(b[22:38])
	frames := b[identityHead:]
	id.Frame = append([]byte(nil), frames[:n]...)
	id.Beside = append([]byte(nil), frames[n:n+beside]...)
	if err := errors.Join(err1, err2, id.check()); err != nil {
		return Identity{}, false, fmt.Errorf("router %d: %w", i, err)
	}
	return id, true, nil
}

// check refuses what must not reach a netlink message, a path below
// /proc/sys/net or a LAN.
func (id Identity) check() error {
	switch {
	case !goodIfname(id.Parent):
		return fmt.Errorf("%q is no name of an interface", id.Parent)
	case id.VMAC != "" && !goodIfname(id.VMAC):
		return fmt.Errorf("%q is no name of an interface", id.VMAC)
	case id.Family != 4 && id.Family != 6:
		return fmt.Errorf("address family %d, not 4 or 6", id.Family)
	case id.VRID == 0:
		return errors.New("VRID 0, not 1 to 255")
	case len(id.Frame)+len(id.Beside) > MaxFrame:
		return fmt.Errorf("adverts of %d and %d bytes, more than %d", len(id.Frame), len(id.Beside), MaxFrame)
	}
	return nil
}

// goodIfname is the kernel's rule for names of interfaces (dev_valid_name),
// without control characters.
func goodIfname(s string) bool {
	return s != "" && len(s) <= 15 && s != "." && s != ".." &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' || r == ':' })
}

// maxName is the length of the longest name of a group or instance, in bytes.
const maxName = 63

// checkName refuses names that cannot be part of a file's name.
func checkName(what, s string) error {
	if s == "" || len(s) > maxName || s[0] == '.' ||
		strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' }) {
		return fmt.Errorf("%s name %q: 1 to %d bytes without blanks and slashes, not beginning with a dot", what, s, maxName)
	}
	return nil
}

// text is a NUL-padded string.
func text(b []byte) (string, error) {
	s, rest, found := strings.Cut(string(b), "\x00")
	if !found || strings.Trim(rest, "\x00") != "" {
		return "", errors.New("a name without end")
	}
	return s, nil
}
