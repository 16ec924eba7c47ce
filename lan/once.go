package lan

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Once sends whole Ethernet frames without a Port: for who cleans up after a dead
// process and has only the frames that it left.
type Once struct{ fd int }

// OpenOnce opens it. It receives nothing.
func OpenOnce() (*Once, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", os.NewSyscallError("socket", err))
	}
	return &Once{fd}, nil
}

// Send sends frames from the interface with the given name. Frames after one that is
// refused are not tried.
func (o *Once) Send(name string, frames ...[]byte) error {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("send from %s: %w", name, err)
	}
	for _, f := range frames {
		if err := unix.Sendto(o.fd, f, 0, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
			return fmt.Errorf("send from %s: %w", name, os.NewSyscallError("sendto", err))
		}
	}
	return nil
}

// Close closes it. The kernel takes a grace period of RCU for that, 6 to 60 ms.
func (o *Once) Close() error { return unix.Close(o.fd) }

// SendOnce is OpenOnce, Send and Close.
func SendOnce(name string, frames ...[]byte) error {
	o, err := OpenOnce()
	if err != nil {
		return fmt.Errorf("send from %s: %w", name, err)
	}
	defer o.Close()
	return o.Send(name, frames...)
}
