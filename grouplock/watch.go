package grouplock

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/election"
)

// Bell says why Run calls. Several events that come together are one Bell.
type Bell struct {
	// Rang: another process changed something that may make us act.
	Rang bool
	// Joined, Left: instances that have come, or gone in order (or have been
	// cleaned up).
	Joined, Left []string
	// Dead: instances that have died and that nobody has cleaned up yet: call
	// TakeOver. It is repeated after 1 ms, 2 ms, 4 ms and so on up to a second,
	// and after every event of the file, because who is cleaning up may die too.
	Dead []string
	// Lost: names of our own files (member or group file) that somebody has
	// removed under us. Those who share the group with us go on, but nobody can
	// join, and a second instance would not be refused: restart the processes of
	// the group.
	Lost []string
}

func (b *Bell) empty() bool {
	return !b.Rang && len(b.Joined)+len(b.Left)+len(b.Dead)+len(b.Lost) == 0
}

// A look at byte 0 right after IN_CLOSE_WRITE may come too early, and a corpse
// may need a second cleaner: look again after these, doubling.
const (
	firstLookAlive = 50 * time.Microsecond
	firstLookDead  = time.Millisecond
	lastLook       = time.Second
)

// watches is what Run knows: the neighbours, and the kernel's numbers for what
// is watched.
type watches struct {
	fd      int // of inotify; the file in Group owns it
	dir     int32
	shared  int32
	table   map[string]*neighbour // by instance
	byWatch map[int32]*neighbour
	changed bool // since the last roster
}

// startWatching creates the doorbell and hangs it on the directory (a file is
// removed) and the group file (somebody comes or goes). Neighbours follow as
// they are found; nobody is woken by the bells of other groups.
func (g *Group) startWatching() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return inotifyError(err)
	}
	return g.watchBy(fd)
}

// watchBy is startWatching with a doorbell that is there.
func (g *Group) watchBy(fd int) (err error) {
	g.inotify = os.NewFile(uintptr(fd), "inotify")
	g.watches = watches{fd: fd, table: map[string]*neighbour{}, byWatch: map[int32]*neighbour{}}
	if g.watches.dir, err = g.watch(g.dir.Fd(), unix.IN_DELETE|unix.IN_MOVED_FROM); err != nil {
		return fmt.Errorf("watch %s: %w", g.dir.join(""), err)
	}
	if g.watches.shared, err = g.watch(int(g.shared.Fd()), unix.IN_MODIFY); err != nil {
		return fmt.Errorf("watch %s: %w", g.shared.Name(), err)
	}
	return nil
}

func (g *Group) watch(fd int, what uint32) (int32, error) {
	wd, err := unix.InotifyAddWatch(g.watches.fd, procPath(fd), what)
	return int32(wd), err
}

// Run listens to the doorbell and calls ring for what it says, from its own
// goroutine, until ctx ends or Leave is called; then it returns nil. The first
// call, if any, is about the members that were dead at Join. ring must not block
// for long: meanwhile nobody's death is noticed.
func (g *Group) Run(ctx context.Context, ring func(Bell)) error {
	g.running.Lock()
	defer g.running.Unlock()
	if g.left.Load() {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { g.inotify.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()

	var b Bell
	for _, n := range g.roster.Load().dead {
		b.Dead = append(b.Dead, n.instance)
	}
	if err := g.scan(&b); err != nil {
		return fmt.Errorf("group %s: %w", g.name, err)
	}
	buf := make([]byte, 16<<10)
	for {
		if !b.empty() {
			if len(b.Joined) > 0 {
				g.Ring() // what we rang before we knew of it, it has not heard
			}
			ring(b)
			b = Bell{}
		}
		g.inotify.SetReadDeadline(g.nextLook())
		if ctx.Err() != nil || g.left.Load() {
			return nil
		}
		n, err := g.inotify.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			g.lookAgain(&b)
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("group %s: read inotify: %w", g.name, err)
		default:
			if err := g.events(buf[:n], &b); err != nil {
				return fmt.Errorf("group %s: %w", g.name, err)
			}
		}
	}
}

// events goes through what inotify reported.
func (g *Group) events(buf []byte, b *Bell) error {
	rescan := false
	for len(buf) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(buf))
		mask := binary.NativeEndian.Uint32(buf[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
		name := buf[unix.SizeofInotifyEvent:end]
		buf = buf[end:]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			rescan, b.Rang = true, true
		case wd == g.watches.shared:
			rescan = true
		case wd == g.watches.dir:
			g.removed(string(bytes.TrimRight(name, "\x00")), b)
		case g.watches.byWatch[wd] != nil:
			g.heard(g.watches.byWatch[wd], mask, b)
		}
	}
	if rescan {
		return g.scan(b)
	}
	g.publishRoster()
	return nil
}

// heard handles an event of a neighbour's file.
func (g *Group) heard(n *neighbour, mask uint32, b *Bell) {
	if n.dead {
		// Its cleaner has finished or died. Not at once: a cleaner that gives up
		// again and again must not make us spin.
		n.lookIn(max(n.step, firstLookDead))
		return
	}
	b.Rang = true
	if mask&unix.IN_CLOSE_WRITE != 0 {
		n.lookIn(firstLookAlive)
		g.look(n, b)
		return
	}
	present := false
	if !guard(func() { present = n.present() }) || !present {
		g.look(n, b)
	}
}

// lookIn sets the time of the next look without an event.
func (n *neighbour) lookIn(step time.Duration) {
	n.step, n.again = step, time.Now().Add(step)
}

