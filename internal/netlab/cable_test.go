package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestCutIsCarrierLoss(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{})
	serve(t, n, n.R1)
	if _, err := n.Client.Ping(within(t), n.LANB.Host); err != nil {
		t.Fatal(err)
	}
	eth0 := must[Link](t)(n.R1.Link("eth0"))
	if port := must[string](t)(n.A.PortOf(eth0.MAC)); port != n.R1A.Port {
		t.Errorf("switch learnt %v at %q, want %s", eth0.MAC, port, n.R1A.Port)
	}
	log := must[*LinkLog](t)(n.R1.StartLinkLog())

	began := now()
	check(t, n.R1A.Cut())
	took := now().Sub(began)
	lost, err := log.WaitFrom(within(t), 0, func(e LinkEvent) bool { return e.Link == "eth0" && e.What == CarrierLost })
	check(t, err)
	t.Logf("carrier lost %v after the cut began, which took %v", lost.At.Sub(began).Round(10*time.Microsecond), took.Round(10*time.Microsecond))
	for _, c := range []struct {
		host    *Host
		ifname  string
		carrier bool
	}{{n.R1, "eth0", false}, {n.R1, "eth1", true}, {n.R2, "eth0", true}} {
		l := must[Link](t)(c.host.Link(c.ifname))
		if !l.Up || l.Carrier != c.carrier {
			t.Errorf("%s of %s after the cut: %+v, want up and carrier %v", c.ifname, c.host.Name(), l, c.carrier)
		}
	}
	if port := must[string](t)(n.A.PortOf(eth0.MAC)); port != "" {
		t.Errorf("switch still believes %v to be at %s", eth0.MAC, port)
	}
	check(t, n.R1A.Plug())
	must[Link](t)(n.R1.WaitLink(within(t), "eth0", func(l Link) bool { return l.Carrier }))
	n.mustReach(t)
}

// mustReach fails unless the client reaches the server.
func (n *TwoRoutersNet) mustReach(t *testing.T) {
	t.Helper()
	if _, err := n.Client.Ping(within(t), n.LANB.Host); err != nil {
		t.Fatal(err)
	}
}

// shout sends a broadcast that is told apart by the address it asks for.
func shout(t *testing.T, from *Host, number byte) {
	t.Helper()
	in := must[*Injector](t)(from.OpenInjector("eth0"))
	defer in.Close()
	src := must[Link](t)(from.Link("eth0")).MAC
	check(t, in.Send(ARP{SenderMAC: src, SenderIP: netip.IPv4Unspecified(), TargetIP: shoutIP(number)}.Frame(src, Broadcast())))
}

func shoutIP(number byte) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, number}) }

// heard tells whether the frame came in and is shout number.
func heard(number byte) func(Frame) bool {
	return func(f Frame) bool {
		a, ok := f.ARP()
		return ok && !f.Out && a.TargetIP == shoutIP(number)
	}
}

// passes tells whether shout number of one host is heard by a sniffer: its
// absence is proven by the next number, of a witness, that does arrive.
func passes(t *testing.T, number byte, from *Host, to *Sniffer, witness *Host) bool {
	t.Helper()
	shout(t, from, number)
	shout(t, witness, number+1)
	end, err := to.WaitFor(within(t), heard(number+1))
	check(t, err)
	return slices.ContainsFunc(to.Frames(0)[:end.N], heard(number))
}

func TestBlockKeepsCarrierAndPassesNothing(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{})
	atR1 := must[*Sniffer](t)(n.R1.StartSniffer("eth0", SnifferOptions{Match: MatchARP()}))
	atR2 := must[*Sniffer](t)(n.R2.StartSniffer("eth0", SnifferOptions{Match: MatchARP()}))
	atPort := must[*Sniffer](t)(n.R1A.StartSniffer(SnifferOptions{Match: MatchARP()}))
	if !passes(t, 1, n.R1, atR2, n.Client) {
		t.Fatal("nothing passes before the port is blocked")
	}
	check(t, n.R1A.Block())
	number := byte(10)
	for _, when := range []string{"blocked", "cut and plugged while blocked"} {
		if l := must[Link](t)(n.R1.Link("eth0")); !l.Carrier {
			t.Errorf("%s: eth0 of r1 has no carrier", when)
		}
		if passes(t, number, n.R1, atR2, n.Client) {
			t.Errorf("%s: r2 hears r1", when)
		}
		if _, err := atPort.WaitFor(within(t), heard(number)); err != nil {
			t.Errorf("%s: r1 did not even send: %v", when, err)
		}
		// To r1 nothing passes either: what the client has just shouted is not
		// there when, with the port open again, the next one is.
		check(t, n.R1A.Unblock())
		shout(t, n.Client, number+2)
		end, err := atR1.WaitFor(within(t), heard(number+2))
		check(t, err)
		if slices.ContainsFunc(atR1.Frames(0)[:end.N], heard(number+1)) {
			t.Errorf("%s: r1 heard the client", when)
		}
		number += 10
		check(t, n.R1A.Block())
		check(t, n.R1A.Cut())
		check(t, n.R1A.Plug())
		must[Link](t)(n.R1.WaitLink(within(t), "eth0", func(l Link) bool { return l.Carrier }))
	}
	check(t, n.R1A.Unblock())
	if !passes(t, number, n.R1, atR2, n.Client) {
		t.Error("nothing passes after Unblock")
	}
}

