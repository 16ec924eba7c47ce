package realtime

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// LockMemory keeps what this process has touched, and will touch, from being paged out.
// What it has only reserved stays where it is, which with the runtime is most of it.
func LockMemory() error {
	if err := MemoryLockable(); err != nil {
		return err
	}
	err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("--lock-memory: this kernel cannot lock only what is used: Linux 4.4 is needed: %w", err)
	}
	return fmt.Errorf("--lock-memory: mlockall: %w: %s", err, lockingNeeds)
}

const lockingNeeds = "run vrrpd as root, or give the service CAP_IPC_LOCK (CapabilityBoundingSet=, AmbientCapabilities=) or LimitMEMLOCK=infinity, and no SystemCallFilter= without @memlock"

// MemoryLockable reports why memory cannot be locked, and what to do. Less than no limit
// will not do: it would count what is reserved, and who reaches it later cannot go on.
func MemoryLockable() error {
	if capable(unix.CAP_IPC_LOCK) {
		return nil
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l); err != nil {
		return fmt.Errorf("read RLIMIT_MEMLOCK: %w", err)
	}
	if l.Cur != unix.RLIM_INFINITY {
		return fmt.Errorf("--lock-memory: not permitted, with a limit of %d kB for locked memory: %s", l.Cur/1024, lockingNeeds)
	}
	return nil
}
