package lease

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Config configures Guards. The zero value is the whole ladder.
type Config struct {
	// Ladder are the rungs to try, in this order; nil means Clsact, TCX,
	// Nftables, None. Without None at its end it is an error if no other can be
	// had: a ladder of one rung forces it.
	Ladder []Rung
	// Interval is the shortest advert interval; Nftables is passed over unless
	// it is a number of whole seconds. Zero is not known, and fits.
	Interval time.Duration
}

var wholeLadder = []Rung{Clsact, TCX, Nftables, None}

// Guards puts guards on interfaces of the network namespace in which it was
// opened, and must be used there: the kernel takes some of its calls for the
// namespace of the calling thread. Its methods may be called from several
// goroutines.
type Guards struct {
	rung     Rung   // highest that Open found to work
	below    []Rung // rung and what Attach may step down to
	skipped  []Skip // above rung, and what is not on the ladder
	interval time.Duration

	route *netlib.Handle
	tcx   tcx
	nft   nft

	mu     sync.Mutex     // one change of the kernel at a time
	blocks map[int]*block // by first index
	direct map[place]*block
}

// target is an interface as the rungs see it.
type target struct {
	index int
	name  string // "" if the interface does not exist
	block *block // nil where nothing is to be installed
	// prog is the name of the programs and filters, by which a guard of a dead
	// instance is recognised.
	prog   string
	handle uint32 // of the filters
	// mark is madeMark on a parent, whose queueing discipline may be somebody
	// else's; 0 on a virtual interface, where it does not matter.
	mark uint32
	own  func(id ebpf.ProgramID, name string) (prog *ebpf.Program, named bool)
}

func (g *Guards) target(index int) target {
	return target{index: index, prog: progName, handle: filterHandle, own: g.own}
}

// hold is what a rung does in the kernel.
type hold interface {
	// install puts the guard in place; one of its kind that a dead instance has
	// left is replaced without a moment in which neither is there.
	install(target) error
	// check tells what is wrong with the guard, nil if nothing is.
	check(target) error
	// remove takes guards of its kind away, whosever they are. What is not
	// there is no error.
	remove(target) error
}

var (
	errMissing = errors.New("is missing")
	errForeign = errors.New("is not as this process made it")
)

// Open tries the ladder as far as that can be done without touching an
// interface, and changes nothing but this process. Whether an interface takes
// the rung is seen by Attach.
func Open(c Config) (*Guards, error) {
	ladder := c.Ladder
	if ladder == nil {
		ladder = wholeLadder
	}
	route, err := netlib.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open guards: %w", err)
	}
	g := &Guards{interval: c.Interval, route: route, tcx: openTCX(), blocks: make(map[int]*block), direct: make(map[place]*block)}
	for i, r := range ladder {
		err := g.trial(r)
		if err == nil {
			g.rung, g.below = r, slices.Clone(ladder[i:])
			break
		}
		g.skipped = append(g.skipped, Skip{r, advise(r, err)})
	}
	if g.rung == 0 {
		return nil, errors.Join(fmt.Errorf("open guards: %w", errNo(g.skipped)), g.Close())
	}
	for _, r := range wholeLadder {
		if r < g.rung && !slices.Contains(ladder, r) {
			g.skipped = append(g.skipped, Skip{r, errNotAsked})
		}
	}
	return g, nil
}

// trial does what can be done without an interface.
func (g *Guards) trial(r Rung) error {
	switch r {
	case Clsact, TCX:
		if r == TCX && g.tcx.absent != nil {
			return g.tcx.absent
		}
		// The block of the lowest indexes, where most interfaces are.
		_, err := g.block(1)
		return err
	case Nftables:
		if err := coarse(g.interval); err != nil {
			return err
		}
		return g.nft.trial()
	case None:
		return nil
	}
	return fmt.Errorf("%v is no rung of the ladder", r)
}

// errNo is one error for all that was tried in vain.
func errNo(tried []Skip) error {
	err := errNoRung
	for _, s := range tried {
		err = fmt.Errorf("%w; %v: %w", err, s.Rung, s.Err)
	}
	return err
}

// Close lets go of descriptors. It changes nothing in the kernel: guards stay
// where they are, and fall silent at their deadlines. Renew and Close of a Guard
// may still be called where they are memory stores; nothing else may.
func (g *Guards) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.route.Close()
	errs := []error{g.nft.close()}
	for _, b := range g.blocks {
		errs = append(errs, b.close())
	}
	for _, b := range g.direct {
		errs = append(errs, b.close())
	}
	clear(g.blocks)
	clear(g.direct)
	return errors.Join(errs...)
}

