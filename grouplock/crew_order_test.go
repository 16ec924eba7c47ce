package grouplock

import (
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vrrpd/election"
	"vrrpd/internal/interleave"
)

var ordersFlag = flag.Bool("orders", false, "more turns of two processes, and more interruptions of three (takes ten minutes)")

// scene is a moment at which several processes of a machine have to decide.
type scene struct {
	name string
	from func(*crew) election.Time // brings the crew there and returns the time
	does [][]turn                  // of each process
	ends []election.State          // in which it may end
	most int                       // transitions
	// superior: a better master is on the LAN of this process, counted from 1.
	superior int
	horizon  time.Duration // until when the crew is watched afterwards
}

// turn is one turn of a process's loop, at a time after the scene has begun.
type turn struct {
	at     time.Duration
	events []election.Event
	start  bool // the process starts
}

func on(at time.Duration, events ...election.Event) turn { return turn{at: at, events: events} }

func heard(priority uint8) election.Event {
	return election.Event{Kind: election.EvAdvert, Addr: netip.AddrFrom4([4]byte{192, 0, 2, 200}),
		MAC: election.MAC{0, 0, 0x5e, 0, 1, 51}, Priority: priority, Interval: time.Second}
}

var (
	cable   = election.Event{Kind: election.EvFault, Fault: election.FaultLinkDown, On: true}
	stop    = election.Event{Kind: election.EvStop}
	backup  = election.Event{Kind: election.EvBackup}
	hold    = election.Event{Kind: election.EvHold}
	release = election.Event{Kind: election.EvRelease}
)

// down is the master-down interval of the crew.
const crewDown = 3*time.Second + 156*time.Second/256

func (c *crew) startAll() {
	for _, s := range c.procs {
		s.start(crewEpoch)
	}
	c.pass(crewEpoch + 1)
}

// held: just before the hold-down of the start is over.
func held(c *crew) election.Time {
	c.startAll()
	c.pass(crewEpoch + int64(2*time.Second) - 1)
	return crewEpoch + int64(2*time.Second)
}

// silent: BACKUP, just before the master-down timers fire.
func silent(c *crew) election.Time {
	c.startAll()
	c.pass(crewEpoch + int64(crewDown) - 1)
	return crewEpoch + int64(crewDown)
}

// master: between two adverts.
func master(c *crew) election.Time {
	at := silent(c)
	c.pass(at + int64(2500*time.Millisecond))
	return at + int64(2600*time.Millisecond)
}

// due: just before an advert.
func due(c *crew) election.Time {
	t := master(c)
	c.pass(t + int64(350*time.Millisecond))
	at := c.procs[0].machine.Deadline()
	for _, s := range c.procs {
		at = max(at, s.machine.Deadline())
	}
	return at
}

// lingering: MASTER until the operator's --backup a moment ago.
func lingering(c *crew) election.Time {
	t := master(c)
	c.procs[0].turn(t, backup)
	c.quiet()
	return c.latest() + int64(time.Millisecond)
}

// stuck: the first process has not run for so long that its lease ends now, and
// the others expel it.
func stuck(c *crew) election.Time {
	master(c)
	end := c.procs[0].machine.Facts(0).LeaseAt
	c.pass(end-1, c.procs[0])
	return end
}

// unborn: nobody has started.
func unborn(*crew) election.Time { return crewEpoch }

const us = time.Microsecond

