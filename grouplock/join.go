package grouplock

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/election"
	"vrrpd/grouplock/siblings"
	"vrrpd/internal/rundir"
)

// Config says who joins what.
type Config struct {
	Dir      string // run directory; made with mode 0755 if its parent exists
	Group    string // name of the group; "": a group of its own, named like the instance
	Instance string // name of this process in Dir, for instance "eth0-51"
	Wanted   int    // -M: processes that share one state, 1..MaxProcesses; 0 means 1
	Capacity int    // virtual routers that the record can hold; at least len(Routers)
	Routers  []Identity
}

// BusyError: the instance cannot start, because a process has its lock.
type BusyError struct {
	Instance string
	Pid      int  // of that process, as it sees itself; 0: unknown
	Cleaning bool // it is not the owner, but cleans up after a dead one
}

func (e *BusyError) Error() string {
	who := "another process"
	if e.Pid != 0 {
		who = fmt.Sprintf("process %d", e.Pid)
	}
	if e.Cleaning {
		return fmt.Sprintf("%s has been cleaning up after %s for %v: try again", who, e.Instance, waitLimit)
	}
	return fmt.Sprintf("%s is already running (%s): stop that first", e.Instance, who)
}

// machine is what a process must know of the host it runs on.
type machine struct {
	boot [2]uint64 // boot id
	now  func() (election.Time, error)
	pid  int
}

func thisMachine() (machine, error) {
	const path = "/proc/sys/kernel/random/boot_id"
	b, err := os.ReadFile(path)
	if err != nil {
		return machine{}, fmt.Errorf("boot id: %w", err)
	}
	id, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(b)), "-", ""))
	if err != nil || len(id) != 16 {
		return machine{}, fmt.Errorf("boot id: %s contains %q", path, b)
	}
	return machine{
		boot: [2]uint64{binary.NativeEndian.Uint64(id), binary.NativeEndian.Uint64(id[8:])},
		now:  boottime,
		pid:  os.Getpid(),
	}, nil
}

func boottime() (election.Time, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("clock_gettime boottime: %w", err)
	}
	return ts.Nano(), nil
}

// Join makes this process a member of a group. It takes the instance's lock
// (waiting up to 2 s for somebody who cleans up after a dead owner; *BusyError),
// and puts the record in place. A process that finds no other alive starts the
// group: HELD, reason startup, in the next epoch, without a run-time priority;
// the wishes soft and hold survive in the same boot.
//
// Nothing runs in the background until Run. The caller must call Leave.
func Join(cfg Config) (*Group, error) {
	m, err := thisMachine()
	if err == nil {
		var g *Group
		if g, err = join(cfg, m); err == nil {
			return g, nil
		}
	}
	return nil, fmt.Errorf("join group: %w", err)
}

func (cfg *Config) check() error {
	cfg.Group = cmp.Or(cfg.Group, cfg.Instance)
	cfg.Wanted = cmp.Or(cfg.Wanted, 1)
	cfg.Capacity = max(cfg.Capacity, len(cfg.Routers))
	if err := errors.Join(checkName("instance", cfg.Instance), checkName("group", cfg.Group)); err != nil {
		return err
	}
	if cfg.Wanted < 1 || cfg.Wanted > MaxProcesses {
		return fmt.Errorf("-M %d: 1 to %d processes can share one state", cfg.Wanted, MaxProcesses)
	}
	if cfg.Capacity > MaxRouters {
		return fmt.Errorf("%d virtual routers, more than the %d that a process can have", cfg.Capacity, MaxRouters)
	}
	for i, id := range cfg.Routers {
		if err := id.check(); err != nil {
			return fmt.Errorf("virtual router %d: %w", i, err)
		}
	}
	return nil
}

