package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A datagram is the number of its run and its own number, both 32 bits.
const datagramLen = 8

// maxDatagrams bounds one run: at 1 ms more than an hour.
const maxDatagrams = 1 << 22

// UDPEcho sends back every datagram, and remembers when the numbered ones of a
// Pinger arrived.
type UDPEcho struct {
	name string
	addr netip.AddrPort
	conn *net.UDPConn
	item *item
	done chan struct{}

	mu   sync.Mutex
	runs map[uint32][]int64 // arrivals by number, wall clock in ns, 0: never; guarded by mu
}

// StartEcho starts an echo server on an address of the host.
func (h *Host) StartEcho(addr netip.AddrPort) (*UDPEcho, error) {
	conn, err := h.listenUDP(addr)
	if err != nil {
		return nil, fmt.Errorf("echo server at %v on %s: %w", addr, h.name, err)
	}
	e := &UDPEcho{name: h.name, conn: conn, done: make(chan struct{}), runs: make(map[uint32][]int64)}
	e.addr = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	e.item = h.inside.push(e.end)
	go e.run()
	return e, nil
}

// Addr returns the address at which it listens.
func (e *UDPEcho) Addr() netip.AddrPort { return e.addr }

func (e *UDPEcho) run() {
	defer close(e.done)
	buf, oob := make([]byte, 2048), make([]byte, 128)
	for {
		n, oobn, _, from, err := e.conn.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about an earlier answer
		}
		// First the note: whoever has the answer may look for it.
		if n == datagramLen {
			e.note(binary.BigEndian.Uint32(buf), binary.BigEndian.Uint32(buf[4:]), arrival(oob[:oobn]))
		}
		_, _ = e.conn.WriteToUDPAddrPort(buf[:n], from) // no way back: the client will notice
	}
}

func (e *UDPEcho) note(run, number uint32, at time.Time) {
	if number >= maxDatagrams {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.runs[run]
	for uint32(len(list)) <= number {
		list = append(list, 0)
	}
	list[number] = at.UnixNano()
	e.runs[run] = list
}

// arrived returns when datagram number of a run came, 0 if it did not.
func (e *UDPEcho) arrived(run uint32, number int) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if list := e.runs[run]; number < len(list) {
		return list[number]
	}
	return 0
}

// Close ends the server.
func (e *UDPEcho) Close() error { return e.item.Close() }

func (e *UDPEcho) end() error {
	err := e.conn.Close()
	<-e.done
	return err
}

// listenUDP opens a UDP socket on the host that stamps what arrives.
func (h *Host) listenUDP(addr netip.AddrPort) (*net.UDPConn, error) {
	var conn *net.UDPConn
	network := "udp4" // named, or an IPv4 wildcard would become an IPv6 socket
	if addr.Addr().Is6() {
		network = "udp6"
	}
	err := h.DoNet(func() (err error) {
		conn, err = net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
		return err
	})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		// Large buffers: datagrams that wait for a neighbour to be resolved
		// must not hold up the next ones, and a busy machine must lose none.
		optErr = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, captureBuffer))
	})
	if err = errors.Join(err, optErr); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
