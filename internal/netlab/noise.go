package netlab

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Noise measures what the machine that the laboratory runs on does to everybody. On each of
// its processors a thread sleeps, with the priority of the daemons, and writes down
// when it was woken late. Another one changes nothing of an interface, again and again:
// all network namespaces of a machine share the kernel's one mutex for that (RTNL), and
// whoever takes one down with all that is in it has it for long.
type Noise struct {
	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	stalls []Span // in each somebody who was to run did not; guarded by mu
}

const (
	noisePeriod = 2 * time.Millisecond
	noiseFloor  = 10 * time.Millisecond // less is no stall
)

// ListenToNoise begins to measure; it needs the host for its interface lo only.
func (h *Host) ListenToNoise() (*Noise, error) {
	lo, err := h.Netlink().LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("listen to noise: %w", err)
	}
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, fmt.Errorf("listen to noise: %w", err)
	}
	n := &Noise{stop: make(chan struct{})}
	for cpu, left := 0, all.Count(); left > 0; cpu++ {
		if all.IsSet(cpu) {
			left--
			n.done.Go(func() { n.onProcessor(cpu) })
		}
	}
	n.done.Go(func() { n.onMutex(h.Netlink(), lo) })
	return n, nil
}

// Close ends it.
func (n *Noise) Close() {
	close(n.stop)
	n.done.Wait()
}

func (n *Noise) onMutex(nl *netlink.Handle, lo netlink.Link) {
	n.repeat(func() error { return nl.LinkSetUp(lo) })
}

func (n *Noise) onProcessor(cpu int) {
	runtime.LockOSThread() // and never unlock: its processor is not for others
	var one unix.CPUSet
	one.Set(cpu)
	if unix.SchedSetaffinity(0, &one) != nil {
		return // it measures nothing, and so excuses nothing
	}
	n.repeat(func() error { return nil })
}

// repeat does something after every nap, until it fails, and notes how late it was done.
func (n *Noise) repeat(do func() error) {
	nap := unix.NsecToTimespec(int64(noisePeriod))
	for before := time.Now(); ; {
		select {
		case <-n.stop:
			return
		default:
		}
		_ = unix.Nanosleep(&nap, nil) // EINTR: it is early
		if do() != nil {
			return
		}
		now := time.Now()
		if now.Sub(before)-noisePeriod > noiseFloor {
			n.note(Span{From: before, To: now})
		}
		before = now
	}
}

func (n *Noise) note(s Span) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stalls = append(n.stalls, s)
}

// Worst is the longest stall that touches a time.
func (n *Noise) Worst(when Span) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	var d time.Duration
	for _, s := range n.stalls {
		if s.From.Before(when.To) && s.To.After(when.From) {
			d = max(d, s.Length())
		}
	}
	return d
}

// During is for how long of a time there was any stall. One that goes on is not known yet.
func (n *Noise) During(when Span) time.Duration {
	n.mu.Lock()
	stalls := slices.Clone(n.stalls)
	n.mu.Unlock()
	slices.SortFunc(stalls, func(a, b Span) int { return a.From.Compare(b.From) })
	var d time.Duration
	for _, s := range stalls {
		if s.From.Before(when.From) {
			s.From = when.From
		}
		if s.To.After(when.To) {
			s.To = when.To
		}
		if s.To.After(s.From) {
			d += s.Length()
			when.From = s.To // what overlaps counts once
		}
	}
	return d
}
