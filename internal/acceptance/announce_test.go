package acceptance

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// gratuitous are the announcements of an address that left by a port.
func gratuitous(frames []netlab.Frame, ip netip.Addr, reply bool) (list []netlab.Frame) {
	for _, f := range frames {
		if a, ok := f.ARP(); ok && !f.Out && a.SenderIP == ip && a.TargetIP == ip && a.Reply == reply {
			list = append(list, f)
		}
	}
	return list
}

// waitRounds waits until an address was announced n times since the mark.
func (r *router) waitRounds(sn *netlab.Sniffer, mark, n int, ip netip.Addr) []netlab.Frame {
	r.site.t.Helper()
	var list []netlab.Frame
	netlab.Eventually(r.site.t, patience, func() (bool, string) {
		list = gratuitous(sn.Frames(mark), ip, false)
		return len(list) >= n && len(gratuitous(sn.Frames(mark), ip, true)) >= n,
			fmt.Sprintf("%v was announced %d times, want %d", ip, len(list), n)
	})
	return list
}

// inRounds checks when an address was announced, against its first time.
func inRounds(t *testing.T, what string, frames []netlab.Frame, want ...time.Duration) {
	t.Helper()
	// Never early; late by what a busy machine does to a timer.
	const late = 250 * time.Millisecond
	var got []time.Duration
	for _, f := range frames {
		got = append(got, f.At.Sub(frames[0].At).Round(time.Millisecond))
	}
	t.Logf("%s: announced at %v", what, got)
	if len(got) < len(want) {
		t.Fatalf("%s: announced at %v, want %v", what, got, want)
	}
	for i, w := range want {
		if got[i] < w-5*time.Millisecond || got[i] > w+late {
			t.Errorf("%s: announced at %v, want %v", what, got, want)
			return
		}
	}
}

// now, 1 s, 5 s, and then as often as was asked for; as request and as reply,
// with the virtual MAC in every place where a switch or a host may look.
func TestAnnounce_RoundsAndRefresh(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	heard := s.r1.sniff(lanA, netlab.MatchARP())
	s.r1.startLine("vrrpd -i eth0 -v 51 -d 0.3 --announce-refresh 1.5 " + lanA.vip.String())
	frames := s.r1.waitRounds(heard, 0, 5, lanA.vip)
	sec := time.Second
	inRounds(t, "promotion", frames, 0, sec, 5*sec, 6500*time.Millisecond, 8*sec)
	for _, reply := range []bool{false, true} {
		for _, f := range gratuitous(heard.Frames(0), lanA.vip, reply) {
			want := netlab.ARP{Reply: reply, SenderMAC: lanA.vmac(), SenderIP: lanA.vip, TargetIP: lanA.vip}
			if reply {
				want.TargetMAC = lanA.vmac()
			}
			if a, _ := f.ARP(); a != want || f.Src() != lanA.vmac() || f.Dst() != netlab.Broadcast() {
				t.Errorf("from %v to %v: %+v, want %+v", f.Src(), f.Dst(), a, want)
			}
		}
	}
	// On leaving, the machine's own address is announced, with its own MAC, and
	// the virtual one no more.
	mark := heard.Mark()
	s.r1.signal(lanA, syscall.SIGTERM)
	s.r1.waitProcesses(0)
	for _, reply := range []bool{false, true} {
		f := s.waitGratuitous(heard, mark, s.r1.own(lanA).Addr(), s.r1.mac(lanA), reply)
		if again := gratuitous(heard.Frames(f.N), lanA.vip, reply); len(again) > 0 {
			t.Errorf("%v is announced after the machine has left it: %v", lanA.vip, again)
		}
	}
}

