package grouplock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/election"
)

// patience is how long a test waits for an event that must come. It bounds a
// failure, not a success: two noisy cores may be slow.
const patience = 20 * time.Second

// helperEnv makes the test binary a member process instead of running tests.
const helperEnv = "GROUPLOCK_TEST_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		helper(os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

// helper is one member process: commands come line by line, one answer each;
// bells are lines of their own.
func helper(in io.Reader, out io.Writer) {
	var g *Group
	corpses := map[string]*Corpse{}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			lines <- s.Text()
		}
	}()
	bells := make(chan Bell, 1000)
	for {
		var line string
		var open bool
		select {
		case b := <-bells:
			fmt.Fprintf(out, "bell rang=%v joined=%v left=%v dead=%v lost=%v\n", b.Rang, b.Joined, b.Left, b.Dead, b.Lost)
			continue
		case line, open = <-lines:
			if !open {
				return
			}
		}
		args := strings.Fields(line)
		fail := func(err error) { fmt.Fprintf(out, "error %v\n", err) }
		switch args[0] {
		case "join": // dir group instance wanted
			wanted, _ := strconv.Atoi(args[4])
			var err error
			if g, err = Join(testConfig(args[1], args[2], args[3], wanted)); err != nil {
				fail(err)
				continue
			}
			go g.Run(context.Background(), func(b Bell) { bells <- b })
			fmt.Fprintf(out, "ok slot=%d\n", g.Slot())
		case "publish":
			n, _ := strconv.ParseUint(args[1], 10, 64)
			g.Publish([]election.Facts{pattern(n)})
			fmt.Fprintln(out, "ok")
		case "hammer": // publish patterns until killed
			fmt.Fprintln(out, "ok")
			for n := uint64(1); ; n++ {
				g.Publish([]election.Facts{pattern(n)})
			}
		case "realise":
			g.Realise(election.MakeWord(1, election.Master, election.MasterTimeout))
			fmt.Fprintln(out, "ok")
		case "ring":
			g.Ring()
			fmt.Fprintln(out, "ok")
		case "race": // rival's slot, until epoch
			rival, _ := strconv.ParseUint(args[1], 10, 8)
			n, _ := strconv.ParseUint(args[2], 10, 64)
			won, err := race(g, uint8(rival), n)
			if err != nil {
				fail(err)
				continue
			}
			fmt.Fprintln(out, "ok", strings.Trim(fmt.Sprint(won), "[]"))
		case "take":
			c, err := g.TakeOver(args[1])
			switch {
			case errors.Is(err, ErrAlive):
				fmt.Fprintln(out, "ok alive")
			case errors.Is(err, ErrBusy):
				fmt.Fprintln(out, "ok busy")
			case errors.Is(err, ErrClean):
				fmt.Fprintln(out, "ok clean")
			case err != nil:
				fail(err)
			default:
				corpses[args[1]] = c
				fmt.Fprintln(out, "ok corpse")
			}
		case "done":
			if err := corpses[args[1]].Done(); err != nil {
				fail(err)
				continue
			}
			fmt.Fprintln(out, "ok")
		case "leave":
			if err := g.Leave(); err != nil {
				fail(err)
				continue
			}
			fmt.Fprintln(out, "ok")
		}
	}
}

// stamp is a time that names the author and the epoch of a word.
func stamp(slot uint8, epoch uint64) election.Time {
	return election.Time(epoch<<8 | uint64(slot))
}

// race swaps the word against another process until an epoch is reached, and
// checks all the while that Since is the present word's. Before each swap the two
// meet at a barrier in spare words of the group file, so that every epoch is
// contended; the swap does not ring, which would hold one of them back.
func race(g *Group, rival uint8, until uint64) (won []uint64, err error) {
	barrier := func(slot uint8) int { return grpBell + 1 + int(slot) }
	for {
		old := g.Load()
		since, now := g.Since(), g.Load()
		if old == now && now.Reason() != election.Startup {
			if want := stamp(now.Slot(), now.Epoch()); since != want {
				return nil, fmt.Errorf("word of epoch %d by slot %d: since %#x, want %#x", now.Epoch(), now.Slot(), since, want)
			}
		}
		if old.Epoch() >= until {
			return won, nil
		}
		new := old.Next(election.Backup, election.Recovered)
		g.common.store(barrier(g.Slot()), new.Epoch())
		for i := 1; g.common.load(barrier(rival)) < new.Epoch(); i++ {
			if i%1000 == 0 { // it may be waiting for this core
				unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
			}
		}
		if swapWord(g.common, g.Slot(), old, new, stamp(g.Slot(), new.Epoch())) {
			won = append(won, new.Epoch())
		}
	}
}

// pattern is facts in which every word tells n.
func pattern(n uint64) (f election.Facts) {
	for i := range blockOf(&f) {
		blockOf(&f)[i] = n
	}
	return f
}