// advert is a VRRPv2 advert as r1 would send it; its checksum is not that of
// anything.
func advert(vrid, priority byte) []byte {
	vmac := VMAC(vrid)
	b := ethernet(vmac, MAC{1, 0, 0x5e, 0, 0, 0x12}, typeIP4)
	b = append(b, 0x45, 0xc0, 0, 40, 0, 0, 0, 0, 255, protoVRRP, 0, 0, 192, 0, 2, 2, 224, 0, 0, 18)
	return append(b, 0x21, vrid, priority, 1, 0, 1, 0, 0, 192, 0, 2, 100, 0, 0, 0, 0, 0, 0, 0, 0)
}

func TestDropLosesWhatItShould(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{})
	in := must[*Injector](t)(n.R1.OpenInjector("eth0"))
	atR2 := must[*Sniffer](t)(n.R2.StartSniffer("eth0", SnifferOptions{Match: MatchVRID(51)}))
	const last = 254
	// arrives sends adverts of these priorities from r1 and returns those that
	// r2 receives.
	arrives := func(priorities ...byte) string {
		t.Helper()
		mark := atR2.Mark()
		for _, p := range append(priorities, last) {
			check(t, in.Send(advert(51, p)))
		}
		end, err := atR2.WaitFrom(within(t), mark, func(f Frame) bool { a, _ := f.Advert(); return a.Priority == last })
		check(t, err)
		var list []uint8
		for _, f := range atR2.Frames(mark)[:end.N-mark] {
			a, _ := f.Advert()
			list = append(list, a.Priority)
		}
		return fmt.Sprint(list)
	}
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: r2 received priorities %s, want %s", what, got, want)
		}
	}
	expect("no loss", arrives(0, 100, 0), "[0 100 0]")

	first := must[*Drop](t)(n.R1A.Drop(Loss{Direction: FromHost, Match: MatchPriority(0), Count: 1}))
	expect("first priority 0", arrives(100, 0, 0), "[100 0]")
	if lost := must[int](t)(first.Lost()); lost != 1 {
		t.Errorf("%d counted as lost, want 1", lost)
	}
	second := must[*Drop](t)(n.R1A.Drop(Loss{Direction: FromHost, Match: MatchPriority(100)}))
	expect("and all of priority 100", arrives(100, 0, 100), "[0]")
	check(t, second.Close())
	check(t, first.Close())
	expect("closed", arrives(100, 0), "[100 0]")

	wrongWay := must[*Drop](t)(n.R1A.Drop(Loss{Direction: ToHost}))
	expect("only towards r1", arrives(100, 0), "[100 0]")
	check(t, wrongWay.Close())

	rightWay := must[*Drop](t)(n.R2A.Drop(Loss{Direction: ToHost, Match: MatchPriority(0)}))
	expect("towards r2", arrives(100, 0), "[100]")
	check(t, rightWay.Close())

	half := must[*Drop](t)(n.R1A.Drop(Loss{Direction: FromHost, Match: MatchVRID(52), Share: 0.5}))
	const many = 1000
	for range many {
		check(t, in.Send(advert(52, 7)))
	}
	expect("a VRID that is not lost", arrives(1), "[1]")
	// 16 standard deviations on either side.
	if lost := must[int](t)(half.Lost()); lost < many/4 || lost > many*3/4 {
		t.Errorf("%d of %d lost at a share of one half", lost, many)
	}
	for _, bad := range []Loss{{}, {Direction: 3}, {Direction: ToHost, Share: 1}, {Direction: ToHost, Count: -1}, {Direction: ToHost, Match: Match{{{0, 3, 0}}}}} {
		if d, err := n.R1A.Drop(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
			check(t, d.Close())
		}
	}
}

func TestRemovedCable(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{})
	check(t, n.R2A.Remove())
	if l := must[Link](t)(n.R2.Link("eth0")); l.Exists() {
		t.Errorf("eth0 of r2 is still there: %+v", l)
	}
	if err := n.R2A.Cut(); err == nil {
		t.Error("a cable that is no longer there was cut")
	}
	if _, err := n.R1.lab.Connect(n.R2, "eth1", n.A, CableOptions{}); err == nil {
		t.Error("a second eth1 was connected")
	} else if errors.Unwrap(err) == nil {
		t.Errorf("%v says no cause", err)
	}
}

// A crossed cable is between two hosts, and nobody else hears what they say there.
func TestCross(t *testing.T) {
	lab := ForTest(t)
	a, b := must[*Host](t)(lab.Host("a", HostOptions{})), must[*Host](t)(lab.Host("b", HostOptions{}))
	ofA, ofB := netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24")
	check(t, lab.Cross("x0", a, b, ofA, ofB))
	for h, addr := range map[*Host]netip.Prefix{a: ofB, b: ofA} {
		if _, err := h.Ping(within(t), addr.Addr()); err != nil {
			t.Error(err)
		}
	}
	ends := [2]Link{must[Link](t)(a.Link("x0")), must[Link](t)(b.Link("x0"))}
	if ends[0].MAC == ends[1].MAC || ends[0].Index == ends[1].Index {
		t.Errorf("the ends are alike: %+v", ends)
	}
	if err := lab.Cross("x0", a, b, ofA, ofB); err == nil {
		t.Error("a second one of the same name")
	}
}
