package acceptance

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

var (
	killSeed  = flag.Uint64("kill-seed", 0, "replay the kills of this seed (0: another one each time)")
	killCount = flag.Int("kills", 100, "how many kills")
	killOnly  = flag.Int("kill-only", -1, "replay only the kill of this number")
)

// On a machine with slow crews there is a kill for every slowShare of the others.
const (
	slowShare = 25
	slowKill  = 100_000 // number of the first
)

// phase is what the processes of a machine are doing when they are killed.
type phase uint8

const (
	startUp phase = iota
	promotion
	demotion
	stopping
	phases
)

func (p phase) String() string {
	return [...]string{"start-up", "promotion", "demotion", "stop"}[p]
}

// kill is one way to die. It follows from the seed and its number.
type kill struct {
	n       int
	crew    crew
	phase   phase
	at      float64 // of the time that the phase took when nobody was killed
	victims int     // bits, by process; never zero
	again   float64 // of the time of a start-up: the next one is killed there, too; 0: it is not
	release bool    // vrrpd --release follows, not a start
	early   bool    // and finds survivors
	rival   bool    // a better machine is there at the next start
}

func (k kill) String() string {
	return fmt.Sprintf("kill %d: %v, %.0f %% into %v, victims %b, again at %.0f %%, release %v (early %v), rival %v",
		k.n, k.crew, 100*k.at, k.phase, k.victims, 100*k.again, k.release, k.early, k.rival)
}

func killOf(seed uint64, n int) kill {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	choice := crews
	if n >= slowKill {
		choice = slowCrews
	}
	k := kill{n: n, crew: choice[r.IntN(len(choice))], phase: phase(n) % phases, at: 1.2 * r.Float64()}
	k.victims = 1<<k.crew.size - 1
	if r.IntN(3) == 0 {
		k.victims = 1 << r.IntN(k.crew.size)
	}
	if r.IntN(4) == 0 {
		k.again = 1.2 * r.Float64()
	}
	k.release, k.early = r.IntN(5) == 0, r.IntN(2) == 0
	k.rival = r.IntN(3) == 0
	return k
}

// mortal is a machine on which processes are killed.
type mortal struct {
	*router
	world  *world
	rivals atomic.Bool // a better machine speaks on both LANs
	clean  snapshot    // before the first start
	// right is the machine with a crew as MASTER and as BACKUP, and took how long
	// the phases take, both when nobody is killed.
	right map[crew][2]snapshot
	took  map[crew][phases]time.Duration
	procs [2]*netlab.Proc // by LAN
	bpf   programIDs
}

// exactRestart kills one machine every step-th time from first on, before end.
func exactRestart(t *testing.T, crews []crew, first, end, step int) {
	t.Logf("replay with -kill-seed %d", killSeeds())
	began := time.Now()
	m := newMortal(t, crews)
	kills := 0
	for n := first; n < end; n += step {
		if *killOnly >= 0 && n != *killOnly {
			continue
		}
		k := killOf(killSeeds(), n)
		t.Logf("%v", k)
		m.die(k)
		if t.Failed() {
			return
		}
		kills++
	}
	if crews[0].lease != "nftables" { // which has none
		m.bpf.gone(t)
	}
	t.Logf("%d kills in %v", kills, time.Since(began))
}

// killSeeds is what all of them begin with.
var killSeeds = sync.OnceValue(func() uint64 {
	if *killSeed != 0 {
		return *killSeed
	}
	return uint64(time.Now().UnixNano())
})

// newMortal lays out the machine, alone with a rival, and watches what its crews
// do when nobody is killed.
func newMortal(t *testing.T, crews []crew) *mortal {
	t.Helper()
	s := &site{t: t, lab: netlab.ForTest(t)}
	for i, name := range []string{"lanA", "lanB"} {
		sw, err := s.lab.Switch(name, netlab.SwitchOptions{})
		check(t, err)
		s.switches[i] = sw
	}
	s.r1 = s.newRouter(1, options{})
	m := &mortal{router: s.r1, right: map[crew][2]snapshot{}, took: map[crew][phases]time.Duration{}, bpf: programIDs{}}
	for _, l := range lans {
		m.waitOperational(l.nic)
	}
	for i, l := range lans {
		var frames [][]byte
		for _, c := range []crew{{size: 2}, {size: 2, ipv6: true}} {
			frames = append(frames, c.berths()[i].rival())
		}
		m.speak(l, frames)
	}
	check(t, m.SetSysctl("net/ipv4/conf/eth0/arp_announce", "1"))
	check(t, m.WriteFile(runDir+"/.keep", netlab.File{}))
	m.world = m.watchWorld()
	m.clean = m.machine()
	for _, c := range crews {
		if _, known := m.right[c]; !known {
			m.rehearse(c)
		}
	}
	return m
}

