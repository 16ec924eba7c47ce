package grouplock

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Leave takes this process out of the group, in order: the record is marked, the
// file removed, the lock given back; the last one removes the group file, too,
// unless it holds a wish of the operator. It ends Run and waits for it, so it
// must not be called from Run's callback. Afterwards the methods of the board
// still answer, and change nothing.
func (g *Group) Leave() error {
	if g.left.Swap(true) {
		return nil
	}
	g.inotify.SetReadDeadline(time.Unix(1, 0))
	g.running.Lock()
	defer g.running.Unlock()
	g.record.store(recState, recLeft)
	err := g.removeFiles()
	// After the removal: who waits for a lock finds a file without a name.
	unlock(int(g.member.Fd()))
	err = errors.Join(err, g.announce())
	g.close()
	if err != nil {
		return fmt.Errorf("leave group %s: %w", g.name, err)
	}
	return nil
}

// removeFiles removes our own file, and the group's if nobody is left.
func (g *Group) removeFiles() error {
	fd := int(g.shared.Fd())
	deadline := time.Now().Add(waitLimit)
	for {
		got, err := tryLock(fd)
		if got {
			break
		}
		if err == nil {
			if left := time.Until(deadline); left > 0 {
				err = awaitChange(fd, min(left, retryWait))
			} else {
				err = fmt.Errorf("%s is locked", g.shared.Name())
			}
		}
		if err != nil {
			return errors.Join(err, g.removeOwn())
		}
	}
	defer unlock(fd)
	err := errors.Join(g.removeOwn(), g.scan(&Bell{}))
	if w := g.Wishes(); err != nil || w.Soft || w.Hold || len(g.roster.Load().live) > 0 {
		return err
	}
	if name := g.name + groupSuffix; g.dir.names(name, fd) {
		return g.dir.remove(name)
	}
	return nil
}

func (g *Group) removeOwn() error {
	if name := g.instance + memberSuffix; g.dir.names(name, int(g.member.Fd())) {
		return g.dir.remove(name)
	}
	return nil
}

// close gives all descriptors back. The mappings stay until nobody can reach
// them: the loop may ask the board once more.
func (g *Group) close() {
	for _, n := range g.watches.table {
		g.drop(n)
	}
	for _, f := range []*os.File{g.shared, g.member} {
		if f != nil {
			unlock(int(f.Fd()))
			f.Close()
		}
	}
	if g.inotify != nil {
		g.inotify.Close()
	}
	if g.dir != nil {
		g.dir.close()
	}
}
