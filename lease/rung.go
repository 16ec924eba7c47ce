package lease

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Rung is one way to make the kernel silence an interface. The zero value is
// none of them.
type Rung uint8

const (
	// Clsact: eBPF filters on the interface's clsact queueing discipline
	// (Linux 5.8). The best: attached in microseconds, absolute deadline.
	Clsact Rung = iota + 1
	// TCX: the same program attached without a queueing discipline (Linux 6.6);
	// each attachment waits for a grace period of the kernel.
	TCX
	// Nftables: an element with a timeout in a set of nftables (Linux 5.16).
	// For whole-second intervals; see the package comment for what it lacks.
	Nftables
	// None: no guard. Renew and Close only remember the deadline.
	None
)

var rungWords = [...]string{Clsact: "clsact", TCX: "tcx", Nftables: "nftables", None: "none"}

// String returns the word of the rung, as in the journal and in the option.
func (r Rung) String() string {
	if r < Clsact || r > None {
		return fmt.Sprintf("Rung(%d)", uint8(r))
	}
	return rungWords[r]
}

// ParseRung is the inverse of String.
func ParseRung(word string) (Rung, error) {
	if i := slices.Index(rungWords[1:], word); i >= 0 {
		return Rung(i + 1), nil
	}
	return 0, fmt.Errorf("no guard %q: one of %s", word, strings.Join(rungWords[1:], ", "))
}

// Skip says why a rung is not the one in force.
type Skip struct {
	Rung Rung
	Err  error
}

func (s Skip) String() string { return fmt.Sprintf("%v: %v", s.Rung, s.Err) }

// ErrStale: the interface carries a TCX program that may be the guard of a dead
// instance, and a process without CAP_SYS_ADMIN can neither identify nor detach
// it. Deleting the interface and making it again is the way out.
var ErrStale = errors.New("a TCX program on the interface cannot be identified without CAP_SYS_ADMIN: delete the interface and make it again")

var (
	errNotAsked = errors.New("not on the configured ladder")
	errNoRung   = errors.New("no kind of guard can be had")
)

// coarse tells why the timeouts of nftables do not fit an advert interval.
func coarse(interval time.Duration) error {
	if interval%time.Second == 0 {
		return nil
	}
	return fmt.Errorf("nftables is for whole-second advert intervals, not for %v", interval)
}

// advise adds what a rung needs to the errors of a kernel or a process that
// does not have it.
func advise(r Rung, err error) error {
	var needs string
	switch r {
	case Clsact:
		needs = "Linux 5.8, CAP_BPF and CAP_NET_ADMIN, CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF; before 5.11 also LimitMEMLOCK=infinity"
	case TCX:
		needs = "Linux 6.6, CAP_BPF and CAP_NET_ADMIN"
	case Nftables:
		needs = "Linux 5.16 and CAP_NET_ADMIN, CONFIG_NF_TABLES_NETDEV and CONFIG_NETFILTER_EGRESS"
	}
	if needs == "" || err == nil || gone(err) || errors.Is(err, ErrStale) {
		return err
	}
	return fmt.Errorf("%w (needs %s)", err, needs)
}

// gone tells that the interface does not exist (any more).
func gone(err error) bool { return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) }
