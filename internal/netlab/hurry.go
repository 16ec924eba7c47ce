package netlab

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// nice is the priority of who is in a hurry.
const nice = -10

// Hurry gives this process, and what it starts from now on, a better priority:
// routers do not share their processor with a build. Who is not allowed to is not in a
// hurry, and only noisier. To Linux a priority is a thread's, and a thread has that of
// the one that made it: the second round is for those that were made during the first.
func Hurry() {
	hurrySession(os.Getpid())
	for range 2 {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return
		}
		for _, t := range threads {
			if id, err := strconv.Atoi(t.Name()); err == nil {
				_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, nice)
			}
		}
	}
}

// Hurry does for the program's session what the priority that it has inherited does not:
// where the kernel groups processes by session (autogroup), nice is for the order
// within one.
func (p *Proc) Hurry() { hurrySession(p.PID()) }

// Hurry is that of Proc.
func (p Process) Hurry() { hurrySession(p.PID) }

func hurrySession(pid int) {
	// There need be no such file.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(strconv.Itoa(nice)), 0)
}
