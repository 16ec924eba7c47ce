package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/election"
)

// Follow watches every process of the run directory, those included that start
// later, and calls f with each event, one at a time. A transition that several
// processes of a group tell is told once; a process that dies is told as a
// KindEnd. It returns nil when ctx ends, or f's error.
func Follow(ctx context.Context, runDir string, f func(Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	hints, err := dirEvents(ctx, runDir)
	if err != nil {
		cancel()
		return err
	}
	fl := follower{
		dir: runDir, replaced: make(map[string]time.Time), running: make(map[string]string), told: make(map[string]told), alarms: make(map[alarmKey]bool),
		events: make(chan Event), ended: make(chan ended),
	}
	defer fl.wg.Wait()
	defer cancel()
	fl.scan(ctx)
	for {
		var e Event
		select {
		case <-ctx.Done():
			return nil
		case <-hints:
			fl.hints++
			fl.scan(ctx)
			continue
		case e = <-fl.events:
		case end := <-fl.ended:
			fl.forget(end.path)
			if fl.hints != end.hints {
				// Perhaps it was asked a moment too early.
				fl.scan(ctx)
			}
			if end.err == nil || IsDead(end.err) {
				continue
			}
			if time.Since(fl.replaced[end.path]) < replaceTime {
				// The old program had let it in, and is not there any more.
				fl.scan(ctx)
				continue
			}
			e = Event{At: time.Now(), Kind: KindEnd, Message: "died: its watch broke off",
				Instance: strings.TrimSuffix(filepath.Base(end.path), suffix)}
			if !end.seen {
				e.Message = end.err.Error()
			}
		}
		if fl.known(e) {
			continue
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

// follower belongs to the goroutine of Follow, except its channels.
type follower struct {
	dir   string
	hints int // changes of the directory so far
	// replaced is when a program was last about to be replaced, by its socket.
	replaced map[string]time.Time
	running  map[string]string // sockets that are being watched, and their groups once known
	told     map[string]told   // per group, the last transition that was told
	alarms   map[alarmKey]bool // those of whole machines that last, as told
	events   chan Event
	ended    chan ended
	wg       sync.WaitGroup
}

// told is an epoch and the states that were told under it: a process that was
// late tells several steps under the epoch that it found.
type told struct {
	epoch uint64
	to    []string
}

type ended struct {
	path  string
	hints int  // follower.hints when it began
	seen  bool // it had told something
	err   error
}

// scan starts a watch on every socket that has none. The directory's events are
// only hints; what is in it is the truth.
func (fl *follower) scan(ctx context.Context) {
	paths, err := sockets(fl.dir)
	if err != nil {
		return
	}
	for _, path := range paths {
		if fl.watches(path) {
			continue
		}
		fl.running[path] = ""
		end := ended{path: path, hints: fl.hints}
		fl.wg.Go(func() {
			end.err = NewClient(path).Watch(ctx, func(e Event) error {
				end.seen = true
				select {
				case fl.events <- e:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			select {
			case fl.ended <- end:
			case <-ctx.Done():
			}
		})
	}
}

func (fl *follower) watches(path string) bool {
	_, ok := fl.running[path]
	return ok
}

// forget ends the record of a socket. With the last process of a group goes its
// count of transitions, which may begin anew.
func (fl *follower) forget(path string) {
	group := fl.running[path]
	delete(fl.running, path)
	for _, g := range fl.running {
		if g == group {
			return
		}
	}
	delete(fl.told, group)
	maps.DeleteFunc(fl.alarms, func(k alarmKey, _ bool) bool { return k.group == group })
}

// alarmKey names an alarm of a whole machine, which each of its processes tells.
type alarmKey struct{ group, reason, peer string }

// knownAlarm reports that another process of the group has told this already.
func (fl *follower) knownAlarm(e Event) bool {
	key := alarmKey{e.Group, e.Reason, e.Peer}
	if e.Active {
		known := fl.alarms[key]
		fl.alarms[key] = true
		return known
	}
	ends := []alarmKey{key}
	if e.Reason == election.PartitionOver.String() {
		ends = []alarmKey{{e.Group, election.Partition.String(), e.Peer}, {e.Group, election.MixedView.String(), e.Peer}}
	}
	known := true
	for _, k := range ends {
		known = known && !fl.alarms[k]
		delete(fl.alarms, k)
	}
	return known
}

// replaceTime is how long a replacement may take.
const replaceTime = 2 * time.Second

// known reports that another process of the group has told this already.
func (fl *follower) known(e Event) bool {
	if e.Kind == KindReplace {
		fl.replaced[SocketPath(fl.dir, e.Instance)] = e.At
	}
	if e.Kind == KindState {
		if path := SocketPath(fl.dir, e.Instance); fl.watches(path) {
			fl.running[path] = e.Group
		}
	}
	if e.Kind == KindAlarm && e.Interface == "" {
		return fl.knownAlarm(e)
	}
	if e.Kind != KindTransition && e.Kind != KindState || e.Epoch == 0 {
		return false
	}
	last := fl.told[e.Group]
	switch {
	case e.Epoch < last.epoch || e.Epoch == last.epoch && slices.Contains(last.to, e.To):
		return true
	case e.Epoch > last.epoch:
		last = told{epoch: e.Epoch}
	}
	last.to = append(last.to, e.To)
	fl.told[e.Group] = last
	return false
}

// dirEvents gives a hint whenever something appears in the directory or changes
// its mode, until ctx ends.
func dirEvents(ctx context.Context, dir string) (<-chan struct{}, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	file := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_ATTRIB|unix.IN_MOVED_TO); err != nil {
		file.Close()
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	hints := make(chan struct{}, 1)
	context.AfterFunc(ctx, func() { file.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			if _, err := file.Read(buf); err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
			select {
			case hints <- struct{}{}:
			default: // one is waiting
			}
		}
	}()
	return hints, nil
}
