package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

// patience is for one run of the demo on a busy machine.
const patience = 2 * time.Minute

// mark is in the environment of everything that a run starts.
const mark = "VRRPD_DEMO_TEST_MARK"

// built are the demo and the programs that it shows, in a directory that
// everybody may read.
func built(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-o", dir+"/", "vrrpd/cmd/vrrpd", "vrrpd/cmd/atropos", "vrrpd/internal/demo")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

// needsLab skips the test, loudly, where the demo cannot run.
func needsLab(t *testing.T) {
	t.Helper()
	err := netlab.Available()
	if err != nil && os.Getenv(netlab.Required) != "" {
		t.Fatalf("the demo cannot run here: %v", err)
	}
	if err != nil {
		t.Skipf("SKIPPED, the demo cannot run here: %v", err)
	}
}

// performance is one run of the demo.
type performance struct {
	cmd    *exec.Cmd
	secret string
	stdout bytes.Buffer
	stderr bytes.Buffer
}

// start starts the demo; what it writes goes to onLine, line by line, and is
// kept.
func start(t *testing.T, dir string, onLine func(r *performance, line string), args ...string) *performance {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	r := &performance{secret: rand.Text()}
	// The holders of the hosts do not inherit the environment, but are the same
	// program: by a name of its own.
	program := filepath.Join(dir, "demo-"+r.secret)
	if err := os.Link(filepath.Join(dir, "demo"), program); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.CommandContext(ctx, program, args...)
	r.cmd.Env = append(os.Environ(), mark+"="+r.secret)
	r.cmd.Stderr = &r.stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(io.TeeReader(out, &r.stdout))
	for lines.Scan() {
		if onLine != nil {
			onLine(r, lines.Text())
		}
	}
	if err := r.cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("the demo has not ended within %v:\n%s", patience, r.stdout.String())
	}
	return r
}

func (r *performance) code() int { return r.cmd.ProcessState.ExitCode() }

