package lan

import (
	"errors"
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

// Send sends frames of the builders from the interface with the given name; each of
// those given may be several, one behind the other (Split). Frames after one that is
// refused are not tried, but for those to single machines.
func (o *Once) Send(name string, frames ...[]byte) error {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("send from %s: %w", name, err)
	}
	var single [][]byte
	for _, several := range frames {
		all := Split(several)
		if len(all) == 0 && len(several) > 0 {
			return fmt.Errorf("send from %s: no frame: % x", name, several)
		}
		for _, f := range all {
			if IsUnicast(f) {
				single = append(single, f)
			} else if err := unix.Sendto(o.fd, f, 0, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
				return fmt.Errorf("send from %s: %w", name, os.NewSyscallError("sendto", err))
			}
		}
	}
	if len(single) == 0 {
		return nil
	}
	u, err := openUnicast(link.Index, []uint8{IPPacket(single[0])[0] >> 4})
	if err != nil {
		return fmt.Errorf("send from %s: %w", name, err)
	}
	var errs []error
	for _, f := range single {
		errs = append(errs, os.NewSyscallError("sendto", u.send(f)))
	}
	if err := errors.Join(append(errs, u.close())...); err != nil {
		return fmt.Errorf("send from %s: %w", name, err)
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
