package acceptance

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// holding is a way in which a machine that would win every election is kept from
// it.
type holding struct {
	name, reason string
	begin        func(*router)
	end          func(*router)
	journal      string // the line that says why
	do           string // what atropos says can be done
}

var holdings = []holding{
	{"fault", "link-down",
		func(r *router) { check(r.site.t, r.cable(lanA).Cut()) },
		func(r *router) { check(r.site.t, r.cable(lanA).Plug()) },
		"-> HELD: link-down", "check the cable, the switch port"},
	{"fault that hides another", "no-address",
		func(r *router) {
			check(r.site.t, r.cable(lanA).Cut())
			r.waitStatus(lanA, "it is held for the cable", func(st control.Status) bool { return st.Machine.Reason == "link-down" })
			check(r.site.t, r.DelAddr(lanA.nic, r.own(lanA)))
			check(r.site.t, r.cable(lanA).Plug())
		},
		func(r *router) { check(r.site.t, r.AddAddr(lanA.nic, r.own(lanA))) },
		"still HELD: no-address: eth0", "give the interface its address"},
	{"missing member", "member-missing",
		func(r *router) {
			r.stop(lans...)
			r.start(lanA)
		},
		func(r *router) { r.start(lanB) },
		"still HELD: member-missing: 1 of 2 vrrpd processes run here; what to do: start the missing one", "start the missing one"},
	{"operator", "operator-hold",
		func(r *router) { r.atropos(0, "--hold") },
		func(r *router) { r.atropos(0, "--release") },
		"operator: hold", "atropos --release ends it"},
}

// Held states: each is visible with its reason to people,
// to programs and in the journal; a held machine never preempts, and never serves
// although nobody else does; and it does both when it is free.
func TestHeld_VisibleAndPassive(t *testing.T) {
	t.Parallel()
	for _, h := range holdings {
		t.Run(strings.ReplaceAll(h.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			s := pair(t, options{})
			letters := s.r1.syslog.mark()
			h.begin(s.r1)
			for _, l := range lans {
				s.r2.waitServing(l)
			}
			s.r1.waitBackup(lanA)
			st := s.r1.waitStatus(lanA, "it is held for "+h.reason, func(st control.Status) bool {
				return st.Machine.Phase == "HELD" && st.Machine.Reason == h.reason
			})
			if st.Machine.State != "BACKUP" || !st.Routers[0].Held || st.Routers[0].State != "backup" {
				t.Errorf("to programs: %+v", st)
			}
			s.r1.syslog.waitFor(t, letters, "why", containing(h.journal))
			if g := s.r1.view(0).Groups[0]; g.Phase != "HELD" || g.Reason != h.reason {
				t.Errorf("atropos --state --json: %+v", g.Machine)
			}
			for _, args := range []string{"--state", "--why"} {
				if got := s.r1.atropos(0, args).Stdout; !strings.Contains(got, "HELD: "+h.reason) || !strings.Contains(got, "What to do: "+h.do) && !strings.Contains(got, h.do) {
					t.Errorf("atropos %s:\n%s", args, got)
				}
			}
			s.r1.atropos(1, "is-master")
			// Three master-down intervals of the worse machine, which it hears.
			mark := s.r1.fence()
			s.r2.waitAdverts(s.r2.sniff(lanA, netlab.MatchAdverts()), 12)
			// And five in which nobody serves.
			s.r2.stop(lans...)
			at := s.r1.status(lanA).Machine.AgoMS
			s.r1.waitStatus(lanA, "two seconds have passed", func(st control.Status) bool { return st.Machine.AgoMS > at+2000 })
			for _, e := range s.r1.since(mark) {
				if e.Link == lanA.vrrp() || e.Link == lanB.vrrp() {
					t.Errorf("the held machine has done something: %v", e)
				}
			}
			h.end(s.r1)
			for _, l := range lans {
				s.r1.waitServing(l)
			}
		})
	}
}

