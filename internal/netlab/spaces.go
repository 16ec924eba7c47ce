package netlab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// spaces are the namespaces of one host or switch, held by descriptors. mnt,
// uts and pid are nil for a switch and for a host without programs.
type spaces struct {
	net, mnt, uts, pid *os.File
}

// outcome is how a function on a foreign goroutine ended.
type outcome struct {
	err      error
	returned bool // false: it panicked or called runtime.Goexit
	panicked any
	stack    []byte
}

// onThread runs f on a thread of its own, which dies with f: f may change the
// thread's namespaces as it likes. A panic and a Goexit (t.FailNow) of f become
// the caller's, so that f behaves as if it had been called directly.
func onThread(f func() error) error {
	done := make(chan outcome, 1)
	go run(f, done)
	o := <-done
	switch {
	case o.panicked != nil:
		panic(fmt.Sprintf("%v\n\n%s", o.panicked, o.stack))
	case !o.returned:
		runtime.Goexit()
	}
	return o.err
}

func run(f func() error, done chan<- outcome) {
	runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
	if unix.Gettid() == unix.Getpid() {
		// The first thread of a process never ends and would keep the
		// namespaces alive. It is ours now, so this goes to another one.
		inner := make(chan outcome, 1)
		go run(f, inner)
		o := <-inner
		runtime.UnlockOSThread()
		done <- o
		return
	}
	var o outcome
	defer func() {
		if !o.returned {
			if o.panicked = recover(); o.panicked != nil {
				o.stack = debug.Stack()
			}
		}
		done <- o
	}()
	o.err = f()
	o.returned = true
}

// open takes hold of the calling thread's namespaces. It needs a /proc in which
// the calling thread can be seen.
func (s *spaces) open(programs bool) error {
	var err error
	if s.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	if !programs {
		return nil
	}
	if s.mnt, err = os.Open("/proc/thread-self/ns/mnt"); err != nil {
		return err
	}
	s.uts, err = os.Open("/proc/thread-self/ns/uts")
	return err
}

// enter moves the calling thread into the network namespace, and with all into
// the others too. The process namespace counts only for children: the thread
// itself stays where it is, and can no longer make threads (the Go runtime
// knows: it never does that from a locked one).
func (s *spaces) enter(all bool) error {
	if all && s.mnt != nil {
		// A thread that shares its working directory with others is not let
		// into a mount namespace.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare the working directory: %w", err)
		}
		for _, ns := range []struct {
			file *os.File
			kind int
			name string
		}{
			{s.mnt, unix.CLONE_NEWNS, "mount"},
			{s.uts, unix.CLONE_NEWUTS, "host-name"},
			{s.pid, unix.CLONE_NEWPID, "process"},
		} {
			if err := unix.Setns(int(ns.file.Fd()), ns.kind); err != nil {
				return fmt.Errorf("enter %s namespace: %w", ns.name, err)
			}
		}
	}
	if err := unix.Setns(int(s.net.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return nil
}

// close lets go of the namespaces.
func (s *spaces) close() error {
	var errs []error
	for _, f := range []*os.File{s.net, s.mnt, s.uts, s.pid} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
