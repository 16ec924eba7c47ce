package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDiscover(t *testing.T) {
	dir := t.TempDir()
	serve(t, SocketPath(dir, "eth1-52"), machine("lan", "BACKUP", 3))
	serve(t, SocketPath(dir, "eth0-51"), machine("lan", "BACKUP", 3))
	leaveDead(t, SocketPath(dir, "eth2-53"))
	// Stopped: the kernel still takes connections for it.
	stuck, err := net.Listen("unix", SocketPath(dir, "eth3-54"))
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	if err := os.Symlink(SocketPath(dir, "eth0-51"), SocketPath(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(SocketPath(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := Discover(within(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Instance)
	}
	if !slices.Equal(names, []string{"eth0-51", "eth1-52", "eth2-53", "eth3-54"}) {
		t.Fatalf("found %q", names)
	}
	if all[0].Err != nil || all[1].Err != nil || !IsDead(all[2].Err) ||
		!errors.Is(all[3].Err, context.DeadlineExceeded) || IsDead(all[3].Err) {
		t.Errorf("errors: %v, %v, %v, %v", all[0].Err, all[1].Err, all[2].Err, all[3].Err)
	}
	v := Merge(all)
	if len(v.Groups) != 1 || len(v.Groups[0].Members) != 2 || !v.Groups[0].Agreed || v.Empty() || v.Whole() ||
		len(v.Dead) != 1 || v.Dead[0].Instance != "eth2-53" || len(v.Silent) != 1 || v.Silent[0].Instance != "eth3-54" {
		t.Errorf("view: %+v", v)
	}
}

func TestNobodyHere(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, "missing")} {
		v, err := Look(within(t), d)
		if err != nil || !v.Empty() || !v.Whole() {
			t.Errorf("%s: %+v, %v", d, v, err)
		}
	}
	leaveDead(t, SocketPath(dir, "eth0-51"))
	if v, err := Look(within(t), dir); err != nil || !v.Empty() || len(v.Dead) != 1 {
		t.Errorf("a dead one: %+v, %v", v, err)
	}
}

// A transition that one process has not obeyed yet is over when they are asked
// again; one that stays behind is shown.
func TestLookAsksAgain(t *testing.T) {
	dir := t.TempDir()
	serve(t, SocketPath(dir, "a"), machine("lan", "MASTER", 17))
	serve(t, SocketPath(dir, "b"), machine("lan", "BACKUP", 16), machine("lan", "BACKUP", 16), machine("lan", "MASTER", 17))
	v, err := Look(within(t), dir)
	if err != nil || !v.Whole() || v.Groups[0].Phase != "MASTER" {
		t.Errorf("a moment of transition: %+v, %v", v, err)
	}
	serve(t, SocketPath(dir, "c"), machine("lan", "HELD", 12))
	v, err = Look(within(t), dir)
	if err != nil || v.Whole() || v.Groups[0].Agreed || v.Groups[0].Phase != "MASTER" || v.Groups[0].Epoch != 17 {
		t.Fatalf("a process that stays behind: %+v, %v", v, err)
	}
	if m := v.Groups[0].Members[2]; m.Agrees || m.Phase != "HELD" || m.Epoch != 12 {
		t.Errorf("member: %+v", m)
	}
}

func TestMerge(t *testing.T) {
	a, b, alone := machine("lan", "HELD", 5), machine("lan", "HELD", 5), machine("other", "MASTER", 9)
	at := time.Unix(1000, 0)
	a.Routers = []Router{{Parent: "eth1", VRID: 52}}
	b.Routers = []Router{{Parent: "eth0", VRID: 51}}
	a.Machine.Faults = []Fault{{Parent: "eth1", Reason: "link-down"}}
	b.Machine.Partition = true
	whole, mine := Alarm{Reason: "priority-differs", Since: at}, Alarm{Interface: "vrrp51", Reason: "peer-deaf"}
	a.Machine.Alarms = []Alarm{whole}
	b.Machine.Alarms = []Alarm{whole, mine}
	a.Transitions = []Transition{{Epoch: 4, To: "MASTER"}, {Epoch: 5, To: "HELD"}}
	b.Transitions = []Transition{{Epoch: 3, To: "BACKUP"}, {Epoch: 4, To: "MASTER"}}
	b.Hooks = []HookResult{{State: "MASTER"}}
	v := Merge([]Process{{Instance: "eth1-52", Status: a}, {Instance: "x", Status: alone}, {Instance: "eth0-51", Status: b}})
	if len(v.Groups) != 2 || v.Groups[1].Group != "other" || v.Groups[1].Phase != "MASTER" {
		t.Fatalf("groups: %+v", v.Groups)
	}
	g := v.Groups[0]
	if !g.Agreed || !g.Partition || len(g.Faults) != 1 || !slices.Equal(g.Alarms, []Alarm{whole, mine}) ||
		len(g.Routers) != 2 || g.Routers[0].VRID != 51 || len(g.Hooks) != 1 || g.Hooks[0].Instance != "eth0-51" {
		t.Errorf("group: %+v", g)
	}
	var epochs []uint64
	for _, tr := range g.Transitions {
		epochs = append(epochs, tr.Epoch)
	}
	if !slices.Equal(epochs, []uint64{3, 4, 5}) {
		t.Errorf("transitions %v", epochs)
	}
}

// A process that was late tells two steps under one epoch, its sibling only
// their sum.
// Whose fault a transition was, only one of the processes knows.
func TestMergeCulprits(t *testing.T) {
	a, b := machine("lan", "HELD", 5), machine("lan", "HELD", 5)
	a.Transitions = []Transition{{Epoch: 4, To: "MASTER"}, {Epoch: 5, To: "HELD", Reason: "link-down"}}
	b.Transitions = []Transition{{Epoch: 5, To: "HELD", Reason: "link-down", Where: "eth1", Detail: "no carrier"}}
	g := Merge([]Process{{Instance: "a", Status: a}, {Instance: "b", Status: b}}).Groups[0]
	if n := len(g.Transitions); n != 2 || g.Transitions[0].Where != "" || g.Transitions[1].Where != "eth1" || g.Transitions[1].Detail != "no carrier" {
		t.Errorf("%+v", g.Transitions)
	}
}

func TestMergeLateHistory(t *testing.T) {
	late, prompt := machine("lan", "MASTER", 8), machine("lan", "MASTER", 8)
	late.Transitions = []Transition{{Epoch: 5, To: "HELD"}, {Epoch: 8, From: "HELD", To: "BACKUP"}, {Epoch: 8, From: "BACKUP", To: "MASTER"}}
	prompt.Transitions = []Transition{{Epoch: 5, To: "HELD"}, {Epoch: 8, From: "HELD", To: "MASTER"}}
	for _, all := range [][]Process{{{Status: late}, {Status: prompt}}, {{Status: prompt}, {Status: late}}} {
		if got := Merge(all).Groups[0].Transitions; !slices.Equal(got, late.Transitions) {
			t.Errorf("%+v", got)
		}
	}
}

// dying answers state once and dies in the middle of the next request.
func dying(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			http.ReadRequest(bufio.NewReader(c))
			if i == 0 {
				fmt.Fprint(c, "HTTP/1.0 200 OK\r\n\r\n"+`{"machine":{"group":"lan","phase":"MASTER","epoch":1}}`)
			}
			c.Close()
		}
	}()
}

