package lan

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Asker asks a LAN whether an address is there, in the name of the machine itself:
// from the interface's MAC and its own address, as any host asks for its router. A
// firewall on either side does not see it. It is for questions that are asked now and
// then; those of the election go by way of a Port.
type Asker struct {
	name   string
	family uint8
	conn   *packet.Conn
	out    []byte
	in     []byte
}

// OpenAsker opens the socket of one interface for one IP version, 4 or 6. It needs
// CAP_NET_RAW.
func OpenAsker(index int, name string, family uint8) (*Asker, error) {
	protocol, part := unix.ETH_P_ARP, answers4
	if family == 6 {
		protocol, part = unix.ETH_P_IPV6, neighbours6
	}
	prog, err := bpf.Assemble(finish(part()))
	if err != nil {
		return nil, fmt.Errorf("open socket on %s: %w", name, err)
	}
	conn, err := packet.Listen(&net.Interface{Index: index, Name: name}, packet.Raw, protocol, &packet.Config{Filter: prog})
	if err != nil {
		return nil, fmt.Errorf("open socket on %s: %w", name, err)
	}
	return &Asker{name: name, family: family, conn: conn, in: make([]byte, 2048)}, nil
}

// Ask asks for target once. mac and source are the interface's own. to is the MAC
// that has answered the last time; zero: everybody is asked.
func (a *Asker) Ask(mac [6]byte, source, target netip.Addr, to [6]byte) error {
	everybody := to == [6]byte{}
	switch {
	case a.family == 4:
		if everybody {
			to = broadcast
		}
		a.out = AppendARPRequest(a.out[:0], to, mac, source, target)
	case everybody:
		a.out = AppendSolicitation(a.out[:0], mac, source, target)
	default:
		a.out = AppendSolicitationTo(a.out[:0], to, mac, source, target)
	}
	if _, err := a.conn.WriteTo(a.out, &packet.Addr{HardwareAddr: a.out[:6]}); err != nil {
		return fmt.Errorf("ask for %s on %s: %w", target, a.name, err)
	}
	return nil
}

// Next waits for the next answer of anybody's to anything; past the deadline the
// error is os.ErrDeadlineExceeded.
func (a *Asker) Next(deadline time.Time) (Answer, error) {
	if err := a.conn.SetReadDeadline(deadline); err != nil {
		return Answer{}, fmt.Errorf("hear answers on %s: %w", a.name, err)
	}
	for {
		n, _, err := a.conn.ReadFrom(a.in)
		if err != nil {
			return Answer{}, fmt.Errorf("hear answers on %s: %w", a.name, err)
		}
		if answer, drop := ParseAnswer(a.in[:n]); drop == Delivered {
			return answer, nil
		}
	}
}

// Close makes Next return, on whatever goroutine.
func (a *Asker) Close() error { return a.conn.Close() }
