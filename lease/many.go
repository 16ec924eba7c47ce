package lease

import (
	"encoding/binary"
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
//
// All queueing disciplines come before the first filter. With the first filter of one the
// kernel waits until there has been a grace period of RCU since it was made
// (mini_qdisc_pair_swap), and keeps the RTNL mutex meanwhile: of a thousand that alone was
// half of the time. By then there has been one for nearly all of them.
func (g *Guards) attachNew(ifaces []New, guards []*Guard) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, n := range ifaces {
		guards[i] = newGuard(g, Clsact, g.target(n.Index), g.skipped)
		guards[i].name = n.Name
		if guards[i].claim() != nil {
			return 0
		}
	}
	return install(filterRequests, guards[:install(qdiscRequest, guards)])
}

// install sends requests for guards, and returns of how many of the first ones the kernel has
// done them. It may have done some of a later one.
func install(requests func(target) ([]netlink.Message, error), guards []*Guard) (done int) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return 0
	}
	defer conn.Close()
	for some := range slices.Chunk(guards, together) {
		var batch []netlink.Message
		for _, t := range some {
			more, err := requests(t.target)
			if err != nil {
				return done
			}
			batch = append(batch, more...)
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

// qdiscRequest and filterRequests are the queueing discipline and both filters of an
// interface: see clsact.install.
func qdiscRequest(t target) ([]netlink.Message, error) {
	m, err := tcMessage(unix.RTM_NEWQDISC, netlink.Create|netlink.Excl, nl.TcMsg{
		Ifindex: int32(t.index), Handle: 0xffff0000, Parent: netlib.HANDLE_CLSACT,
	}, "clsact", nil)
	return []netlink.Message{m}, err
}

func filterRequests(t target) (all []netlink.Message, err error) {
	for side, h := range hooks {
		m, err := tcMessage(unix.RTM_NEWTFILTER, netlink.Create|netlink.Excl, nl.TcMsg{
			Ifindex: int32(t.index), Handle: t.handle, Parent: h.parent,
			Info: filterPriority<<16 | uint32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))),
		}, "bpf", func(options *netlink.AttributeEncoder) error {
			options.Uint32(nl.TCA_BPF_FD, uint32(t.block.progs[side].FD()))
			options.String(nl.TCA_BPF_NAME, t.prog)
			options.Uint32(nl.TCA_BPF_FLAGS, nl.TCA_BPF_FLAG_ACT_DIRECT)
			return nil
		})
		if err != nil {
			return nil, err
		}
		all = append(all, m)
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
