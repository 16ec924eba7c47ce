package rtnl

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoLink is returned, wrapped, when the interface asked for does not exist.
var ErrNoLink = errors.New("no such interface")

// answerLimit is how long a Reader waits for the kernel. Only somebody who
// holds the RTNL mutex for that long (a thousand interfaces going down take
// 9 s) makes it fail.
const answerLimit = 15 * time.Second

// dumpTries is how often a dump that was interrupted by changes is repeated.
const dumpTries = 8

// Reader asks the kernel about one interface at a time, and waits for the
// answer: 10 to 20 us, or as long as somebody else holds the RTNL mutex. It
// allocates little and keeps nothing. Not safe for concurrent use.
type Reader struct {
	s *socket
}

// OpenReader connects to the network namespace of the calling thread.
func OpenReader() (*Reader, error) {
	s, err := dial(0)
	if err != nil {
		return nil, err
	}
	return &Reader{s}, nil
}

// Close closes the connection.
func (r *Reader) Close() error { return r.s.Close() }

// ReadLink reads the link with the given index; the error wraps ErrNoLink when
// there is none.
func (r *Reader) ReadLink(index int) (Link, error) {
	if index <= 0 {
		return Link{}, fmt.Errorf("read link %d: %w", index, ErrNoLink)
	}
	l, err := r.link(index, "")
	if err != nil {
		return Link{}, fmt.Errorf("read link %d: %w", index, err)
	}
	return l, nil
}

// LinkByName reads the link with the given name; the error wraps ErrNoLink when
// there is none. Newer kernels find alternative names as well: the result's Name
// is the real one, which is the one that /proc/sys/net knows.
func (r *Reader) LinkByName(name string) (Link, error) {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return Link{}, fmt.Errorf("read link %q: %w", name, ErrNoLink)
	}
	l, err := r.link(0, name)
	if err != nil {
		return Link{}, fmt.Errorf("read link %s: %w", name, err)
	}
	return l, nil
}

func (r *Reader) link(index int, name string) (l Link, err error) {
	body, err := linkRequest(index, name)
	if err != nil {
		return Link{}, err
	}
	if err := r.s.limit(answerLimit); err != nil {
		return Link{}, err
	}
	found := false
	err = r.s.ask(unix.RTM_GETLINK, 0, body, func(_ uint16, body []byte) error {
		l, found, err = decodeLink(body)
		return err
	})
	if errors.Is(err, unix.ENODEV) || (err == nil && !found) {
		return Link{}, ErrNoLink
	}
	return l, err
}

// Addrs reads the IPv4 and IPv6 addresses of an interface, in the kernel's
// order. An interface without addresses gives none; one that does not exist
// gives none, too, or an error that wraps ErrNoLink.
func (r *Reader) Addrs(index int) ([]Addr, error) {
	if err := r.s.limit(answerLimit); err != nil {
		return nil, err
	}
	var out []Addr
	var err error
	for range dumpTries {
		if out, err = r.s.addrs(index); !errors.Is(err, errDumpInterrupted) {
			break
		}
	}
	if errors.Is(err, unix.ENODEV) {
		err = ErrNoLink
	}
	if err != nil {
		return nil, fmt.Errorf("read addresses of link %d: %w", index, err)
	}
	return out, nil
}

// PrimaryIPv4 reads the address that adverts are sent from on an interface (see
// the function of that name); ok is false when it has none.
func (r *Reader) PrimaryIPv4(index int, except ...netip.Addr) (ip netip.Addr, ok bool, err error) {
	addrs, err := r.Addrs(index)
	if err != nil {
		return netip.Addr{}, false, err
	}
	ip, ok = PrimaryIPv4(addrs, except...)
	return ip, ok, nil
}