func join(cfg Config, m machine) (_ *Group, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	g := &Group{instance: cfg.Instance, name: cfg.Group, boot: m.boot}
	g.roster.Store(&roster{})
	fresh := false
	defer func() {
		if err == nil {
			return
		}
		// An old record stays: somebody must still clean up after it. What is ours
		// goes while it is locked.
		if g.record != nil {
			g.record.store(recState, recLeft)
		}
		if g.record != nil || fresh {
			g.removeOwn()
		}
		g.close()
	}()
	if g.dir, err = openDirectory(cfg.Dir, rundir.ToMake); err != nil {
		return nil, err
	}
	if g.volatile, err = isTmpfs(g.dir.Fd()); err != nil {
		return nil, err
	}
	fd, st, err := g.lockInstance(m)
	if err != nil {
		return nil, err
	}
	fd = raise(fd)
	g.member = os.NewFile(uintptr(fd), g.dir.join(cfg.Instance+memberSuffix))
	if fresh = st.Size == 0; !fresh {
		g.readPrevious(fd)
	}
	if err := g.openShared(); err != nil {
		return nil, err
	}
	// The group's lock is held from here on: nobody else starts or leaves.
	if err := g.startWatching(); err != nil {
		return nil, err
	}
	if err := g.scan(&Bell{}); err != nil {
		return nil, err
	}
	if g.own, err = g.place(cfg, m); err != nil {
		return nil, err
	}
	if err := g.mapShared(); err != nil {
		return nil, err
	}
	if err := g.writeRecord(fd, cfg.Routers); err != nil {
		return nil, err
	}
	if len(g.roster.Load().live) == 0 {
		g.start()
	}
	unlock(int(g.shared.Fd()))
	if err := g.announce(); err != nil {
		return nil, err
	}
	return g, nil
}

// lockInstance takes the lock of our own member file.
func (g *Group) lockInstance(m machine) (int, unix.Stat_t, error) {
	busy := func(fd int, expired bool) error {
		alive, err := isAlive(fd)
		if err != nil {
			return err
		}
		// The owner locks byte 0 before it writes its record: wait for that, too.
		old, readable := readMemberFile(fd, g.instance)
		if alive && (readable || expired) {
			return &BusyError{Instance: g.instance, Pid: old.Pid}
		}
		if expired {
			return &BusyError{Instance: g.instance, Pid: old.Cleaner, Cleaning: true}
		}
		return nil
	}
	fd, st, err := g.dir.openLocked(g.instance+memberSuffix, unix.O_RDWR|unix.O_CREAT, time.Now().Add(waitLimit), busy)
	if err != nil {
		var b *BusyError
		if errors.As(err, &b) {
			return -1, st, b
		}
		return -1, st, err
	}
	if st.Size == 0 {
		err = unix.Fchmod(fd, 0o640) // whatever the umask is
	}
	if err != nil {
		unix.Close(fd)
		return -1, st, fmt.Errorf("chmod %s: %w", g.instance+memberSuffix, err)
	}
	return fd, st, nil
}

// readMemberFile copies the record of an open member file if it is readable.
func readMemberFile(fd int, instance string) (m Member, readable bool) {
	c, err := mapRecord(fd, false)
	if err != nil {
		return m, false
	}
	defer c.close()
	err = guarded(func() error {
		h, err := readHeader(c)
		if err == nil {
			m, err = readMember(c, h, instance)
		}
		return err
	})
	return m, err == nil
}

// mapRecord maps an open member file, whatever it contains.
func mapRecord(fd int, writable bool) (*cells, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size < 8*recHeaderWords {
		return nil, errUnfinished
	}
	return mapFile(fd, int(min(st.Size, int64(recordBytes(MaxRouters))))&^7, writable)
}

// readPrevious keeps the record of a predecessor that has not left in order.
func (g *Group) readPrevious(fd int) {
	c, err := mapRecord(fd, false)
	if err != nil {
		return
	}
	defer c.close()
	var m Member
	dirty := false
	err = guarded(func() error {
		h, err := readHeader(c)
		if err != nil || h.boot != g.boot || c.load(recState) == recLeft {
			return err
		}
		dirty = true
		m, err = readMember(c, h, g.instance)
		return err
	})
	if dirty {
		m.Status, m.Err = Dead, err
		g.previous = &m
	}
}

// openShared opens and locks the group file.
func (g *Group) openShared() error {
	busy := func(fd int, expired bool) error {
		if expired {
			return fmt.Errorf("locked for more than %v by a process that starts or stops", waitLimit)
		}
		return nil
	}
	name := g.name + groupSuffix
	fd, st, err := g.dir.openLocked(name, unix.O_RDWR|unix.O_CREAT, time.Now().Add(waitLimit), busy)
	if err != nil {
		return err
	}
	g.shared = os.NewFile(uintptr(fd), g.dir.join(name))
	if st.Size == 0 {
		if err := unix.Fchmod(fd, 0o640); err != nil {
			return fmt.Errorf("chmod %s: %w", name, err)
		}
	}
	return nil
}

