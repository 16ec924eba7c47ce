package netlab

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

// TB is the part of testing.TB that netlab uses; *testing.T and *testing.B are
// TBs. It keeps package testing out of the demo.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Failed() bool
	Cleanup(func())
}

// Required is the environment variable that, when not empty, turns ForTest's
// skip into a failure: a CI run must not pass because it lacked root.
const Required = "NETLAB_REQUIRED"

// Lab owns hosts, switches and cables and whatever runs in them. Its methods
// may be called from several goroutines.
type Lab struct {
	stack   stack
	closing atomic.Bool   // the namespaces are about to go as a whole
	runs    atomic.Uint32 // numbers of pingers and askers, to tell their packets apart

	mu    sync.Mutex
	hosts []*Host // in the order in which they were made; guarded by mu
	ports int     // switch ports numbered so far; guarded by mu
}

// New makes an empty lab. The caller closes it; if it cannot, the kernel does
// when the process ends, in whatever way (see the package comment). A program
// that wants to leave tidily on Ctrl-C needs signal.NotifyContext and a
// deferred Close, nothing else.
func New() (*Lab, error) {
	if os.Getenv(holderEnv) != "" {
		return nil, fmt.Errorf("make a lab: this process was started as the holder of a host; call netlab.Hook first thing in main or TestMain")
	}
	return &Lab{}, nil
}

// ForTest makes a lab for one test or benchmark and closes it at its end; what
// Close finds fault with fails the test. Where the machine cannot host a lab,
// the test is skipped, and the reason logged; with the environment variable
// Required set it fails instead. When the test has failed, the last output of
// every program is logged.
func ForTest(t TB) *Lab {
	t.Helper()
	if err := Available(); err != nil {
		if os.Getenv(Required) != "" {
			t.Fatalf("network laboratory: %v", err)
		}
		t.Skipf("SKIPPED, network laboratory: %v", err)
	}
	lab, err := New()
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			lab.logOutput(t)
		}
		if err := lab.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	return lab
}

// Close ends everything in reverse order: processes, instruments, cables,
// hosts, switches. It waits until all processes are dead, and returns as an
// error whatever still holds one of the lab's namespaces. The kernel takes the
// namespaces apart a few milliseconds later, on its own time. A second call
// does nothing.
func (l *Lab) Close() error {
	l.closing.Store(true)
	return l.stack.closeAll()
}

// Hosts returns the hosts in the order in which they were made.
func (l *Lab) Hosts() []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*Host(nil), l.hosts...)
}

// refuse tells why nothing can be added any more.
func (l *Lab) refuse() error {
	if l.closing.Load() {
		return errors.New("the lab is closed")
	}
	return nil
}

func (l *Lab) logOutput(t TB) {
	t.Helper()
	for _, h := range l.Hosts() {
		for _, p := range h.programs() {
			t.Logf("%s: %s", h.name, p.tail(40))
		}
	}
}
