package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func sock(t *testing.T, name string) string { return filepath.Join(t.TempDir(), name+".sock") }

func TestServerAnswers(t *testing.T) {
	st := machine("lan", "LINGER", 17)
	st.Machine.State = "MASTER"
	d := serve(t, sock(t, "eth0-51"), st)
	c := NewClient(d.path)
	got, err := c.Status(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if got.Model != Model || got.Instance != "eth0-51" || got.PID != 42 || got.Machine.Phase != "LINGER" || got.Routers == nil {
		t.Errorf("state: %+v", got)
	}
	if is, err := c.IsMaster(within(t)); !is || err != nil {
		t.Errorf("is-master: %v, %v", is, err)
	}
	for _, v := range Verbs() {
		if r, err := c.Command(within(t), v); err != nil || r != (Result{true, string(v) + " is done"}) {
			t.Errorf("%s: %+v, %v", v, r, err)
		}
	}
	for i, c := range d.asked() {
		if c.Verb != Verbs()[i] || c.UID != uint32(os.Geteuid()) || c.PID != int32(os.Getpid()) {
			t.Errorf("command %d: %+v", i, c)
		}
	}
	d.fake.reply = func(context.Context, Command) (Result, error) { return Result{}, errors.New("the loop is stuck") }
	if r, err := c.Command(within(t), Backup); err != nil || r != (Result{false, "the loop is stuck"}) {
		t.Errorf("a command that was not carried out: %+v, %v", r, err)
	}
}

func TestGroupOfOne(t *testing.T) {
	d := serve(t, sock(t, "eth0-51"), machine("", "BACKUP", 1))
	if st, err := NewClient(d.path).Status(within(t)); err != nil || st.Machine.Group != "eth0-51" {
		t.Errorf("group %q, %v", st.Machine.Group, err)
	}
}

// A command lasts as long as its outcome takes, longer than any limit on the
// request itself, and ends with its caller.
func TestCommandEndsWithItsCaller(t *testing.T) {
	d := serve(t, sock(t, "eth0-51"), machine("lan", "MASTER", 1))
	began, ended := make(chan struct{}), make(chan error, 1)
	d.fake.reply = func(ctx context.Context, _ Command) (Result, error) {
		close(began)
		<-ctx.Done()
		ended <- ctx.Err()
		return Result{}, ctx.Err()
	}
	ctx, cancel := context.WithCancel(within(t))
	go func() {
		<-began
		cancel()
	}()
	if _, err := NewClient(d.path).Command(ctx, Backup); !errors.Is(err, context.Canceled) {
		t.Errorf("command: %v", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the daemon still works for a caller that left")
	}
}

func TestStrangerMayReadAndNotChange(t *testing.T) {
	d := serve(t, sock(t, "eth0-51"), machine("lan", "BACKUP", 1))
	out, err := as(t, 0, "ask", d.path).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if lines[0] != "state BACKUP <nil>" || len(lines) != 1+len(Verbs()) {
		t.Fatalf("said %q", lines)
	}
	for i, v := range Verbs() {
		want := fmt.Sprintf("false %s is for root (or uid %d), and you are uid %d: use sudo <nil>", v, os.Geteuid(), nobody)
		if lines[i+1] != want {
			t.Errorf("%s: said %q, want %q", v, lines[i+1], want)
		}
	}
	if c := d.asked(); len(c) != 0 {
		t.Errorf("the daemon was told %v", c)
	}
	// Not in the socket's group: not even reading.
	out, err = as(t, nobody, "ask", d.path).Output()
	if err != nil || !strings.HasPrefix(string(out), "state  ask "+d.path+": permission denied: be root or a member") {
		t.Errorf("out of the group: %q, %v", out, err)
	}
}

func TestSocketOfAGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to give a file to a group")
	}
	s := &Server{GID: nobody}
	path := sock(t, "a")
	if err := s.Listen(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := exec.Command("stat", "-c", "%a %g", path).Output()
	if err != nil || string(out) != "660 65534\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// A user who holds every connection he can get keeps nobody else out.
func TestFlood(t *testing.T) {
	d := serve(t, sock(t, "eth0-51"), machine("lan", "BACKUP", 1))
	flood := as(t, 0, "flood", d.path)
	in, err := flood.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := flood.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := flood.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if want := fmt.Sprintf("refused %d\n", 2*maxPerUser); err != nil || line != want {
		t.Errorf("the flood said %q, %v; want %q", line, err, want)
	}
	if r, err := NewClient(d.path).Command(within(t), Backup); err != nil || !r.Done {
		t.Errorf("root during the flood: %+v, %v", r, err)
	}
	in.Close()
	flood.Wait()
}

// Root's own connections have a limit as well, and come back when they end.
func TestConnectionsComeBack(t *testing.T) {
	d := serve(t, sock(t, "eth0-51"), machine("lan", "BACKUP", 1))
	limit := maxPerUser
	if os.Geteuid() == 0 {
		limit = maxRoot
	}
	var held []net.Conn
	for range limit {
		c := dial(t, d.path)
		fmt.Fprint(c, "GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n")
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
			t.Fatalf("connection %d: %q, %v", len(held), line, err)
		}
		held = append(held, c)
	}
	extra := dial(t, d.path)
	if all, err := io.ReadAll(extra); !strings.Contains(string(all), "too many connections") {
		t.Errorf("one too many: %q, %v", all, err)
	}
	for _, c := range held {
		c.Close()
	}
	// Each place is free again once the server has noticed; every attempt
	// waits for an answer of its own.
	ctx := within(t)
	for ctx.Err() == nil {
		if _, err := NewClient(d.path).Status(ctx); err == nil {
			return
		}
	}
	t.Error("closed connections are still counted")
}

func TestHostileRequests(t *testing.T) {
	d := serve(t, sock(t, "eth0-51"), machine("lan", "BACKUP", 1))
	for name, c := range map[string]struct{ send, want string }{
		"garbage":     {"\x00\x01\x02 hello\r\n\r\n", "HTTP/1.1 400"},
		"long header": {"GET /v1/state HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "HTTP/1.1 431"},
		"long line":   {"GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 431"},
		"body":        {"POST /v1/backup HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nxx", "HTTP/1.1 413"},
		"chunks":      {"POST /v1/backup HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", "HTTP/1.1 413"},
		"unknown":     {"GET /etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404"},
		"climbing":    {"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 307"},
		"get command": {"GET /v1/backup HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405"},
		"post state":  {"POST /v1/state HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405"},
		"nothing":     {"", ""},
		"half a line": {"GET /v1/sta", "HTTP/1.1 400"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, d.path)
			// The server may answer and hang up while we still write.
			go io.WriteString(conn, c.send)
			got, err := bufio.NewReader(conn).ReadString('\n')
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the server waits for ever")
			}
			if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if c := d.asked(); len(c) != 0 {
		t.Errorf("the daemon was told %v", c)
	}
	if _, err := NewClient(d.path).Status(within(t)); err != nil {
		t.Error(err)
	}
}

func TestWatch(t *testing.T) {
	st := machine("lan", "BACKUP", 16)
	st.Machine.Alarms = []Alarm{{Interface: "vrrp51", Reason: "version", Peer: "192.0.2.9", Message: "no", Do: "this"}}
	d := serve(t, sock(t, "eth0-51"), st)
	var got []Event
	seen := make(chan Event)
	done := make(chan error, 1)
	go func() {
		done <- NewClient(d.path).Watch(within(t), func(e Event) error { seen <- e; return nil })
	}()
	got = append(got, <-seen, <-seen)
	d.feed.Publish(Event{Kind: KindTransition, From: "BACKUP", To: "MASTER", Reason: "master-timeout", Epoch: 17})
	d.feed.Publish(Event{Kind: KindHook, Message: "a\nb"})
	got = append(got, <-seen, <-seen)
	go d.stop()
	got = append(got, <-seen)
	if err := <-done; err != nil {
		t.Errorf("Watch: %v", err)
	}
	want := []Event{
		{Kind: KindState, Group: "lan", To: "BACKUP", Reason: "startup", Epoch: 16},
		{Kind: KindAlarm, Group: "lan", Interface: "vrrp51", Reason: "version", Peer: "192.0.2.9", Active: true, Message: "no; what to do: this"},
		{Kind: KindTransition, Group: "eth0-51", From: "BACKUP", To: "MASTER", Reason: "master-timeout", Epoch: 17},
		{Kind: KindHook, Group: "eth0-51", Message: "a\nb"},
		{Kind: KindEnd, Group: "eth0-51", Message: "vrrpd eth0-51 has ended"},
	}
	for i := range got {
		want[i].Instance = "eth0-51"
		got[i].At = time.Time{}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func (f *Feed) watching() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watchers)
}

// A reader that does not keep up is let go, with a last line that says so; the
// source never waits for him.
func TestSlowWatcher(t *testing.T) {
	d := serve(t, sock(t, "eth0-51"), machine("lan", "BACKUP", 1))
	conn := dial(t, d.path)
	fmt.Fprint(conn, "GET /v1/watch HTTP/1.0\r\n\r\n")
	r := bufio.NewReader(conn)
	next := func() (e Event, ok bool) {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return e, false
			}
			if json.Unmarshal([]byte(line), &e) == nil && e.Kind != "" {
				return e, true
			}
		}
	}
	if e, ok := next(); !ok || e.Kind != KindState {
		t.Fatalf("first line: %+v", e)
	}
	sent := 0
	for d.feed.watching() > 0 {
		d.feed.Publish(Event{Kind: KindHook, Epoch: uint64(sent), Message: strings.Repeat("x", 4096)})
		if sent++; sent > 1e6 {
			t.Fatal("the feed takes everything")
		}
	}
	var last Event
	got := 0
	for e, ok := next(); ok; e, ok = next() {
		if e.Kind == KindHook && e.Epoch != uint64(got) {
			t.Fatalf("event %d came as number %d", e.Epoch, got)
		}
		got++
		last = e
	}
	if last.Kind != KindEnd || !strings.Contains(last.Message, "too slow") {
		t.Errorf("last of %d lines: %+v", got, last)
	}
	if got-1 >= sent {
		t.Errorf("%d of %d events arrived: nothing was lost", got-1, sent)
	}
}

