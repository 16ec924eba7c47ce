package netlab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestPingerMeasuresAnOutage(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{})
	serve(t, n, n.R1)
	for _, c := range []struct {
		name       string
		begin, end func() error
	}{
		// Blocked, the way is open at once afterwards. Cut, r1 forgets the
		// server's MAC and may take a second to ask again.
		{"block", n.R1B.Block, n.R1B.Unblock},
		{"cut", n.R1B.Cut, n.R1B.Plug},
	} {
		t.Run(c.name, func(t *testing.T) { measureOutage(t, n, c.begin, c.end) })
	}
}

func measureOutage(t *testing.T, n *TwoRoutersNet, begin, end func() error) {
	echo := must[*UDPEcho](t)(n.Server.StartEcho(netip.AddrPortFrom(n.LANB.Host, 0)))
	ping := must[*Pinger](t)(n.Client.StartPinger(echo.Addr(), PingerOptions{Echo: echo}))
	check(t, ping.WaitAnswer(within(t), now()))

	const length = 200 * time.Millisecond
	began := now()
	check(t, begin())
	cut := now()
	Eventually(t, limit, func() (bool, string) {
		p := ping.Snapshot()
		return p.End.Sub(cut) > length, fmt.Sprintf("%d pings, the last at +%v", len(p.List), p.End.Sub(cut))
	})
	plugging := now()
	check(t, end())
	check(t, ping.WaitAnswer(within(t), now()))
	healed := now()
	got := ping.Stop()

	worst := got.Between(began.Add(-10*time.Millisecond), healed).Longest(0)
	// Between the end of Cut and the beginning of Plug nothing can have passed,
	// but the first ping in there may be one interval and one stall late. After
	// the last answer that was waited for nothing was lost.
	least := plugging.Sub(cut) - got.Interval - got.Stall()
	most := healed.Sub(began) + got.Interval + got.Stall()
	t.Logf("%v without a way: %v; stall of the sender %v", plugging.Sub(began).Round(time.Millisecond), worst, got.Stall())
	if worst.Length() < least || worst.Length() > most || worst.Open {
		t.Errorf("measured %v, want from %v to %v", worst, least, most)
	}
	if worst.Lost < 10 {
		t.Errorf("%d pings lost in %v at one a millisecond", worst.Lost, worst.Length())
	}
	// The hole was on the server's side of r1: nothing got there either.
	for _, p := range got.Between(cut, plugging).List {
		if !p.There.IsZero() || !p.Back.IsZero() {
			t.Fatalf("a ping sent at +%v passed", p.Sent.Sub(cut))
		}
	}
	strip := got.Strip(Span{began, healed}, 20*time.Millisecond, 0)
	if !strings.Contains(strip, "..") {
		t.Errorf("the strip %q shows no outage", strip)
	}
}

func TestPingerKeepsItsSchedule(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{})
	echo := must[*UDPEcho](t)(n.Server.StartEcho(netip.AddrPortFrom(n.LANB.Host, 7)))
	ping := must[*Pinger](t)(n.Client.StartPinger(echo.Addr(), PingerOptions{Count: 300, Grace: 10 * time.Millisecond}))
	<-ping.Done()
	got := ping.Stop() // nobody has the VIP: all are lost, and none is late for that
	if got.Lost() != 300 || len(got.List) != 300 {
		t.Errorf("%d of %d lost, want 300 of 300", got.Lost(), len(got.List))
	}
	if o := got.Longest(0); !o.Open || o.Lost != 300 {
		t.Errorf("outage %+v, want one over the whole run", o)
	}
	// No ping is early: ping i leaves no sooner than i intervals after the first.
	for i, p := range got.List {
		if due := got.List[0].Sent.Add(time.Duration(i) * got.Interval); p.Sent.Before(due.Add(-got.Stall() - got.Interval)) {
			t.Fatalf("ping %d left %v early", i, due.Sub(p.Sent))
		}
	}
}

// vmac makes the host serve the VIP of LAN A on a macvlan with the virtual MAC,
// as vrrpd does.
func vmac(t *testing.T, n *TwoRoutersNet, h *Host) {
	t.Helper()
	const name = "vrrp51"
	parent, err := h.Netlink().LinkByName("eth0")
	check(t, err)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = name, parent.Attrs().Index
	virtual := VMAC(n.LANA.VRID)
	attrs.HardwareAddr = virtual[:]
	check(t, h.Netlink().LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}))
	for _, ifname := range []string{"eth0", name} {
		check(t, h.SetSysctl("net/ipv4/conf/"+ifname+"/arp_ignore", "1"))
	}
	check(t, h.AddAddr(name, netip.PrefixFrom(n.LANA.VIP, 32)))
	link, err := h.Netlink().LinkByName(name)
	check(t, err)
	check(t, h.Netlink().LinkSetUp(link))
}

