package netlab

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// samples are frames of every kind that the decoders know.
func samples(t testing.TB) map[string][]byte {
	ip4 := "01005e000012 00005e000133 0800 45c00028 0000 0000 ff70 0000 c0000202 e0000012 "
	return map[string][]byte{
		"v2":  unhex(t, ip4+"21331e0100 01b5c5 0a000105 0000000000000000"),
		"v3":  unhex(t, "01005e000012 00005e00010a 0800 45c00024 0000 0000 ff70 0000 c00002fb e0000012 310ac8020064 defb c0000201 c0000202"),
		"ah":  unhex(t, "01005e000012 00005e000133 0800 45c00040 0000 0000 ff33 0000 c0000202 e0000012 70040000 00000000 00000001 000000000000000000000000 2133000100 010000 c0000264 0000000000000000"),
		"v6":  unhex(t, "333300000012 00005e000233 86dd 60000000 0018 70 ff fe800000000000000000000000000001 ff020000000000000000000000000012 3133c8010064 0000 fe800000000000000000000000000064"),
		"arp": ARP{SenderMAC: MAC{2, 0, 0, 0, 0, 1}, SenderIP: netip.MustParseAddr("192.0.2.10"), TargetIP: netip.MustParseAddr("192.0.2.100")}.Frame(MAC{2, 0, 0, 0, 0, 1}, Broadcast()),
		"echo": Echo{Src: netip.MustParseAddr("192.0.2.10"), Dst: netip.MustParseAddr("192.0.2.100"), ID: 7, Seq: 300}.
			Frame(MAC{2, 0, 0, 0, 0, 1}, VMAC(51)),
	}
}

func TestAdvertDecoder(t *testing.T) {
	all := samples(t)
	for name, want := range map[string]string{
		"v2": "v2 VRID 51 priority 30 from 192.0.2.2 (00:00:5e:00:01:33) [10.0.1.5] 1s ah=false",
		"v3": "v3 VRID 10 priority 200 from 192.0.2.251 (00:00:5e:00:01:0a) [192.0.2.1 192.0.2.2] 1s ah=false",
		"ah": "v2 VRID 51 priority 0 from 192.0.2.2 (00:00:5e:00:01:33) [192.0.2.100] 1s ah=true",
		"v6": "v3 VRID 51 priority 200 from fe80::1 (00:00:5e:00:02:33) [fe80::64] 1s ah=false",
	} {
		a, ok := Frame{Data: all[name]}.Advert()
		if got := fmt.Sprintf("%v %v %v ah=%v", a, a.VIPs, a.Interval, a.AH); !ok || got != want || a.TTL != 255 {
			t.Errorf("%s: %v, %s\nwant %s", name, ok, got, want)
		}
	}
	for _, name := range []string{"arp", "echo"} {
		if a, ok := (Frame{Data: all[name]}).Advert(); ok {
			t.Errorf("%s decoded as advert %v", name, a)
		}
	}
}

func TestARPAndEchoRoundTrip(t *testing.T) {
	all := samples(t)
	a, ok := Frame{Data: all["arp"]}.ARP()
	if !ok || a.Reply || !bytes.Equal(a.Frame(a.SenderMAC, Broadcast()), all["arp"]) {
		t.Errorf("ARP %v %+v", ok, a)
	}
	e, ok := Frame{Data: all["echo"]}.Echo()
	if !ok || e.Reply || e.ID != 7 || e.Seq != 300 || checksum(all["echo"][ip4At:ip4End]) != 0 || checksum(all["echo"][ip4End:]) != 0 {
		t.Errorf("echo %v %+v", ok, e)
	}
	e.Reply = true
	if got, ok := (Frame{Data: e.Frame(MAC{}, MAC{})}).Echo(); !ok || got != e {
		t.Errorf("echo reply %v %+v, want %+v", ok, got, e)
	}
}