// The hold-down is visible while it lasts, keeps the better
// machine from preempting and from serving when it is alone, and ends by itself.
func TestHeld_HoldDown(t *testing.T) {
	t.Parallel()
	s := pair(t, options{})
	flap := func() (up netlab.LinkEvent, letters int) {
		mark := s.r1.links.Mark()
		letters = s.r1.syslog.mark()
		check(t, s.r1.cable(lanA).Cut())
		s.r1.syslog.waitFor(t, letters, "HELD", containing("-> HELD: link-down"))
		check(t, s.r1.cable(lanA).Plug())
		return s.r1.waitEvent(mark, lanA.nic, netlab.CarrierOn, netip.Addr{}), letters
	}
	for range 3 {
		flap()
		s.settled(s.r1, s.r2)
	}
	up, letters := flap() // 3.2 s: 0.2 s doubled four times
	s.r2.waitServing(lanA)
	for _, l := range lans {
		s.r1.waitStatus(l, "the hold-down runs", func(st control.Status) bool {
			return st.Machine.Phase == "HELD" && st.Machine.Reason == "link-down" && st.Machine.HeldMS > 0 && len(st.Machine.Faults) == 0
		})
	}
	for _, args := range []string{"--state", "--why"} {
		if got := s.r1.atropos(0, args).Stdout; !strings.Contains(got, "HELD for another ") || !strings.Contains(got, " s after link-down, since ") ||
			!strings.Contains(got, "this is the hold-down") {
			t.Errorf("atropos %s:\n%s", args, got)
		}
	}
	if g := s.r1.view(0).Groups[0]; g.HeldMS <= 0 || g.Reason != "link-down" {
		t.Errorf("atropos --state --json: %+v", g.Machine)
	}
	s.r1.syslog.waitFor(t, letters, "the hold-down", containing("still HELD: nothing is wrong, and the hold-down lasts for another 2"))
	// Alone now, and passive all the same.
	for _, l := range lans {
		s.r2.signal(l, syscall.SIGKILL)
	}
	mark := s.r1.links.Mark()
	served := s.r1.waitEvent(mark, lanA.vrrp(), netlab.AddrAdded, lanA.vip).At.Sub(up.At)
	t.Logf("served again %v after its link came up, with a hold-down of 3.2 s", served)
	if served < 3100*time.Millisecond {
		t.Errorf("it served %v after its link came up", served)
	}
	free := s.r1.syslog.waitFor(t, letters, "the end of it", containing("-> BACKUP: recovered"))
	if late := served - free.at.Sub(up.At); late > 150*time.Millisecond {
		t.Errorf("its timers did not run in the hold-down: it served %v after that", late)
	}
}

// At boot the hold-down of two intervals and the master-down timer run in
// parallel: alone, a machine serves one master-down interval after it was
// complete.
func TestHeld_Boot(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{100 * time.Millisecond, 500 * time.Millisecond} {
		t.Run(interval.String(), func(t *testing.T) {
			t.Parallel()
			// What the machine says is timed when it is read: a reader that was late for
			// the first line says nothing about the program.
			var odd []string
			for range 3 {
				if odd = bootOdd(t, interval); len(odd) == 0 {
					return
				}
			}
			t.Error(odd)
		})
	}
}

// bootOdd boots a machine alone and returns what was not when it should be.
func bootOdd(t *testing.T, interval time.Duration) (odd []string) {
	t.Helper()
	s := newSite(t, options{interval: fmt.Sprint(interval.Seconds())})
	s.r1.startAll()
	for _, l := range lans {
		s.r1.waitServing(l)
	}
	// Of the process that came last, all three lines.
	began := s.r1.syslog.waitFor(t, 0, "the start", containing("vrrp52: INIT -> HELD: startup"))
	free := s.r1.syslog.waitFor(t, 0, "the end of the hold-down", containing("vrrp52: HELD -> BACKUP: recovered"))
	master := s.r1.syslog.waitFor(t, 0, "the promotion", containing("vrrp52: BACKUP -> MASTER: master-timeout"))
	held, served := free.at.Sub(began.at), master.at.Sub(began.at)
	down := 3*interval + 106*interval/256 // priority 150
	t.Logf("interval %v: held for %v, MASTER after %v", interval, held, served)
	if d := held - 2*interval; d < -20*time.Millisecond || d > 200*time.Millisecond {
		odd = append(odd, fmt.Sprintf("interval %v: held for %v, want two intervals", interval, held))
	}
	if d := served - down; d < -20*time.Millisecond || d > 200*time.Millisecond {
		odd = append(odd, fmt.Sprintf("interval %v: MASTER after %v, want %v: the hold-down runs in parallel", interval, served, down))
	}
	return odd
}