func TestAskerTellsMachinesApart(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{Askers: true})
	vmac(t, n, n.R1)
	mac := must[MAC](t)(n.AskerA.Resolve(within(t), "eth0", n.LANA.VIP))
	if mac != VMAC(51) {
		t.Errorf("the VIP is at %v, want %v", mac, VMAC(51))
	}
	if from := must[MAC](t)(n.AskerA.PingMAC(within(t), "eth0", mac, n.LANA.VIP)); from != VMAC(51) && from != must[Link](t)(n.R1.Link("eth0")).MAC {
		t.Errorf("an echo to the VIP is answered by %v", from)
	}
	options := AskerOptions{Interval: 10 * time.Millisecond, Cables: []*Cable{n.R1A, n.R2A}}
	asker := must[*Asker](t)(n.AskerA.StartAsker("eth0", n.LANA.VIP, options))
	// until waits for a question, asked from now on, that cond likes.
	until := func(what string, cond func(Question) bool) {
		t.Helper()
		from := now()
		Eventually(t, limit, func() (bool, string) {
			r := must[Answers](t)(asker.Snapshot())
			return slices.ContainsFunc(r.List, func(q Question) bool { return q.Sent.After(from) && cond(q) }), what
		})
	}
	until("answered by ARP and ICMP", func(q Question) bool { return len(q.Answers) == 2 && q.Machines()[0] == "r1" })
	alone := must[Answers](t)(asker.Snapshot())
	if d := alone.Double(); len(d) != 0 {
		t.Errorf("with r1 alone, two machines answered in %v", d)
	}

	vmac(t, n, n.R2)
	until("answered by both", func(q Question) bool { return slices.Equal(q.Machines(), []string{"r1", "r2"}) })
	gone := now()
	for _, h := range []*Host{n.R1, n.R2} {
		link, err := h.Netlink().LinkByName("vrrp51")
		check(t, err)
		check(t, h.Netlink().LinkDel(link))
	}
	until("answered by nobody", func(q Question) bool { return len(q.Answers) == 0 })
	r := must[Answers](t)(asker.Stop())
	if r.Dropped != 0 {
		t.Errorf("the capture lost %d frames", r.Dropped)
	}
	if d := r.Double(); len(d) == 0 || !d[len(d)-1].From.Before(gone) {
		t.Errorf("two machines answered in %v, want a stretch that began before %v", d, gone)
	}
	if o := r.Outages(0); len(o) == 0 || !o[len(o)-1].Open {
		t.Errorf("nobody answered in %v, want a stretch open at the end", o)
	}
	for _, q := range r.List {
		for _, a := range q.Answers {
			if !a.Echo && a.MAC != VMAC(51) {
				t.Fatalf("ARP answer %+v, want %v", a, VMAC(51))
			}
			if a.At.Before(q.Sent) {
				t.Fatalf("answer %+v before its question at %v", a, q.Sent)
			}
		}
	}
}

func TestResolveAllFindsBothMACs(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{})
	// Without arp_ignore the parent answers for the VIP, too.
	vmac(t, n, n.R1)
	check(t, n.R1.SetSysctl("net/ipv4/conf/eth0/arp_ignore", "0"))
	var list []MAC
	Eventually(t, limit, func() (bool, string) {
		list = must[[]MAC](t)(n.Client.ResolveAll(within(t), "eth0", n.LANA.VIP, 20*time.Millisecond))
		return len(list) == 2, fmt.Sprint(list)
	})
	if !slices.Contains(list, VMAC(51)) || !slices.Contains(list, must[Link](t)(n.R1.Link("eth0")).MAC) {
		t.Errorf("answering: %v", list)
	}
}

