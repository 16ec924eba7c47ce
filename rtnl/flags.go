package rtnl

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// ioctlSocket opens a socket through which the interfaces of a namespace can be
// asked for their flags; netns is a file descriptor, zero the thread's own.
func ioctlSocket(netns int) (int, error) {
	open := func() (int, error) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return -1, fmt.Errorf("open socket for interface flags: %w", err)
		}
		return fd, nil
	}
	if netns == 0 {
		return open()
	}
	type result struct {
		fd  int
		err error
	}
	// The thread that enters the other namespace is never given back: it ends
	// with its goroutine.
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(netns, unix.CLONE_NEWNET); err != nil {
			done <- result{-1, fmt.Errorf("enter network namespace: %w", err)}
			return
		}
		fd, err := open()
		done <- result{fd, err}
	}()
	r := <-done
	return r.fd, r.err
}

// readFlags reads IFF_UP and IFF_RUNNING of an interface. The kernel answers
// under RCU, without the RTNL mutex. (IFF_LOWER_UP does not fit into the 16
// bits that this call has.)
func readFlags(fd int, name string) (up, running bool, err error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return false, false, fmt.Errorf("read flags of %q: %w", name, err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
		return false, false, fmt.Errorf("read flags of %s: %w", name, err)
	}
	flags := ifr.Uint16()
	return flags&unix.IFF_UP != 0, flags&unix.IFF_RUNNING != 0, nil
}