var scenes = []scene{
	{name: "both see silence", from: silent, does: [][]turn{{on(0), on(0)}, {on(0)}},
		ends: []election.State{election.Master}, most: 2},
	{name: "one sees silence a little later", from: silent, does: [][]turn{{on(0)}, {on(10 * us), on(10 * us)}},
		ends: []election.State{election.Master}, most: 2},
	{name: "superior advert while both promote", from: silent, does: [][]turn{{on(0), on(20*us, heard(200))}, {on(0)}},
		ends: []election.State{election.Backup}, most: 4, superior: 1},
	{name: "superior advert a little earlier than the promotion", from: silent, does: [][]turn{{on(0, heard(200))}, {on(10 * us), on(20 * us)}},
		ends: []election.State{election.Backup}, most: 4, superior: 1},
	{name: "fault while both promote", from: silent, does: [][]turn{{on(0, cable)}, {on(0), on(0)}},
		ends: []election.State{election.Held}, most: 3},
	{name: "the hold-down ends for both", from: held, does: [][]turn{{on(0), on(0)}, {on(0), on(0)}},
		ends: []election.State{election.Backup}, most: 1},
	{name: "the hold-down ends and a cable is pulled", from: held, does: [][]turn{{on(0), on(0)}, {on(0, cable), on(0)}},
		ends: []election.State{election.Held}, most: 2},
	{name: "both are stopped", from: master, does: [][]turn{{on(0, stop)}, {on(0, stop)}},
		ends: []election.State{election.Held}, most: 2, horizon: 1500 * time.Millisecond},
	{name: "one is stopped, the other's cable is pulled", from: master, does: [][]turn{{on(0, stop)}, {on(0, cable)}},
		ends: []election.State{election.Held}, most: 2, horizon: 1500 * time.Millisecond},
	{name: "operator's backup while a superior master speaks", from: master, does: [][]turn{{on(0, backup)}, {on(0, heard(200))}},
		ends: []election.State{election.Backup}, most: 2, superior: 2, horizon: 500 * time.Millisecond},
	{name: "cable pulled while a superior master speaks", from: master, does: [][]turn{{on(0, cable)}, {on(0, heard(200))}},
		ends: []election.State{election.Held}, most: 2},
	{name: "hold and release", from: master, does: [][]turn{{on(0, hold)}, {on(0, release)}},
		ends: []election.State{election.Master, election.Held}, most: 3, horizon: 1500 * time.Millisecond},
	{name: "backup and hold", from: master, does: [][]turn{{on(0, backup)}, {on(0, hold)}},
		ends: []election.State{election.Held}, most: 3, horizon: 1500 * time.Millisecond},
	{name: "advert due while a superior master speaks", from: due, does: [][]turn{{on(0)}, {on(0, heard(200))}},
		ends: []election.State{election.Backup}, most: 1},
	{name: "advert due while a cable is pulled", from: due, does: [][]turn{{on(0)}, {on(0, cable)}},
		ends: []election.State{election.Held}, most: 1},
	{name: "the successor is heard on both LANs", from: lingering, does: [][]turn{{on(0, heard(100))}, {on(0, heard(100))}},
		ends: []election.State{election.Backup}, most: 1},
	{name: "the successor is heard while a cable is pulled", from: lingering, does: [][]turn{{on(0, heard(100))}, {on(0, cable)}},
		ends: []election.State{election.Held}, most: 2},
	{name: "a stuck process wakes up while it is expelled", from: stuck, does: [][]turn{{on(0), on(0)}, {on(0), on(0)}},
		ends: []election.State{election.Held, election.Master}, most: 2},
	{name: "a stuck process wakes up to a master while it is expelled", from: stuck, does: [][]turn{{on(0, heard(100))}, {on(0), on(0)}},
		ends: []election.State{election.Held, election.Backup}, most: 2},
	{name: "both start", from: unborn, does: [][]turn{{{start: true}}, {{start: true}}},
		ends: []election.State{election.Held}, most: 2},
}

// long are scenes with more orders than every test run should try.
var long = []scene{
	{name: "both see silence, two turns each", from: silent, does: [][]turn{{on(0), on(0)}, {on(0), on(0)}},
		ends: []election.State{election.Master}, most: 2},
	{name: "fault of the first after silence was seen", from: silent, does: [][]turn{{on(0), on(10*us, cable)}, {on(0)}},
		ends: []election.State{election.Held}, most: 3},
	{name: "both are stopped, two turns each", from: master, does: [][]turn{{on(0, stop), on(10 * us)}, {on(0, stop), on(10 * us)}},
		ends: []election.State{election.Held}, most: 2, horizon: 1500 * time.Millisecond},
}

