package election

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// The contract of the actions (doc.go): what is done in which order, on every
// transition that a serving machine can make, with both members in one process.

// steps is the whole log of the process since fresh, with the LAN before what
// concerns one.
func (s *scene) steps() string {
	var lines []string
	for _, e := range s.host[A].log {
		lan := ""
		if e.vr >= 0 && !e.transition() {
			lan = string(rune('A'+s.host[A].lan(e.vr))) + " "
		}
		lines = append(lines, lan+e.text)
	}
	return strings.Join(lines, "; ")
}

const (
	entering = "A advert 100; B advert 100; A promote; B promote; A announce; B announce; hook up "
	closing  = "A close; B close; "
	leaving  = "A demote; B demote; A own; B own; hook down "
)

func TestOrderOfActions(t *testing.T) {
	lingering := func(s *scene) { s.op(EvBackup); s.pass("300ms") }
	holding := func(s *scene) { s.op(EvHold); s.pass("300ms") }
	listening := func(s *scene) { s.sleep("1h", Event{Kind: EvSuspended}); s.pass("100ms") }
	hear := func(lan int, prio uint8) func(*scene) { return func(s *scene) { s.hear(lan, prio, high) } }
	hearBoth := func(s *scene) { s.hear(A, 50, high); s.hear(B, 50, high) }
	for _, c := range []struct {
		name   string
		guard  bool
		before func(*scene) // from MASTER
		do     func(*scene)
		want   string
	}{
		{"MASTER to BACKUP", false, nil, hear(B, 150),
			"MASTER>BACKUP superior-advert; " + closing + leaving + "superior-advert"},
		{"MASTER to BACKUP, tie", false, nil, hear(A, 100),
			"A alarm same-priority-peer; MASTER>BACKUP tie-lost; " + closing + leaving + "tie-lost"},
		{"MASTER to HELD", false, nil, func(s *scene) { s.fault(A, FaultLinkDown, true) },
			"MASTER>HELD link-down; " + closing + "B resign; " + leaving + "link-down"},
		{"MASTER to HELD, LANs work", false, nil, func(s *scene) { s.fault(A, FaultCheck, true) },
			"MASTER>HELD check-failed; " + closing + "A resign; B resign; " + leaving + "check-failed"},
		{"MASTER to LINGER", false, nil, func(s *scene) { s.op(EvBackup) },
			"MASTER>LINGER operator-backup; A renew; B renew; A resign; B resign"},
		{"MASTER to LISTEN", false, nil, func(s *scene) { s.sleep("1h", Event{Kind: EvSuspended}) },
			"MASTER>LISTEN suspended; " + closing + leaving + "suspended"},
		{"LINGER to BACKUP", false, lingering, hearBoth,
			"LINGER>BACKUP successor; " + closing + leaving + "successor"},
		{"LINGER to HELD", false, holding, hearBoth,
			"LINGER>HELD successor; " + closing + leaving + "successor"},
		{"LINGER to HELD, fault", false, lingering, func(s *scene) { s.fault(B, FaultNoAddress, true) },
			"LINGER>HELD no-address; " + closing + "A resign; " + leaving + "no-address"},
		{"LISTEN to BACKUP", false, listening, hear(A, 50), "LISTEN>BACKUP master-heard"},
		{"LISTEN to HELD", false, listening, func(s *scene) { s.op(EvHold) }, "LISTEN>HELD operator-hold"},
		{"HELD to MASTER", false, func(s *scene) { s.op(EvHold); s.pass("1m") }, func(s *scene) { s.op(EvRelease) },
			"HELD>BACKUP recovered; BACKUP>PREPARE master-timeout; PREPARE>MASTER master-timeout; " + entering + "master-timeout"},
		{"HELD to PREPARE, guard", true, func(s *scene) { s.op(EvHold); s.pass("1m") }, func(s *scene) { s.op(EvRelease) },
			"HELD>BACKUP recovered; BACKUP>PREPARE master-timeout; A prepare; B prepare"},
		{"PREPARE to MASTER", true, func(s *scene) { s.op(EvHold); s.pass("1m"); s.op(EvRelease) }, func(s *scene) { s.pass("100ms") },
			"PREPARE>MASTER master-timeout; " + entering + "master-timeout"},
		{"PREPARE to BACKUP", true, func(s *scene) { s.op(EvHold); s.pass("1m"); s.op(EvRelease) },
			func(s *scene) { s.pass("1ms"); s.hear(A, 150, high) },
			"PREPARE>BACKUP vetoed; A unprepare; B unprepare"},
		{"PREPARE to HELD", true, func(s *scene) { s.op(EvHold); s.pass("1m"); s.op(EvRelease) }, func(s *scene) { s.op(EvHold) },
			"PREPARE>HELD operator-hold; A unprepare; B unprepare"},
		// Two transitions in one step; the first one's actions are not outdated.
		{"MASTER to BACKUP to HELD", false, nil, func(s *scene) { s.post(A, s.advert(A, 150, high), Event{Kind: EvHold}) },
			"MASTER>BACKUP superior-advert; " + closing + leaving + "superior-advert; BACKUP>HELD operator-hold"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := setup{cfg: Config{Guard: c.guard}}
			s := u.open(t, 1)
			s.setUp = time.Hour
			s.master()
			if c.before != nil {
				c.before(s)
			}
			s.fresh()
			c.do(s)
			if got := s.steps(); got != c.want {
				t.Errorf("\ndid  %s\nwant %s", got, c.want)
			}
		})
	}
}

