package grouplock

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"vrrpd/election"
)

func TestLastOneRemovesTheGroup(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	b := mustJoin(t, testConfig(dir, "g", "b", 2))
	if got := files(t, dir); !slices.Equal(got, []string{"a.member", "b.member", "g.group"}) {
		t.Errorf("files: %v", got)
	}
	if err := a.Leave(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); !slices.Equal(got, []string{"b.member", "g.group"}) {
		t.Errorf("files after a left: %v", got)
	}
	if err := b.Leave(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files after all left: %v", got)
	}
}

func TestHoldOutlivesTheLastProcess(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 1))
	a.Wish(a.Wishes(), election.Wishes{Hold: true, Priority: 7})
	epoch := a.Load().Epoch()
	if err := a.Leave(); err != nil {
		t.Fatal(err)
	}
	a = mustJoin(t, testConfig(dir, "g", "a", 1))
	if got := a.Wishes(); got != (election.Wishes{Hold: true}) {
		t.Errorf("wishes: %+v", got)
	}
	if got := a.Load().Epoch(); got != epoch+1 {
		t.Errorf("epoch %d after %d", got, epoch)
	}
}

func TestFirstAliveStartsTheGroup(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	w := a.Load()
	if !a.Swap(w, w.Next(election.Master, election.MasterTimeout), 5) {
		t.Fatal("swap refused")
	}
	a.Wish(a.Wishes(), election.Wishes{Soft: true, Priority: 9})
	b := mustJoin(t, testConfig(dir, "g", "b", 2))
	if got := b.Load(); got.State() != election.Master || got.Epoch() != 2 {
		t.Errorf("the second one changed the word: %v in epoch %d", got.State(), got.Epoch())
	}
	if got := b.Wishes(); got != (election.Wishes{Soft: true, Priority: 9}) {
		t.Errorf("the second one changed the wishes: %+v", got)
	}
	crash(a)
	crash(b)
	c := mustJoin(t, testConfig(dir, "g", "c", 2))
	if got := c.Load(); got.State() != election.Held || got.Reason() != election.Startup || got.Epoch() != 3 {
		t.Errorf("word after all died: %v %v in epoch %d", got.State(), got.Reason(), got.Epoch())
	}
	if got := c.Wishes(); got != (election.Wishes{Soft: true}) {
		t.Errorf("wishes after all died: %+v", got)
	}
	if c.Since() != c.own.start {
		t.Errorf("since %d", c.Since())
	}
	b1 := await(t, listen(t, c), "the dead", hasDead("a"))
	if !slices.Equal(b1.Dead, []string{"a", "b"}) {
		t.Errorf("dead at start: %v", b1.Dead)
	}
}

// TestSinceOutlivesItsAuthor: the time of the word is in the group file.
func TestSinceOutlivesItsAuthor(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	b := mustJoin(t, testConfig(dir, "g", "b", 2))
	w := a.Load()
	if !a.Swap(w, w.Next(election.Backup, election.Recovered), 123) {
		t.Fatal("swap refused")
	}
	crash(a)
	if got := b.Since(); got != 123 {
		t.Errorf("since %d", got)
	}
	// Another attempt of its author, stopped before the swap, destroys nothing.
	b.common.store(sinceCell(a.Slot(), w.Epoch()+2), 0)
	if got := b.Since(); got != 123 {
		t.Errorf("since %d", got)
	}
	// A new process gets the slot of the dead one.
	c := mustJoin(t, testConfig(dir, "g", "c", 2))
	if c.Slot() != a.Slot() || c.Since() != 123 {
		t.Errorf("slot %d, since %d", c.Slot(), c.Since())
	}
}

func TestContentOfAnotherBootIsIgnored(t *testing.T) {
	dir := runDir(t)
	m, err := thisMachine()
	if err != nil {
		t.Fatal(err)
	}
	before := m
	before.boot[0]++
	for _, instance := range []string{"a", "b"} {
		old, err := join(testConfig(dir, "g", instance, 2), before)
		if err != nil {
			t.Fatal(err)
		}
		old.Publish([]election.Facts{pattern(1)})
		old.Wish(old.Wishes(), election.Wishes{Soft: true, Hold: true, Priority: 3})
		w := old.Load()
		old.Swap(w, w.Next(election.Master, election.MasterTimeout), 5)
		defer crash(old)
		if instance == "b" {
			crash(old)
		}
	}
	// a still has its locks, as if another container with its own boot shared the
	// directory; b is dead since the last boot.
	list, err := List(dir)
	if err != nil || len(list) != 2 || list[0].Status != Alive || list[1].Status != Stale {
		t.Errorf("list: %v, %+v", err, list)
	}
	if _, err := TakeOver(dir, "b"); !errors.Is(err, ErrClean) {
		t.Errorf("take over of another boot's: %v", err)
	}
	g, err := join(testConfig(dir, "g", "b", 2), m)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Leave()
	if g.Previous() != nil || g.Wishes() != (election.Wishes{}) || g.Load().Epoch() != 1 || len(g.Members()) != 0 {
		t.Errorf("previous %v, wishes %+v, epoch %d, members %v", g.Previous(), g.Wishes(), g.Load().Epoch(), g.Members())
	}
}

