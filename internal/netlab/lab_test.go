package netlab

import (
	"context"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Hook()
	if how := os.Getenv(victimEnv); how != "" {
		if how == crowd {
			os.Exit(beCrowd(os.Args[1]))
		}
		os.Exit(victim(how))
	}
	os.Exit(m.Run())
}

// limit bounds every wait of these tests; nothing takes nearly as long.
const limit = 20 * time.Second

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		check(t, err)
		return v
	}
}

// tworouters builds the usual laboratory; with r1 serving, both VIPs are on r1.
func tworouters(t *testing.T, opts TwoRoutersOptions) *TwoRoutersNet {
	t.Helper()
	lab := ForTest(t)
	began := time.Now()
	n := must[*TwoRoutersNet](t)(TwoRouters(lab, opts))
	t.Logf("two routers stood after %v", time.Since(began).Round(time.Millisecond))
	return n
}

func serve(t *testing.T, n *TwoRoutersNet, h *Host) {
	t.Helper()
	check(t, h.AddAddr("eth0", netip.PrefixFrom(n.LANA.VIP, 32)))
	check(t, h.AddAddr("eth1", netip.PrefixFrom(n.LANB.VIP, 32)))
}

func TestTrafficPassesBothLANs(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{})
	serve(t, n, n.R1)
	if _, err := n.Client.Ping(within(t), n.LANB.Host); err != nil {
		t.Fatal(err)
	}
	echo := must[*UDPEcho](t)(n.Server.StartEcho(netip.AddrPortFrom(n.LANB.Host, 7)))
	ping := must[*Pinger](t)(n.Client.StartPinger(echo.Addr(), PingerOptions{Count: 200, Echo: echo}))
	<-ping.Done()
	got := ping.Stop()
	if len(got.List) != 200 || got.Lost() != 0 {
		t.Fatalf("%d of %d lost through r1", got.Lost(), len(got.List))
	}
	for i, p := range got.List {
		if p.There.Before(p.Sent) || p.Back.Before(p.There) {
			t.Fatalf("ping %d: sent %v, at the server %v, back %v: not in order", i, p.Sent, p.There, p.Back)
		}
	}
	t.Logf("200 pings, sender late by %v at worst", got.Stall())
	mac, known, err := n.Client.Neighbour(n.LANA.VIP)
	check(t, err)
	if eth0 := must[Link](t)(n.R1.Link("eth0")); !known || mac != eth0.MAC {
		t.Errorf("client believes VIP to be at %v (%v), want %v", mac, known, eth0.MAC)
	}
}

func TestManualAddresses(t *testing.T) {
	a, b := ManualLANs()
	n := tworouters(t, TwoRoutersOptions{A: a, B: b})
	if n.LANA.VIP.String() != "10.16.1.200" || n.LANB.VIP.String() != "10.17.1.200" || n.LANA.VRID != 51 || n.LANB.VRID != 52 {
		t.Fatalf("LANs %+v, %+v are not the manual's", n.LANA, n.LANB)
	}
	serve(t, n, n.R2)
	if _, err := n.Client.Ping(within(t), n.LANB.Host); err != nil {
		t.Fatal(err)
	}
}

func TestCloseLeavesNoGoroutineAndNoDescriptor(t *testing.T) {
	if err := Available(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	// What the Go runtime opens once and for all is open from here on.
	first := must[*Lab](t)(New())
	h := must[*Host](t)(first.Host("h", HostOptions{}))
	must[Result](t)(h.Run(within(t), Command{Path: "true"}))
	check(t, first.Close())
	before := descriptors(t)
	lab := must[*Lab](t)(New())
	n := must[*TwoRoutersNet](t)(TwoRouters(lab, TwoRoutersOptions{Askers: true}))
	echo := must[*UDPEcho](t)(n.Server.StartEcho(netip.AddrPortFrom(n.LANB.Host, 7)))
	// Left open on purpose, one of each kind.
	must[*Pinger](t)(n.Client.StartPinger(echo.Addr(), PingerOptions{}))
	must[*Asker](t)(n.AskerA.StartAsker("eth0", n.LANA.VIP, AskerOptions{Cables: []*Cable{n.R1A, n.R2A}}))
	must[*Sniffer](t)(n.R1.StartSniffer("eth0", SnifferOptions{}))
	must[*LinkLog](t)(n.R1.StartLinkLog())
	must[*Drop](t)(n.R1A.Drop(Loss{Direction: FromHost, Match: MatchARP()}))
	must[*Proc](t)(n.R1.Start(Command{Path: "sleep", Args: []string{"1000"}}))
	began := time.Now()
	check(t, lab.Close())
	t.Logf("closed in %v", time.Since(began).Round(time.Millisecond))
	check(t, lab.Close())
	goleak.VerifyNone(t)
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before the lab, %d after", before, after)
	}
	if _, err := lab.Host("late", HostOptions{}); err == nil {
		t.Error("a closed lab took another host")
	}
	if err := n.R1A.Cut(); err == nil {
		t.Error("a cable of a closed lab could be cut: whose interface was that?")
	}
	if _, err := n.R1.Netlink().LinkList(); err == nil {
		t.Error("the handle of a closed host still works: on whose network?")
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(list)
}

func TestCloseReportsWhatHoldsANamespace(t *testing.T) {
	if err := Available(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	lab := must[*Lab](t)(New())
	h := must[*Host](t)(lab.Host("h", HostOptions{Light: true}))
	// A socket of the test itself, forgotten.
	conn := must[*UDPEcho](t)(forgottenSocket(h))
	err := lab.Close()
	if err == nil {
		t.Error("Close did not notice a socket that keeps the namespace alive")
	} else {
		t.Log(err)
	}
	check(t, conn.conn.Close())
}

func forgottenSocket(h *Host) (*UDPEcho, error) {
	conn, err := h.listenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	return &UDPEcho{conn: conn}, err
}

func BenchmarkTwoRouters(b *testing.B) {
	for b.Loop() {
		lab, err := New()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := TwoRouters(lab, TwoRoutersOptions{}); err != nil {
			b.Fatal(err)
		}
		if err := lab.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
