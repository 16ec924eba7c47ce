package daemon

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"vrrpd/config"
	"vrrpd/election"
	"vrrpd/internal/realtime"
	"vrrpd/sysd"
)

// crowdDaemon is a daemon with n virtual routers on several LANs by turns, which has no
// sockets: every advert fails, and that is noted at once.
func crowdDaemon(t *testing.T, n int) (d *Daemon, grid func() []election.Action) {
	t.Helper()
	const lans = 3
	var text strings.Builder
	fmt.Fprintf(&text, "interval = 1\nrun_dir = %q\n", t.TempDir())
	for i := range n {
		fmt.Fprintf(&text, "[[router]]\ninterface = \"eth%d\"\nvrid = %d\nname = \"many%d\"\naddresses = [\"198.18.%d.%d\"]\n",
			i%lans, i/lans+1, i, i%lans, i/lans+1)
	}
	groups, err := config.ParseFile("vrrpd.toml", []byte(text.String()), "")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	d = New(groups[0], Options{Log: log, Notify: sysd.NewNotifier("", log)})
	board := &election.LocalBoard{}
	d.board, d.machine = board, election.New(election.Config{}, board, nil)
	d.listening()
	return d, func() (all []election.Action) {
		for i := range n {
			all = append(all, election.Action{Kind: election.DoAdvert, VR: i, Priority: 100})
		}
		return all
	}
}

// tried are the virtual routers whose adverts have been sent since, or were to be.
func (d *Daemon) tried() (vrs []int) {
	for _, e := range d.results {
		vrs = append(vrs, e.VR)
	}
	d.results = d.results[:0]
	return vrs
}