// speak has the rival send its adverts on a LAN, while it is there.
func (m *mortal) speak(l lan, frames [][]byte) {
	t := m.site.t
	h := m.site.newHost("rival-"+l.nic, l)
	in, err := h.OpenInjector("eth0")
	check(t, err)
	tick := time.NewTicker(killInterval)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			for _, f := range frames {
				if m.rivals.Load() {
					_ = in.Send(f) // a test that needs it notices
				}
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
		tick.Stop()
	})
}

// launch starts processes of a crew, bits by LAN, and does not wait.
func (m *mortal) launch(c crew, which int) {
	m.site.t.Helper()
	for i, b := range c.berths() {
		if which&(1<<i) == 0 {
			continue
		}
		p, err := m.Start(netlab.Command{Path: "vrrpd", Args: c.args(b)})
		check(m.site.t, err)
		m.procs[i] = p
	}
}

// launchForGood is launch of who shall stay. A cleaner may have to wait for the kernel for
// longer than a start waits for it, on a machine whose RTNL mutex others have as well: then
// it is tried again, as a service manager does.
func (m *mortal) launchForGood(c crew, which int) {
	m.site.t.Helper()
	m.launch(c, which)
	for i := range c.size {
		if which&(1<<i) == 0 {
			continue
		}
		netlab.Eventually(m.site.t, patience, func() (bool, string) {
			select {
			case <-m.procs[i].Done():
			default:
				return strings.Contains(m.procs[i].Text(true), "ready: "), m.said()
			}
			if busy := strings.HasSuffix(strings.TrimSpace(m.procs[i].Text(true)), ": try again"); busy {
				m.site.t.Log(m.said())
				m.launch(c, 1<<i)
				return false, m.said()
			}
			return true, "" // what is wrong is said by who waits for it
		})
	}
}

// signalSome sends a signal to processes, bits by LAN.
func (m *mortal) signalSome(which int, sig syscall.Signal) {
	m.site.t.Helper()
	for i, p := range m.procs {
		if which&(1<<i) == 0 {
			continue
		}
		select {
		case <-p.Done(): // it was quicker
		default:
			if err := p.Signal(sig); err != nil && !strings.Contains(err.Error(), "finished") {
				m.site.t.Fatal(err)
			}
		}
	}
}

func (m *mortal) await(which int) {
	m.site.t.Helper()
	for i, p := range m.procs {
		if which&(1<<i) != 0 {
			_, err := p.Wait(within(m.site.t, patience))
			check(m.site.t, err)
		}
	}
	// Who was killed while it started a script has left a child that is still to become
	// the script, and has its locks until then.
	netlab.Eventually(m.site.t, patience, func() (bool, string) {
		alive := 0
		for _, p := range m.procs {
			if p == nil {
				continue
			}
			select {
			case <-p.Done():
			default:
				alive++
			}
		}
		all, err := m.Find("vrrpd")
		check(m.site.t, err)
		return len(all) <= alive, fmt.Sprintf("%d live, and these run: %+v", alive, all)
	})
}

// waitServed waits until the virtual interfaces of the crew are those of a MASTER.
func (m *mortal) waitServed(c crew) {
	m.site.t.Helper()
	for _, b := range c.berths() {
		_, err := m.WaitLink(within(m.site.t, patience), b.name, b.serves)
		check(m.site.t, err)
	}
}

// waitRight waits until the machine is what it is with the crew as MASTER (0) or
// BACKUP (1).
func (m *mortal) waitRight(c crew, as int) {
	m.site.t.Helper()
	m.settle(m.right[c][as], func() snapshot { return normal(m.machine()) }, fmt.Sprintf("%v, %s", c, [...]string{"MASTER", "BACKUP"}[as]))
}

// waitClean waits until the machine is what it was before the first start. Its
// processes are gone, so nothing but the kernel is waited for.
func (m *mortal) waitClean() {
	m.site.t.Helper()
	m.settle(m.clean, m.machine, "stopped")
	if left := m.remains(); len(left) > 0 {
		m.site.t.Errorf("left: %v", left)
	}
}

// settle waits until the machine is as wanted.
func (m *mortal) settle(want snapshot, look func() snapshot, what string) {
	m.site.t.Helper()
	netlab.Eventually(m.site.t, patience, func() (bool, string) {
		diff := want.differences(look())
		return len(diff) == 0, fmt.Sprintf("%s:\n%s\n%s", what, strings.Join(diff, "\n"), m.said())
	})
}

// said is what the processes have said last.
func (m *mortal) said() string {
	var b strings.Builder
	for i, p := range m.procs {
		if p == nil {
			continue
		}
		lines := p.Lines()
		for _, l := range lines[max(0, len(lines)-20):] {
			fmt.Fprintf(&b, "%s: %s\n", lans[i].nic, l.Text)
		}
	}
	return b.String()
}

