package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

var (
	errDumpInterrupted = errors.New("the table changed during the dump")
	errNoLink          = errors.New("no such interface")
	errTruncated       = errors.New("netlink message cut short")
)

// answerLimit is how long one answer of the kernel's may take. Only somebody who
// holds the RTNL mutex for that long (a thousand interfaces going down take 9 s)
// makes it fail.
const answerLimit = 15 * time.Second

// recvBuffer fits every datagram of rtnetlink: the kernel caps a dump's at
// 32 KiB, and a single link message with many virtual functions stays below.
const recvBuffer = 64 << 10

// skipStats (RTEXT_FILTER_SKIP_STATS) leaves the counters out of link messages,
// which are most of their bytes.
const skipStats = 1 << 3

// socket is a route netlink connection that is read without allocation: the
// library's Receive hides the flags of the final message of a dump, the only
// place where an interruption near the end is reported, and keeps a new copy of
// everything. A socket is not safe for concurrent reads.
type socket struct {
	conn *netlink.Conn
	raw  syscall.RawConn
	buf  []byte
}

// dial connects to the network namespace netns (a file descriptor), or to that
// of the calling thread when it is zero.
func dial(netns int) (*socket, error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: netns})
	if err != nil {
		return nil, fmt.Errorf("open route netlink: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("open route netlink: %w", err)
	}
	return &socket{conn: conn, raw: raw, buf: make([]byte, recvBuffer)}, nil
}

func (s *socket) Close() error { return s.conn.Close() }

// read receives one datagram and calls each for every message in it; the bodies
// are valid during the call only. With wait it blocks until there is one or the
// read deadline passes; without, an empty socket gives unix.EAGAIN.
func (s *socket) read(wait bool, each func(h netlink.Header, body []byte) error) error {
	var n int
	var rerr error
	err := s.raw.Read(func(fd uintptr) bool {
		for {
			n, rerr = unix.Read(int(fd), s.buf)
			if rerr != unix.EINTR {
				break
			}
		}
		return !wait || rerr != unix.EAGAIN
	})
	if err == nil {
		err = rerr
	}
	if err != nil {
		return err
	}
	return split(s.buf[:n], each)
}

// split calls each for every message of a datagram.
func split(b []byte, each func(h netlink.Header, body []byte) error) error {
	for len(b) >= unix.NLMSG_HDRLEN {
		length := (int(binary.NativeEndian.Uint32(b)) + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1)
		if length < unix.NLMSG_HDRLEN || length > len(b) {
			return errTruncated
		}
		var m netlink.Message
		if err := m.UnmarshalBinary(b[:length]); err != nil {
			return err
		}
		if err := each(m.Header, m.Data); err != nil {
			return err
		}
		b = b[length:]
	}
	return nil
}

// answer is the state of one question while its messages come in.
type answer struct {
	sequence    uint32
	dump        bool // ends with a message of its own
	each        func(typ uint16, body []byte) error
	interrupted bool // the kernel says that the dump may have missed something
	done        bool
}

func (a *answer) take(h netlink.Header, body []byte) error {
	if h.Sequence != a.sequence {
		return nil // the rest of an answer that was given up
	}
	if h.Flags&netlink.DumpInterrupted != 0 {
		a.interrupted = true
	}
	if h.Type == netlink.Done || h.Type == netlink.Error {
		a.done = true
		if len(body) >= 4 {
			if errno := -int32(binary.NativeEndian.Uint32(body)); errno != 0 {
				return unix.Errno(errno)
			}
		}
		return nil
	}
	a.done = a.done || !a.dump
	return a.each(uint16(h.Type), body)
}