// A foreign master, a cable that was pulled, a process that stood still: each
// begins the rounds anew.
func TestAnnounce_Heals(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	heard := s.r1.sniff(lanA, netlab.MatchARP())
	s.r1.startLine("vrrpd -i eth0 -v 51 -d 0.1 " + lanA.vip.String())
	frames := s.r1.waitRounds(heard, 0, 2, lanA.vip)
	inRounds(t, "promotion", frames, 0, time.Second)

	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	inferior := edit(good(3), func(f *forged) { f.priority = 1 })
	at, mark := time.Now(), heard.Mark()
	check(t, in.Send(inferior.frame()))
	frames = s.r1.waitRounds(heard, mark, 2, lanA.vip)
	inRounds(t, "a foreign master was heard", frames, 0, time.Second)
	if late := frames[0].At.Sub(at); late > 500*time.Millisecond {
		t.Errorf("announced %v after a foreign master", late)
	}

	check(t, s.r1.cable(lanA).Cut())
	s.r1.waitStatus(lanA, "it is held", func(st control.Status) bool { return st.Machine.Phase == "HELD" })
	mark = heard.Mark()
	check(t, s.r1.cable(lanA).Plug())
	inRounds(t, "the link came back", s.r1.waitRounds(heard, mark, 2, lanA.vip), 0, time.Second)

	// Longer than its lease, and what the others would wait.
	d := s.r1.daemon(lanA)
	check(t, d.Signal(syscall.SIGSTOP))
	pause(time.Second)
	mark = heard.Mark()
	check(t, d.Signal(syscall.SIGCONT))
	inRounds(t, "it woke up", s.r1.waitRounds(heard, mark, 2, lanA.vip), 0, time.Second)
	if last := s.r1.status(lanA).Transitions; last[len(last)-1].To != "MASTER" {
		t.Errorf("it is not MASTER: %+v", last)
	}
}

// pause is for what is defined by its length: a process that stands still.
func pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// A thousand addresses are announced within 100 ms, and no advert is late for
// that.
func announceThousand(t *testing.T) {
	onStage(t)
	s := newSite(t, options{})
	heard := s.r1.sniff(lanA, netlab.Or(netlab.MatchARP(), allAdverts))
	check(t, s.r1.AddAddr("eth0", netip.MustParsePrefix("10.16.31.254/20")))
	// As many as an advert can name, and what a script may add.
	line := "vrrpd -i eth0 -v 51 -d 0.05"
	for i := range 250 {
		line += " " + many(i).String()
	}
	s.r1.startLine(line)
	s.r1.waitRounds(heard, 0, 1, many(249))
	first := gratuitous(heard.Frames(0), many(0), false)[0]
	t.Logf("promotion: 250 addresses within %s", ms(gratuitous(heard.Frames(0), many(249), true)[0].At.Sub(first.At)))
	for i := 250; i < 1000; i++ {
		check(t, s.r1.AddAddr("vrrp51", netip.PrefixFrom(many(i), 32)))
	}
	s.r1.waitRounds(heard, 0, 1, many(999))
	in, err := s.client.OpenInjector("eth0")
	check(t, err)
	// What is still to be told of single addresses ends with the first heal.
	s.heals(in, heard)
	var late []string
	quietly(t, func() { late = s.thousand(in, heard) })
	for _, what := range late {
		t.Error(what)
	}
	if n, err := heard.Dropped(); n > 0 || err != nil {
		t.Fatalf("the capture lost %d frames, %v", n, err)
	}
}

// thousand has everything announced a few times, and returns what was not in time.
func (s *site) thousand(in *netlab.Injector, heard *netlab.Sniffer) (late []string) {
	s.t.Helper()
	for range 3 { // a stall of the machine that the test runs on is nobody's fault
		mark := heard.Mark()
		var rounds []span
		var took []time.Duration
		for range 8 {
			round := s.heals(in, heard)
			rounds, took = append(rounds, round), append(took, round.end.Sub(round.begin))
		}
		s.r1.waitAdverts(heard, 30)
		s.t.Logf("a thousand addresses within %v", took)
		late = nil
		if middle(took) > 100*time.Millisecond {
			late = append(late, fmt.Sprintf("a thousand addresses are announced within %v", took))
		}
		if late = append(late, lateAdverts(s.t, heard.Frames(mark), rounds)...); len(late) == 0 {
			break
		}
	}
	return late
}

