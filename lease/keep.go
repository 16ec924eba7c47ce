package lease

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A program that is replaced while it runs leaves its guards where they are. The next
// one needs the arrays of deadlines, to go on renewing, and the programs, to know the
// guards for its own: both are descriptors that it inherits. Nothing in the kernel
// changes, so there is no moment in which a guard is another one, or none.

// Kept is what the next program goes on with. Descriptors in it stay the property of
// the Guards.
type Kept struct {
	Layout   int // of the arrays
	Rung     Rung
	Below    []Rung
	Interval time.Duration
	Skipped  []KeptSkip
	NoTCX    string // why this kernel has no TCX; "": it has
	Blocks   []KeptBlock
}

// KeptSkip is a Skip in words.
type KeptSkip struct {
	Rung Rung
	Why  string
}

// KeptBlock is an array and its programs.
type KeptBlock struct {
	First, Entries  int
	Array           int
	Ingress, Egress int   // the same descriptor: one program for both
	Family, VRID    uint8 // of a guard on a parent; 0: it is on virtual interfaces
}

// layout tells arrays of this program from those of others.
const layout = blockSize<<8 | entryWords

// Check says why this program cannot go on with what another one has kept; it asks the
// kernel for nothing.
func (k *Kept) Check() error {
	if k.Layout != layout {
		return fmt.Errorf("its leases have the layout %#x, and this vrrpd knows %#x: restart vrrpd instead", k.Layout, layout)
	}
	return nil
}

// Descriptors are those that the next program must inherit.
func (k *Kept) Descriptors() []int {
	var all []int
	for _, b := range k.Blocks {
		all = append(all, b.Array, b.Ingress, b.Egress)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Keep says what the next program needs.
func (g *Guards) Keep() Kept {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := Kept{Layout: layout, Rung: g.rung, Below: slices.Clone(g.below), Interval: g.interval, Skipped: keptSkips(g.skipped)}
	if g.tcx.absent != nil {
		k.NoTCX = g.tcx.absent.Error()
	}
	for _, b := range g.blocks {
		k.Blocks = append(k.Blocks, b.keep(blockSize, place{}))
	}
	for at, b := range g.direct {
		k.Blocks = append(k.Blocks, b.keep(1, at))
	}
	return k
}

func (b *block) keep(entries int, at place) KeptBlock {
	return KeptBlock{
		First: b.first, Entries: entries, Array: b.array.FD(), Ingress: b.progs[0].FD(), Egress: b.progs[1].FD(),
		Family: at.family, VRID: at.vrid,
	}
}

func keptSkips(all []Skip) []KeptSkip {
	out := make([]KeptSkip, len(all))
	for i, s := range all {
		out[i] = KeptSkip{s.Rung, s.Err.Error()}
	}
	return out
}

func skips(all []KeptSkip) []Skip {
	out := make([]Skip, len(all))
	for i, s := range all {
		out[i] = Skip{s.Rung, errors.New(s.Why)}
	}
	return out
}

// Adopt goes on with what another program has kept, instead of Open. It asks the kernel
// for nothing that may keep it waiting, and changes nothing. The descriptors belong to
// the Guards from here on.
func Adopt(k Kept) (*Guards, error) {
	if err := k.Check(); err != nil {
		return nil, fmt.Errorf("adopt guards: %w", err)
	}
	route, err := netlib.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("adopt guards: %w", err)
	}
	g := &Guards{
		rung: k.Rung, below: k.Below, interval: k.Interval, skipped: skips(k.Skipped), route: route,
		blocks: make(map[int]*block), direct: make(map[place]*block),
	}
	if k.NoTCX != "" {
		g.tcx.absent = errors.New(strings.ToValidUTF8(k.NoTCX, "?"))
	}
	for _, kept := range k.Blocks {
		b, err := adoptBlock(kept)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("adopt guards: %w", err), g.Close())
		}
		if kept.Family == 0 {
			g.blocks[b.first] = b
		} else {
			g.direct[place{kept.First, kept.Family, kept.VRID}] = b
		}
	}
	return g, nil
}

func adoptBlock(k KeptBlock) (b *block, err error) {
	b = &block{first: k.First}
	if b.array, err = ebpf.NewMapFromFD(k.Array); err != nil {
		return nil, fmt.Errorf("the array of deadlines: %w", err)
	}
	if got := int(b.array.MaxEntries()); got != k.Entries || b.array.ValueSize() != entryWords*wordSize {
		return nil, fmt.Errorf("the array of deadlines has %d entries of %d bytes", got, b.array.ValueSize())
	}
	for side, fd := range [2]int{k.Ingress, k.Egress} {
		if side > 0 && fd == k.Ingress {
			b.progs[side], b.ids[side] = b.progs[0], b.ids[0]
			continue
		}
		if b.progs[side], err = ebpf.NewProgramFromFD(fd); err != nil {
			return nil, fmt.Errorf("the guard program: %w", err)
		}
		info, err := b.progs[side].Info()
		if err != nil {
			return nil, fmt.Errorf("the guard program: %w", err)
		}
		b.ids[side], _ = info.ID()
	}
	b.deadline, err = mapCells(k.Array, entryWords*k.Entries)
	return b, err
}

// KeptGuard is the guard of one interface.
type KeptGuard struct {
	Index        int
	Name         string
	Rung         Rung
	Skipped      []KeptSkip
	Until        int64 // deadline, boottime ns
	Family, VRID uint8 // of a guard on a parent; 0: it is on a virtual interface
}

// Keep says what the next program needs of the guard, besides what its Guards keep.
func (t *Guard) Keep() KeptGuard {
	k := KeptGuard{Index: t.index, Name: t.name, Rung: t.Rung(), Skipped: keptSkips(t.skipped), Until: t.Deadline()}
	if t.direct() {
		k.Family, k.VRID = uint8(t.handle>>8), uint8(t.handle)
	}
	return k
}

// Resume goes on with a guard that another program has attached. It looks at nothing
// in the kernel: Verify does.
func (g *Guards) Resume(k KeptGuard) (*Guard, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := newGuard(g, k.Rung, g.target(k.Index), skips(k.Skipped))
	if k.Family != 0 {
		t.target = place{k.Index, k.Family, k.VRID}.target(g)
	}
	t.name = k.Name
	t.deadline = &cells{words: make([]int64, 1)}
	if k.Rung == Clsact || k.Rung == TCX {
		if t.block = g.blocks[k.Index-k.Index%blockSize]; k.Family != 0 {
			t.block = g.direct[place{k.Index, k.Family, k.VRID}]
		}
		if t.block == nil {
			return nil, fmt.Errorf("guard %s: there is no array of its deadline", k.Name)
		}
		t.deadline, t.slot = t.block.deadline, entryWords*(t.index-t.block.first)
		if t.slot < 0 || t.slot >= len(t.deadline.words) {
			return nil, fmt.Errorf("guard %s: its deadline is in another array", k.Name)
		}
		return t, nil
	}
	t.deadline.store(0, k.Until)
	return t, nil
}
