package lan

import (
	"fmt"
	"net"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// sender owns the send socket and what a call of sendmmsg needs.
type sender struct {
	conn *packet.Conn
	raw  syscall.RawConn

	// outgoing, want, got and errno are one call's arguments and results; they
	// lie here because a closure made per call would allocate.
	*call
}

type call struct {
	outgoing
	want, got int
	errno     unix.Errno
	do        func(fd uintptr)
}

func newSender(conn *packet.Conn, raw syscall.RawConn) sender {
	c := &call{}
	c.do = func(fd uintptr) { c.got, c.errno = c.send(fd, c.want) }
	return sender{conn: conn, raw: raw, call: c}
}

// Send sends whole Ethernet frames (see the builders) from the parent, in
// order, with one sendmmsg for every 1,024 of them. It never waits.
//
// sent is how many leading frames the kernel took. If that is not all of them,
// err says why frames[sent] was refused; nothing after it was tried. errors.Is
// knows unix.ENETDOWN (the parent is down), unix.ENXIO (it was deleted),
// unix.ENOBUFS and unix.EAGAIN (a queue or the send buffer is full),
// unix.EMSGSIZE (longer than the parent's MTU) and net.ErrClosed.
//
// Taken by the kernel is not the same as on the wire: a parent that is up
// without carrier (a pulled cable, or the moment after it came up) swallows
// frames without an error. Only its link events tell (package rtnl).
func (p *Port) Send(frames [][]byte) (sent int, err error) {
	c := p.out.call
	for sent < len(frames) {
		c.want = c.fill(frames[sent:])
		c.got, c.errno = 0, 0
		err := p.out.raw.Control(c.do)
		c.release(c.want)
		// A short count has swallowed the reason; the next round, which begins
		// with the frame refused, brings it or gets that frame out after all.
		sent += c.got
		if err == nil && c.errno != 0 {
			err = c.errno
		}
		if err == nil || c.errno == unix.EINTR {
			continue
		}
		if p.closed.Load() {
			err = net.ErrClosed
		}
		p.count.sent.Add(uint64(sent))
		p.count.unsent.Add(uint64(len(frames) - sent))
		return sent, fmt.Errorf("send %d of %d frames to %s: %w", len(frames)-sent, len(frames), p.cfg.Name, err)
	}
	p.count.sent.Add(uint64(sent))
	return sent, nil
}