// Many adverts of the grid are sent in pieces, one LAN after the other, each at a time that
// does not depend on how long the ones before have taken, nor on when the loop has come to
// them.
func TestPieces(t *testing.T) {
	const n = 2*advertPiece + 88
	d, grid := crowdDaemon(t, n)
	reconfigure(d.first(), func(c *config.Router) { c.Interval = time.Minute }) // what is half of it old is not sent
	tick := boottime() - int64(time.Microsecond)
	d.verdictAt = tick
	if !d.inPieces(grid()) {
		t.Fatal("all at once")
	}
	d.verdictAt = maxTime
	var order []int
	for i, want := range []int{advertPiece, advertPiece, 88} {
		if at := tick + int64(i)*advertPiece*int64(narrowSlot); d.pieceAt() != at || d.due() != at {
			t.Errorf("piece %d is due %d ns after the tick, the loop turns at %d, want %d", i, d.pieceAt()-tick, d.due()-tick, at-tick)
		}
		if i == 1 {
			d.pieces.at += int64(time.Hour)
			d.nextPiece(nil)
			if vrs := d.tried(); len(vrs) > 0 {
				t.Errorf("%d were sent before they were due", len(vrs))
			}
			d.pieces.at -= int64(time.Hour)
		}
		for boottime() < d.pieceAt() { // not even a slot is waited for
		}
		d.nextPiece(nil)
		vrs := d.tried()
		if len(vrs) != want {
			t.Errorf("piece %d has %d adverts, want %d", i, len(vrs), want)
		}
		order = append(order, vrs...)
	}
	if d.pieceAt() != maxTime {
		t.Error("something is left")
	}
	seen := map[int]bool{}
	for i, vr := range order {
		seen[vr] = true
		if i > 0 && d.byVR[vr].parent.lan < d.byVR[order[i-1]].parent.lan {
			t.Fatalf("%d comes after %d, which is on a later LAN", vr, order[i-1])
		}
	}
	if len(seen) != n {
		t.Errorf("adverts of %d virtual routers, want %d", len(seen), n)
	}
	all := grid()
	if allocs := testing.AllocsPerRun(5, func() {
		if !d.inPieces(all) {
			t.Fatal("all at once")
		}
		d.pieces.left = nil
	}); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// From what adverts take that are sent at once to what they may take, slots grow by so little
// that nobody is late by much; where an interval has no room they do not.
func TestSlots(t *testing.T) {
	d, grid := crowdDaemon(t, 3*advertPiece)
	next := func() time.Duration {
		t.Helper()
		before := d.pieces.slot
		if !d.inPieces(grid()) {
			t.Fatal("all at once")
		}
		d.pieces.left = nil
		if d.pieces.slot > max(before+widening, narrowSlot) {
			t.Errorf("from %v to %v", before, d.pieces.slot)
		}
		return d.pieces.slot
	}
	if got := next(); got != narrowSlot {
		t.Errorf("it begins with %v", got)
	}
	for range wideSlot / widening {
		next()
	}
	if got := next(); got != wideSlot {
		t.Errorf("it ends with %v", got)
	}
	reconfigure(d.first(), func(c *config.Router) { c.Interval = 4 * 3 * advertPiece * (wideSlot - widening) })
	if got := next(); got != wideSlot-widening {
		t.Errorf("%v in an interval without more room", got)
	}
	if before := d.pieces.slot; d.inPieces(grid()[:1]) || d.pieces.slot != before {
		t.Errorf("one in pieces, or slots of %v", d.pieces.slot)
	}
	if d.inPieces(append(grid(), election.Action{Kind: election.DoPromote})) {
		t.Error("a promotion in pieces")
	}
	atOnceThen := func(what string, n int, send func()) {
		t.Helper()
		before := boottime()
		send()
		most := max(time.Duration(boottime()-before)/time.Duration(n), narrowSlot/2)
		d.tried()
		if got := next(); got > most+widening {
			t.Errorf("%v after %s, each of which took %v at most", got, what, most)
		}
	}
	atOnceThen("adverts that were sent at once", 3*advertPiece, func() { d.carryOut(grid()) })
	d.inPieces(grid())
	atOnceThen("what was left and was sent at once", 3*advertPiece, func() {
		d.nextPiece([]election.Action{{Kind: election.DoDemote}})
	})
	for _, c := range []struct {
		n          int
		took, want time.Duration
	}{
		{1000, 5 * time.Millisecond, 5*time.Microsecond + widening},
		{1000, 20 * time.Millisecond, wideSlot},
		{1000, time.Microsecond, narrowSlot/2 + widening},
		{atOnce, time.Microsecond, narrowSlot/2 + 2*widening}, // few tell nothing
	} {
		reconfigure(d.first(), func(c *config.Router) { c.Interval = time.Second })
		d.pieces.tookAtOnce(c.n, c.took)
		if got := next(); got != c.want {
			t.Errorf("%v after %d that took %v, want %v", got, c.n, c.took, c.want)
		}
	}
}

// While nothing but pieces is due the election is left alone; what was refused it is told at
// once.
func TestAside(t *testing.T) {
	d, grid := crowdDaemon(t, 4*advertPiece)
	bell, err := realtime.NewBell(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bell.Close() })
	d.bell = bell
	reconfigure(d.first(), func(c *config.Router) { c.Interval = time.Minute })
	start := func() {
		d.verdictAt = boottime()
		if !d.inPieces(grid()) {
			t.Fatal("all at once")
		}
		d.verdictAt = maxTime
		for i := range d.pieces.left[:advertPiece] { // one that has gone is not refused
			d.byVR[d.pieces.left[i].VR] = nil
		}
	}
	for what, when := range map[string]func(){
		"something is due":         func() { d.verdictAt = boottime() },
		"the agenda has something": func() { d.agenda.add(boottime(), func() {}) },
		"somebody has called":      func() { bell.Ring(); bell.Wait(0) },
		"the loop comes late":      func() { d.turns.last -= int64(d.interval()) },
		"it was the last piece": func() {
			d.pieces.left = d.pieces.left[:advertPiece]
			d.results, d.pieces.sent = append(d.results, election.Event{Kind: election.EvSent}), 1
		},
		"something else is to be told": func() {
			d.results, d.pieces.sent = append(d.results, election.Event{Kind: election.EvSent}, election.Event{Kind: election.EvFault}), 1
		},
		"another process has changed the state": func() {
			w := d.board.Load()
			d.board.Swap(w, w.Next(election.Held, election.OperatorHold), boottime())
		},
		"there is more than errands": func() { d.inbox.errand(func() {}); d.inbox.call(func() {}) },
		"something has been heard":   func() { d.inbox.post(election.Event{Kind: election.EvAdvert}) },
		"an advert has been refused": func() { d.byVR[d.pieces.left[0].VR] = d.first() },
	} {
		kept := slices.Clone(d.byVR)
		start()
		when()
		if d.aside() {
			t.Errorf("%s: the election is not asked", what)
		}
		d.agenda, d.results, d.pieces.sent, d.byVR, d.inbox, d.board = agenda{}, nil, 0, kept, &inbox{}, &election.LocalBoard{}
		d.listening()
		bell.Quiet()
		bell.Wait(0)
	}
	start()
	d.results, d.pieces.sent = append(d.results, election.Event{Kind: election.EvSent}), 1
	left := len(d.pieces.left)
	if !d.aside() || len(d.pieces.left) != left-advertPiece {
		t.Errorf("the election is asked, and %d are left of %d", len(d.pieces.left), left)
	}
	d.pieces.at = maxTime - 1
	if !d.aside() || len(d.pieces.left) != left-advertPiece {
		t.Errorf("too early, and %d are left", len(d.pieces.left))
	}
	d.inbox.bell.Store(bell)
	d.inbox.errand(func() {})
	if bell.Wait(maxTime); !bell.Called() || !d.aside() {
		t.Error("the election is asked because of an errand")
	}
	d.errands()
	bell.Wait(0)
	if len(d.results) != 1 {
		t.Error("it is told already")
	}
	d.pieces.left, d.results, d.pieces.sent = nil, nil, 0
	d.announcer.first = 1 // an announcement that is urgent, of nothing
	d.announcer.due = append(d.announcer.due, announcement{at: boottime(), p: d.first().parent})
	if !d.aside() || d.announcer.wakeAt() != maxTime {
		t.Error("nothing was announced")
	}
}