func TestNeighbourAndEchoOfIPv6(t *testing.T) {
	// An advertisement as RFC 4861 draws it, its checksum worked out by another program.
	b := unhex(t, "333300000001 00005e000233 86dd 6c000000 0020 3a ff 20010db80000000000000000000000c8 ff020000000000000000000000000001"+
		"88 00 196a a0000000 20010db80000000000000000000000c8 0201 00005e000233")
	n, ok := Frame{Data: b}.Neighbour()
	target := netip.MustParseAddr("2001:db8::c8")
	want := Neighbour{true, true, false, true, target, netip.MustParseAddr("ff02::1"), 255, target, MAC{0, 0, 0x5e, 0, 2, 51}}
	if !ok || n != want {
		t.Errorf("advertisement %v %+v, want %+v", ok, n, want)
	}
	ask := Neighbour{Src: netip.MustParseAddr("fe80::1"), Target: target, MAC: MAC{2, 0, 0, 0, 0, 1}}
	f := Frame{Data: ask.Frame()}
	ask.Dst, ask.HopLimit = netip.MustParseAddr("ff02::1:ff00:c8"), 255
	if got, ok := f.Neighbour(); !ok || got != ask || f.Dst() != (MAC{0x33, 0x33, 0xff, 0, 0, 0xc8}) || !MatchNeighbours().Frame(f.Data) {
		t.Errorf("solicitation %v %+v, want %+v", ok, got, ask)
	}
	for _, reply := range []bool{false, true} {
		e := Echo{Reply: reply, Src: target, Dst: netip.MustParseAddr("fe80::1"), ID: 7, Seq: 300}
		f := Frame{Data: e.Frame(MAC{}, MAC{})}
		if got, ok := f.Echo(); !ok || got != e || !MatchEcho6().Frame(f.Data) || MatchNeighbours().Frame(f.Data) {
			t.Errorf("echo %v %+v, want %+v", ok, got, e)
		}
		if _, ok := f.Neighbour(); ok {
			t.Error("an echo is taken for a neighbour")
		}
	}
}

func TestMatch(t *testing.T) {
	all := samples(t)
	for _, c := range []struct {
		name  string
		match Match
		want  string
	}{
		{"everything", nil, "ah arp echo v2 v3 v6"},
		{"arp", MatchARP(), "arp"},
		{"icmp", MatchICMP(), "echo"},
		{"udp", MatchUDP(), ""},
		{"adverts", MatchAdverts(), "ah v2 v3 v6"},
		{"vrid", MatchVRID(51), "ah v2 v6"},
		{"resignation", MatchPriority(0), "ah"},
		{"priority", MatchPriority(200), "v3 v6"},
		{"or", Or(MatchARP(), MatchPriority(30)), "arp v2"},
	} {
		var got []string
		for name, frame := range all {
			if c.match.Frame(frame) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s selects %q, want %q", c.name, s, c.want)
		}
	}
}