// Rung returns the highest rung that works here. That of an interface, which
// may be lower, is told by its Guard.
func (g *Guards) Rung() Rung { return g.rung }

// Skipped tells why the rungs above Rung are not in force.
func (g *Guards) Skipped() []Skip { return slices.Clone(g.skipped) }

// Descriptor is what another process, or this one under another program, needs
// to go on renewing guards of eBPF: the array of deadlines (16 bytes each, native
// byte order: boottime ns, and a word that is the program's) of the interfaces with index First to First+Count-1,
// and the program that reads it. Both remain the property of Guards.
type Descriptor struct {
	First, Count   int
	Array, Program int // file descriptors, close-on-exec
}

// Descriptors lists the arrays and programs in use.
func (g *Guards) Descriptors() []Descriptor {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []Descriptor
	for _, b := range g.blocks {
		all = append(all, Descriptor{First: b.first, Count: blockSize, Array: b.array.FD(), Program: b.progs[0].FD()})
	}
	slices.SortFunc(all, func(a, b Descriptor) int { return a.First - b.First })
	return all
}

// block returns the block of an interface index; the caller holds mu, or is
// alone.
func (g *Guards) block(index int) (*block, error) {
	first := index - index%blockSize
	if b := g.blocks[first]; b != nil {
		return b, nil
	}
	b, err := newBlock(first)
	if err != nil {
		return nil, err
	}
	g.blocks[first] = b
	return b, nil
}

// own returns the program of this process with an ID, nil if it has none, and whether
// it has the name.
func (g *Guards) own(id ebpf.ProgramID, name string) (prog *ebpf.Program, named bool) {
	for _, b := range g.blocks {
		if b.ids[0] == id {
			return b.progs[0], name == progName
		}
	}
	for at, b := range g.direct {
		for side := range b.ids {
			if b.ids[side] == id {
				return b.progs[side], name == at.prog()
			}
		}
	}
	return nil, false
}

func (g *Guards) hold(r Rung) hold {
	switch r {
	case Clsact:
		return clsact{g.route}
	case TCX:
		return g.tcx
	case Nftables:
		return &g.nft
	}
	return nothing{}
}

// nothing is the rung None.
type nothing struct{}

func (nothing) install(target) error { return nil }
func (nothing) check(target) error   { return nil }
func (nothing) remove(target) error  { return nil }

// Attach puts a closed guard on an interface, a macvlan, by the highest rung
// that works there. A guard that a dead (or another) instance has left is
// replaced: first the new one is in force, then the old ones go, so that there
// is no moment without any. A second Attach of the same interface closes the
// guard, too, and makes the first Guard and the second one thing.
//
// One of TCX that is on the interface is replaced by one of TCX, where Lighten could make
// it so: then it waits for no grace period of the kernel.
//
// An interface that does not exist is unix.ENODEV. After an error no guard of
// this process is on the interface, but for ErrStale: then a closed one is. It takes
// 0.2 ms and waits for the RTNL mutex.
func (g *Guards) Attach(index int) (*Guard, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	name, err := g.guardable(index, false)
	if err != nil {
		return nil, err
	}
	t := g.target(index)
	t.name = name
	return g.attach(t, g.below)
}

// attach tries the rungs; the caller holds mu.
func (g *Guards) attach(on target, ladder []Rung) (*Guard, error) {
	skipped := slices.Clone(g.skipped)
	for _, r := range ladder {
		t := newGuard(g, r, on, slices.Clone(skipped))
		err := t.attachAlone()
		if err == nil {
			return t, nil
		}
		err = fmt.Errorf("guard %s: %w", on.name, advise(r, err))
		if errors.Is(err, ErrStale) && !on.direct() {
			return nil, err // closed, it makes sure of what cannot be taken away
		}
		if undo := g.hold(t.Rung()).remove(t.target); undo != nil && !gone(undo) {
			err = errors.Join(err, undo)
		}
		if gone(err) || errors.Is(err, ErrStale) {
			return nil, err
		}
		skipped = append(skipped, Skip{r, err})
	}
	return nil, fmt.Errorf("guard %s: %w", on.name, errNo(skipped))
}

// disputed is how often a guard is put on an interface that another process puts its own
// on at the same time. The first of the two to look whether all is in place is done, and
// leaves the other alone with it; that they are equally fast is a matter of chance, every
// time anew. One of TCX takes 30 ms, every time, and a loop may wait for it.
const (
	disputed    = 20
	disputedFor = 50 * time.Millisecond // after which no other attempt begins
)

// attachAlone is attach, again if another process had its hand in it: a sibling that takes
// the owner of the interface to be stuck, or the owner. That is no sign that a rung cannot
// be had, and who stepped down would not see what the other leaves on the rung above,
// which drops every frame.
func (t *Guard) attachAlone() error {
	return persist(t.attach)
}

