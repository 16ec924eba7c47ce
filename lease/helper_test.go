package lease

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// helperEnv makes this program a process that owns a guard.
const helperEnv = "VRRPD_LEASE_TEST_HELPER"

// helper obeys one command a line:
//
//	attach RUNG INDEX   (RUNG may be "any")
//	renew UNTIL
//	lighten
//	half, quarter       (as lighten, as far as its programs, or one of them)
//	verify, glance, repair
//	loosen INDEX, remove INDEX
func helper() {
	var t *Guard
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var verb, rung string
		var number int64
		var err error
		said := ""
		switch line := in.Text(); {
		case strings.HasPrefix(line, "attach"):
			if _, err = fmt.Sscan(line, &verb, &rung, &number); err == nil {
				t, said, err = helperAttach(rung, int(number))
			}
		case strings.HasPrefix(line, "renew"):
			if _, err = fmt.Sscan(line, &verb, &number); err == nil {
				err = t.Renew(number)
			}
		case line == "lighten":
			err = t.Lighten()
		case line == "half":
			err = t.g.tcx.attach(t.target)
		case line == "quarter":
			err = link.RawAttachProgram(link.RawAttachProgramOptions{Target: t.index, Program: t.block.progs[0], Attach: sides[0].attach})
		case line == "verify":
			err = t.Verify()
		case line == "glance":
			err = t.Glance()
		case line == "repair":
			err = t.Repair()
		default:
			if _, err = fmt.Sscan(line, &verb, &number); err == nil {
				err = helperEnds(t, verb, int(number))
			}
		}
		if err != nil {
			fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", "; "))
		} else {
			fmt.Println("ok", said)
		}
	}
}

// helperEnds does so with the guards of a guard that the helper has, or others.
func helperEnds(t *Guard, verb string, index int) error {
	g, err := Open(Config{})
	if err != nil {
		return err
	}
	if t != nil {
		g = t.g
	}
	switch verb {
	case "loosen":
		return g.Loosen(index)
	case "remove":
		return g.Remove(index)
	}
	return fmt.Errorf("no command %s", verb)
}

func helperAttach(rung string, index int) (*Guard, string, error) {
	var c Config
	if rung != "any" {
		r, err := ParseRung(rung)
		if err != nil {
			return nil, "", err
		}
		c.Ladder = []Rung{r}
	}
	g, err := Open(c)
	if err != nil {
		return nil, "", err
	}
	t, err := g.Attach(index)
	if err != nil {
		return nil, "", err
	}
	return t, fmt.Sprint(t.Rung(), " ", strings.ReplaceAll(fmt.Sprint(t.Skipped()), "\n", "; ")), nil
}

// process is a helper in the router's namespace.
type process struct {
	l   *lab
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

// start starts one with all of our privileges, or as nobody with the given
// capabilities only.
func (l *lab) start(caps ...uintptr) *process {
	l.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if caps != nil {
		const nobody = 65534
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		cmd.SysProcAttr.AmbientCaps = caps
	}
	in, err := cmd.StdinPipe()
	l.must(err)
	out, err := cmd.StdoutPipe()
	l.must(err)
	l.must(cmd.Start())
	p := &process{l: l, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	l.Cleanup(p.kill)
	return p
}

// tell gives a command and returns what the helper said.
func (p *process) tell(format string, args ...any) string {
	p.l.Helper()
	_, err := fmt.Fprintf(p.in, format+"\n", args...)
	p.l.must(err)
	if !p.out.Scan() {
		p.l.Fatalf("the helper is gone: %v", p.out.Err())
	}
	return p.out.Text()
}

// do gives a command that must succeed.
func (p *process) do(format string, args ...any) string {
	p.l.Helper()
	said := p.tell(format, args...)
	rest, ok := strings.CutPrefix(said, "ok ")
	if !ok {
		p.l.Fatalf("helper, %s: %s", fmt.Sprintf(format, args...), said)
	}
	return rest
}

// kill returns when the process is no more.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// stop returns when every thread of the process has stopped.
func (p *process) stop() {
	p.l.Helper()
	p.l.must(p.cmd.Process.Signal(unix.SIGSTOP))
	var status unix.WaitStatus
	_, err := unix.Wait4(p.cmd.Process.Pid, &status, unix.WUNTRACED, nil)
	p.l.must(err)
	if !status.Stopped() {
		p.l.Fatalf("the helper has not stopped: %v", status)
	}
}
