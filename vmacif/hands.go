package vmacif

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// kernelLimit is how long an answer of the kernel is waited for. Only somebody
// who holds the RTNL mutex for that long makes an operation fail: a thousand
// interfaces going down one by one take 9 s.
const kernelLimit = 20 * time.Second

// groupMark is the upper byte of the link groups that vrrpd uses. The rest is
// the process: one message then deletes all of its interfaces.
const (
	groupMark = 0x56 << 24
	groupMask = 0xff << 24
)

// LinkGroup is a link group of vrrpd's for a number.
func LinkGroup(n uint32) uint32 { return groupMark | n&^uint32(groupMask) }

// Config configures Hands.
type Config struct {
	// Notes is the directory in which all vrrpd of the machine that use one
	// parent note what its settings were; they are in "sysctl" underneath.
	// Required.
	Notes string
	// Apart tells whether an instance takes its notes elsewhere, so that it and
	// this one must not use the same parent. Nil means that none does.
	Apart func(owner string) bool
	// Group is the link group of the interfaces made here; zero means one
	// derived from the process id.
	Group uint32
	// Alive tells whether an instance other than one's own is running. It is
	// called with a file lock held and must not wait for other instances. Nil
	// means that every other instance is: nothing is taken from anybody.
	Alive func(owner string) bool
	// Loosen is called for each interface that is about to be deleted, when it has no
	// addresses any more: it takes away what would make its end long. After an error
	// it is deleted by itself. Nil means that nothing would.
	Loosen func(index int) error
}

// Hands changes interfaces in the network namespace in which it was opened. Its
// methods, and those of its interfaces, may be called from several goroutines:
// the loop, and the worker that takes interfaces down.
type Hands struct {
	notes  string
	apart  func(string) bool
	group  uint32
	alive  func(string) bool
	loosen func(int) error

	// slow is for creation, deletion and the down flag; wire for everything
	// that the loop waits for, so that the loop never queues behind a grace
	// period in user space (in the kernel both meet at the RTNL mutex).
	slow *netlib.Handle
	wire *wire

	mu   sync.Mutex
	made map[*Iface]struct{} // interfaces that Ensure returned and nobody deleted
	// names are the latest of them that have a name; expected are the parents of
	// the owner's virtual routers by the names of their interfaces, nil before
	// Expect.
	names    map[string]*Iface
	expected map[string]string
}

// Open connects to the kernel. It changes nothing.
func Open(c Config) (*Hands, error) {
	if c.Notes == "" {
		return nil, errors.New("open interface control: no directory for notes")
	}
	slow, err := netlib.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open interface control: %w", err)
	}
	if err := slow.SetSocketTimeout(kernelLimit); err != nil {
		slow.Close()
		return nil, fmt.Errorf("open interface control: %w", err)
	}
	w, err := dialWire()
	if err != nil {
		slow.Close()
		return nil, fmt.Errorf("open interface control: %w", err)
	}
	h := &Hands{notes: c.Notes, apart: c.Apart, group: c.Group, alive: c.Alive, slow: slow, wire: w, made: make(map[*Iface]struct{}), names: make(map[string]*Iface)}
	if h.group == 0 {
		h.group = LinkGroup(uint32(os.Getpid()))
	}
	if h.alive == nil {
		h.alive = func(string) bool { return true }
	}
	if h.loosen = c.Loosen; h.loosen == nil {
		h.loosen = func(int) error { return nil }
	}
	if h.apart == nil {
		h.apart = func(string) bool { return false }
	}
	return h, nil
}

// Close releases the connections. The interfaces stay as they are.
func (h *Hands) Close() error {
	h.slow.Close()
	return h.wire.Close()
}

// DeleteAll deletes every interface that Ensure made here, and restores the
// parents. Several of them go in one message by their link group, which costs
// one grace period instead of one each (200: 48 ms against 3.6 s), provided
// that nothing else carries that group.
func (h *Hands) DeleteAll() error {
	h.mu.Lock()
	var all []*Iface
	ours := make(map[int]bool)
	for i := range h.made {
		all = append(all, i)
		ours[i.Index()] = true
	}
	h.mu.Unlock()

	var errs []error
	if len(all) > 1 {
		errs = append(errs, h.deleteTogether(ours))
	}
	for _, i := range all {
		errs = append(errs, i.Delete()) // what is gone already is not an error
	}
	return errors.Join(errs...)
}

// deleteTogether deletes those of some interfaces that have a link group of vrrpd's to
// themselves, and of which there are several. What it leaves is deleted one by one.
func (h *Hands) deleteTogether(ours map[int]bool) error {
	devices, err := h.wire.devices()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	count := make(map[uint32]int)
	for _, d := range devices {
		if ours[d.Index] && d.Group&groupMask == groupMark {
			count[d.Group]++
		}
	}
	for _, d := range devices {
		if !ours[d.Index] {
			delete(count, d.Group)
		}
	}
	var errs []error
	for group, n := range count {
		if n > 1 && h.loosened(group, devices) {
			errs = append(errs, h.deleteAllOf(group))
		}
	}
	return errors.Join(errs...)
}

// loosened prepares the end of a link group of the machine's devices, and reports whether
// it will be short.
func (h *Hands) loosened(group uint32, devices []device) bool {
	for _, d := range devices {
		if d.Group == group && h.loosen(d.Index) != nil {
			return false
		}
	}
	return true
}

// deleteAllOf deletes a link group.
func (h *Hands) deleteAllOf(group uint32) error {
	req, err := deleteGroupRequest(group)
	if err == nil {
		err = h.wire.one(context.Background(), req, nil)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete interfaces of group %#x: %w", group, err)
	}
	return nil
}

func (h *Hands) remember(i *Iface) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old := h.names[i.spec.Name]; old != nil {
		delete(h.made, old) // it went with its parent
	}
	h.made[i], h.names[i.spec.Name] = struct{}{}, i
}

func (h *Hands) forget(i *Iface) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.made, i)
	if h.names[i.spec.Name] == i {
		delete(h.names, i.spec.Name)
	}
}