// The three forms of a match (Go, socket filter, eBPF) must select the same
// frames: each sample is sent once past both kernels' filters.
func TestMatchInTheKernel(t *testing.T) {
	n := tworouters(t, TwoRoutersOptions{})
	in := must[*Injector](t)(n.Client.OpenInjector("eth0"))
	all := samples(t)
	for name, match := range map[string]Match{
		"everything": nil, "arp": MatchARP(), "icmp": MatchICMP(), "adverts": MatchAdverts(), "vrid": MatchVRID(51),
		"priority": MatchPriority(200), "resignation": MatchPriority(0), "or": Or(MatchARP(), MatchPriority(30)),
	} {
		sniffer := must[*Sniffer](t)(n.Client.StartSniffer("eth0", SnifferOptions{Match: match}))
		whole := must[*Sniffer](t)(n.ClientCable.StartSniffer(SnifferOptions{}))
		drop := must[*Drop](t)(n.ClientCable.Drop(Loss{Direction: FromHost, Match: match}))
		want := 0
		for _, frame := range all {
			check(t, in.Send(frame))
			if match.Frame(frame) {
				want++
			}
		}
		marker := all["v2"][:12:12]
		marker = append(marker, 0x88, 0xb5, 1, 2, 3) // EtherType for experiments
		check(t, in.Send(marker))
		_, err := whole.WaitFor(within(t), func(f Frame) bool { return f.etherType() == 0x88b5 })
		check(t, err)
		count := func(s *Sniffer) (kept int) {
			for _, f := range s.Frames(0) {
				if slices.ContainsFunc(slices.Collect(values(all)), func(sample []byte) bool { return bytes.Equal(sample, f.Data) }) {
					kept++
				}
			}
			return kept
		}
		if got := count(whole); got != len(all) {
			t.Errorf("%s: %d of %d samples arrived at the port", name, got, len(all))
		}
		Eventually(t, limit, func() (bool, string) {
			got := count(sniffer)
			return got == want, fmt.Sprintf("%s: the socket filter selects %d, want %d", name, got, want)
		})
		if match != nil { // everything: the client's own chatter is dropped, too
			if lost := must[int](t)(drop.Lost()); lost != want {
				t.Errorf("%s: eBPF selects %d, want %d", name, lost, want)
			}
		}
		for _, c := range []interface{ Close() error }{drop, whole, sniffer} {
			check(t, c.Close())
		}
	}
}

func values(m map[string][]byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func FuzzDecoders(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame := Frame{Data: b}
		if a, ok := frame.Advert(); ok && (a.Version > 15 || len(a.VIPs) > 255 || !a.Src.IsValid()) {
			t.Errorf("advert %+v", a)
		}
		if a, ok := frame.ARP(); ok {
			if again, ok := (Frame{Data: a.Frame(frame.Src(), frame.Dst())}).ARP(); !ok || again != a {
				t.Errorf("ARP %+v became %+v", a, again)
			}
		}
		if e, ok := frame.Echo(); ok {
			if again, ok := (Frame{Data: e.Frame(frame.Src(), frame.Dst())}).Echo(); !ok || again != e {
				t.Errorf("echo %+v became %+v", e, again)
			}
		}
		for _, m := range []Match{nil, MatchARP(), MatchAdverts(), MatchPriority(0)} {
			m.Frame(b)
		}
	})
}

// at is a time so many milliseconds into a measurement.
func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

// pings makes a measurement from one character for each ms: '=' answered at
// once, '+' answered 20 ms later, '.' never.
func pings(s string) Pings {
	p := Pings{Interval: time.Millisecond, End: at(len(s))}
	for i, c := range s {
		one := Ping{Sent: at(i)}
		switch c {
		case '=':
			one.Back = one.Sent.Add(time.Microsecond)
		case '+':
			one.Back = one.Sent.Add(20 * time.Millisecond)
		}
		p.List = append(p.List, one)
	}
	return p
}

func TestOutages(t *testing.T) {
	for _, c := range []struct {
		pings    string
		patience time.Duration
		all      string
		longest  string
		lost     int
	}{
		{"", 0, "[]", "no outage", 0},
		{"======", 0, "[]", "no outage", 0},
		{"==.===", 0, "[1 lost in 1.0 ms]", "1 lost in 1.0 ms", 1},
		{"=..==...==", 0, "[2 lost in 2.0 ms 3 lost in 3.0 ms]", "3 lost in 3.0 ms", 5},
		{"==....", 0, "[4 lost, not answered again for 4.0 ms]", "4 lost, not answered again for 4.0 ms", 4},
		{"=+.+==", 0, "[1 lost in 1.0 ms]", "1 lost in 1.0 ms", 1},
		{"=+.+==", 10 * time.Millisecond, "[3 lost in 3.0 ms]", "3 lost in 3.0 ms", 1},
	} {
		p := pings(c.pings)
		if got := fmt.Sprint(p.Outages(c.patience)); got != c.all {
			t.Errorf("%q: outages %s, want %s", c.pings, got, c.all)
		}
		if got := p.Longest(c.patience).String(); got != c.longest {
			t.Errorf("%q: longest %s, want %s", c.pings, got, c.longest)
		}
		if p.Lost() != c.lost {
			t.Errorf("%q: %d lost, want %d", c.pings, p.Lost(), c.lost)
		}
	}
}

