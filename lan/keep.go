package lan

import (
	"errors"
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A program that is replaced while it runs leaves its sockets open: memberships, filters
// and the frames that nobody has read yet are the sockets', and the next program inherits
// them. Closing a packet socket would have waited for the kernel, besides.

// Kept are the descriptors of a Port, and what it has counted.
type Kept struct {
	Packet  []int // the packet socket: one
	Groups  []int // members by IGMP and MLD
	Unicast []int // raw sockets; -1: not open

	Sent, Unsent, Adverts, Answers, Overruns uint64
	Dropped                                  map[string]uint64 // by the words of Drop
}

// Descriptors are those that the next program must inherit.
func (k *Kept) Descriptors() []int {
	all := append(append([]int(nil), k.Packet...), k.Groups...)
	for _, fd := range k.Unicast {
		if fd >= 0 {
			all = append(all, fd)
		}
	}
	return all
}

// Check says why this program cannot go on with the sockets of another one.
func (k *Kept) Check() error {
	if len(k.Packet) != 1 || len(k.Unicast) != 3 {
		return fmt.Errorf("there are %d packet sockets and %d others, not 1 and 3", len(k.Packet), len(k.Unicast))
	}
	return nil
}

// Keep says what the next program needs. The descriptors stay the property of the Port.
func (p *Port) Keep() Kept {
	k := Kept{
		Packet: []int{p.receiver.sock.fd}, Groups: append([]int(nil), p.groups...),
		Unicast: []int{p.unicast.vrrp4, p.unicast.ah4, p.unicast.vrrp6},
	}
	c := p.Counters()
	k.Sent, k.Unsent, k.Adverts, k.Answers, k.Overruns = c.Sent, c.Unsent, c.Adverts, c.Answers, c.Overruns
	c.Drops(func(why Drop, n uint64) {
		if n > 0 {
			if k.Dropped == nil {
				k.Dropped = map[string]uint64{}
			}
			k.Dropped[why.String()] = n
		}
	})
	return k
}

// Adopt goes on with the sockets of another program, whose Config was the same, instead
// of Open. They belong to the Port from here on. The filter is put
// in again: that of this program may be another.
func Adopt(cfg Config, kept Kept) (*Port, error) {
	p := newPort(cfg)
	if err := p.adopt(kept); err != nil {
		return nil, errors.Join(fmt.Errorf("go on with the sockets on %s: %w", cfg.Name, err), p.closeSockets())
	}
	return p, nil
}

func (p *Port) adopt(kept Kept) error {
	if err := kept.Check(); err != nil {
		return err
	}
	p.groups = append(p.groups, kept.Groups...)
	p.unicast = unicast{vrrp4: kept.Unicast[0], ah4: kept.Unicast[1], vrrp6: kept.Unicast[2], index: uint32(p.cfg.Index)}
	sock := &socket{fd: kept.Packet[0]}
	p.receiver = newReceiver(p, sock)
	filter, err := portFilter(p.cfg.Families, p.toOne)
	if err == nil {
		err = sock.setFilter(filter)
	}
	if err != nil {
		return err
	}
	p.out = newSender(p.receiver)
	p.recount(kept)
	return nil
}

// setFilter replaces the filter of a socket that hears already, in one step.
func (s *socket) setFilter(program []bpf.RawInstruction) error {
	code := make([]unix.SockFilter, len(program))
	for i, in := range program {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
	if err != nil {
		return fmt.Errorf("setsockopt SO_ATTACH_FILTER: %w", err)
	}
	return nil
}

// recount goes on counting.
func (p *Port) recount(kept Kept) {
	p.count.sent.Store(kept.Sent)
	p.count.unsent.Store(kept.Unsent)
	p.count.adverts.Store(kept.Adverts)
	p.count.answers.Store(kept.Answers)
	p.count.overruns.Store(kept.Overruns)
	for d := range p.count.dropped {
		p.count.dropped[d].Store(kept.Dropped[Drop(d).String()])
	}
}