// rehearse goes through the phases and looks at what is right.
func (m *mortal) rehearse(c crew) {
	t, all := m.site.t, 1<<c.size-1
	t.Helper()
	var took [phases]time.Duration
	var right [2]snapshot
	lap := time.Now()
	end := func(p phase) {
		took[p] = time.Since(lap)
		lap = time.Now()
	}
	m.launch(c, all)
	for _, p := range m.procs[:c.size] {
		_, err := p.WaitLine(within(t, patience), func(l netlab.Line) bool { return strings.Contains(l.Text, "ready: ") })
		check(t, err)
	}
	end(startUp)
	m.waitServed(c)
	m.rivals.Store(true)
	lap = time.Now()
	for _, b := range c.berths() {
		_, err := m.WaitLink(within(t, patience), b.name, func(k netlab.Link) bool { return b.rests(c, k) })
		check(t, err)
	}
	end(demotion)
	right[1] = m.calm()
	m.rivals.Store(false)
	lap = time.Now()
	m.waitServed(c)
	end(promotion)
	right[0] = m.calm()
	m.checkGuards(c)
	lap = time.Now()
	m.signalSome(all, syscall.SIGTERM)
	m.await(all)
	end(stopping)
	m.right[c], m.took[c] = right, took
	for i, r := range right {
		if diff := m.clean.differences(r); len(diff) < 10 {
			t.Fatalf("a running daemon (%d) changes no more than %v: this test is blind", i, diff)
		}
	}
	m.waitClean()
	t.Logf("%v takes %v to start, %v to promote, %v to demote, %v to stop", c, took[startUp], took[promotion], took[demotion], took[stopping])
}

// calm is the machine when nothing changes any more: the kernel makes what belongs to
// IPv6 addresses a little after them.
func (m *mortal) calm() (now snapshot) {
	m.site.t.Helper()
	last := time.Now()
	netlab.Eventually(m.site.t, patience, func() (bool, string) {
		look := normal(m.machine())
		diff := now.differences(look)
		if now == nil || len(diff) > 0 {
			now, last = look, time.Now()
		}
		return time.Since(last) > 100*time.Millisecond, strings.Join(diff, "\n")
	})
	return now
}

// die is one kill and what follows.
func (m *mortal) die(k kill) {
	t, c, all := m.site.t, k.crew, 1<<k.crew.size-1
	t.Helper()
	m.rivals.Store(k.phase == promotion)
	m.launch(c, all)
	switch k.phase {
	case promotion:
		m.waitRight(c, 1)
		m.rivals.Store(false)
	case demotion, stopping:
		m.waitServed(c)
		if k.phase == demotion {
			m.rivals.Store(true)
		} else {
			m.signalSome(all, syscall.SIGTERM)
		}
	}
	m.killAt(k.victims, k.at, m.took[c][k.phase])
	m.rivals.Store(k.rival)
	gone := k.victims
	if k.phase == stopping {
		m.await(all)
		gone = all
	}
	if k.again > 0 {
		m.launch(c, gone)
		m.killAt(gone, k.again, m.took[c][startUp])
	}
	if k.release {
		m.release(all, k.early)
	} else {
		m.launchForGood(c, gone)
		if k.rival {
			m.waitRight(c, 1)
			m.rivals.Store(false)
		}
		m.waitRight(c, 0)
		m.checkGuards(c)
		m.signalSome(all, syscall.SIGTERM)
		m.await(all)
	}
	m.world.check()
	m.waitClean()
}

// killAt kills processes at a share of the time that something takes.
func (m *mortal) killAt(which int, share float64, of time.Duration) {
	m.site.t.Helper()
	<-time.After(time.Duration(share * float64(of)))
	m.signalSome(which, syscall.SIGKILL)
	m.await(which)
	m.world.check()
}

// release cleans up after the dead, before or after the survivors have left.
func (m *mortal) release(all int, early bool) {
	m.site.t.Helper()
	run := func() {
		if got := m.typed("vrrpd --release"); got.Code != 0 {
			m.site.t.Errorf("vrrpd --release: %+v", got)
		}
	}
	if early {
		run()
	}
	m.signalSome(all, syscall.SIGTERM)
	m.await(all)
	if !early {
		run()
	}
}

// normal is a machine without what differs from one start to the next: indexes and
// link groups of virtual interfaces, the length of a process number; and of IPv6 the
// groups of nodes and routers, which an interface that is down has if it was never up.
func normal(s snapshot) snapshot {
	for key, value := range s {
		switch {
		case strings.HasPrefix(key, "link vrrp"):
			f := strings.Fields(value)
			for _, word := range []string{"index", "group"} {
				f[slices.Index(f, word)+1] = "-"
			}
			s[key] = strings.Join(f, " ")
		case strings.HasPrefix(key, "group vrrp") && strings.Contains(key, " 33:33:"):
			delete(s, key)
		case strings.HasPrefix(key, "route vrrp"):
			s[key] = "-" // has the index in it
		case strings.HasSuffix(key, ".pid"):
			s[key] = "-"
		}
	}
	return s
}