// Who has resigned announces nothing, however urgent it was.
func TestLingerAnnouncesNothing(t *testing.T) {
	d, _ := crowdDaemon(t, 1)
	d.announcer.first = 1
	d.announcer.due = append(d.announcer.due, announcement{at: boottime(), p: d.first().parent})
	if d.announceAt() == maxTime {
		t.Fatal("there is nothing to announce")
	}
	w := d.board.Load()
	d.board.Swap(w, w.Next(election.Linger, election.Stop), boottime())
	if d.announceAt() != maxTime {
		t.Error("it would")
	}
	w = d.board.Load()
	d.board.Swap(w, w.Next(election.Master, election.NoSuccessor), boottime())
	if d.announceAt() == maxTime {
		t.Error("who serves on does not, either")
	}
}

// What is left of them goes before anything else that is decided; what was decided long ago,
// or for a virtual router that has gone, does not.
func TestPiecesLeft(t *testing.T) {
	d, grid := crowdDaemon(t, 3*advertPiece)
	start := func() {
		t.Helper()
		d.verdictAt = boottime()
		if !d.inPieces(grid()) {
			t.Fatal("all at once")
		}
		d.nextPiece([]election.Action{{Kind: election.DoHook}, {Kind: election.DoReport}})
		if vrs := d.tried(); len(vrs) != advertPiece {
			t.Fatalf("%d were sent", len(vrs))
		}
	}
	start()
	d.ready = true
	if why := d.underWay(); why != "adverts are being sent" {
		t.Errorf("a replacement would not wait: %q", why)
	}
	gone := d.byVR[d.pieces.left[7].VR]
	d.byVR[gone.vr] = nil
	d.nextPiece([]election.Action{{Kind: election.DoAdvert}})
	if vrs := d.tried(); len(vrs) != 2*advertPiece-1 || d.pieceAt() != maxTime {
		t.Errorf("%d of the last were sent, want %d", len(vrs), 2*advertPiece-1)
	}
	d.byVR[gone.vr] = gone
	start()
	d.pieces.decided -= int64(d.interval()) / 2
	d.nextPiece([]election.Action{{Kind: election.DoAdvert}})
	if vrs := d.tried(); len(vrs) > 0 || d.pieceAt() != maxTime {
		t.Errorf("%d were sent that were decided half an interval ago", len(vrs))
	}
}

