package realtime

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// favour is the nice value of this process's other threads. The runtime takes a thread's
// processor away when it happens to see it run, and then one of the others has to give
// it back: on a busy machine that was 20 to 130 ms later, once in two seconds.
const favour = -20

// favourOthers gives the threads that are not real-time a better nice value; those that
// they make inherit it. It does not while a command is being started.
func (t *Threads) favourOthers() error {
	s := &spinning
	s.Lock()
	defer s.Unlock()
	if !s.limited || s.forks > 0 {
		return nil
	}
	all, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("find threads: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, task := range all {
		id, err := strconv.Atoi(task.Name())
		if _, urgent := t.members[id]; urgent || err != nil {
			continue
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, id, favour); err != nil && err != unix.ESRCH {
			return fmt.Errorf("its other threads have no better nice value, and may keep them waiting: give the service CAP_SYS_NICE, or LimitNICE=%d: %w", favour, err)
		}
	}
	s.favoured = true
	return nil
}

// Favour gives the other threads of the process nice -20, as far as they exist; Watch
// sees to later ones. An error says what the administrator may do about it.
func (t *Threads) Favour() error {
	if t == nil {
		return nil
	}
	return t.favourOthers()
}

// niceness is the calling thread's nice value.
func niceness() (int, error) {
	n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	return 20 - n, err // the system call cannot return a negative number
}

// renices reports whether this process may give what it has started, as whoever, another
// nice value.
func renices() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // of 32 capabilities each
	return unix.Capget(&header, &sets[0]) == nil && sets[0].Effective&(1<<unix.CAP_SYS_NICE) != 0
}

// unfavour gives a process that has just been started, and what it may have started itself,
// an ordinary nice value. It is started with that of the thread: until its program has begun
// that thread waits, and the collector for the thread, with everybody else. A process of nice
// 0 waited 30 ms and more beside threads of nice -20 that had work to do.
func unfavour(group, original int) error {
	// ESRCH: it has ended.
	if err := unix.Setpriority(unix.PRIO_PGRP, group, original); err != nil && err != unix.ESRCH {
		return fmt.Errorf("set nice value of process %d: %w", group, err)
	}
	return nil
}

// ordinarily runs start on a thread with the nice value that the process was started with.
func ordinarily(original int, start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, original); err != nil {
		return fmt.Errorf("set nice value: %w", err)
	}
	// It fails only if the right to it is gone; then this thread stays an ordinary one.
	defer unix.Setpriority(unix.PRIO_PROCESS, 0, favour)
	return start()
}
