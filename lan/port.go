package lan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
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
	// Unicast are further IPv4 destination addresses to hear adverts for
	// besides Group4: the parent's own, where peers are spoken to one by one.
	// At most 200.
	Unicast []netip.Addr
	// ReceiveBuffer is how many bytes of adverts may wait in the kernel. Each
	// costs about 420 of them. Zero means 1 MiB.
	ReceiveBuffer int
	// Interval is that of the adverts: in a flood, reading may be late by a tenth
	// of it. Zero means as little as possible.
	Interval time.Duration
}

// Port is everything that is sent to and heard from one parent. Send belongs
// to one goroutine; Run, Drain, Counters and Close may be called from any.
//
// A Port whose parent was deleted is of no more use: Close it, and open
// another when the parent is back, whose index is then a new one.
type Port struct {
	cfg Config

	out       sender
	receivers []*receiver // adverts first: it alone tells of the parent
	groups    []int       // the sockets that are members by IGMP and MLD

	closed   atomic.Bool
	stopping atomic.Bool // Run's context has ended

	// mu guards sink, the buffers below and the receivers' state: whoever
	// holds it is the one that reads and delivers.
	mu      sync.Mutex
	sink    Sink // nil while Run does not run
	in      *incoming
	adverts []Received
	answers []Answer

	count counters
}

// Open opens the sockets and joins the groups. It starts nothing: what arrives
// waits in the kernel until Run. It needs CAP_NET_RAW, and CAP_NET_ADMIN for
// the buffers and the priority. The parent may be down; then the first thing
// that Run tells is ParentDown.
func Open(cfg Config) (*Port, error) {
	if cfg.ReceiveBuffer == 0 {
		cfg.ReceiveBuffer = defaultReceiveBuffer
	}
	if cfg.Families == nil {
		cfg.Families = []uint8{4}
	}
	if len(cfg.Unicast) > maxUnicast {
		return nil, fmt.Errorf("listen on %s: %d unicast addresses, at most %d", cfg.Name, len(cfg.Unicast), maxUnicast)
	}
	for _, a := range cfg.Unicast {
		if !a.Is4() {
			return nil, fmt.Errorf("listen on %s: %s is not an IPv4 address", cfg.Name, a)
		}
	}
	p := &Port{
		cfg:     cfg,
		in:      newIncoming(),
		adverts: make([]Received, 0, batchSize),
		answers: make([]Answer, 0, batchSize),
	}
	if err := p.open(); err != nil {
		p.closeSockets()
		return nil, err
	}
	return p, nil
}

func (p *Port) open() error {
	if err := p.openSender(); err != nil {
		return fmt.Errorf("open send socket on %s: %w", p.cfg.Name, err)
	}
	type ear struct {
		name     string
		protocol int
		filter   func() ([]bpf.RawInstruction, error)
		take     func(n int) Batch
		group    netip.Addr // of adverts; invalid: none
	}
	var ears []ear
	for _, family := range p.cfg.Families {
		switch family {
		case 4:
			ears = append(ears,
				ear{"adverts", unix.ETH_P_IP, func() ([]bpf.RawInstruction, error) { return advertFilter(p.cfg.Unicast) }, p.takeAdverts, Group4()},
				ear{"answers", unix.ETH_P_ARP, answerFilter, p.takeAnswers, netip.Addr{}})
		case 6:
			ears = append(ears, ear{"IPv6 adverts", unix.ETH_P_IPV6, filter6, p.take6, Group6()})
		}
	}
	for _, e := range ears {
		filter, err := e.filter()
		if err == nil {
			err = p.openReceiver(e.name, e.protocol, filter, e.take, e.group)
		}
		if err != nil {
			return fmt.Errorf("open %s socket on %s: %w", e.name, p.cfg.Name, err)
		}
		if !e.group.IsValid() {
			continue
		}
		if err := p.join(e.group); err != nil {
			return fmt.Errorf("join %s on %s: %w", e.group, p.cfg.Name, err)
		}
	}
	return nil
}

func (p *Port) listen(protocol int, filter []bpf.RawInstruction) (*packet.Conn, syscall.RawConn, error) {
	ifi := &net.Interface{Index: p.cfg.Index, Name: p.cfg.Name, HardwareAddr: p.cfg.MAC[:]}
	conn, err := packet.Listen(ifi, packet.Raw, protocol, &packet.Config{Filter: filter})
	if err != nil {
		return nil, nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, raw, nil
}

func (p *Port) openSender() error {
	conn, raw, err := p.listen(0, nil)
	if err != nil {
		return err
	}
	p.out = newSender(conn, raw)
	if err := setBuffer(raw, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, sendBuffer); err != nil {
		return err
	}
	return setsockopt(raw, "SO_PRIORITY", unix.SO_PRIORITY, priorityControl)
}

func (p *Port) openReceiver(name string, protocol int, filter []bpf.RawInstruction, take func(n int) Batch, group netip.Addr) error {
	own, err := ofInterface(p.cfg.Index)
	if err != nil {
		return err
	}
	conn, raw, err := p.listen(protocol, append(own, filter...))
	if err != nil {
		return err
	}
	if err := setBuffer(raw, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, p.cfg.ReceiveBuffer); err != nil {
		conn.Close()
		return err
	}
	sock, err := newSocket(conn)
	if err != nil {
		return err
	}
	p.receivers = append(p.receivers, newReceiver(p, name, sock, take, group))
	return nil
}

// Close closes the sockets in the order that the package comment gives and
// makes Run return nil. A second Close does nothing.
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
	for _, r := range p.receivers {
		errs = append(errs, r.sock.Close())
	}
	for _, fd := range p.groups {
		errs = append(errs, os.NewSyscallError("close", unix.Close(fd)))
	}
	if p.out.conn != nil {
		errs = append(errs, p.out.conn.Close())
	}
	return errors.Join(errs...)
}

// setBuffer sets a buffer past the system's limit, or without CAP_NET_ADMIN as
// far as that limit allows.
func setBuffer(raw syscall.RawConn, force, ordinary, bytes int) error {
	err := setsockopt(raw, "buffer size", force, bytes)
	if errors.Is(err, unix.EPERM) {
		return setsockopt(raw, "buffer size", ordinary, bytes)
	}
	return err
}

func setsockopt(raw syscall.RawConn, name string, opt, value int) error {
	var errno error
	if err := raw.Control(func(fd uintptr) {
		errno = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, opt, value)
	}); err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt "+name, errno)
}