// The end of LINGER, whose steps of the lease stand before.
func TestOrderAtTheEndOfLinger(t *testing.T) {
	for op, want := range map[EventKind]string{
		EvBackup: "LINGER>MASTER no-successor; A advert 100; B advert 100; A announce; B announce",
		EvHold:   "LINGER>HELD no-successor; " + closing + "A resign; B resign; " + leaving + "no-successor",
		EvStop:   "LINGER>HELD no-successor; " + closing + "A resign; B resign; " + leaving + "no-successor; exit",
	} {
		s := setup{}.open(t, 1)
		s.master()
		s.op(op)
		s.run(s.now + int64(duration(t, lingerMax)) - 1)
		s.fresh()
		s.pass("1ns")
		if got := s.steps(); got != want {
			t.Errorf("\ndid  %s\nwant %s", got, want)
		}
	}
}

// inOrder checks the order of the actions of one step, whatever it is; the lab
// calls it for every step of every test.
func inOrder(acts []Action) error {
	enter := []string{"advert", "promote", "announce", "up"}
	leave := []string{"close", "resign", "demote", "own", "down"}
	var order []string
	at := 0
	for i := range acts {
		a := &acts[i]
		kind := strings.Fields(text(a))[0]
		switch {
		case a.Kind == DoReport && a.From != a.To:
			switch {
			case a.To == Master || a.To == Linger && !a.From.Serving():
				order, at = enter, 0
			case a.From.Serving() && !a.To.Serving():
				order, at = leave, 0
			default:
				order = nil
			}
			continue
		case a.Kind == DoReport:
			continue
		case a.Kind == DoHook && a.Up:
			kind = "up"
		case a.Kind == DoHook:
			kind = "down"
		}
		if order == nil {
			continue
		}
		n := slices.Index(order, kind)
		if n >= 0 && n < at {
			return fmt.Errorf("%q after %q", kind, order[at])
		}
		at = max(at, n)
		if at == len(order)-1 {
			order = nil // complete; what follows is the timers' business
		}
	}
	return nil
}

// inOrder must be able to complain.
func TestInOrder(t *testing.T) {
	in := Action{Kind: DoReport, From: Prepare, To: Master}
	out := Action{Kind: DoReport, From: Master, To: Held}
	for name, acts := range map[string][]Action{
		"promote before advert":   {in, {Kind: DoPromote}, {Kind: DoAdvert, Priority: 1}},
		"announce before promote": {in, {Kind: DoPromote}, {Kind: DoHook, Up: true, To: Master}, in, {Kind: DoAnnounce}, {Kind: DoPromote}},
		"demote before close":     {out, {Kind: DoDemote}, {Kind: DoCloseGuard}},
		"demote before resign":    {out, {Kind: DoCloseGuard}, {Kind: DoDemote}, {Kind: DoAdvert}},
		"own before demote":       {out, {Kind: DoAnnounceOwn}, {Kind: DoDemote}},
	} {
		if err := inOrder(acts); err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := inOrder([]Action{out, {Kind: DoCloseGuard}, {Kind: DoAdvert}, {Kind: DoDemote}, {Kind: DoAnnounceOwn}, {Kind: DoHook}}); err != nil {
		t.Error(err)
	}
}