// patternOf returns n if the facts are whole.
func patternOf(f *election.Facts) (uint64, bool) {
	b := blockOf(f)
	for _, v := range b {
		if v != b[0] {
			return 0, false
		}
	}
	return b[0], true
}

func testIdentity(instance string) Identity {
	return Identity{Parent: "eth0", VMAC: "vrrp51", Family: 4, VRID: 51, Frame: []byte("advert of " + instance)}
}

func testConfig(dir, group, instance string, wanted int) Config {
	return Config{Dir: dir, Group: group, Instance: instance, Wanted: wanted, Routers: []Identity{testIdentity(instance)}}
}

// process is a member process of its own.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	bells []string // seen while something else was awaited
}

func startProcess(t *testing.T) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), helperEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, in: in, lines: make(chan string, 100000)}
	go func() {
		defer close(p.lines)
		s := bufio.NewScanner(out)
		s.Buffer(nil, 16<<20)
		for s.Scan() {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		for range p.lines {
		}
		cmd.Wait()
	})
	return p
}

// joined starts a process that has joined and published.
func joined(t *testing.T, dir, group, instance string, wanted int) *process {
	t.Helper()
	p := startProcess(t)
	p.do(fmt.Sprintf("join %s %s %s %d", dir, group, instance, wanted))
	p.do("publish 1")
	return p
}

func (p *process) send(line string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
}

// answer awaits the answer to a command; an error fails the test.
func (p *process) answer() string {
	p.t.Helper()
	for {
		line := p.line("an answer")
		if strings.HasPrefix(line, "bell ") {
			p.bells = append(p.bells, line)
			continue
		}
		rest, ok := strings.CutPrefix(line, "ok")
		if !ok {
			p.t.Fatalf("process %d: %s", p.cmd.Process.Pid, line)
		}
		return strings.TrimSpace(rest)
	}
}

func (p *process) do(line string) string {
	p.t.Helper()
	p.send(line)
	return p.answer()
}

// bell awaits a bell that contains a text.
func (p *process) bell(text string) {
	p.t.Helper()
	match := func(s string) bool { return strings.Contains(s, text) }
	if i := slices.IndexFunc(p.bells, match); i >= 0 {
		p.bells = p.bells[i+1:]
		return
	}
	for {
		if match(p.line("bell " + text)) {
			return
		}
	}
}

func (p *process) line(what string) string {
	p.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case line, open := <-p.lines:
		if !open {
			p.t.Fatalf("process %d ended while %s was awaited", p.cmd.Process.Pid, what)
		}
		return line
	case <-timeout.C:
		p.t.Fatalf("process %d: no %s", p.cmd.Process.Pid, what)
	}
	panic("unreachable")
}

// kill ends the process and waits until the kernel has buried it.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Wait()
}

// mustJoin joins in this process.
func mustJoin(t *testing.T, cfg Config) *Group {
	t.Helper()
	g, err := Join(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Leave() })
	return g
}

// listen runs the group and returns its bells.
func listen(t *testing.T, g *Group) <-chan Bell {
	t.Helper()
	bells := make(chan Bell, 100000)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx, func(b Bell) { bells <- b }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return bells
}

func await(t *testing.T, bells <-chan Bell, what string, match func(Bell) bool) Bell {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		select {
		case b := <-bells:
			if match(b) {
				return b
			}
		case <-timeout.C:
			t.Fatalf("no bell: %s", what)
		}
	}
}

// bury awaits the death of a member and takes it over. ErrBusy is not a failure:
// the dying process may have dropped one lock but not yet the other, or another
// cleaner is at work; Run calls again.
func bury(t *testing.T, g *Group, bells <-chan Bell, instance string) (c *Corpse) {
	t.Helper()
	await(t, bells, instance+" dead", func(b Bell) bool {
		if !slices.Contains(b.Dead, instance) {
			return false
		}
		var err error
		if c, err = g.TakeOver(instance); err != nil && !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
		return err == nil
	})
	return c
}

func hasDead(instance string) func(Bell) bool {
	return func(b Bell) bool { return slices.Contains(b.Dead, instance) }
}

func hasLeft(instance string) func(Bell) bool {
	return func(b Bell) bool { return slices.Contains(b.Left, instance) }
}

func hasJoined(instance string) func(Bell) bool {
	return func(b Bell) bool { return slices.Contains(b.Joined, instance) }
}

func rang(b Bell) bool { return b.Rang }

// crash ends a group of this process as a SIGKILL would: nothing is marked or
// removed, the locks go.
func crash(g *Group) {
	g.left.Store(true)
	g.inotify.SetReadDeadline(time.Unix(1, 0))
	g.running.Lock()
	defer g.running.Unlock()
	g.record.close() // a mapping keeps the file open
	g.close()
}

// runDir is a run directory in memory where there is one.
func runDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		names = append(names, f.Name())
	}
	return names
}