// place decides who we are among those who are alive. Nothing is written yet.
func (g *Group) place(cfg Config, m machine) (header, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(g.shared.Fd()), &st); err != nil {
		return header{}, fmt.Errorf("%s: %w", g.shared.Name(), err)
	}
	h := header{
		capacity: cfg.Capacity, pid: m.pid, boot: m.boot, wanted: cfg.Wanted,
		groupIno: st.Ino, group: cfg.Group,
	}
	live := g.roster.Load().live
	if len(live) >= MaxProcesses {
		return h, fmt.Errorf("group %s has %d processes already, and more cannot be", cfg.Group, len(live))
	}
	taken := [MaxProcesses + 1]bool{0: true} // slot 0 is nobody
	for _, n := range live {
		taken[n.own.slot] = true
		switch {
		case n.own.wanted != cfg.Wanted:
			return h, fmt.Errorf("%s (process %d) runs with -M %d and this one with -M %d: all of a group must agree, stop the others first",
				n.instance, n.own.pid, n.own.wanted, cfg.Wanted)
		case n.own.groupIno != st.Ino:
			return h, fmt.Errorf("%s was removed while %s (process %d) was using it: restart that process first",
				g.shared.Name(), n.instance, n.own.pid)
		}
	}
	for taken[h.slot] {
		if h.slot++; h.slot > MaxProcesses {
			return h, fmt.Errorf("group %s: no slot is free", cfg.Group)
		}
	}
	var err error
	h.start, err = m.now()
	return h, err
}

// mapShared maps the group file; what is not of this boot is cleared, if nobody
// uses it.
func (g *Group) mapShared() error {
	fd := int(g.shared.Fd())
	err := allocate(fd, groupBytes)
	if err == nil {
		g.common, err = mapFile(fd, groupBytes, true)
	}
	if err == nil {
		if err = checkGroup(g.common, g.boot); err != nil && len(g.roster.Load().live) == 0 {
			clearGroup(g.common, g.boot)
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", g.shared.Name(), err)
	}
	return nil
}

// writeRecord puts our record in place of whatever is in the file.
func (g *Group) writeRecord(fd int, routers []Identity) error {
	size := recordBytes(g.own.capacity)
	erased := erase(fd)
	err := lengthen(fd, size)
	for _, id := range routers {
		if err == nil {
			err = g.makeRoomIn(fd, max(id.words(), usualWords))
		}
	}
	if err == nil {
		g.record, err = mapFile(fd, size, true)
	}
	if err == nil {
		err = setAlive(fd)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", g.member.Name(), err)
	}
	if !erased {
		for i := range recordRoom(g.own.capacity, g.room) / 8 {
			g.record.store(i, 0)
		}
	}
	writeHeader(g.record, g.own)
	for i, id := range routers {
		writeIdentity(g.record, g.own.capacity, i, id)
	}
	return nil
}

// usualWords are those of an identity with an advert of one address.
const usualWords = (identityHead + 60 + 7) / 8

// makeRoom gives the record blocks for identities of so many words: see allocate.
func (g *Group) makeRoom(words int) error { return g.makeRoomIn(int(g.member.Fd()), words) }

func (g *Group) makeRoomIn(fd, words int) error {
	if words <= g.room {
		return nil
	}
	from, to := 0, recordRoom(g.own.capacity, words)
	if g.room > 0 {
		from = recordRoom(g.own.capacity, g.room)
	}
	err := unix.Fallocate(fd, 0, 0, int64(to))
	if errors.Is(err, unix.EOPNOTSUPP) {
		_, err = unix.Pwrite(fd, make([]byte, to-from), int64(from)) // nobody has written there
	}
	if err != nil {
		return err
	}
	g.room = words
	return nil
}

// start begins the group's history in this boot or after all have died. The
// group's lock is held and nobody else is alive: the swap cannot fail.
func (g *Group) start() {
	old := g.Load()
	word, wishes := siblings.Begin(old, g.Wishes())
	g.common.store(grpWishes, packWishes(wishes))
	swapWord(g.common, g.own.slot, old, word, g.own.start)
}

// announce tells the group that somebody has come or gone.
func (g *Group) announce() error {
	if _, err := g.shared.WriteAt(g.bell[:], 8*grpBell); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	return nil
}

func isTmpfs(fd int) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return false, fmt.Errorf("statfs run directory: %w", err)
	}
	magic := uint32(st.Type) // its type differs between architectures
	return magic == unix.TMPFS_MAGIC || magic == unix.RAMFS_MAGIC, nil
}
