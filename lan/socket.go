package lan

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"vrrpd/internal/realtime"
)

// socket is a packet socket that is waited for through an epoll instance of its
// own. The runtime's poller, where a connection stands otherwise, is woken for
// every frame that arrives, read or not: 100,000 times per second in a flood, at
// 5 us each. This one rings once, and not again before it is armed.
type socket struct {
	// mu keeps the descriptor from being closed during a call with it.
	mu sync.RWMutex
	fd int // -1: closed

	poll *os.File        // the epoll instance; the runtime's poller waits for it
	raw  syscall.RawConn // of poll
	wake *realtime.Bell  // what ends waiting on a thread; nil: the runtime waits

	// Arguments of calls, which would be allocated otherwise. Of the reader.
	rang [1]unix.EpollEvent
	bell unix.EpollEvent
}

// newSocket takes conn over. Its reader may have a thread for itself (readOnThread).
func newSocket(conn *packet.Conn, onThread bool) (*socket, error) {
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
	s.bell = unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT}
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		if err = errors.Join(unix.SetNonblock(epfd, true), unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, s.fd, &s.bell)); err != nil {
			unix.Close(epfd)
		}
	}
	if err != nil {
		unix.Close(s.fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	s.poll = os.NewFile(uintptr(epfd), "epoll")
	if s.raw, err = s.poll.SyscallConn(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if onThread {
		if s.wake, err = realtime.NewBell(); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// read calls try, with the descriptor of the epoll instance, whenever there is
// something to read until that returns true; os.ErrDeadlineExceeded: whoever reads is to
// look around first.
func (s *socket) read(try func(epfd uintptr) bool) error {
	if s.wake == nil {
		return s.raw.Read(try)
	}
	var woken bool
	err := s.raw.Control(func(epfd uintptr) {
		for !woken && !try(epfd) {
			woken = s.wake.Wait(int(epfd), -1)
		}
	})
	if err == nil && woken {
		return os.ErrDeadlineExceeded
	}
	return err
}

// Close makes whoever waits return, and closes the socket.
func (s *socket) Close() error {
	if s.wake != nil {
		// Nobody who reads may have it open, or the next line waits for him.
		s.wake.Ring()
		defer s.wake.Close()
	}
	err := s.poll.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		err = errors.Join(err, os.NewSyscallError("close", unix.Close(s.fd)))
		s.fd = -1
	}
	return err
}

// disarm takes note of a ring; there will be no other one until arm. epfd is the
// descriptor of the epoll instance.
func (s *socket) disarm(epfd uintptr) {
	// Nothing has rung: then it is not armed, or will ring again.
	_, _ = unix.EpollWait(int(epfd), s.rang[:], 0)
}

// arm has it ring with the next frame, or at once if there is one already.
func (s *socket) arm(epfd uintptr) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return unix.EpollCtl(int(epfd), unix.EPOLL_CTL_MOD, s.fd, &s.bell)
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

// setDeadline bounds the waiting: it ends at once (past), or never.
func (s *socket) setDeadline(t time.Time) error {
	if s.wake == nil {
		return s.poll.SetReadDeadline(t)
	}
	if !t.IsZero() {
		s.wake.Ring()
	}
	return nil
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

// boundTo is the interface that the socket is bound to; 0 if that is gone.
func (s *socket) boundTo() (index int, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sa, err := unix.Getsockname(s.fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	ll, ok := sa.(*unix.SockaddrLinklayer)
	if !ok {
		return 0, errors.New("not a packet socket")
	}
	return max(ll.Ifindex, 0), nil
}
