package acceptance

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// toolEnv makes this program one of a few small tools that run on a host of the
// lab, so that the tests need no programs that a machine may not have.
const toolEnv = "ACCEPTANCE_TOOL"

// The tools.
const (
	toolAddAddr = "add-addr" // IFNAME ADDR/LEN
	toolDropCap = "drop-cap" // PROGRAM ARGS...: without CAP_NET_ADMIN and CAP_NET_RAW
	toolOwnUser = "own-user" // PROGRAM ARGS...: as nobody with three capabilities, as systemd starts a service with User=
	toolFlood   = "flood"    // IFNAME KIND PACKETS-PER-SECOND DURATION: forged adverts
	toolJudged  = "judged"   // PROGRAM ARGS...: whose adverts a judge lets pass or not
	toolJournal = "journal"  // PROGRAM ARGS...: as if stderr were connected to the journal
)

// toolLine is a line of a shell script that runs a tool.
func toolLine(tool string, args ...string) string {
	self, err := os.Executable()
	if err != nil {
		panic(err) // there is no test without its own program
	}
	return toolEnv + "=" + tool + " " + self + " " + strings.Join(args, " ")
}

func runTool(tool string, args []string) int {
	var err error
	switch tool {
	case toolAddAddr:
		err = addAddr(args)
	case toolDropCap:
		err = dropCap(args)
	case toolJudged:
		err = judged(args)
	case toolJournal:
		err = inJournal(args)
	case toolOwnUser:
		err = asNobody(args)
	case toolFlood:
		err = flood(args)
	default:
		err = fmt.Errorf("no such tool")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s %v: %v\n", tool, args, err)
		return 1
	}
	return 0
}

func addAddr(args []string) error {
	link, err := netlink.LinkByName(args[0])
	if err != nil {
		return err
	}
	p, err := netip.ParsePrefix(args[1])
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(p.String())
	if err != nil {
		return err
	}
	return netlink.AddrAdd(link, addr)
}

// dropCap becomes the program, which then is root without the two capabilities.
func dropCap(args []string) error {
	runtime.LockOSThread()
	for _, c := range []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return err
		}
	}
	return become(args)
}

// nobody is a user without rights.
const nobody = 65534

// asNobody runs the program as a user who has the capabilities that the manual
// names, and waits for it.
func asNobody(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	// The programs lie where only root may go.
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	cmd := exec.Command("/proc/self/fd/3", args[1:]...)
	cmd.Args[0] = args[0]
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
		AmbientCaps: []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_BPF},
	}
	return cmd.Run()
}

// inJournal becomes the program, which is told what systemd tells a service.
func inJournal(args []string) error {
	var st unix.Stat_t
	if err := unix.Fstat(2, &st); err != nil {
		return err
	}
	if err := os.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino)); err != nil {
		return err
	}
	return become(args)
}

func become(args []string) error {
	path, err := exec.LookPath(args[0])
	if err == nil {
		err = os.Unsetenv(toolEnv)
	}
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, os.Environ())
}
