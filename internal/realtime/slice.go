package realtime

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// slice is for how long the kernel lets an ordinary thread of this process run at a time
// while others wait, and with that how soon after waking up it has it run: a thread that has
// a longer slice does not keep it waiting to the end of that, which is 3 ms. Linux 6.12 and
// later; others take no notice. It is the least that can be asked for.
const slice = 100 * time.Microsecond

// Brief gives all threads of the process short slices; those that they make, and commands,
// inherit them. Nobody needs a right for that.
func Brief() error {
	for done := map[int]bool{}; ; {
		all, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("find threads: %w", err)
		}
		news := false // one that was made by one that had not been visited
		for _, task := range all {
			id, err := strconv.Atoi(task.Name())
			if err != nil || done[id] {
				continue
			}
			done[id], news = true, true
			if err := brief(id); err != nil && err != unix.ESRCH {
				return fmt.Errorf("set time slice: %w", err)
			}
		}
		if !news {
			return nil
		}
	}
}

// brief changes nothing else of how an ordinary thread is scheduled.
func brief(id int) error {
	a, err := unix.SchedGetAttr(id, 0)
	if err != nil || a.Policy != unix.SCHED_NORMAL {
		return err
	}
	a.Runtime = uint64(slice)
	return unix.SchedSetAttr(id, a, 0)
}
