package lease

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	netlib "github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// New is a macvlan that the caller has just made: it has no guard, of anybody's.
type New struct {
	Index int
	Name  string
}

const (
	// together is how many interfaces get their guards in one system call. The answers
	// have to fit into the queue of the socket.
	together = 32
	// answerLimit is how long the kernel may take for them.
	answerLimit = 20 * time.Second
)

// AttachNew does what Attach does for many interfaces that are new. Where filters of
// traffic control can be had it is a few messages for each, several interfaces in one
// system call, and nothing is looked for that others may have left. The results are in
// the order of ifaces; of each either is nil.
func (g *Guards) AttachNew(ifaces []New) ([]*Guard, []error) {
	guards, errs := make([]*Guard, len(ifaces)), make([]error, len(ifaces))
	at := 0
	if g.rung == Clsact && len(ifaces) > 1 {
		at = g.attachNew(ifaces, guards)
	}
	// What is left, or did not go like that, is told its reason, or helped.
	for i := at; i < len(ifaces); i++ {
		guards[i], errs[i] = g.Attach(ifaces[i].Index)
	}
	return guards, errs
}

// attachNew returns how many of the first interfaces have a guard.
func (g *Guards) attachNew(ifaces []New, guards []*Guard) (done int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return 0
	}
	defer conn.Close()
	for some := range slices.Chunk(ifaces, together) {
		var batch []netlink.Message
		for i, n := range some {
			t := newGuard(g, Clsact, g.target(n.Index), g.skipped)
			t.name = n.Name
			if err := t.claim(); err != nil {
				return done
			}
			more, err := guardMessages(t.target)
			if err != nil {
				return done
			}
			batch, guards[done+i] = append(batch, more...), t
		}
		if !carriedOut(conn, batch) {
			return done
		}
		done += len(some)
	}
	return done
}

// carriedOut sends requests and reports whether the kernel has done all of them. It is
// asked for an answer to the last one only: to the others it answers if they fail, and
// that comes first.
func carriedOut(conn *netlink.Conn, batch []netlink.Message) bool {
	for i := range batch[:len(batch)-1] {
		batch[i].Header.Flags &^= netlink.Acknowledge
	}
	if err := conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return false
	}
	if _, err := conn.SendMessages(batch); err != nil {
		return false
	}
	_, err := conn.Receive()
	return err == nil
}

// guardMessages are the queueing discipline and both filters of an interface: see
// clsact.install.
func guardMessages(t target) ([]netlink.Message, error) {
	qdisc, err := tcMessage(unix.RTM_NEWQDISC, netlink.Create|netlink.Excl, nl.TcMsg{
		Ifindex: int32(t.index), Handle: 0xffff0000, Parent: netlib.HANDLE_CLSACT,
	}, "clsact", nil)
	all := []netlink.Message{qdisc}
	for side, h := range hooks {
		if err != nil {
			break
		}
		var filter netlink.Message
		filter, err = tcMessage(unix.RTM_NEWTFILTER, netlink.Create|netlink.Excl, nl.TcMsg{
			Ifindex: int32(t.index), Handle: t.handle, Parent: h.parent,
			Info: filterPriority<<16 | uint32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))),
		}, "bpf", func(options *netlink.AttributeEncoder) error {
			options.Uint32(nl.TCA_BPF_FD, uint32(t.block.progs[side].FD()))
			options.String(nl.TCA_BPF_NAME, t.prog)
			options.Uint32(nl.TCA_BPF_FLAGS, nl.TCA_BPF_FLAG_ACT_DIRECT)
			return nil
		})
		all = append(all, filter)
	}
	if err != nil {
		return nil, fmt.Errorf("guard %s: %w", t.name, err)
	}
	return all, nil
}

// tcMessage is a message of traffic control that the kernel answers.
func tcMessage(typ uint16, flags netlink.HeaderFlags, m nl.TcMsg, kind string, options func(*netlink.AttributeEncoder) error) (netlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	ae.String(nl.TCA_KIND, kind)
	if options != nil {
		ae.Nested(nl.TCA_OPTIONS, options)
	}
	attrs, err := ae.Encode()
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   append(m.Serialize(), attrs...),
	}, err
}
