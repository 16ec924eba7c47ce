package grouplock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"vrrpd/internal/rundir"
)

var (
	// ErrAlive: the owner of the instance lives; it may be stuck, but its lock
	// cannot be taken.
	ErrAlive = errors.New("its process is alive")
	// ErrBusy: another process cleans up, or the owner is just starting.
	ErrBusy = errors.New("another process has its lock")
	// ErrClean: there is nothing to clean up.
	ErrClean = errors.New("nothing to clean up")
)

// Corpse is a dead process's record, held under its lock: nobody else cleans up
// and the instance cannot restart, until Done or GiveBack. A caller must call one
// of them; a restarting owner waits for 2 s only.
type Corpse struct {
	// Member is what the dead process has left. If its record was damaged,
	// Member.Err says how, and the rest is what was last seen of it.
	Member Member

	dir    *directory
	ownDir bool     // dir is closed with the corpse
	lock   *os.File // nil after Done or GiveBack
	write  *os.File
	record *cells // nil if the record is damaged
}

// TakeOver makes this process the cleaner of a dead member of the group. Of
// several survivors exactly one gets the corpse; ErrBusy, ErrAlive and ErrClean
// say that there is nothing to do now (Run calls again if a cleaner dies).
func (g *Group) TakeOver(instance string) (*Corpse, error) {
	if instance == g.instance {
		return nil, fmt.Errorf("take over %s: %w", instance, ErrAlive)
	}
	var seen *Member
	for _, n := range g.roster.Load().dead {
		if n.instance == instance {
			m := n.member(Dead)
			seen = &m
		}
	}
	c, err := takeOver(g.dir, instance, g.boot, seen, raise) // if we die, too: first the lock, then the bell
	if err != nil {
		return nil, fmt.Errorf("take over %s: %w", instance, err)
	}
	return c, nil
}

// TakeOver is Group.TakeOver for a process that has not joined (vrrpd --release).
// The instance's group does not matter.
func TakeOver(dir, instance string) (*Corpse, error) {
	if err := checkName("instance", instance); err != nil {
		return nil, err
	}
	m, err := thisMachine()
	if err != nil {
		return nil, err
	}
	d, err := openDirectory(dir, rundir.ToChange)
	if err != nil {
		return nil, err
	}
	// Without raising the lock: in a process that has few files yet the kernel makes
	// its table larger for that, and waits for RCU (9 to 16 ms) while the peers wait
	// for what is to be said for the dead.
	c, err := takeOver(d, instance, m.boot, nil, func(fd int) int { return fd })
	if err != nil {
		d.close()
		return nil, fmt.Errorf("take over %s: %w", instance, err)
	}
	c.ownDir = true
	return c, nil
}

func takeOver(d *directory, instance string, boot [2]uint64, seen *Member, place func(fd int) int) (*Corpse, error) {
	name := instance + memberSuffix
	// The lock is taken through a descriptor that cannot write: closing that one
	// after a failure rings no bell, so that contenders do not wake each other.
	fd, _, err := d.open(name, unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrClean
	}
	if err != nil {
		return nil, err
	}
	fd = place(fd)
	c := &Corpse{dir: d, lock: os.NewFile(uintptr(fd), d.join(name))}
	if err := c.take(fd, name, boot, seen); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *Corpse) take(fd int, name string, boot [2]uint64, seen *Member) error {
	got, err := tryLock(fd)
	if err != nil {
		return err
	}
	if !got {
		if alive, err := isAlive(fd); err != nil || alive {
			return errors.Join(err, ErrAlive)
		}
		return ErrBusy
	}
	if !c.dir.names(name, fd) {
		return ErrClean
	}
	// Nobody writes any more: what is wrong with the record stays wrong.
	instance := name[:len(name)-len(memberSuffix)]
	err = c.read(instance, name, boot)
	if errors.Is(err, ErrClean) {
		return err
	}
	if err != nil && seen == nil {
		return fmt.Errorf("read %s: %w", c.lock.Name(), err)
	}
	if err != nil {
		if c.record != nil {
			c.record.close()
			c.record = nil
		}
		c.Member = *seen
		c.Member.Err = err
	}
	c.Member.Status = Dead
	return nil
}

// read maps and copies the record.
func (c *Corpse) read(instance, name string, boot [2]uint64) error {
	fd, _, err := c.dir.open(name, unix.O_RDWR)
	if err != nil {
		return err
	}
	c.write = os.NewFile(uintptr(fd), c.lock.Name())
	if c.record, err = mapRecord(fd, true); err != nil {
		return err
	}
	return guarded(func() error {
		h, err := readHeader(c.record)
		if err != nil {
			return err
		}
		if h.boot != boot || c.record.load(recState) != recLive {
			return ErrClean
		}
		if c.Member, err = readMember(c.record, h, instance); err == nil {
			c.record.store(recCleaner, uint64(os.Getpid()))
		}
		return err
	})
}

// Done says that everything is clean: the record is marked as left and removed.
func (c *Corpse) Done() error {
	if c.lock == nil {
		return nil
	}
	if c.record != nil {
		guard(func() {
			c.record.store(recState, recLeft)
			c.record.store(recCleaner, 0)
		})
	}
	var err error
	if name := c.Member.Instance + memberSuffix; c.dir.names(name, int(c.lock.Fd())) {
		err = c.dir.remove(name)
	}
	c.close()
	if err != nil {
		return fmt.Errorf("clean up after %s: %w", c.Member.Instance, err)
	}
	return nil
}

// GiveBack leaves the corpse to others, or to a later try: Run reports it again.
func (c *Corpse) GiveBack() {
	if c.lock == nil {
		return
	}
	if c.record != nil {
		guard(func() { c.record.store(recCleaner, 0) })
	}
	c.close()
}

// close gives the lock back before the writable descriptor is closed, which is
// what wakes those who wait for the lock.
func (c *Corpse) close() {
	if c.record != nil {
		c.record.close()
		c.record = nil
	}
	unlock(int(c.lock.Fd()))
	c.lock.Close()
	c.lock = nil
	if c.write != nil {
		c.write.Close()
	}
	if c.ownDir {
		c.dir.close()
	}
}
