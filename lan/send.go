package lan

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// sender speaks through the socket that also hears: a packet socket more is a grace
// period of the kernel's RCU more for a process that dies, before anybody is told.
type sender struct {
	ear *receiver
	outgoing
	refused bool // the last Send was cut short: the rest may be, too, frame by frame
}

// manyFrames are worth two system calls, so that the kernel need not look for each of them
// whether who waits for the socket wants to know that it has left. A card that is none of
// the kernel's own tells later, as a rule, when it is waited for again.
const manyFrames = 32

func newSender(ear *receiver) sender { return sender{ear: ear} }

// tune makes the socket fit for sending.
func (o *sender) tune() error {
	if err := o.ear.sock.setBuffer(unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, sendBuffer); err != nil {
		return err
	}
	return o.ear.sock.setsockopt("SO_PRIORITY", unix.SO_PRIORITY, priorityControl)
}

// Send sends whole Ethernet frames (see the builders) from the parent, in
// order, with one sendmmsg for every 32 of them. It never waits.
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
	o, again := &p.out, false
	if len(frames) >= manyFrames && !o.refused {
		if ear := p.receiver.ear; ear != nil { // somebody listens
			ear.Cover()
			defer ear.Uncover()
		}
	}
	for sent < len(frames) {
		n := o.fill(frames[sent:])
		got, err := o.ear.sock.send(&o.outgoing, n)
		o.release(n)
		// A short count has swallowed the reason; the next round, which begins
		// with the frame refused, brings it or gets that frame out after all.
		sent += got
		switch {
		case err == nil || errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENETDOWN) && !again:
			// The socket says once that the parent went down, be it long ago. Whether it
			// is down is said now.
			again = true
			continue
		}
		o.refused = true
		p.count.sent.Add(uint64(sent))
		p.count.unsent.Add(uint64(len(frames) - sent))
		return sent, fmt.Errorf("send %d of %d frames to %s: %w", len(frames)-sent, len(frames), p.cfg.Name, err)
	}
	o.refused = false
	p.count.sent.Add(uint64(sent))
	return sent, nil
}