// -U finds every address announced: a script that pings, or starts what does, gets its
// answers.
func TestAnnounce_BeforeScript(t *testing.T) {
	t.Parallel()
	const addresses = 250 // eight batches
	s := newSite(t, options{})
	r := s.r1
	heard := r.sniff(lanA, netlab.MatchARP())
	check(t, r.AddAddr("eth0", netip.MustParsePrefix("10.16.31.254/20")))
	check(t, r.WriteFile("/etc/scripts/when.sh", netlab.File{Text: "#!/bin/sh\nexec date +%s%N >>/run/when\n", Mode: 0o755}))
	line := "vrrpd -i eth0 -v 51 -d 0.1 -U /etc/scripts/when.sh"
	for i := range addresses {
		line += " " + many(i).String()
	}
	r.startLine(line)
	var when time.Time
	netlab.Eventually(t, patience, func() (bool, string) {
		text, err := r.ReadFile("/run/when")
		ns, err2 := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		when = time.Unix(0, ns)
		return err2 == nil, fmt.Sprint(err, err2)
	})
	r.waitRounds(heard, 0, 1, many(addresses-1))
	var last time.Time
	for i := range addresses {
		list := gratuitous(heard.Frames(0), many(i), false)
		if len(list) == 0 {
			t.Fatalf("%v was not announced", many(i))
		}
		if list[0].At.After(last) {
			last = list[0].At
		}
	}
	t.Logf("the script ran %s after the last of %d addresses was announced", ms(when.Sub(last)), addresses)
	if when.Before(last) {
		t.Errorf("the script ran %v before all addresses were announced", last.Sub(when))
	}
	if n, err := heard.Dropped(); n > 0 || err != nil {
		t.Fatalf("the capture lost %d frames, %v", n, err)
	}
}

// heals sends an advert of somebody who is no master, so that all the thousand
// addresses are announced, and returns when they were.
func (s *site) heals(in *netlab.Injector, heard *netlab.Sniffer) span {
	s.t.Helper()
	mark := heard.Mark()
	check(s.t, in.Send(edit(good(3), func(f *forged) { f.priority = 1; f.interval = 1 }).frame()))
	type telling struct {
		ip    netip.Addr
		reply bool
	}
	var round span
	netlab.Eventually(s.t, patience, func() (bool, string) {
		round = span{}
		told := map[telling]bool{}
		for _, f := range heard.Frames(mark) {
			a, ok := f.ARP()
			x := telling{a.SenderIP, a.Reply}
			if !ok || f.Out || a.SenderIP != a.TargetIP || told[x] {
				continue
			}
			// It begins with the first address; what comes before belongs to something else.
			if round.begin.IsZero() {
				if x != (telling{many(0), false}) {
					continue
				}
				round.begin = f.At
			}
			told[x], round.end = true, f.At
		}
		return len(told) == 2*1000, fmt.Sprintf("%d announcements of a thousand addresses", len(told))
	})
	return round
}

// lateAdverts judges how late adverts are while addresses are announced.
func lateAdverts(t *testing.T, frames []netlab.Frame, rounds []span) (faults []string) {
	t.Helper()
	const interval = 50 * time.Millisecond
	busy, quiet := lateness(t, frames, interval, rounds)
	t.Logf("adverts late by (median, worst): %s, %s while a thousand addresses are announced (%d adverts); %s, %s otherwise (%d)",
		ms(busy[len(busy)/2]), ms(busy[len(busy)-1]), len(busy), ms(quiet[len(quiet)/2]), ms(quiet[len(quiet)-1]), len(quiet))
	if median := busy[len(busy)/2]; median > quiet[len(quiet)/2]+time.Millisecond {
		faults = append(faults, fmt.Sprintf("announcing makes adverts late by %v, otherwise by %v", median, quiet[len(quiet)/2]))
	}
	if worst := busy[len(busy)-1]; worst > interval+quiet[len(quiet)-1] {
		faults = append(faults, fmt.Sprintf("an advert was late by %v while addresses were announced", worst))
	}
	return faults
}

// many is address i of a thousand.
func many(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 16, byte(16 + i/250), byte(i%250 + 1)})
}

// span is a piece of time.
type span struct{ begin, end time.Time }

// lateness sorts how late adverts were: by how much more than an interval each
// came after the one before, those within the spans and the others.
func lateness(t *testing.T, frames []netlab.Frame, interval time.Duration, spans []span) (busy, quiet []time.Duration) {
	t.Helper()
	var last time.Time
	for _, f := range frames {
		a, ok := f.Advert()
		if !ok || f.Out || a.VRID != lanA.vrid {
			continue
		}
		if !last.IsZero() {
			late := max(f.At.Sub(last)-interval, 0)
			if slices.ContainsFunc(spans, func(s span) bool { return f.At.After(s.begin) && last.Before(s.end) }) {
				busy = append(busy, late)
			} else {
				quiet = append(quiet, late)
			}
		}
		last = f.At
	}
	if len(busy) < 8 || len(quiet) < 20 {
		t.Fatalf("%d adverts while addresses were announced, %d otherwise", len(busy), len(quiet))
	}
	slices.Sort(busy)
	slices.Sort(quiet)
	return busy, quiet
}
