package lease

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/nftables"
)

// passAll is a program of somebody else that has no objection.
var passAll = asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()}

func TestRungWords(t *testing.T) {
	for r := Clsact; r <= None; r++ {
		if got, err := ParseRung(r.String()); err != nil || got != r {
			t.Errorf("%v: %v, %v", r, got, err)
		}
	}
	for _, word := range []string{"", "Clsact", "Rung(0)", "bpf"} {
		if r, err := ParseRung(word); err == nil || !strings.Contains(err.Error(), "clsact, tcx, nftables, none") {
			t.Errorf("%q: %v, %v", word, r, err)
		}
	}
	if s := Rung(9).String(); s != "Rung(9)" {
		t.Error(s)
	}
}

func TestCoarse(t *testing.T) {
	for d, fits := range map[time.Duration]bool{
		0: true, time.Second: true, 2 * time.Second: true,
		100 * time.Millisecond: false, 1500 * time.Millisecond: false,
	} {
		if (coarse(d) == nil) != fits {
			t.Errorf("%v: %v", d, coarse(d))
		}
	}
}

// skipped lists the rungs of skips.
func skipped(all []Skip) (rs []Rung) {
	for _, s := range all {
		rs = append(rs, s.Rung)
	}
	return rs
}

func TestHighestRungIsInForce(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	g := l.guards()
	x, err := g.Attach(l.index)
	l.must(err)
	if g.Rung() != Clsact || x.Rung() != Clsact || len(g.Skipped()) != 0 || len(x.Skipped()) != 0 {
		t.Errorf("rungs %v %v, skipped %v %v", g.Rung(), x.Rung(), g.Skipped(), x.Skipped())
	}
}

func TestShorterLadder(t *testing.T) {
	l := newLab(t)
	l.kernelHas(TCX)
	g := l.guards(TCX, None)
	if s := g.Skipped(); g.Rung() != TCX || !slices.Equal(skipped(s), []Rung{Clsact}) || !strings.Contains(s[0].String(), "clsact: not on the configured ladder") {
		t.Errorf("rung %v, skipped %v", g.Rung(), s)
	}
	for _, c := range []Config{{Ladder: []Rung{}}, {Ladder: []Rung{77}}, {Ladder: []Rung{Nftables}, Interval: 100 * time.Millisecond}} {
		if g, err := Open(c); err == nil || !strings.Contains(err.Error(), "no kind of guard") {
			t.Errorf("%+v: %v, %v", c, g, err)
		}
	}
	g, err := Open(Config{Ladder: []Rung{Nftables, None}, Interval: 100 * time.Millisecond})
	l.must(err)
	defer g.Close()
	if s := fmt.Sprint(g.Skipped()); g.Rung() != None || !strings.Contains(s, "not for 100ms") {
		t.Errorf("rung %v, skipped %s", g.Rung(), s)
	}
}

// An interface that does not take the best rung gets the next one.
func TestAttachStepsDown(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	l.kernelHas(TCX)
	l.must(l.nl.QdiscAdd(&netlib.Ingress{QdiscAttrs: netlib.QdiscAttrs{LinkIndex: l.index, Handle: netlib.MakeHandle(0xffff, 0), Parent: netlib.HANDLE_INGRESS}}))
	before := l.guarded()
	x := l.attach()
	if s := fmt.Sprint(x.Skipped()); x.Rung() != TCX || !strings.Contains(s, "clsact: guard vrrp51: an ingress queueing discipline") {
		t.Errorf("rung %v, skipped %s", x.Rung(), s)
	}
	l.want("stepped down", false)
	l.renew(x, boottime()+hour)
	l.want("stepped down", true)
	if x.Light() {
		t.Error("it is taken for one that would be one of clsact after a repair")
	}
	l.must(x.Repair())
	l.want("stepped down and repaired", true)
	l.must(x.Detach())
	if after := l.guarded(); !slices.Equal(before, after) {
		t.Errorf("before %q, after %q", before, after)
	}
	if _, err := l.guards(Clsact).Attach(l.index); err == nil || !strings.Contains(err.Error(), "no kind of guard") || !strings.Contains(err.Error(), "ingress") {
		t.Errorf("forced: %v", err)
	}
	if after := l.guarded(); !slices.Equal(before, after) {
		t.Errorf("before %q, after the refusal %q", before, after)
	}
}

// The ladder as seen by processes that the kernel really refuses things.
func TestCapabilities(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	l.kernelHas(Nftables)
	for _, c := range []struct {
		caps []uintptr
		want string
		why  string
	}{
		{[]uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_BPF}, "clsact ", "[]"},
		{[]uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}, "nftables ", "needs Linux 5.8, CAP_BPF"},
	} {
		p := l.start(c.caps...)
		said := p.do("attach any %d", l.index)
		if !strings.HasPrefix(said, c.want) || !strings.Contains(said, c.why) {
			t.Errorf("with %v: %q, want %q and %q", c.caps, said, c.want, c.why)
		}
		l.want(c.want, false)
		p.do("renew %d", boottime()+hour)
		l.want(c.want, true)
		p.kill()
	}
	p := l.start([]uintptr{}...)
	if said := p.tell("attach clsact %d", l.index); !strings.Contains(said, "operation not permitted") || !strings.Contains(said, "CAP_BPF") {
		t.Errorf("without capabilities: %q", said)
	}
}

// A process that cannot tell whose a TCX program is says so, and a new interface
// is the way out.
func TestStaleTCXWithoutSysAdmin(t *testing.T) {
	l := newLab(t)
	l.kernelHas(TCX)
	dead := l.start()
	dead.do("attach tcx %d", l.index)
	dead.kill()
	p := l.start(unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_BPF)
	if said := p.tell("attach any %d", l.index); !strings.Contains(said, ErrStale.Error()) {
		t.Errorf("%q, want %q", said, ErrStale)
	}
	l.want("the stale guard", false)
	l.remake()
	if said := p.do("attach any %d", l.index); !strings.HasPrefix(said, "clsact") {
		t.Error(said)
	}
}

func TestAdvice(t *testing.T) {
	if err := advise(Clsact, fmt.Errorf("x: %w", unix.EPERM)); !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_BPF") {
		t.Error(err)
	}
	for _, err := range []error{nil, unix.ENODEV, ErrStale} {
		if got := advise(Clsact, err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// Tables of interfaces that are gone go; those of others, and other tables, stay.
func TestSweep(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Nftables)
	p := l.start()
	p.do("attach nftables %d", l.index)
	p.kill()
	var w nftables.Conn
	defer func() { l.must(w.Close()) }()
	l.must(w.Commit(message(unix.NFT_MSG_NEWTABLE, 0, nftables.Str(unix.NFTA_TABLE_NAME, "firewall"))))
	tables := func() string {
		all, err := w.Tables(unix.NFPROTO_NETDEV)
		l.must(err)
		slices.Sort(all)
		return fmt.Sprint(all)
	}
	g := l.guards()
	l.must(g.Sweep())
	if got := tables(); got != "[firewall vrrpd-lease-vrrp51]" {
		t.Errorf("with the interface: %s", got)
	}
	l.must(l.nl.LinkDel(l.link("vrrp51")))
	if got := tables(); !strings.Contains(got, "vrrpd-lease-vrrp51") {
		t.Logf("this kernel deletes the table with the interface: %s", got)
	}
	l.must(g.Sweep())
	if got := tables(); got != "[firewall]" {
		t.Errorf("without the interface: %s", got)
	}
}
