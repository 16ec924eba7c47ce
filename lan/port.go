package lan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// defaultReceiveBuffer holds 2,500 adverts that nobody has read yet (the
	// kernel accounts 832 bytes for each on a veth, and doubles the figure
	// asked for): ten intervals of 250 virtual routers on one parent.
	defaultReceiveBuffer = 1 << 20

	// sendBuffer lets thousands of frames of one burst wait in the NIC's queue
	// before Send says EAGAIN; the kernel's default is spent after some 270.
	sendBuffer = 4 << 20

	// priorityControl is TC_PRIO_CONTROL: queueing disciplines let adverts
	// pass what congests the link. They do not look at TOS here.
	priorityControl = 7
)

// Config describes the parent. Index, Name and MAC come from the caller, who
// watches interfaces; the zero value of the rest is the default.
type Config struct {
	Index int
	Name  string // for messages only
	MAC   [6]byte
	// Families are the IP versions whose adverts and answers are heard, 4 and 6.
	// nil means IPv4 alone.
	Families []uint8
	// Virtual are the virtual IPv6 addresses: the parent is a member of their
	// solicited-node groups for the switches' sake alone, which then forward the
	// neighbours' questions to this machine already when it begins to serve.
	Virtual []netip.Addr
	// Unicast are those of them in which peers are spoken to one by one: adverts to
	// this machine alone are heard, too, and SendUnicast sends. Whose address they
	// are sent to is for the caller to judge.
	Unicast []uint8
	// Ungrouped are those in which nobody speaks to the group: switches and routers
	// are not told of a member.
	Ungrouped []uint8
	// ReceiveBuffer is how many bytes of adverts may wait in the kernel. Each
	// costs about 420 of them. Zero means 1 MiB.
	ReceiveBuffer int
	// Interval is that of the adverts: in a flood, reading may be late by a tenth
	// of it. Zero means as little as possible.
	Interval time.Duration
}

// Port is everything that is sent to and heard from one parent. Send, Listen and Leave
// belong to one goroutine, with the bell that it listens at; Drain and Counters may be
// called from any, and Close, after Leave.
//
// A Port whose parent was deleted is of no more use: Close it, and open
// another when the parent is back, whose index is then a new one.
type Port struct {
	cfg Config

	out      sender
	unicast  unicast
	receiver *receiver // nil: its socket could not be opened
	groups   []int     // the sockets that are members by IGMP and MLD

	closed atomic.Bool

	// mu guards sink, the buffers below and the receivers' state: whoever
	// holds it is the one that reads and delivers.
	mu      sync.Mutex
	sink    Sink        // nil while nobody listens
	lost    func(error) // beside sink
	in      *incoming
	adverts []Received
	answers []Answer

	count counters
}

// Open opens the sockets and joins the groups. It starts nothing: what arrives
// waits in the kernel until Listen. It needs CAP_NET_RAW, and CAP_NET_ADMIN for
// the buffers and the priority. The parent may be down.
func Open(cfg Config) (*Port, error) {
	p := newPort(cfg)
	if err := p.open(); err != nil {
		p.closeSockets()
		return nil, err
	}
	return p, nil
}

func newPort(cfg Config) *Port {
	if cfg.ReceiveBuffer == 0 {
		cfg.ReceiveBuffer = defaultReceiveBuffer
	}
	if cfg.Families == nil {
		cfg.Families = []uint8{4}
	}
	return &Port{
		cfg:     cfg,
		unicast: unicast{vrrp4: -1, ah4: -1, vrrp6: -1},
		in:      newIncoming(),
		adverts: make([]Received, 0, batchSize),
		answers: make([]Answer, 0, batchSize),
	}
}

func (p *Port) open() error {
	var err error
	if p.unicast, err = openUnicast(p.cfg.Index, p.cfg.Unicast); err != nil {
		return fmt.Errorf("open sockets for peers on %s: %w", p.cfg.Name, err)
	}
	filter, err := portFilter(p.cfg.Families, p.toOne)
	if err == nil {
		err = p.openReceiver(filter)
	}
	if err != nil {
		return fmt.Errorf("open packet socket on %s: %w", p.cfg.Name, err)
	}
	for _, family := range p.cfg.Families {
		if err := p.join(groupOf(family)); err != nil {
			return fmt.Errorf("join %s on %s: %w", groupOf(family), p.cfg.Name, err)
		}
	}
	p.out = newSender(p.receiver)
	if err := p.out.tune(); err != nil {
		return fmt.Errorf("prepare sending on %s: %w", p.cfg.Name, err)
	}
	return nil
}

// toOne reports whether adverts to this machine alone are heard in a family.
func (p *Port) toOne(family uint8) bool { return slices.Contains(p.cfg.Unicast, family) }

func (p *Port) openReceiver(filter []bpf.RawInstruction) error {
	ifi := &net.Interface{Index: p.cfg.Index, Name: p.cfg.Name, HardwareAddr: p.cfg.MAC[:]}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, &packet.Config{Filter: filter})
	if err != nil {
		return err
	}
	sock, err := newSocket(conn)
	if err != nil {
		return err
	}
	p.receiver = newReceiver(p, sock)
	if err := sock.ignoreOutgoing(); err != nil && !errors.Is(err, unix.ENOPROTOOPT) { // before Linux 4.20
		return err
	}
	return sock.setBuffer(unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, p.cfg.ReceiveBuffer)
}

// Close closes the sockets in the order that the package comment gives. A second Close
// does nothing.
func (p *Port) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	if err := p.closeSockets(); err != nil {
		return fmt.Errorf("close sockets on %s: %w", p.cfg.Name, err)
	}
	return nil
}

func (p *Port) closeSockets() error {
	var errs []error
	if p.receiver != nil {
		errs = append(errs, p.receiver.sock.Close())
	}
	for _, fd := range p.groups {
		errs = append(errs, os.NewSyscallError("close", unix.Close(fd)))
	}
	errs = append(errs, p.unicast.close())
	return errors.Join(errs...)
}