func TestGroupCommandFallsBack(t *testing.T) {
	for _, c := range []struct {
		verb Verb
		dead bool // it is dead before the command is sent
		asks int  // how often the other process must have been asked
	}{
		{Backup, false, 1}, {Hold, false, 1}, {Release, false, 1},
		// Perhaps carried out: -10 must not become -20.
		{Reduce, false, 0}, {Increase, false, 0},
		{Reduce, true, 1},
	} {
		t.Run(fmt.Sprint(c.verb, c.dead), func(t *testing.T) {
			dir := t.TempDir()
			dying(t, SocketPath(dir, "a"))
			other := serve(t, SocketPath(dir, "b"), machine("lan", "MASTER", 1))
			v, err := Look(within(t), dir)
			if err != nil || len(v.Groups) != 1 || len(v.Groups[0].Members) != 2 {
				t.Fatalf("%+v, %v", v, err)
			}
			if c.dead {
				os.Remove(SocketPath(dir, "a"))
			}
			r, err := v.Groups[0].Command(within(t), c.verb)
			if n := len(other.asked()); n != c.asks {
				t.Errorf("the other process was asked %d times, want %d", n, c.asks)
			}
			if c.asks == 1 && (err != nil || !r.Done) || c.asks == 0 && err == nil {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestGroupCommandIsSentOnce(t *testing.T) {
	dir := t.TempDir()
	a := serve(t, SocketPath(dir, "a"), machine("lan", "BACKUP", 1))
	b := serve(t, SocketPath(dir, "b"), machine("lan", "BACKUP", 2))
	v, err := Look(within(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Groups[0].Command(within(t), Reduce); err != nil {
		t.Fatal(err)
	}
	if len(a.asked()) != 0 || len(b.asked()) != 1 {
		t.Errorf("a was asked %d times, b %d; want the one of the newest epoch once", len(a.asked()), len(b.asked()))
	}
}

func TestFollow(t *testing.T) {
	dir := t.TempDir()
	leaveDead(t, SocketPath(dir, "dead"))
	a := serve(t, SocketPath(dir, "a"), machine("lan", "BACKUP", 1))
	b := serve(t, SocketPath(dir, "b"), machine("lan", "BACKUP", 1))
	ctx, cancel := context.WithCancel(within(t))
	seen := make(chan Event, 100)
	done := make(chan error, 1)
	go func() { done <- Follow(ctx, dir, func(e Event) error { seen <- e; return nil }) }()
	expect := func(kind, instance, to string) {
		t.Helper()
		select {
		case e := <-seen:
			if e.Kind != kind || e.To != to || !strings.Contains(instance, e.Instance) {
				t.Errorf("got %+v, want %s of %s to %q", e, kind, instance, to)
			}
		case <-time.After(patience):
			t.Fatalf("no %s of %s", kind, instance)
		}
	}
	expect(KindState, "a or b", "BACKUP")
	waitWatched(t, a, b)
	tr := Event{Kind: KindTransition, Group: "lan", To: "MASTER", Epoch: 2}
	a.feed.Publish(tr)
	b.feed.Publish(tr)
	expect(KindTransition, "a or b", "MASTER")
	b.feed.Publish(Event{Kind: KindHook, Group: "lan"})
	expect(KindHook, "b", "")

	// One that was late tells two steps under one epoch, its sibling the sum.
	a.feed.Publish(Event{Kind: KindTransition, Group: "lan", From: "MASTER", To: "HELD", Epoch: 5})
	a.feed.Publish(Event{Kind: KindTransition, Group: "lan", From: "HELD", To: "BACKUP", Epoch: 5})
	expect(KindTransition, "a", "HELD")
	expect(KindTransition, "a", "BACKUP")
	b.feed.Publish(Event{Kind: KindTransition, Group: "lan", From: "MASTER", To: "BACKUP", Epoch: 5})
	b.feed.Publish(Event{Kind: KindHook, Group: "lan"})
	expect(KindHook, "b", "")

	// What concerns the whole machine each process says, and it is told once.
	for _, e := range []Event{
		{Kind: KindAlarm, Group: "lan", Reason: "mixed-view", Active: true},
		{Kind: KindAlarm, Group: "lan", Reason: "partition-over"},
		{Kind: KindAlarm, Group: "lan", Reason: "mixed-view", Active: true},
		{Kind: KindAlarm, Group: "lan", Reason: "partition-over"},
	} {
		a.feed.Publish(e)
		expect(KindAlarm, "a", "")
		b.feed.Publish(e)
		b.feed.Publish(Event{Kind: KindHook, Group: "lan"})
		expect(KindHook, "b", "")
	}

	// One that starts later, alone in its group.
	c := serve(t, SocketPath(dir, "c"), machine("", "BACKUP", 9))
	expect(KindState, "c", "BACKUP")
	waitWatched(t, c)
	c.stop()
	expect(KindEnd, "c", "")
	// Its epoch begins anew.
	serve(t, SocketPath(dir, "c"), machine("", "HELD", 1))
	expect(KindState, "c", "HELD")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(seen) > 0 {
		t.Errorf("told besides: %+v", <-seen)
	}
	if err := Follow(within(t), filepath.Join(dir, "missing"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
}

// A process that dies without a word is told as well.
func TestFollowDeath(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", SocketPath(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		http.ReadRequest(bufio.NewReader(c))
		fmt.Fprint(c, "HTTP/1.0 200 OK\r\n\r\n"+`{"kind":"state","instance":"a","group":"lan","to":"MASTER"}`+"\n")
		c.Close()
	}()
	enough := errors.New("enough")
	var got []Event
	err = Follow(within(t), dir, func(e Event) error {
		if got = append(got, e); len(got) == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || got[1].Kind != KindEnd || got[1].Instance != "a" || !strings.Contains(got[1].Message, "died") {
		t.Errorf("%+v, %v", got, err)
	}
}

func waitWatched(t *testing.T, all ...*daemon) {
	t.Helper()
	ctx := within(t)
	for _, d := range all {
		for d.feed.watching() == 0 {
			if ctx.Err() != nil {
				t.Fatal("nobody watches")
			}
			// Each question is a round trip through the server.
			NewClient(d.path).IsMaster(ctx)
		}
	}
}