// ask sends one request and calls each for every message of the answer, until
// its end. It returns errDumpInterrupted after the end of a dump that may have
// missed something, and the kernel's error (a unix.Errno) if it refused.
func (s *socket) ask(typ uint16, flags netlink.HeaderFlags, body []byte, each func(typ uint16, body []byte) error) error {
	req, err := s.conn.Send(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | flags},
		Data:   body,
	})
	if err != nil {
		return err
	}
	a := answer{sequence: req.Header.Sequence, dump: flags&netlink.Dump == netlink.Dump, each: each}
	for !a.done {
		if err := s.read(true, a.take); err != nil {
			return err
		}
	}
	if a.interrupted {
		return errDumpInterrupted
	}
	return nil
}

// dump is one reading of the whole namespace, addresses in the kernel's order.
type dump struct {
	links []Link
	addrs []Addr
}

// linkRequest asks for one link, or, with 0, for all of them.
func linkRequest(index int) ([]byte, error) {
	m := rtnetlink.LinkMessage{Index: uint32(index)}
	b, err := m.MarshalBinary()
	if err != nil {
		return nil, err
	}
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.IFLA_EXT_MASK, skipStats)
	attrs, err := ae.Encode()
	return append(b, attrs...), err
}

// link reads one link: 10 to 20 us, or as long as somebody else holds the RTNL mutex. The
// error wraps errNoLink when there is none with that index.
func (s *socket) link(index int) (l Link, err error) {
	body, err := linkRequest(index)
	if err != nil {
		return Link{}, err
	}
	if err := s.limit(answerLimit); err != nil {
		return Link{}, err
	}
	found := false
	err = s.ask(unix.RTM_GETLINK, 0, body, func(_ uint16, body []byte) error {
		l, found, err = decodeLink(body)
		return err
	})
	if errors.Is(err, unix.ENODEV) || (err == nil && !found) {
		err = errNoLink
	}
	if err != nil {
		return Link{}, fmt.Errorf("read link %d: %w", index, err)
	}
	return l, nil
}

// links reads all links. On errDumpInterrupted the result may lack some.
func (s *socket) links() ([]Link, error) {
	body, err := linkRequest(0)
	if err != nil {
		return nil, err
	}
	var out []Link
	err = s.ask(unix.RTM_GETLINK, netlink.Dump, body, func(typ uint16, body []byte) error {
		l, ok, err := decodeLink(body)
		if ok && typ == unix.RTM_NEWLINK {
			out = append(out, l)
		}
		return err
	})
	return out, err
}

// addrs reads the addresses of all links. On errDumpInterrupted the result may lack some.
func (s *socket) addrs() ([]Addr, error) {
	var out []Addr
	var interrupted error
	for _, family := range [...]uint8{unix.AF_INET, unix.AF_INET6} {
		m := rtnetlink.AddressMessage{Family: family}
		body, err := m.MarshalBinary()
		if err != nil {
			return nil, err
		}
		err = s.ask(unix.RTM_GETADDR, netlink.Dump, body, func(typ uint16, body []byte) error {
			a, ok, err := decodeAddr(body)
			if ok && typ == unix.RTM_NEWADDR {
				out = append(out, a)
			}
			return err
		})
		switch {
		case errors.Is(err, errDumpInterrupted):
			interrupted = err
		case family == unix.AF_INET6 && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)):
			// A kernel without IPv6 has no IPv6 addresses.
		case err != nil:
			return nil, err
		}
	}
	return out, interrupted
}

// everything dumps links and addresses.
func (s *socket) everything() (d dump, err error) {
	links, err := s.links()
	if err != nil && !errors.Is(err, errDumpInterrupted) {
		return dump{}, fmt.Errorf("dump links: %w", err)
	}
	addrs, aerr := s.addrs()
	if aerr != nil && !errors.Is(aerr, errDumpInterrupted) {
		return dump{}, fmt.Errorf("dump addresses: %w", aerr)
	}
	return dump{links, addrs}, errors.Join(err, aerr)
}

// limit bounds the wait for the kernel's answer.
func (s *socket) limit(d time.Duration) error { return s.conn.SetReadDeadline(time.Now().Add(d)) }

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
