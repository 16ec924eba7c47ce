package grouplock

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"vrrpd/internal/rundir"
)

// A program that is replaced while it runs keeps its place: the locks belong to open
// files, which the next program inherits, and what they contain stays as it is. To the
// others of the group nothing has happened, but that the heartbeat was a little late.

// Layout tells one form of the files from another: who has another one cannot go on
// with them.
const Layout = recordVersion<<48 | groupVersion<<32 | uint64(8*factsWords)<<16 | MaxProcesses

// Kept are the descriptors that a place in a group lives on.
type Kept struct {
	Member, Shared, Doorbell int
}

// Descriptors are those that the next program must inherit.
func (k Kept) Descriptors() []int { return []int{k.Member, k.Shared, k.Doorbell} }

// Keep returns the descriptors. They stay the property of the Group. Nobody may use it
// once another program has them.
func (g *Group) Keep() Kept {
	return Kept{Member: int(g.member.Fd()), Shared: int(g.shared.Fd()), Doorbell: g.watches.fd}
}

// Adopt goes on with the place of this very process that another program has kept for
// it, instead of Join. The descriptors belong to the Group from here on, also after an
// error. What the others have done meanwhile is found as at Join.
func Adopt(cfg Config, kept Kept) (*Group, error) {
	m, err := thisMachine()
	if err == nil {
		var g *Group
		if g, err = adopt(cfg, kept, m); err == nil {
			return g, nil
		}
	}
	return nil, fmt.Errorf("go on in the group: %w", err)
}

func adopt(cfg Config, kept Kept, m machine) (_ *Group, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	g := &Group{instance: cfg.Instance, name: cfg.Group, boot: m.boot}
	g.roster.Store(&roster{})
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if g.dir, err = openDirectory(cfg.Dir, rundir.ToMake); err != nil {
		return nil, err
	}
	g.member = os.NewFile(uintptr(kept.Member), g.dir.join(cfg.Instance+memberSuffix))
	g.shared = os.NewFile(uintptr(kept.Shared), g.dir.join(cfg.Group+groupSuffix))
	if g.member == nil || g.shared == nil || kept.Doorbell < 0 {
		return nil, errors.New("no descriptors")
	}
	if g.volatile, err = isTmpfs(g.dir.Fd()); err != nil {
		return nil, err
	}
	if err := g.adoptRecord(kept.Member, m); err != nil {
		return nil, fmt.Errorf("%s: %w", g.member.Name(), err)
	}
	if g.common, err = mapFile(kept.Shared, groupBytes, true); err == nil {
		err = checkGroup(g.common, g.boot)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g.shared.Name(), err)
	}
	// Watches that are there already keep their numbers.
	if err := g.watchBy(kept.Doorbell); err != nil {
		return nil, err
	}
	return g, g.scan(&Bell{})
}

// adoptRecord maps our own record, which must be one that this process has written, and
// whose locks must be ours still.
func (g *Group) adoptRecord(fd int, m machine) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("not a file")
	}
	c, err := mapRecord(fd, false)
	if err != nil {
		return err
	}
	h, err := readHeader(c)
	c.close()
	switch {
	case err != nil:
		return err
	case h.boot != m.boot || h.pid != m.pid || h.group != g.name:
		return fmt.Errorf("it is that of process %d in the group %s", h.pid, h.group)
	}
	// Both are there already: who has them has them again.
	if err := setAlive(fd); err != nil {
		return err
	}
	if got, err := tryLock(fd); err != nil || !got {
		return errors.Join(errors.New("somebody else has its lock"), err)
	}
	g.own = h
	if g.record, err = mapFile(fd, recordBytes(h.capacity), true); err != nil {
		return err
	}
	// As many words of each identity have blocks as any has.
	g.room = 1
	for i := range h.capacity {
		if id, known, err := readIdentity(g.record, h.capacity, i); err == nil && known {
			g.room = max(g.room, id.words())
		}
	}
	return nil
}