// persist tries until it is not disputed any more.
func persist(attach func() error) error {
	began := time.Now()
	err := attach()
	for n := 1; n < disputed && time.Since(began) < disputedFor && (errors.Is(err, errForeign) || errors.Is(err, errMissing)); n++ {
		err = attach()
	}
	return err
}

// guardable returns the name of an interface that may have a guard. One that lets
// nothing pass would cut the machine off on a parent, so only a macvlan may have it.
func (g *Guards) guardable(index int, direct bool) (string, error) {
	if index <= 0 {
		return "", fmt.Errorf("guard interface %d: %w", index, unix.ENODEV)
	}
	k, err := g.route.LinkByIndex(index)
	if err != nil {
		return "", fmt.Errorf("guard interface %d: %w", index, noLink(err))
	}
	if direct {
		return k.Attrs().Name, nil
	}
	if k.Type() != "macvlan" {
		return "", fmt.Errorf("guard %s: it is a %s, and only a macvlan may have a guard", k.Attrs().Name, k.Type())
	}
	return k.Attrs().Name, nil
}

// noLink gives a missing interface the errno that others have for it.
func noLink(err error) error {
	var missing netlib.LinkNotFoundError
	if errors.As(err, &missing) {
		return unix.ENODEV
	}
	return err
}

// breath is long enough for somebody to wake up and take the RTNL mutex.
const breath = time.Millisecond

// Loosen prepares the end of an interface with a guard of TCX, of whatever process, which
// would keep the RTNL mutex from everybody for three grace periods of the kernel, and of
// many interfaces that go in one message for three each. Closed filters take its place,
// where they can be had, and then the programs are detached, which keeps it for one grace
// period each, with time for others in between. Where there is none it does nothing, in
// 3 us. After an error, as ErrStale, programs are there still, and a closed guard.
//
// A mutex of the kernel goes to who runs rather than to who has waited for it: so after
// each it rests for a moment.
func (g *Guards) Loosen(index int) error {
	t := newGuard(g, Clsact, g.target(index), nil)
	bare, err := g.standIn(t)
	for side := 0; side < len(sides) && err == nil && !bare; side++ {
		g.mu.Lock()
		err = g.tcx.detachSide(t.target, side, 0)
		g.mu.Unlock()
		time.Sleep(breath)
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("loosen the guard of interface %d: %w", index, advise(Clsact, err))
	}
	return nil
}

// standIn puts closed filters beside programs of TCX that are to be detached, unless it is
// bare of them.
func (g *Guards) standIn(t *Guard) (bare bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tcx.absent != nil {
		return true, nil
	}
	if bare, err = g.tcx.bare(t.target); bare || err != nil {
		return bare, err
	}
	if err = t.claim(); err == nil {
		err = g.hold(Clsact).install(t.target)
	}
	return false, err
}

// Free reports whether no method of the Guards, or of one of them, is at work, which may
// last for some grace periods of the kernel. Who must not wait lets somebody else do it
// otherwise.
func (g *Guards) Free() bool {
	if !g.mu.TryLock() {
		return false
	}
	g.mu.Unlock()
	return true
}

// Remove takes every guard off an interface, of whatever process and rung. It
// is for cleaning up behind a dead instance, when the interface is down and
// without addresses. An interface that does not exist has none.
//
// To silence the interface of an instance that is stuck, Attach is the better
// verb: the new guard is closed, outlives the caller, and what the other stores
// when it wakes up has no effect.
func (g *Guards) Remove(index int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.remove(g.target(index))
}

// remove does so for a target; the caller holds mu.
func (g *Guards) remove(t target) error {
	k, err := g.route.LinkByIndex(t.index)
	switch err = noLink(err); {
	case errors.Is(err, unix.ENODEV):
		return nil
	case err != nil:
		return fmt.Errorf("remove the guard of interface %d: %w", t.index, err)
	}
	t.name = k.Attrs().Name
	if err := g.removeAll(t, 0); err != nil {
		return fmt.Errorf("remove the guard of %s: %w", t.name, err)
	}
	return nil
}

// removeAll removes the guards of every rung but one.
func (g *Guards) removeAll(t target, but Rung) error {
	var errs []error
	for _, r := range wholeLadder {
		if r != but {
			if err := g.hold(r).remove(t); err != nil && !gone(err) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// Sweep removes what dead instances have left for interfaces that no longer
// exist; only Nftables can leave such a thing.
func (g *Guards) Sweep() error {
	if err := g.nft.sweep(); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return nil
}