// mute makes the kernel refuse whatever the machine sends on the LAN, until the
// result is called.
func (r *router) mute(l lan) (speak func()) {
	r.site.t.Helper()
	nl := r.Netlink()
	nic, err := nl.LinkByName(l.nic)
	check(r.site.t, err)
	shot, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}, // TC_ACT_SHOT
	})
	check(r.site.t, err)
	defer shot.Close()
	qdisc := &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: nic.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	check(r.site.t, nl.QdiscAdd(qdisc))
	check(r.site.t, nl.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: nic.Attrs().Index, Parent: netlink.HANDLE_MIN_EGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL},
		Fd:          shot.FD(), Name: "mute", DirectAction: true,
	}))
	return func() { check(r.site.t, nl.QdiscDel(qdisc)) }
}

// A machine whose adverts the kernel refuses on one LAN is held before its lease
// ends, says why, and resigns on the other.
func heldSendFailed(t *testing.T) {
	onStage(t)
	s := pair(t, options{})
	zero := s.r1.sniff(lanB, netlab.MatchPriority(0))
	// All of it: while others are waited for, the hold-down doubles to half a minute.
	quietly(t, func() {
		speak, at := s.r1.mute(lanA), time.Now()
		for _, l := range lans {
			s.r2.waitServing(l)
		}
		s.r1.syslog.waitFor(t, 0, "why", func(text string) bool {
			return strings.Contains(text, "vrrp51: warning: MASTER -> HELD: send-failed") && strings.Contains(text, "no buffer space available")
		})
		for _, l := range lans {
			gone := s.r1.waitEvent(0, l.vrrp(), netlab.AddrGone, l.vip)
			t.Logf("%s was given up %v after nothing could be sent", l.vip, gone.At.Sub(at))
			if d := gone.At.Sub(at); d > lease+swift {
				t.Errorf("%s was given up after %v, want within its lease of %v", l.vip, d, lease)
			}
		}
		s.r1.waitAdvert(zero, 0, "resigns on LAN B", func(netlab.Advert) bool { return true })
		// Whether sending works is only known by trying: it does, and leaves again, with
		// a hold-down that doubles.
		s.r1.waitStatus(lanA, "it is held for longer", func(st control.Status) bool {
			return st.Machine.Phase == "HELD" && st.Routers[0].Statistics.SendErrors > 0
		})
		if got := s.r1.atropos(0, "--why").Stdout; !strings.Contains(got, "-> HELD: send-failed") || !strings.Contains(got, "look for errors of the network card") {
			t.Errorf("atropos --why:\n%s", got)
		}
		speak()
	})
	s.settled(s.r1, s.r2)
}

// Somebody who takes away the address again and again is fought for a while, and
// then the machine is held and says what was done to it.
func TestHeld_InterfaceFault(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	for range 21 {
		s.r1.waitServing(lanA)
		mark := s.r1.links.Mark()
		check(t, s.r1.DelAddr(lanA.vrrp(), netip.PrefixFrom(lanA.vip, 32)))
		s.r1.waitEvent(mark, lanA.vrrp(), netlab.AddrGone, lanA.vip)
	}
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	const detail = "address 10.16.1.200 was removed, 20 repairs within 1m0s: something fights us"
	for _, l := range lans {
		s.r1.syslog.waitFor(t, 0, "why", containing(l.vrrp()+": warning: MASTER -> HELD: interface-fault"))
	}
	s.r1.syslog.waitFor(t, 0, "what was done", containing(detail))
	st := s.r1.status(lanA).Machine
	if st.Phase != "HELD" || st.Reason != "interface-fault" || len(st.Faults) != 1 || st.Faults[0].Detail != detail {
		t.Errorf("%+v", st)
	}
	if got := s.r1.atropos(0, "--state").Stdout; !strings.Contains(got, "HELD: interface-fault on eth0 ("+detail+")") {
		t.Errorf("atropos --state:\n%s", got)
	}
	// It tries again after 5 s.
	s.settled(s.r1, s.r2)
}
