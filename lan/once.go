package lan

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// SendOnce sends whole Ethernet frames from the interface with the given name,
// without a Port: for who cleans up after a dead process and has only the
// frames that it left. Frames after one that is refused are not tried.
func SendOnce(name string, frames ...[]byte) error {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("send from %s: %w", name, err)
	}
	// Protocol 0: the socket receives nothing.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("send from %s: %w", name, os.NewSyscallError("socket", err))
	}
	defer unix.Close(fd)
	for _, f := range frames {
		if err := unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
			return fmt.Errorf("send from %s: %w", name, os.NewSyscallError("sendto", err))
		}
	}
	return nil
}