func TestSnifferDirectionAndLimit(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{})
	match := Or(MatchAdverts(), MatchICMP())
	here := must[*Sniffer](t)(n.R1.StartSniffer("eth0", SnifferOptions{Match: match, Limit: 2}))
	port := must[*Sniffer](t)(n.R1A.StartSniffer(SnifferOptions{Match: match}))
	in := must[*Injector](t)(n.R1.OpenInjector("eth0"))
	shout(t, n.R1, 1) // ARP: not for this filter
	before := now()
	for _, p := range []byte{0, 100, 200} {
		check(t, in.Send(advert(51, p)))
	}
	f, err := port.WaitFor(within(t), func(f Frame) bool { a, _ := f.Advert(); return a.Priority == 200 })
	check(t, err)
	a, ok := f.Advert()
	want := Advert{
		Version: 2, VRID: 51, Priority: 200, TTL: 255, SrcMAC: VMAC(51), Interval: time.Second,
		Src: netip.MustParseAddr("192.0.2.2"), Dst: netip.MustParseAddr("224.0.0.18"), VIPs: []netip.Addr{n.LANA.VIP},
	}
	if !ok || fmt.Sprint(a) != fmt.Sprint(want) || fmt.Sprintf("%#v", a.VIPs) != fmt.Sprintf("%#v", want.VIPs) || f.Out || f.N != 2 {
		t.Errorf("at the port, frame %d, out %v: %v, want frame 2, in: %v", f.N, f.Out, a, want)
	}
	if f.At.Before(before) || f.At.After(now()) {
		t.Errorf("frame stamped %v, sent after %v", f.At, before)
	}
	if _, err := here.WaitFrom(within(t), 1, func(Frame) bool { return true }); err != nil {
		t.Fatal(err)
	}
	frames := here.Frames(0)
	if len(frames) != 2 || !frames[0].Out {
		t.Errorf("%d frames kept at eth0 (out: %v), want 2 that went out", len(frames), frames[0].Out)
	}
	Eventually(t, limit, func() (bool, string) {
		lost := must[int](t)(here.Dropped())
		return lost == 1, fmt.Sprintf("%d dropped, want 1", lost)
	})
	check(t, here.Close())
	if _, err := here.WaitFrom(within(t), 2, func(Frame) bool { return true }); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("wait at a closed sniffer: %v", err)
	}
}

func TestSnifferSurvivesLinkDown(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{})
	s := must[*Sniffer](t)(n.R1A.StartSniffer(SnifferOptions{Match: MatchARP()}))
	check(t, n.R1A.Cut())
	check(t, n.R1A.Plug())
	must[Link](t)(n.R1.WaitLink(within(t), "eth0", func(l Link) bool { return l.Carrier }))
	shout(t, n.R1, 9)
	_, err := s.WaitFor(within(t), heard(9))
	check(t, err)
}

func TestFlushNeighbours(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{})
	serve(t, n, n.R1)
	n.mustReach(t)
	if _, known, err := n.Client.Neighbour(n.LANA.VIP); !known || err != nil {
		t.Fatalf("the client does not know the VIP after a ping (%v)", err)
	}
	s := must[*Sniffer](t)(n.ClientCable.StartSniffer(SnifferOptions{Match: MatchARP()}))
	check(t, n.Client.FlushNeighbours())
	n.mustReach(t)
	_, err := s.WaitFor(within(t), func(f Frame) bool {
		a, ok := f.ARP()
		return ok && !f.Out && !a.Reply && a.TargetIP == n.LANA.VIP
	})
	check(t, err)
}

// The pinger's and echo server's own cost, in CPU time of this process.
func BenchmarkPingerSecond(b *testing.B) {
	lab := ForTest(b)
	n, err := TwoRouters(lab, TwoRoutersOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		ifname string
		vip    netip.Addr
	}{{"eth0", n.LANA.VIP}, {"eth1", n.LANB.VIP}} {
		if err := n.R1.AddAddr(c.ifname, netip.PrefixFrom(c.vip, 32)); err != nil {
			b.Fatal(err)
		}
	}
	echo, err := n.Server.StartEcho(netip.AddrPortFrom(n.LANB.Host, 7))
	if err != nil {
		b.Fatal(err)
	}
	var before, after unix.Rusage
	var lost int
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p, err := n.Client.StartPinger(echo.Addr(), PingerOptions{Count: 1000})
		if err != nil {
			b.Fatal(err)
		}
		<-p.Done()
		lost += p.Stop().Lost()
	}
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/1e6/float64(b.N), "cpu-ms/1000pings")
	b.ReportMetric(float64(lost)/float64(b.N), "lost/1000pings")
}
