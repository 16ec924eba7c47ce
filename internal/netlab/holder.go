package netlab

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// holderEnv asks Hook to become a holder.
const holderEnv = "NETLAB_HOLDER"

// patience bounds what the lab waits for when it starts or ends something of
// its own; it is far longer than anything takes on a slow machine.
const patience = 20 * time.Second

// Descriptors of a holder besides the standard ones.
const (
	lifelineFD = 3 // read side of a pipe that the lab never writes to
	readyFD    = 4 // where the holder says that it stands, or why not
)

// holder is the first process of a host.
type holder struct {
	cmd      *exec.Cmd
	lifeline *os.File
	done     chan struct{} // closed when it and everything under it is dead
}

// Hook turns this process into the holder of a host if it was started as one,
// and never returns then; otherwise it returns at once. Every program that
// makes a Lab calls it as the first statement of main or TestMain.
func Hook() {
	if os.Getenv(holderEnv) == "" {
		return
	}
	if err := hold(); err != nil {
		fmt.Fprintln(os.Stderr, "netlab holder:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// hold is the life of a holder.
func hold() error {
	ready := os.NewFile(readyFD, "ready")
	if os.Getpid() != 1 {
		return fmt.Errorf("%s is set, but this is not the first process of a host", holderEnv)
	}
	// All signals, SIGCHLD among them: the kernel then buries orphans by
	// itself. No script inside may end its host with kill 1.
	signal.Ignore()
	err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err != nil {
		err = fmt.Errorf("mount /proc: %w", err)
		fmt.Fprint(ready, err)
		return err
	}
	fmt.Fprint(ready, "ok")
	if err := ready.Close(); err != nil {
		return err
	}
	// Nobody writes: the read ends when the lab has closed its side or died.
	_, err = io.Copy(io.Discard, os.NewFile(lifelineFD, "lifeline"))
	return err
}

// startHolder starts this program again as the first process of a new process
// namespace, in the other namespaces of the calling thread.
func startHolder() (*holder, error) {
	lifeIn, lifeOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer lifeIn.Close()
	readyIn, readyOut, err := os.Pipe()
	if err != nil {
		lifeOut.Close()
		return nil, err
	}
	defer readyIn.Close()
	cmd := &exec.Cmd{
		// Not os.Executable: the file may be gone or lie under the host's own
		// /run; and /proc is still the old one when this is looked up.
		Path:       "/proc/self/exe",
		Args:       []string{"netlab-holder"},
		Env:        []string{holderEnv + "=1", "GOMAXPROCS=1"},
		Dir:        "/",
		Stderr:     os.Stderr,
		ExtraFiles: []*os.File{lifeIn, readyOut},
		// A session of its own, so that Ctrl-C at the terminal reaches the lab
		// only. No Pdeathsig: it is bound to the thread that starts the
		// process, which dies at once.
		SysProcAttr: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID, Setsid: true},
	}
	err = cmd.Start()
	readyOut.Close()
	if err != nil {
		lifeOut.Close()
		return nil, err
	}
	h := &holder{cmd: cmd, lifeline: lifeOut, done: make(chan struct{})}
	go func() {
		defer close(h.done)
		_ = cmd.Wait() // it is always killed
	}()
	said, err := readReady(readyIn)
	if err != nil || said != "ok" {
		h.kill()
		switch {
		case err != nil:
			return nil, fmt.Errorf("await holder (does main or TestMain call netlab.Hook first?): %w", err)
		case said == "":
			return nil, fmt.Errorf("holder left at once (does main or TestMain call netlab.Hook first?)")
		}
		return nil, fmt.Errorf("holder: %s", said)
	}
	return h, nil
}

func readReady(from *os.File) (string, error) {
	if err := from.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	said, err := io.ReadAll(from)
	return strings.TrimSpace(string(said)), err
}

// kill ends the holder and with it, by the kernel, every process of the host.
func (h *holder) kill() error {
	_ = h.cmd.Process.Kill()
	h.lifeline.Close()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-h.done:
		return nil
	case <-timeout.C:
		return fmt.Errorf("the processes under %d are still there %v after SIGKILL", h.cmd.Process.Pid, patience)
	}
}