func TestInstanceWaitsForItsCleaner(t *testing.T) {
	dir := runDir(t)
	crash(mustJoin(t, testConfig(dir, "", "v", 1)))
	c, err := TakeOver(dir, "v")
	if err != nil {
		t.Fatal(err)
	}
	if c.Member.Realised.State().Serving() || c.Member.Group != "v" || !equalIdentity(c.Member.Routers[0], testIdentity("v")) {
		t.Errorf("corpse: %+v", c.Member)
	}
	type result struct {
		g   *Group
		err error
	}
	done := make(chan result, 1)
	start := func() {
		go func() {
			g, err := Join(testConfig(dir, "", "v", 1))
			done <- result{g, err}
		}()
	}
	start()
	r := <-done // two seconds
	var busy *BusyError
	if !errors.As(r.err, &busy) || !busy.Cleaning || busy.Pid != os.Getpid() {
		t.Fatalf("while somebody cleans: %v", r.err)
	}
	start()
	if err := c.Done(); err != nil {
		t.Fatal(err)
	}
	if r = <-done; r.err != nil {
		t.Fatal(r.err)
	}
	defer r.g.Leave()
	if r.g.Previous() != nil {
		t.Error("it joined before its cleaner was done")
	}
	if err := c.Done(); err != nil {
		t.Errorf("second Done: %v", err)
	}
	if _, err := TakeOver(dir, "v"); !errors.Is(err, ErrAlive) {
		t.Errorf("take over of a living one: %v", err)
	}
}

func TestGivenBackCorpseIsReportedAgain(t *testing.T) {
	dir := runDir(t)
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	bells := listen(t, a)
	v := mustJoin(t, testConfig(dir, "g", "v", 2))
	await(t, bells, "v joined", hasJoined("v"))
	crash(v)
	bury(t, a, bells, "v").GiveBack()
	c := bury(t, a, bells, "v")
	c.GiveBack()
	c.GiveBack() // harmless
	if err := c.Done(); err != nil {
		t.Errorf("Done after GiveBack: %v", err)
	}
	if got := files(t, dir); !slices.Contains(got, "v.member") {
		t.Errorf("Done after GiveBack removed the record: %v", got)
	}
	// The owner itself may come back instead.
	v = mustJoin(t, testConfig(dir, "g", "v", 2))
	if v.Previous() == nil {
		t.Error("the owner does not know that it must clean up")
	}
	await(t, bells, "v joined again", hasJoined("v"))
	v.Publish([]election.Facts{pattern(2)})
	if facts := a.Others(nil); len(facts) != 1 || facts[0] != pattern(2) {
		t.Errorf("facts of the new incarnation: %v", facts)
	}
}

func TestQuickRestartIsSeenAsSomebodyNew(t *testing.T) {
	dir := runDir(t)
	v := mustJoin(t, testConfig(dir, "g", "v", 2))
	v.Publish([]election.Facts{pattern(1)})
	a := mustJoin(t, testConfig(dir, "g", "a", 2))
	if a.Missing() != 0 {
		t.Fatalf("missing %d", a.Missing())
	}
	crash(v)
	v = mustJoin(t, testConfig(dir, "g", "v", 2))
	v.Publish([]election.Facts{pattern(2)})
	// Run has noticed nothing yet: the record is not that of the process it knew.
	if a.Missing() != 1 || len(a.Others(nil)) != 0 {
		t.Errorf("missing %d, others %v", a.Missing(), a.Others(nil))
	}
	await(t, listen(t, a), "v joined again", hasJoined("v"))
	if facts := a.Others(nil); a.Missing() != 0 || len(facts) != 1 || facts[0] != pattern(2) {
		t.Errorf("missing %d, others %v", a.Missing(), facts)
	}
}

func TestDisagreementsAreRefused(t *testing.T) {
	dir := runDir(t)
	mustJoin(t, testConfig(dir, "g", "a", 2))
	_, err := Join(testConfig(dir, "g", "b", 3))
	want := fmt.Sprintf("join group: a (process %d) runs with -M 2 and this one with -M 3: all of a group must agree, stop the others first", os.Getpid())
	if err == nil || err.Error() != want {
		t.Errorf("-M differs: %v", err)
	}
	if got := files(t, dir); !slices.Equal(got, []string{"a.member", "g.group"}) {
		t.Errorf("a refused one left files: %v", got)
	}
	if err := os.Remove(dir + "/g.group"); err != nil {
		t.Fatal(err)
	}
	if _, err := Join(testConfig(dir, "g", "b", 2)); err == nil || !strings.Contains(err.Error(), "restart that process") {
		t.Errorf("group file replaced: %v", err)
	}
}

func TestRefusedRestartKeepsThePreviousRecord(t *testing.T) {
	dir := runDir(t)
	mustJoin(t, testConfig(dir, "g", "a", 2))
	crash(mustJoin(t, testConfig(dir, "g", "v", 2)))
	if _, err := Join(testConfig(dir, "g", "v", 3)); err == nil {
		t.Fatal("joined with another -M")
	}
	if v := mustJoin(t, testConfig(dir, "g", "v", 2)); v.Previous() == nil {
		t.Error("what must be cleaned up has been forgotten")
	}
}

func TestTenthProcessIsRefused(t *testing.T) {
	dir := runDir(t)
	slots := map[uint8]bool{}
	for i := range MaxProcesses {
		slots[mustJoin(t, testConfig(dir, "g", fmt.Sprint("i", i), MaxProcesses)).Slot()] = true
	}
	if len(slots) != MaxProcesses || slots[0] {
		t.Errorf("slots: %v", slots)
	}
	if _, err := Join(testConfig(dir, "g", "i9", MaxProcesses)); err == nil || !strings.Contains(err.Error(), "has 9 processes already") {
		t.Errorf("the tenth: %v", err)
	}
	mustJoin(t, testConfig(dir, "other", "i9", 1)) // another group
}
