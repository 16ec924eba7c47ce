package lan

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"vrrpd/internal/realtime"
)

// socket is a packet socket that is not in the runtime's poller, where a connection
// stands otherwise: who waits for it does so at a realtime.Bell.
type socket struct {
	// mu keeps the descriptor from being closed during a call with it.
	mu sync.RWMutex
	fd int // -1: closed
}

// newSocket takes conn over.
func newSocket(conn *packet.Conn) (*socket, error) {
	// Filter, binding and options belong to the socket; closing the connection
	// only takes its descriptor out of the runtime's poller.
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{fd: -1}
	if cerr := raw.Control(func(fd uintptr) { s.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("duplicate descriptor: %w", err)
	}
	return s, nil
}

// listen has read called by who waits at the bell.
func (s *socket) listen(bell *realtime.Bell, read func()) (*realtime.Ear, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return nil, net.ErrClosed
	}
	return bell.Listen(s.fd, read)
}

// Close closes the socket.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fd := s.fd
	s.fd = -1
	if fd < 0 {
		return nil
	}
	return os.NewSyscallError("close", unix.Close(fd))
}

// receive takes what waits in the socket into in.
func (s *socket) receive(in *incoming) (int, unix.Errno) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return in.receive(uintptr(s.fd))
}

// send hands the first n messages of out to the kernel, and returns how many it
// took.
func (s *socket) send(out *outgoing, n int) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	got, errno := out.send(uintptr(s.fd), n)
	if errno != 0 {
		return got, errno
	}
	return got, nil
}

// joinGroup lets the NIC with this index give us the frames to a MAC.
func (s *socket) joinGroup(index int, mac net.HardwareAddr) error {
	mreq := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_MULTICAST, Alen: uint16(len(mac))}
	copy(mreq.Address[:], mac)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return os.NewSyscallError("setsockopt PACKET_ADD_MEMBERSHIP",
		unix.SetsockoptPacketMreq(s.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq))
}

// ignoreOutgoing keeps what this machine sends from being shown. ENOPROTOOPT: the kernel
// cannot.
func (s *socket) ignoreOutgoing() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return os.NewSyscallError("setsockopt PACKET_IGNORE_OUTGOING", unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
}

// setsockopt sets an option of the kind SOL_SOCKET.
func (s *socket) setsockopt(name string, opt, value int) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return os.NewSyscallError("setsockopt "+name, unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, opt, value))
}

// setBuffer sets a buffer past the system's limit, or without CAP_NET_ADMIN as
// far as that limit allows.
func (s *socket) setBuffer(force, ordinary, bytes int) error {
	err := s.setsockopt("buffer size", force, bytes)
	if errors.Is(err, unix.EPERM) {
		return s.setsockopt("buffer size", ordinary, bytes)
	}
	return err
}

// overruns are the frames that the kernel has dropped since it was asked last.
func (s *socket) overruns() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	stats, err := unix.GetsockoptTpacketStats(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0 // closed
	}
	return uint64(stats.Drops)
}