// removed handles the removal of a name from the directory.
func (g *Group) removed(name string, b *Bell) {
	for _, f := range []*os.File{g.member, g.shared} {
		if g.dir.join(name) == f.Name() && !g.dir.names(name, int(f.Fd())) {
			b.Lost = append(b.Lost, name)
		}
	}
	for instance, n := range g.watches.table {
		if name == instance+memberSuffix {
			g.look(n, b)
		}
	}
}

// nextLook is when the next look without an event is due; the zero time: never.
func (g *Group) nextLook() (t time.Time) {
	for _, n := range g.watches.table {
		if !n.again.IsZero() && (t.IsZero() || n.again.Before(t)) {
			t = n.again
		}
	}
	return t
}

func (g *Group) lookAgain(b *Bell) {
	now := time.Now()
	for _, n := range g.watches.table {
		if n.again.IsZero() || n.again.After(now) {
			continue
		}
		wasDead := n.dead
		if n.again = (time.Time{}); n.step < lastLook {
			n.lookIn(2 * n.step)
		}
		g.look(n, b)
		if wasDead && n.dead && g.watches.table[n.instance] == n {
			b.Dead = append(b.Dead, n.instance)
		}
	}
	g.publishRoster()
}

// scan looks at every member file of the directory.
func (g *Group) scan(b *Bell) error {
	instances, err := g.dir.instances()
	if err != nil {
		return err
	}
	for _, n := range g.watches.table {
		g.look(n, b)
	}
	for _, instance := range instances {
		if instance != g.instance && g.watches.table[instance] == nil {
			g.adopt(instance, b)
		}
	}
	g.publishRoster()
	return nil
}

// publishRoster shows the board what Run has found.
func (g *Group) publishRoster() {
	if g.watches.changed {
		g.roster.Store(newRoster(g.watches.table))
		g.watches.changed = false
	}
}

// look finds out what has become of a neighbour.
func (g *Group) look(n *neighbour, b *Bell) {
	alive, err := isAlive(n.fd)
	if err != nil {
		return
	}
	left, replaced := false, false
	if !guard(func() {
		left = n.record.load(recState) == recLeft
		replaced = n.record.load(recMagic) == recordMagic && n.record.load(recStart) != uint64(n.own.start)
	}) && !n.damaged.Swap(true) {
		g.counts.damaged.Add(1)
	}
	switch {
	case replaced:
		// The owner is back (or was, and has died again): somebody new.
		g.drop(n)
		if g.adopt(n.instance, b); g.watches.table[n.instance] == nil {
			b.Left = append(b.Left, n.instance)
		}
	case left, !alive && !g.dir.names(n.instance+memberSuffix, n.fd):
		g.drop(n)
		b.Left = append(b.Left, n.instance)
	case alive && !n.dead:
		n.copy()
	case alive:
		// The owner is starting and has not written its record: it will announce it.
	case !n.dead:
		n.copy()
		n.dead, g.watches.changed = true, true
		n.lookIn(firstLookDead)
		b.Dead = append(b.Dead, n.instance)
	}
}

// adopt opens the member file of an instance and, if it belongs to our group and
// its process has not left, makes it a neighbour.
func (g *Group) adopt(instance string, b *Bell) {
	fd, _, err := g.dir.open(instance+memberSuffix, unix.O_RDONLY)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			g.counts.ignored.Add(1)
		}
		return
	}
	n := &neighbour{instance: instance, fd: fd, watch: -1}
	if err := g.inspect(n); err != nil {
		if !errors.Is(err, errUnfinished) && !errors.Is(err, errForeign) {
			g.counts.ignored.Add(1)
		}
		g.drop(n)
		return
	}
	g.watches.table[instance], g.watches.changed = n, true
	if n.dead {
		n.lookIn(firstLookDead)
		b.Dead = append(b.Dead, instance)
	} else {
		b.Joined = append(b.Joined, instance)
	}
}

// errForeign: a good record, but not one of our group's living or dead.
var errForeign = errors.New("not of this group")

// inspect maps and reads a member file.
func (g *Group) inspect(n *neighbour) (err error) {
	if n.record, err = mapRecord(n.fd, false); err != nil {
		return err
	}
	var m Member
	read := func() error {
		h, err := readHeader(n.record)
		if err != nil {
			return err
		}
		if h.group != g.name || h.boot != g.boot || n.record.load(recState) != recLive {
			return errForeign
		}
		n.own = h
		m, err = readMember(n.record, h, n.instance)
		return err
	}
	if err := guarded(read); err != nil {
		return err
	}
	// From here on no change is missed; what was read before is read again.
	if n.watch, err = g.watch(n.fd, unix.IN_MODIFY|unix.IN_CLOSE_WRITE); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	g.watches.byWatch[n.watch] = n
	alive, err := isAlive(n.fd)
	if err != nil {
		return err
	}
	if err := guarded(read); err != nil {
		return err
	}
	n.copied.Store(&m)
	n.last = make([]election.Facts, n.own.capacity)
	n.dead = !alive
	return nil
}

// drop forgets a neighbour. The mapping stays until no roster leads to it.
func (g *Group) drop(n *neighbour) {
	if n.watch >= 0 {
		unix.InotifyRmWatch(g.watches.fd, uint32(n.watch))
		delete(g.watches.byWatch, n.watch)
	}
	unix.Close(n.fd)
	if g.watches.table[n.instance] == n {
		delete(g.watches.table, n.instance)
		g.watches.changed = true
	}
}
