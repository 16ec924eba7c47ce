package health

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program copies this program under another name.
func program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Link(self, path); err != nil {
		b, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// pretend runs a program that does nothing until it is killed.
func pretend(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(path, "pretend")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

func write(t *testing.T, path string, pid int) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strconv.Itoa(pid)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// once makes a check whose process is looked at only when the kernel tells.
func once(p Process) Check {
	return Check{Name: "p", Process: p, Interval: time.Hour, Rise: 1, Fall: 1}
}

// A process of a pid file: directory and file come later, the process dies (and is a
// zombie first), another takes its place, the file is replaced as editors and daemons
// do it. Nothing is looked for at intervals: they are an hour long.
func TestPIDFile(t *testing.T) {
	path := program(t, "named")
	dir := filepath.Join(t.TempDir(), "run", "named")
	file := filepath.Join(dir, "named.pid")
	b := start(t, Options{}, Pending, once(Process{PIDFile: file}))
	b.becomes(Failing, "open "+file+": no such file or directory")
	runs := func(cmd *exec.Cmd) string {
		return fmt.Sprintf("the process of %s runs (pid %d)", file, cmd.Process.Pid)
	}
	first := pretend(t, path)
	for range 2 {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, file, first.Process.Pid)
		b.becomes(Passing, runs(first))

		// That the file goes does not matter: the process is known.
		if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
			t.Fatal(err)
		}
		first.Process.Kill() // nobody reaps it
		b.becomes(Failing, "open "+file+": no such file or directory")
		kill(first)
		first = pretend(t, path)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, file, first.Process.Pid)
	b.becomes(Passing, runs(first))

	// A restart: the new number is there before the old process has gone.
	second := pretend(t, path)
	next := file + ".new"
	write(t, next, second.Process.Pid)
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
	kill(first)
	// And a stale file, whose number nobody has.
	kill(second)
	b.becomes(Failing, fmt.Sprintf("the process of %s does not run any more (pid %d)", file, second.Process.Pid))
	for text, why := range map[string]string{
		"": " is empty", "\n": " is empty", "x": " does not begin with the number of a process",
		"-1": " does not begin with the number of a process", "99999999999": " does not begin with the number of a process",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if pid, got := readPID(file); pid != 0 || got != file+why {
			t.Errorf("%q: %d, %s", text, pid, got)
		}
	}
}

// Without inotify (its instances are used up) the interval finds what is new.
func TestPIDFileWithoutInotify(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.pid")
	none := func(string) (*fileWatch, error) { return nil, syscall.EMFILE }
	b := start(t, Options{watch: none}, Pending, Check{Name: "p", Process: Process{PIDFile: file}, Interval: 10 * time.Millisecond, Rise: 1, Fall: 1})
	b.becomes(Failing, "open "+file+": no such file or directory")
	cmd := pretend(t, program(t, "vrrpd-test-c"))
	next := file + ".new"
	write(t, next, cmd.Process.Pid)
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
	b.becomes(Passing, fmt.Sprintf("the process of %s runs (pid %d)", file, cmd.Process.Pid))
	kill(cmd)
	b.becomes(Failing, fmt.Sprintf("the process of %s does not run any more (pid %d)", file, cmd.Process.Pid))
}

// A number that belongs to another program by now is not the process.
func TestPIDFileWithName(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.pid")
	wrong, right := pretend(t, program(t, "vrrpd-test-a")), pretend(t, program(t, "vrrpd-test-b"))
	write(t, file, wrong.Process.Pid)
	b := start(t, Options{}, Pending, once(Process{PIDFile: file, Name: "vrrpd-test-b"}))
	b.becomes(Failing, fmt.Sprintf("%s says %d, which is not vrrpd-test-b", file, wrong.Process.Pid))
	write(t, file, right.Process.Pid)
	b.becomes(Passing, fmt.Sprintf("vrrpd-test-b runs (pid %d)", right.Process.Pid))
	kill(right)
	b.becomes(Failing, fmt.Sprintf("vrrpd-test-b does not run any more (pid %d)", right.Process.Pid))
}

// A process that is known by name: the oldest of several is watched, and when it dies
// the next one; none is a failure at once, and found again within an interval.
func TestProcessByName(t *testing.T) {
	unique := strconv.Itoa(os.Getpid())
	for _, name := range []string{"vrrpd" + unique, "vrrpd-test-with-a-long-name-" + unique, "path"} {
		t.Run(name, func(t *testing.T) {
			path := program(t, name)
			if name == "path" {
				name = path
			}
			pretend(t, program(t, filepath.Base(name)[:min(len(filepath.Base(name)), 15)]+"x")) // another one, with the same beginning
			first := pretend(t, path)
			b := start(t, Options{}, Pending, Check{Name: "p", Process: Process{Name: name}, Interval: 20 * time.Millisecond, Rise: 1, Fall: 1})
			b.becomes(Passing, fmt.Sprintf("%s runs (pid %d)", name, first.Process.Pid))
			second := pretend(t, path)
			kill(first)
			kill(second)
			b.becomes(Failing, "no process "+name+" runs")
			third := pretend(t, path)
			b.becomes(Passing, fmt.Sprintf("%s runs (pid %d)", name, third.Process.Pid))
		})
	}
}

// While a process runs nothing is done: its end is told.
func TestProcessIsNotPolled(t *testing.T) {
	name := "vrrpd" + strconv.Itoa(os.Getpid())
	cmd := pretend(t, program(t, name))
	other := name + "b"
	path := program(t, other)
	first := Check{Name: "p", Process: Process{Name: name}, Interval: time.Millisecond, Rise: 2, Fall: 2}
	b := start(t, Options{}, Pending, first)
	b.becomes(Passing, fmt.Sprintf("%s runs (pid %d)", name, cmd.Process.Pid))
	// Another one is looked for, and has to run for twenty intervals.
	b.Apply([]Check{first, {Name: "q", Process: Process{Name: other}, Interval: time.Millisecond, Rise: 20, Fall: 2}}, Pending)
	b.becomes(Failing, "no process "+other+" runs")
	second := pretend(t, path)
	b.becomes(Passing, fmt.Sprintf("%s runs (pid %d)", other, second.Process.Pid))
	if s := b.Status()[0]; s.Observations != 1 {
		t.Errorf("observed %d times", s.Observations)
	}
	kill(cmd)
	b.becomes(Failing, "no process "+name+" runs")
}

func TestParseStat(t *testing.T) {
	const rest = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	for text, want := range map[string]stat{
		"7 (a) S" + rest:         {"a", 'S', 4711},
		"7 (a) b) (c) Z" + rest:  {"a) b) (c", 'Z', 4711},
		"7 () R" + rest:          {"", 'R', 4711},
		"7 (a\n) X" + rest + "x": {"a\n", 'X', 4711},
	} {
		if got, ok := parseStat(text); !ok || got != want {
			t.Errorf("%q: %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "7 (a", "7 a) S" + rest, ")(", "7 (a) S", "7 (a) SS" + rest, "7 (a) S" + strings.Replace(rest, "4711", "x", 1)} {
		if got, ok := parseStat(text); ok {
			t.Errorf("%q: %+v", text, got)
		}
	}
	if Hidden() {
		t.Error("the first process is hidden")
	}
	if s, ok := readStat(os.Getpid()); !ok || !s.alive() || s.start == 0 {
		t.Errorf("this program: %+v, %v", s, ok)
	}
}