// What the election has not been told is not let go of as what was needed once.
func TestUntoldIsKept(t *testing.T) {
	d, grid := crowdDaemon(t, 3*advertPiece)
	reconfigure(d.first(), func(c *config.Router) { c.Interval = time.Minute })
	d.machine.Start(d.turns.last, nil)
	d.realised = d.board.Load() // there is no group
	d.verdictAt = boottime()
	if !d.inPieces(grid()) {
		t.Fatal("all at once")
	}
	d.pieces.at = maxTime - 1
	d.agenda.add(boottime(), func() {
		d.shrinking = true
		d.results, d.pieces.sent = append(d.results, election.Event{Kind: election.EvSent}), 1
	})
	if d.turn(); len(d.results) != 1 || !d.shrinking {
		t.Errorf("%d results are left, and room is to be let go of: %v", len(d.results), d.shrinking)
	}
	d.pieces.left = nil
	if d.turn(); len(d.results) != 0 || d.shrinking {
		t.Errorf("%d results are left, and room is to be let go of: %v", len(d.results), d.shrinking)
	}
}

// A loop that has let go of what it needed once has kept what it needs all the time.
func TestShrink(t *testing.T) {
	const n = 3 * advertPiece
	d, grid := crowdDaemon(t, n)
	reconfigure(d.first(), func(c *config.Router) { c.Interval = time.Minute })
	due := grid()
	round := func() {
		d.actions = append(d.actions[:0], due...)
		d.verdictAt = boottime()
		if !d.inPieces(d.actions) {
			t.Fatal("all at once")
		}
		for len(d.pieces.left) > 0 {
			d.pieces.at = 0
			d.nextPiece(nil)
		}
		if len(d.results) != n {
			t.Fatalf("%d results, want %d", len(d.results), n)
		}
		d.events, d.results = d.results, d.events[:0]
	}
	alone := testing.AllocsPerRun(5, d.shrink)
	if with := testing.AllocsPerRun(5, func() { d.shrink(); round(); round() }); with != alone {
		t.Errorf("adverts of two intervals after it make %v allocations", with-alone)
	}
	d.actions = make([]election.Action, 0, 100*n)
	if d.shrink(); cap(d.actions) != n {
		t.Errorf("there is room for %d actions still", cap(d.actions))
	}
	if cap(d.batch) < atOnce || cap(d.batched) < atOnce {
		t.Errorf("there is room for %d frames, and for %d", cap(d.batch), cap(d.batched))
	}
	reconfigure(d.routers[n-1], func(c *config.Router) { c.Beside2 = true })
	if d.shrink(); cap(d.batch) < 2*atOnce {
		t.Errorf("there is room for %d frames of both versions", cap(d.batch))
	}
}

// Adverts that tell something new leave at once, and so do few, those of an interval that
// has no room, and those before a pause.
func TestNotInPieces(t *testing.T) {
	d, grid := crowdDaemon(t, 3*advertPiece)
	last := 3*advertPiece - 1
	for what, prepare := range map[string]func(a []election.Action) []election.Action{
		"few":         func(a []election.Action) []election.Action { return a[:atOnce] },
		"a last word": func(a []election.Action) []election.Action { a[last].Priority = 0; return a },
		"a promotion": func(a []election.Action) []election.Action { a[last].Kind = election.DoPromote; return a },
		"a pause":     func(a []election.Action) []election.Action { d.standing = true; return a },
		"a short interval": func(a []election.Action) []election.Action {
			reconfigure(d.first(), func(c *config.Router) { c.Interval = 4 * 3 * advertPiece * (narrowSlot - 1) })
			return a
		},
		"nothing is decided": func([]election.Action) []election.Action { return nil },
	} {
		if d.inPieces(prepare(grid())) {
			t.Errorf("%s: in pieces", what)
		}
		d.standing = false
		reconfigure(d.first(), func(c *config.Router) { c.Interval = time.Second })
	}
	if !d.inPieces(grid()) {
		t.Error("the grid: all at once")
	}
}
