package acceptance

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
)

// noise measures what the machine that the tests run on does to everybody. On each of
// its processors a thread sleeps, with the priority of the daemons, and writes down
// when it was woken late. Another one changes nothing of an interface, again and again:
// all network namespaces of a machine share the kernel's one mutex for that (RTNL), and
// whoever takes one down with all that is in it has it for long.
type noise struct {
	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	stalls []stall // guarded by mu
}

// stall is a time in which somebody who was to run did not.
type stall struct{ from, to time.Time }

const (
	noisePeriod = 2 * time.Millisecond
	noiseFloor  = 10 * time.Millisecond // less is no stall
)

// listenToNoise begins to measure.
func listenToNoise(t *testing.T, h *netlab.Host) *noise {
	t.Helper()
	lo, err := h.Netlink().LinkByName("lo")
	check(t, err)
	var all unix.CPUSet
	check(t, unix.SchedGetaffinity(0, &all))
	n := &noise{stop: make(chan struct{})}
	for cpu, left := 0, all.Count(); left > 0; cpu++ {
		if all.IsSet(cpu) {
			left--
			n.done.Go(func() { n.measure(cpu) })
		}
	}
	n.done.Go(func() {
		n.repeat(func() error { return h.Netlink().LinkSetUp(lo) })
	})
	t.Cleanup(func() {
		close(n.stop)
		n.done.Wait()
	})
	return n
}

func (n *noise) measure(cpu int) {
	runtime.LockOSThread() // and never unlock: its processor is not for others
	var one unix.CPUSet
	one.Set(cpu)
	if unix.SchedSetaffinity(0, &one) != nil {
		return // it measures nothing, and so excuses nothing
	}
	n.repeat(func() error { return nil })
}

// repeat does something after every nap, until it fails, and notes how late it was done.
func (n *noise) repeat(do func() error) {
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
			n.mu.Lock()
			n.stalls = append(n.stalls, stall{before, now})
			n.mu.Unlock()
		}
		before = now
	}
}

// worst is the longest stall that touches a time.
func (n *noise) worst(from, to time.Time) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	var d time.Duration
	for _, s := range slices.Backward(n.stalls) {
		if s.from.Before(to) && s.to.After(from) {
			d = max(d, s.to.Sub(s.from))
		}
	}
	return d
}