func TestBetweenStripAndStall(t *testing.T) {
	p := pings("====....====")
	if got := p.Strip(Span{at(0), at(14)}, 2*time.Millisecond, 0); got != "==..== " {
		t.Errorf("strip %q", got)
	}
	if got := p.Strip(Span{at(3), at(12)}, 3*time.Millisecond, 0); got != "--=" {
		t.Errorf("strip with mixed cells %q", got)
	}
	part := p.Between(at(5), at(10))
	if len(part.List) != 5 || part.Longest(0).Lost != 3 || !part.End.Equal(at(10)) {
		t.Errorf("between: %d pings, %v, end %v", len(part.List), part.Longest(0), part.End)
	}
	if p.Stall() != 0 {
		t.Errorf("stall %v of an exact schedule", p.Stall())
	}
	p.List[3].Sent = at(6)
	if p.Stall() != 3*time.Millisecond {
		t.Errorf("stall %v, want 3 ms", p.Stall())
	}
}

func TestAnswersAnalysis(t *testing.T) {
	arp := func(from string, ms int) Answer { return Answer{From: from, At: at(ms)} }
	echo := func(from string, ms int) Answer { return Answer{From: from, Echo: true, At: at(ms)} }
	r := Answers{Interval: 50 * time.Millisecond, End: at(250), echo: true, List: []Question{
		{at(0), []Answer{arp("r1", 1), echo("r1", 2)}},
		{at(50), []Answer{arp("r1", 51), arp("r2", 52), echo("r1", 53)}},
		{at(100), []Answer{arp("r2", 101)}},
		{at(150), nil},
		{at(200), []Answer{arp("r2", 201), echo("r2", 240)}},
	}}
	if got := fmt.Sprint(r.Double()); got != "[1 lost in 50.0 ms]" {
		t.Errorf("double: %s", got)
	}
	if got := fmt.Sprint(r.Outages(0)); got != "[2 lost in 100.0 ms]" {
		t.Errorf("outages: %s", got)
	}
	if got := fmt.Sprint(r.Longest(10 * time.Millisecond)); got != "3 lost, not answered again for 150.0 ms" {
		t.Errorf("longest within 10 ms: %s", got)
	}
}

func TestTimelinePrint(t *testing.T) {
	var line Timeline
	line.AddOutages("client", pings("==..==").Outages(0))
	line.Add(at(1), "cable", "r1 eth0 pulled")
	line.AddLinkEvents("r1", []LinkEvent{{At: at(2), Link: "eth0", What: CarrierLost}})
	line.AddFrames("lan-a", []Frame{{At: at(3), Data: samples(t)["v2"]}, {At: at(3), Data: samples(t)["arp"]}}, func(f Frame) string {
		if a, ok := f.Advert(); ok {
			return a.String()
		}
		return ""
	})
	var out strings.Builder
	if err := line.Print(&out, at(1)); err != nil {
		t.Fatal(err)
	}
	want := `      +0.0 ms  cable   r1 eth0 pulled
      +1.0 ms  client  not answered from here on
      +1.0 ms  r1      eth0 lost its carrier
      +2.0 ms  lan-a   v2 VRID 51 priority 30 from 192.0.2.2 (00:00:5e:00:01:33)
      +3.0 ms  client  answered again: 2 lost in 2.0 ms
`
	if out.String() != want {
		t.Errorf("timeline:\n%s\nwant:\n%s", out.String(), want)
	}
}