// One that never reads again does not keep the server from ending.
func TestStuckWatcher(t *testing.T) {
	d := serve(t, sock(t, "eth0-51"), machine("lan", "BACKUP", 1))
	conn := dial(t, d.path)
	fmt.Fprint(conn, "GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := bufio.NewReaderSize(conn, 16).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	for d.feed.watching() > 0 {
		d.feed.Publish(Event{Kind: KindHook, Message: strings.Repeat("x", 4096)})
	}
	d.stop()
}

func TestWatcherThatLeavesIsForgotten(t *testing.T) {
	var f Feed
	w := f.watch()
	w.stop()
	w.stop()
	if f.watching() != 0 {
		t.Error("still watched")
	}
	f.Publish(Event{})
	f.Close("over")
	if w := f.watch(); w.why != "over" {
		t.Errorf("a late watcher hears %q", w.why)
	}
}

func TestListenReplacesADeadSocket(t *testing.T) {
	path := sock(t, "eth0-51")
	leaveDead(t, path)
	d := serve(t, path, machine("lan", "BACKUP", 1))
	if _, err := NewClient(path).Status(within(t)); err != nil {
		t.Error(err)
	}
	st, err := os.Lstat(path)
	if err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	d.stop()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
}

// Between bind and the final mode nobody else gets in.
func TestSocketIsBornClosed(t *testing.T) {
	path := sock(t, "a")
	l, err := bind(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if st, err := os.Lstat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

// leaveDead leaves a socket as a killed process does.
func leaveDead(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file.sock")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "target")
	leaveDead(t, target)
	link := filepath.Join(dir, "link.sock")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                               "a file is there that is not ours",
		link:                               "a symbolic link is there that is not ours",
		dir:                                "a directory is there that is not ours",
		filepath.Join(dir, "no", "a.sock"): "no such file or directory",
		filepath.Join(dir, strings.Repeat("x", 120)): "choose a shorter run directory",
	} {
		err := new(Server).Listen(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file: %q, %v", b, err)
	}
	if to, err := os.Readlink(link); err != nil || to != target {
		t.Errorf("the link: %q, %v", to, err)
	}
	if st, err := os.Lstat(target); err != nil || st.Mode().Perm() == 0o660 {
		t.Errorf("the link's target: %v, %v", st, err)
	}
}

// What a successor has put in our place stays.
func TestServerRemovesOnlyItsOwnSocket(t *testing.T) {
	d := serve(t, sock(t, "eth0-51"), machine("lan", "BACKUP", 1))
	os.Remove(d.path)
	leaveDead(t, d.path)
	d.stop()
	if _, err := os.Lstat(d.path); err != nil {
		t.Error(err)
	}
}

func TestServerThatNeverRan(t *testing.T) {
	s := &Server{}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	path := sock(t, "a")
	if err := s.Listen(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
