package show

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/election"
)

var update = flag.Bool("update", false, "write the golden files anew")

// three is the time of night.
var three = time.Date(2026, 11, 23, 3, 0, 12, 345e6, time.UTC)

func before(d time.Duration) time.Time { return three.Add(-d) }

// pair is a machine with two virtual routers in two processes.
func pair(phase election.State, reason election.Reason, peer string, ago time.Duration) []control.Process {
	all := make([]control.Process, 2)
	from := election.Backup
	if phase == election.Backup || phase == election.Linger {
		from = election.Master
	}
	for i := range all {
		parent := []string{"eth0", "eth1"}[i]
		r := control.Router{
			Interface: []string{"vrrp51", "vrrp52"}[i], Parent: parent, VRID: uint8(51 + i),
			Version: "vrrp-v2", AcceptMode: true, State: control.StateName(phase), Held: phase == election.Held,
			Priority: 100, EffectivePriority: 100, Lease: control.Lease{Rung: "none"},
			VirtualIPv4Addresses: []netip.Addr{netip.MustParseAddr([]string{"192.0.2.200", "198.51.100.200"}[i])},
		}
		if phase == election.Backup {
			r.LastAdvSource = netip.MustParseAddr([]string{"192.0.2.2", "198.51.100.2"}[i])
		}
		st := control.Status{PID: 1000 + i, Time: three, Routers: []control.Router{r}, Machine: control.Machine{
			Group: "lan", State: phase.Outward().String(), Phase: phase.String(), Reason: reason.String(), Peer: peer,
			Since: before(ago), AgoMS: ago.Milliseconds(), Epoch: 17,
			Priority: control.Priority{Effective: 100, Configured: 100}, Processes: control.Processes{Alive: 2, Wanted: 2},
		}}
		st.Transitions = []control.Transition{
			{At: before(ago + 26*time.Hour), Epoch: 15, From: "INIT", To: "HELD", Reason: "startup"},
			{At: before(ago + 25*time.Hour), Epoch: 16, From: "HELD", To: "BACKUP", Reason: "recovered"},
			{At: before(ago), Epoch: 17, From: from.String(), To: phase.String(), Reason: reason.String(), Peer: peer},
		}
		all[i] = control.Process{Instance: parent + "-" + []string{"51", "52"}[i], Status: st}
	}
	return all
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestStateInEveryPhase(t *testing.T) {
	for name, c := range map[string]struct {
		phase  election.State
		reason election.Reason
		peer   string
		ago    time.Duration
		change func([]control.Process)
	}{
		"init":    {election.Init, election.NoReason, "", 0, nil},
		"backup":  {election.Backup, election.SuperiorAdvert, "192.0.2.2", 3*24*time.Hour + 4*time.Hour, nil},
		"prepare": {election.Prepare, election.MasterTimeout, "", 0, nil},
		"master":  {election.Master, election.MasterTimeout, "192.0.2.2", 2*time.Hour + 11*time.Minute, nil},
		"linger":  {election.Linger, election.OperatorBackup, "", time.Second, wish(true, false)},
		"listen":  {election.Listen, election.Suspended, "", time.Second, nil},
		"held-link": {election.Held, election.LinkDown, "", 61 * time.Second, func(all []control.Process) {
			all[1].Status.Machine.Faults = []control.Fault{{Interface: "vrrp52", Parent: "eth1", VRID: 52, Reason: "link-down", Detail: "no carrier"}}
		}},
		"held-check": {election.Held, election.CheckFailed, "", time.Minute, func(all []control.Process) {
			m := &all[0].Status.Machine
			m.Faults = []control.Fault{{Reason: "check-failed", Detail: "check lan: no answer from 192.0.2.254 on eth0"}}
			m.Priority = control.Priority{Effective: 40, Configured: 100, Checks: -60}
			all[0].Status.Checks = []control.Check{
				{Name: "lan", State: "failing", Since: before(time.Minute), What: "192.0.2.254 on eth0", Detail: "no answer from 192.0.2.254 on eth0",
					Effect: "it holds this machine", Last: before(time.Second)},
				{Name: "uplink", State: "failing", Since: before(25 * time.Hour), What: "carrier of eth2", Detail: "eth2 has no carrier",
					Weight: -60, Effect: "it takes 60 from the priority", Last: before(25 * time.Hour)},
				{Name: "web", State: "passing", What: "/bin/check", Last: before(time.Second)},
				{Name: "new", State: "pending", What: "/bin/slow"},
			}
		}},
		"held-down": {election.Held, election.LinkDown, "", 2 * time.Second, func(all []control.Process) {
			all[0].Status.Machine.HeldMS = 1750
		}},
		"held-missing": {election.Held, election.MemberMissing, "", time.Minute, func(all []control.Process) {
			for i := range all {
				all[i].Status.Machine.Processes = control.Processes{Alive: 2, Wanted: 3}
			}
		}},
		"held-operator": {election.Held, election.OperatorHold, "", time.Minute, wish(false, true)},
		"trouble": {election.Master, election.Preempted, "192.0.2.2", time.Minute, func(all []control.Process) {
			m := &all[0].Status.Machine
			m.Partition = true
			m.Priority.Effective = 90
			m.Alarms = []control.Alarm{
				{Reason: "partition", Since: before(time.Second)},
				{Interface: "vrrp51", Reason: "peer-deaf", Peer: "192.0.2.2", Since: before(30 * time.Second)},
				{Interface: "vrrp51", Reason: "word-of-2030", Since: before(30 * time.Second)},
				{Interface: "vrrp51", Reason: "interval", Peer: "192.0.2.9", Since: before(30 * time.Second), Count: 11,
					Message: "adverts from 192.0.2.9 are ignored, because its interval is 3s and ours 1s", Do: "give both machines the same -d"},
			}
			all[0].Status.LogLost = 12
			all[0].Status.Hooks = []control.HookResult{
				{State: "MASTER", Command: "/etc/scripts/MASTER.sh", Started: before(59 * time.Second), ExitCode: 1},
				{State: "BACKUP", Command: "/etc/scripts/DOWN.sh", Started: before(25 * time.Hour), Error: "killed after 60s"},
			}
			all[1].Status.Hooks = []control.HookResult{
				{State: "MASTER", Command: "/etc/scripts/MASTER.sh", Started: before(59 * time.Second), Running: true},
				{State: "BACKUP", Command: "/etc/scripts/DOWN.sh", Started: before(25 * time.Hour)},
			}
			all[0].Status.Routers[0].Statistics.Drops = map[string]uint64{"ttl": 3, "checksum": 12, "vrid": 0}
			all[0].Status.Routers[0].Lease = control.Lease{Rung: "clsact", RemainingMS: 1834}
			all[1].Status.Routers[0].Lease = control.Lease{Rung: "nftables", RemainingMS: 1835, Skipped: []string{"clsact: not permitted", "tcx: not in this kernel"}}
			all[1].Status.Machine.Epoch, all[1].Status.Machine.Phase = 16, "BACKUP"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			all := pair(c.phase, c.reason, c.peer, c.ago)
			if c.change != nil {
				c.change(all)
			}
			golden(t, name, State(control.Merge(all), three))
		})
	}
}

// What is configured and changes who is believed or answered is shown, but no key.
func TestStateShowsSettings(t *testing.T) {
	all := pair(election.Backup, election.SuperiorAdvert, "192.0.2.2", time.Hour)
	for _, more := range pair(election.Backup, election.SuperiorAdvert, "192.0.2.2", time.Hour) {
		more.Instance += "b"
		more.Status.Routers[0].Interface += "b"
		all = append(all, more)
	}
	all[0].Status.Routers[0].Authentication = &control.Authentication{Type: "pass"}
	r := &all[1].Status.Routers[0]
	r.Version, r.AcceptMode, r.Beside2 = "vrrp-v3", false, &control.Interoperation{AdvertisementRcvd: 17, Ignored: 5}
	r.Authentication = &control.Authentication{Type: "hmac", Mode: "enforce", ActiveKey: 2, Keys: []int{1, 2}, Replay: "time", Window: 5}
	all[2].Status.Routers[0].Authentication = &control.Authentication{Type: "hmac", Mode: "permissive", ActiveKey: 1, Keys: []int{1}}
	all[2].Status.Routers[0].Statistics.AuthUnsigned = 9
	all[3].Status.Routers[0].Authentication = &control.Authentication{Type: "hmac", Mode: "receive-only", ActiveKey: 1, Keys: []int{1}}
	golden(t, "settings", State(control.Merge(all), three))
}

func wish(soft, hold bool) func([]control.Process) {
	return func(all []control.Process) {
		for i := range all {
			all[i].Status.Machine.Wishes = control.Wishes{Soft: soft, Hold: hold}
		}
	}
}

func TestStateOfTwoGroups(t *testing.T) {
	all := pair(election.Master, election.MasterTimeout, "", time.Hour)
	all[1].Status.Machine.Group = "dmz"
	all[1].Status.Machine.Phase, all[1].Status.Machine.State = "BACKUP", "BACKUP"
	v := control.Merge(all)
	v.Silent = []control.Trouble{{Instance: "eth2-53", Message: "ask eth2-53.sock: no answer in time"}}
	v.Dead = []control.Trouble{{Instance: "eth3-54"}}
	golden(t, "two-groups", State(v, three))
}

// The words that the interface promises, independent of the golden files.
func TestHeadlines(t *testing.T) {
	first := func(all []control.Process) string {
		line, _, _ := strings.Cut(State(control.Merge(all), three), "\n")
		return line
	}
	if got, want := first(pair(election.Master, election.MasterTimeout, "", 131*time.Minute)),
		"MASTER since 00:49:12 (2h 11m), because the master fell silent (master-timeout)"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	all := pair(election.Held, election.LinkDown, "", time.Second)
	all[1].Status.Machine.Faults = []control.Fault{{Parent: "eth1", Reason: "link-down"}}
	if got, want := first(all), "HELD: link-down on eth1, since 03:00:11 (1s)"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWhy(t *testing.T) {
	v := control.Merge(pair(election.Held, election.LinkDown, "", time.Minute))
	last := &v.Groups[0].Transitions[len(v.Groups[0].Transitions)-1]
	last.Where, last.Detail = "eth1", "no carrier"
	golden(t, "why", Why(v, three))
	all := pair(election.Backup, election.SuperiorAdvert, "192.0.2.2", time.Minute)
	for i := range all {
		all[i].Status.Machine.MixedView = true
		all[i].Status.Machine.Alarms = []control.Alarm{{Reason: "mixed-view", Since: before(time.Second),
			Message: "no master is heard on eth1 (VRID 52)", Do: "look at eth1"}}
	}
	golden(t, "why-mixed", Why(control.Merge(all), three))
	v.Groups[0].Transitions = nil
	if got := Why(v, three); !strings.HasPrefix(got, "no transition since vrrpd started\n") {
		t.Errorf("no transitions: %q", got)
	}
	if all := Explain(v); all == nil || len(all) != 0 {
		t.Errorf("no transitions: %v", all)
	}
}

func TestEveryReasonHasWords(t *testing.T) {
	seen := map[string]election.Reason{}
	n := 0
	for r := election.NoReason; r.String() != "unknown"; r++ {
		n++
		w := wordsFor(r)
		if w.because == "" || w.sentence == "" {
			t.Errorf("%s has no words", r)
			continue
		}
		if !strings.HasSuffix(w.sentence, ".") || strings.ToLower(w.because[:1]) != w.because[:1] || strings.HasSuffix(w.because, ".") {
			t.Errorf("%s: %q, %q", r, w.because, w.sentence)
		}
		for _, s := range []string{w.because, w.sentence} {
			if other, ok := seen[s]; ok {
				t.Errorf("%s and %s say the same: %q", r, other, s)
			}
			seen[s] = r
		}
		if got := about(r.String()); got != w {
			t.Errorf("%s is not found by its word", r)
		}
	}
	if n < 30 {
		t.Errorf("only %d reasons", n)
	}
	if w := about("word-of-2030"); !strings.Contains(w.sentence, "word-of-2030") {
		t.Errorf("an unknown word: %+v", w)
	}
}

func TestEvent(t *testing.T) {
	at := before(time.Minute)
	for _, c := range []struct {
		e    control.Event
		want string
	}{
		{control.Event{Kind: control.KindState, Group: "lan", To: "MASTER", Reason: "preempted", Peer: "192.0.2.2"},
			"lan: is MASTER: preempted (peer 192.0.2.2)"},
		{control.Event{Kind: control.KindTransition, Group: "lan", Interface: "vrrp51", From: "BACKUP", To: "MASTER", Reason: "master-timeout", Peer: "192.0.2.2"},
			"lan: BACKUP -> MASTER: master-timeout (peer 192.0.2.2)"},
		{control.Event{Kind: control.KindAlarm, Interface: "vrrp51", Reason: "peer-deaf", Peer: "192.0.2.2", Active: true},
			"vrrp51: alarm: peer-deaf (peer 192.0.2.2): the other router does not hear us"},
		{control.Event{Kind: control.KindFault, Interface: "vrrp51", Reason: "link-down"},
			"vrrp51: fault is over: link-down: a link is down"},
		{control.Event{Kind: control.KindFault, Interface: "vrrp51", Reason: "link-down", Active: true, Message: "no carrier"},
			"vrrp51: fault: link-down: no carrier"},
		{control.Event{Kind: control.KindHook, Group: "lan", Message: "MASTER.sh\nfailed\x1b[2J"}, "lan: script: MASTER.sh failed?[2J"},
		{control.Event{Kind: control.KindCommand, Group: "lan", Message: "backup"}, "lan: operator: backup"},
		{control.Event{Kind: control.KindEnd, Group: "lan", Instance: "eth0-51", Message: "died"}, "eth0-51: gone: died"},
		{control.Event{Kind: "of-2030", Group: "lan"}, "lan: of-2030"},
	} {
		c.e.At = at
		if got := Event(c.e, three); got != "02:59:12.345 "+c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59999 * time.Millisecond: "59s", time.Minute: "1m 0s", 3599 * time.Second: "59m 59s",
		time.Hour: "1h 0m", 86399 * time.Second: "23h 59m", 100 * time.Hour: "4d 4h",
	} {
		if got := ago(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// What comes over a socket may not command the terminal.
func TestHostileWords(t *testing.T) {
	all := pair(election.Held, election.LinkDown, "\x1b[1m", time.Minute)
	const evil = "evil\x1b]0;x\x07\u009b\nMASTER since ever"
	for i := range all {
		st := &all[i].Status
		m := &st.Machine
		m.Group, m.Reason = evil, evil
		m.Faults = []control.Fault{{Parent: evil, Reason: evil, Detail: evil}}
		m.Alarms = []control.Alarm{{Interface: evil, Reason: evil, Peer: evil}, {Reason: evil, Peer: "2", Message: evil, Do: evil}}
		st.LogLost = 1
		st.Hooks = []control.HookResult{{Command: evil, Error: evil}}
		st.Transitions = []control.Transition{{From: evil, To: evil, Reason: evil, Peer: evil, Where: evil, Detail: evil}}
		r := &st.Routers[0]
		r.Interface, r.Parent, r.State, r.Held, r.Lease.Rung = evil, evil, evil, false, evil
		r.Statistics.Drops = map[string]uint64{evil: 1}
		all[i].Instance = evil
	}
	all[1].Status.Machine.Group = evil + "2"
	v := control.Merge(all)
	v.Silent = []control.Trouble{{Instance: evil, Message: evil}}
	v.Dead = v.Silent
	v.Groups[0].Members[0].Agrees = false
	v.Groups[0].Members[0].Phase = evil
	text := State(v, three) + Why(v, three) + strings.Join(Table(v, nil, three, 1000, 1000), "\n") + Event(control.Event{Kind: evil, Group: evil, Message: evil}, three)
	if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || 0x7f <= r && r < 0xa0) }) {
		t.Errorf("control characters in %q", text)
	}
	if slices.ContainsFunc(strings.Split(text, "\n"), func(l string) bool { return strings.HasPrefix(l, "MASTER") }) {
		t.Errorf("a line was forged in %q", text)
	}
}

// What a process does not wait for is shown if there is any of it.
func TestUrgent(t *testing.T) {
	for want, m := range map[string]control.Member{
		"":                     {},
		"real-time priority 5": {Realtime: 5},
		"its memory locked":    {MemoryLock: true},
		"real-time priority 49 and its memory locked": {Realtime: 49, MemoryLock: true},
	} {
		if got := urgent(m); got != want {
			t.Errorf("%+v: %q, want %q", m, got, want)
		}
	}
}
