package daemon

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"vrrpd/election"
	"vrrpd/internal/realtime"
)

func advertFrom(vr int, src string, priority uint8) election.Event {
	return election.Event{Kind: election.EvAdvert, VR: vr, Addr: netip.MustParseAddr(src), Priority: priority, Interval: time.Second}
}

// Equal adverts that wait together are one fact; anything that came between
// them keeps them apart, because its order matters.
func TestInboxFolding(t *testing.T) {
	a, zero := advertFrom(0, "192.0.2.2", 100), advertFrom(0, "192.0.2.2", 0)
	other := advertFrom(1, "192.0.2.2", 100)
	fault := election.Event{Kind: election.EvFault, On: true}
	for _, c := range []struct {
		name string
		post []election.Event
		want int
	}{
		{"one", []election.Event{a}, 1},
		{"the same again", []election.Event{a, a, a}, 1},
		{"another router's between", []election.Event{a, other, a}, 2},
		{"the router said something else between", []election.Event{a, zero, a}, 3},
		{"the resignation repeated", []election.Event{a, zero, zero}, 2},
		{"a fault between", []election.Event{a, fault, a}, 3},
		{"faults are never folded", []election.Event{fault, fault}, 2},
	} {
		b := &inbox{}
		for _, e := range c.post {
			b.post(e)
		}
		if got, _ := b.take(nil, nil); len(got) != c.want {
			t.Errorf("%s: %d events wait, want %d: %+v", c.name, len(got), c.want, got)
		}
	}
}

// A flood of equal adverts takes no memory, however long the loop is away.
func TestInboxFlood(t *testing.T) {
	b := &inbox{}
	for range 100_000 {
		b.post(advertFrom(0, "192.0.2.2", 100), advertFrom(1, "198.51.100.2", 100))
	}
	if got, _ := b.take(nil, nil); len(got) != 2 {
		t.Errorf("%d events wait after a flood of two adverts, want 2", len(got))
	}
}

// The bell is rung for whatever is posted, and take leaves nothing behind.
func TestInboxBell(t *testing.T) {
	b := &inbox{}
	bell, err := realtime.NewBell(false)
	if err != nil {
		t.Fatal(err)
	}
	defer bell.Close()
	b.bell.Store(bell)
	rings := func() bool {
		limit := boottime() + int64(20*time.Millisecond)
		bell.Wait(limit)
		return boottime() < limit
	}
	b.post()
	if rings() {
		t.Error("nothing was posted, and the bell rang")
	}
	ran := 0
	b.call(func() { ran++ })
	b.post(advertFrom(0, "192.0.2.2", 1))
	if !rings() {
		t.Fatal("the bell did not ring")
	}
	events, calls := b.take(nil, nil)
	for _, c := range calls {
		c()
	}
	if len(events) != 1 || ran != 1 {
		t.Errorf("took %d events and %d calls, want 1 and 1", len(events), ran)
	}
	if events, calls = b.take(nil, nil); len(events)+len(calls) != 0 {
		t.Errorf("%d events and %d calls were left behind", len(events), len(calls))
	}
	b.post(advertFrom(0, "192.0.2.2", 1))
	b.take(nil, nil)
	if rings() {
		t.Error("what has been taken is rung for")
	}
}

// Errands are run in their order, each once, and what they ask for is not slept over.
func TestErrands(t *testing.T) {
	bell, err := realtime.NewBell(false)
	if err != nil {
		t.Fatal(err)
	}
	defer bell.Close()
	d := &Daemon{inbox: &inbox{}, bell: bell}
	d.inbox.bell.Store(bell)
	rings := func() bool { bell.Wait(0); return bell.Called() }
	var ran []int
	again := func() { ran = append(ran, 3) }
	d.inbox.errand(func() { ran = append(ran, 1); d.inbox.errand(again) })
	d.inbox.errand(func() { ran = append(ran, 2) })
	if d.inbox.empty() || d.inbox.news() {
		t.Error("errands are nothing, or news")
	}
	if d.errands(); !slices.Equal(ran, []int{1, 2}) {
		t.Errorf("ran %v", ran)
	}
	if !rings() {
		t.Error("an errand of an errand is slept over")
	}
	if d.errands(); !slices.Equal(ran, []int{1, 2, 3}) || !d.inbox.empty() {
		t.Errorf("ran %v", ran)
	}
	if rings() {
		t.Error("what has been run is rung for")
	}
	d.inbox.errand(func() { d.inbox.call(func() {}) })
	if d.errands(); !rings() {
		t.Error("what an errand has asked for is slept over")
	}
	d.inbox.take(nil, nil)
	d.inbox.call(func() {})
	d.inbox.errand(func() { ran = append(ran, 4) })
	if d.errands(); !rings() || len(ran) != 3 {
		t.Error("an errand is run before a call that was there before it, or the call is slept over")
	}
	d.inbox.take(nil, nil)
	if d.errands(); len(ran) != 4 {
		t.Error("an errand that has waited for a call is forgotten")
	}
}

func TestInboxAllocs(t *testing.T) {
	b := &inbox{}
	e := []election.Event{advertFrom(0, "192.0.2.2", 100)}
	var events []election.Event
	var calls []func()
	if n := testing.AllocsPerRun(1000, func() {
		b.post(e...)
		events, calls = b.take(events[:0], calls[:0])
	}); n != 0 {
		t.Errorf("an advert through the inbox allocates %v times", n)
	}
}
