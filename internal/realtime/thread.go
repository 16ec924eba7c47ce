package realtime

import (
	"os"
	"os/signal"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// MinPriority and MaxPriority are those that can be asked for. 50 is what the kernel gives
// the threads of its interrupts, which adverts come through.
const (
	MinPriority = 1
	MaxPriority = 49
)

// How many processors of the runtime are added; see Spare. Each keeps some memory for itself.
// Where somebody has asked for real-time threads there is one for everybody who may ask for
// the state at the same time, and for the commands: with four, adverts were 4 to 10 ms late
// now and then, while the thread waited for one.
const (
	spare       = 4
	spareUrgent = 24
)

// Spare gives the runtime more processors than the machine has, so that it is the kernel
// which divides those. Who has waited has to find one that is free: else he waits until
// another goroutine has been at work for 10 ms, with which the kernel, who knows that
// he has waited, would have been through in one.
func Spare() { provide(spare) }

func provide(more int) {
	if want := runtime.NumCPU() + more; runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
}

// Threads are the real-time threads of a group of virtual routers. The nil Threads is
// for who has asked for none: all of its methods do nothing.
type Threads struct {
	priority int
	window   time.Duration // that spinning is judged by

	mu      sync.Mutex
	members map[int]struct{} // ids of threads
	lost    bool             // one of them took a processor for itself: no more of this
}

// NewThreads prepares this process for real-time threads with a priority, 1 to 49; 0
// makes the nil Threads. It has said by Try whether that can be had.
func NewThreads(priority int) (*Threads, error) {
	if priority == 0 {
		return nil, nil
	}
	if err := Try(priority); err != nil {
		return nil, err
	}
	if err := limitSpinning(); err != nil {
		return nil, err
	}
	provide(spareUrgent)
	return &Threads{priority: priority, window: spinning.window(), members: map[int]struct{}{}}, nil
}

// Try reports why this process cannot have real-time threads, and what to do; nil: it
// can. It changes nothing: it is tried on a thread that ends. 0 is always possible.
func Try(priority int) error {
	if priority == 0 {
		return nil
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with this goroutine
		result <- schedule(unix.SCHED_RR, priority)
	}()
	if err := <-result; err != nil {
		return explain(priority, err)
	}
	return nil
}

// schedule gives the calling thread a policy. What it starts has the ordinary one.
func schedule(policy, priority int) error {
	return unix.SchedSetAttr(0, attributes(policy, priority), 0)
}

func attributes(policy, priority int) *unix.SchedAttr {
	a := &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: uint32(policy), Priority: uint32(priority), Flags: unix.SCHED_FLAG_RESET_ON_FORK,
	}
	if policy == unix.SCHED_NORMAL {
		a.Runtime = uint64(slice)
	}
	return a
}

// Enter makes the calling goroutine's thread a real-time one, and its own, until leave
// is called on it. An error leaves it an ordinary one.
func (t *Threads) Enter() (leave func(), err error) {
	if t == nil {
		return func() {}, nil
	}
	runtime.LockOSThread()
	id := unix.Gettid()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost {
		return runtime.UnlockOSThread, nil // it has been said
	}
	if err := schedule(unix.SCHED_RR, t.priority); err != nil {
		runtime.UnlockOSThread()
		return func() {}, explain(t.priority, err)
	}
	t.members[id] = struct{}{}
	return func() {
		t.mu.Lock()
		delete(t.members, id)
		t.mu.Unlock()
		// It cannot fail: less is always allowed. The thread may be anybody's now.
		_ = schedule(unix.SCHED_NORMAL, 0)
		runtime.UnlockOSThread()
	}, nil
}

// Priority is what the threads have now: 0 if they have, or have come to have, the
// ordinary one.
func (t *Threads) Priority() int {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost {
		return 0
	}
	return t.priority
}

// Watch has spun called when a thread has run for SpinLimit without ever waiting, or all
// but a tenth of that time: the runtime takes its processor away every 10 ms, which the
// kernel, who has a limit for it, takes for waiting. By then
// all have an ordinary priority, for good: whatever it does, others can run, and find
// out. It begins at once and ends with stop.
func (t *Threads) Watch(spun func()) (stop func()) {
	if t == nil {
		return func() {}
	}
	// The kernel tells by a signal, of which a runtime without a handler takes no notice.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGXCPU)
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		again := time.NewTicker(t.window)
		defer again.Stop()
		used := usage{}
		for {
			select {
			case <-again.C:
				_ = t.favourOthers() // it has been said
				if t.spins(used) && t.demote() {
					spun()
				}
			case <-signals:
				if t.demote() {
					spun()
				}
			case <-quit:
				return
			}
		}
	})
	return func() {
		signal.Stop(signals)
		close(quit)
		done.Wait()
	}
}

// demote gives all threads the ordinary priority, once.
func (t *Threads) demote() (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost {
		return false
	}
	t.lost = true
	for id := range t.members {
		// ESRCH cannot be: a thread leaves before it ends.
		_ = unix.SchedSetAttr(id, attributes(unix.SCHED_NORMAL, 0), 0)
	}
	return true
}