// three are scenes of three processes.
var three = []scene{
	{name: "the hold-down ends for all", from: held, does: [][]turn{{on(0)}, {on(0)}, {on(0)}},
		ends: []election.State{election.Backup}, most: 1},
	{name: "all see silence", from: silent, does: [][]turn{{on(0)}, {on(0)}, {on(0)}},
		ends: []election.State{election.Master}, most: 2},
	{name: "superior advert, fault, stop", from: master, does: [][]turn{{on(0, heard(200))}, {on(0, cable)}, {on(0, stop)}},
		ends: []election.State{election.Held}, most: 3, horizon: 1500 * time.Millisecond},
	{name: "backup, hold, advert due", from: due, does: [][]turn{{on(0, backup)}, {on(0, hold)}, {on(0)}},
		ends: []election.State{election.Held}, most: 3, horizon: 1500 * time.Millisecond},
	{name: "two expel the third, which wakes up", from: stuck, does: [][]turn{{on(0)}, {on(0)}, {on(0)}},
		ends: []election.State{election.Held, election.Master}, most: 2},
	{name: "all start", from: unborn, does: [][]turn{{{start: true}}, {{start: true}}, {{start: true}}},
		ends: []election.State{election.Held}, most: 3},
}

// play builds one execution of a scene.
func (sc *scene) play(b setting) interleave.Program {
	c := newCrew(len(sc.does), b)
	begin := sc.from(c)
	c.trail = c.trail[:0]
	p := interleave.Program{End: func() error { return sc.judge(c, begin) }}
	for i, turns := range sc.does {
		s := c.procs[i]
		s.superior = i == sc.superior-1
		c.young = c.young || s.record.load(recPublished) == 0
		p.Threads = append(p.Threads, func(at func(interleave.Op)) {
			s.at = at
			for _, t := range turns {
				if t.start {
					s.start(begin + int64(t.at))
				} else {
					s.turn(begin+int64(t.at), t.events...)
				}
			}
			s.at = nil
		})
	}
	return p
}

// judge lets the crew come to rest after the scene, and looks at what has become
// of it.
func (sc *scene) judge(c *crew, begin election.Time) error {
	c.quiet()
	if sc.horizon > 0 {
		c.pass(begin + int64(sc.horizon))
		c.agree()
	}
	switch {
	case len(c.errs) > 0:
		return c.errs[0]
	case !slices.Contains(sc.ends, c.word().State()):
		return fmt.Errorf("it ends in %v: %v", c.word().State(), c.states())
	case len(c.trail) > sc.most:
		return fmt.Errorf("%d transitions: %v", len(c.trail), c.states())
	}
	return nil
}

func (sc *scene) explore(b setting, limits interleave.Limits) (interleave.Result, error) {
	limits.Longest = 500
	return interleave.Explore(func() interleave.Program { return sc.play(b) }, limits)
}

func exploreAll(t *testing.T, list []scene, limits interleave.Limits) {
	var all interleave.Result
	for _, bare := range []bool{false, true} {
		for i := range list {
			sc := &list[i]
			t.Run(fmt.Sprintf("%s, guard %v", sc.name, !bare), func(t *testing.T) {
				begin := time.Now()
				r, err := sc.explore(setting{bare: bare}, limits)
				if err != nil {
					t.Error(err)
				}
				t.Logf("%v in %v", r, time.Since(begin).Round(time.Millisecond))
				all.Add(r)
			})
		}
	}
	t.Logf("together: %v", all)
}

// TestCrewInEveryOrder has two processes decide at once, in every order of what
// they do to what they share.
func TestCrewInEveryOrder(t *testing.T) {
	list := scenes
	if *ordersFlag {
		list = append(slices.Clone(scenes), long...)
	}
	exploreAll(t, list, interleave.Limits{})
}

// TestCrewOfThree has three decide at once, in every order in which the processes
// are interrupted in the middle of something twice at most.
func TestCrewOfThree(t *testing.T) {
	limits := interleave.Limits{Interruptions: 2}
	if *ordersFlag {
		limits.Interruptions = 3
	}
	exploreAll(t, three, limits)
}

// TestCrewUnprotected switches off what protects the machine from its own
// processes, and must see it go wrong.
func TestCrewUnprotected(t *testing.T) {
	for _, c := range []struct {
		name    string
		setting setting
	}{
		{"the swap of the word does not compare", setting{blind: true}},
		{"actions are carried out whatever the word says", setting{noFence: true}},
		{"no priority 0 after an advert that left late", setting{without: election.RuleLateZero}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range scenes {
				r, err := scenes[i].explore(c.setting, interleave.Limits{})
				if err != nil {
					t.Logf("%s: after %v: %v", scenes[i].name, r, err)
					return
				}
			}
			t.Errorf("no scene notices")
		})
	}
}