// processes lists what lives of the run.
func (r *performance) processes(t *testing.T) (list []string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		env, _ := os.ReadFile(dir + "/environ") // it may be gone by now
		exe, _ := os.Readlink(dir + "/exe")
		if bytes.Contains(env, []byte(mark+"="+r.secret)) || strings.Contains(exe, r.secret) {
			cmdline, _ := os.ReadFile(dir + "/cmdline")
			list = append(list, dir+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return list
}

// leavesNothing fails the test if the run has left something behind. What the
// kernel kills by itself needs a moment.
func (r *performance) leavesNothing(t *testing.T, before ground) {
	t.Helper()
	netlab.Eventually(t, 20*time.Second, func() (bool, string) {
		left := r.processes(t)
		return len(left) == 0, strings.Join(left, "\n")
	})
	after, err := survey()
	if err != nil {
		t.Fatal(err)
	}
	if err := before.compare(after); err != nil {
		t.Error(err)
	}
}

func flags(dir string) []string {
	return []string{"-quick", "-vrrpd", filepath.Join(dir, "vrrpd"), "-atropos", filepath.Join(dir, "atropos")}
}

// TestProgram runs the demo itself. Its binaries are built once.
func TestProgram(t *testing.T) {
	dir := built(t)
	t.Run("usage", func(t *testing.T) { testUsage(t, dir) })
	t.Run("without root", func(t *testing.T) { testWithoutRoot(t, dir) })
	t.Run("in the laboratory", func(t *testing.T) { testInLab(t, dir) })
}

func testInLab(t *testing.T, dir string) {
	needsLab(t)
	before, err := survey()
	if err != nil {
		t.Fatal(err)
	}

	t.Run("quick", func(t *testing.T) {
		t.Parallel()
		began := time.Now()
		r := start(t, dir, nil, flags(dir)...)
		t.Logf("%v", time.Since(began))
		text := r.stdout.String()
		if r.code() != 0 || r.stderr.Len() > 0 {
			t.Errorf("exit code %d, stderr %q\n%s", r.code(), r.stderr.String(), text)
		}
		for _, want := range []string{
			`(?m)^r1# vrrpd -i eth0 -v 51 ipaddr 10\.16\.1\.200 -M 2 \\$`,
			`(?m)^r2# vrrpd -i eth1 -v 52 ipaddr 10\.17\.1\.200 -M 2 \\$`,
			`(?m)^r[12] is MASTER of both LANs, [0-9.]+ s after the first line`,
			`(?m)^  vrrp51@eth0      UP             10\.16\.1\.200/32$`,
			`(?m)^  vrrp51@eth0      DOWN$`,
			`(?m)^ +[0-9.]+ ms   r[12]       eth0 lost its carrier$`,
			`(?m)^ +[0-9.]+ ms   LAN B    r[12] resigns: priority 0`,
			`(?m)^ +[0-9.]+ ms   LAN A    r[12] speaks: first advert as MASTER, priority 100$`,
			`(?m)^  => the client lost [0-9]+ datagrams, longest gap [0-9.]+ ms$`,
			`(?m)^  => r[12] is MASTER of both LANs$`,
			`(?m)^  r[12] is plugged in again, and BACKUP [0-9.]+ s later; r[12] stays MASTER$`,
			`(?m)^  a\. cable pulled on LAN A +r[12] -> r[12] +[0-9]+ +[0-9.]+`,
			`(?m)^Cleaned up: `,
		} {
			if !regexp.MustCompile(want).MatchString(text) {
				t.Errorf("the demo does not show %s", want)
			}
		}
		// A client that stood still itself has sent nothing in some columns.
		client := `(?m)^  client +\.+[+ .]*#[#+ ]*\.+`
		if late := regexp.MustCompile(`The client itself was up to ([0-9.]+) ms late`).FindStringSubmatch(text); late == nil {
			t.Error("it does not say how late the client was")
		} else if ms, err := strconv.ParseFloat(late[1], 64); err != nil || (ms < 20 && !regexp.MustCompile(client).MatchString(text)) {
			t.Errorf("the demo does not show %s, %v", client, err)
		}
		if strings.Contains(text, "\x1b") {
			t.Error("colours without a terminal")
		}
		if strings.Contains(text, "log records") {
			t.Error("nobody took what was logged")
		}
		for line := range strings.Lines(text) {
			if len(line) > 80 {
				t.Errorf("%d characters: %q", len(line)-1, line)
			}
		}
		if t.Failed() {
			t.Log(text)
		}
		r.leavesNothing(t, before)
	})

	// However it is ended, in the middle of things, nothing stays.
	for name, c := range map[string]struct {
		signal syscall.Signal
		at     string // the beginning of a line
		code   int
		alive  int // processes then, at least: the demo, two holders, the daemons
	}{
		"SIGINT in an event":     {syscall.SIGINT, "a. ", 130, 7},
		"SIGTERM at the start":   {syscall.SIGTERM, "r2# vrrpd", 130, 5},
		"SIGKILL with a MASTER":  {syscall.SIGKILL, "r1# atropos", -1, 7},
		"SIGINT before anything": {syscall.SIGINT, "The laboratory", 130, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := false
			r := start(t, dir, func(r *performance, line string) {
				if !sent && strings.HasPrefix(line, c.at) {
					sent = true
					if alive := r.processes(t); len(alive) < c.alive {
						t.Errorf("only %d processes of the demo live, want %d: %v", len(alive), c.alive, alive)
					}
					if err := r.cmd.Process.Signal(c.signal); err != nil {
						t.Error(err)
					}
				}
			}, flags(dir)...)
			if !sent || r.code() != c.code {
				t.Errorf("sent %v, exit code %d, want %d; stderr %q\n%s", sent, r.code(), c.code, r.stderr.String(), r.stdout.String())
			}
			if c.code == 130 && (!strings.Contains(r.stderr.String(), "interrupted") || !strings.Contains(r.stdout.String(), "Cleaned up")) {
				t.Errorf("it does not say that it was interrupted and has cleaned up; stderr %q\n%s", r.stderr.String(), r.stdout.String())
			}
			r.leavesNothing(t, before)
		})
	}

	// A daemon that does not do what it should is a failure of the demo.
	t.Run("a daemon that fails", func(t *testing.T) {
		t.Parallel()
		r := start(t, dir, nil, "-vrrpd", "/bin/false", "-atropos", filepath.Join(dir, "atropos"))
		if r.code() != 1 || !strings.Contains(r.stderr.String(), "vrrpd -i eth0 -v 51") {
			t.Errorf("exit code %d, stderr %q", r.code(), r.stderr.String())
		}
		r.leavesNothing(t, before)
	})
}

// Without root the demo says so, and nothing else happens.
func testWithoutRoot(t *testing.T, dir string) {
	cmd := exec.Command(filepath.Join(dir, "demo"), flags(dir)...)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "needs root") {
		t.Errorf("%v, exit code %d, stderr %q", err, cmd.ProcessState.ExitCode(), stderr.String())
	}
	if lines := strings.Count(string(stdout), "\n"); lines > 2 {
		t.Errorf("it begins all the same:\n%s", stdout)
	}
}

func testUsage(t *testing.T, dir string) {
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"operand":        {[]string{"now"}, 2, `"now"`},
		"unknown option": {[]string{"-fast"}, 2, "-fast"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(filepath.Join(dir, "demo"), c.args...)
			out, _ := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != c.code || !strings.Contains(string(out), c.want) {
				t.Errorf("exit code %d, output %q", cmd.ProcessState.ExitCode(), out)
			}
		})
	}
}
