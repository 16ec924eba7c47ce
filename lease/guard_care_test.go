package lease

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/nftables"
)

// vandals are what somebody can do to a guard of each rung, and the words for it.
func vandals(l *lab, g *Guard) map[string]func() {
	filterOf := func(side int) *netlib.BpfFilter { return filter(g.target, side, filterHandle) }
	prog := func() *ebpf.Program {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "other", Type: ebpf.SchedCLS, License: "MIT", Instructions: program(g.g.blocks[0].array.FD(), 0, 0)})
		l.must(err)
		l.Cleanup(func() { _ = p.Close() })
		return p
	}
	nftDo := func(typ uint16, attrs ...nftables.Attr) func() {
		return func() {
			var w nftables.Conn
			l.must(w.Commit(message(typ, 0, attrs...)))
			l.must(w.Close())
		}
	}
	table := tablePrefix + "vrrp51"
	switch g.Rung() {
	case Clsact:
		return map[string]func(){
			"ingress filter is missing": func() { l.must(l.nl.FilterDel(filterOf(0))) },
			"egress filter is missing":  func() { l.must(l.nl.FilterDel(filterOf(1))) },
			"filter is missing":         func() { l.must(l.nl.QdiscDel(qdisc(l.index))) },
			"egress filter is not as this process made it": func() {
				f := filterOf(1)
				f.Fd = prog().FD()
				l.must(l.nl.FilterReplace(f))
			},
		}
	case TCX:
		detach := func(at ebpf.AttachType) {
			l.must(link.RawDetachProgram(link.RawDetachProgramOptions{Target: l.index, Program: g.block.progs[0], Attach: at}))
		}
		return map[string]func(){
			"ingress program is missing": func() { detach(ebpf.AttachTCXIngress) },
			"egress program is missing":  func() { detach(ebpf.AttachTCXEgress) },
		}
	default:
		return map[string]func(){
			"vrrpd-lease-vrrp51 is missing":                  nftDo(unix.NFT_MSG_DELTABLE, nftables.Str(unix.NFTA_TABLE_NAME, table)),
			"(chain egress) is not as this process made it":  nftDo(unix.NFT_MSG_DELRULE, nftables.Str(unix.NFTA_RULE_TABLE, table), nftables.Str(unix.NFTA_RULE_CHAIN, "egress")),
			"(chain ingress) is not as this process made it": nftDo(unix.NFT_MSG_NEWCHAIN, nftables.Str(unix.NFTA_CHAIN_TABLE, table), nftables.Str(unix.NFTA_CHAIN_NAME, "ingress"), nftables.Num(unix.NFTA_CHAIN_POLICY, nftables.Accept)),
			"has been switched off":                          nftDo(unix.NFT_MSG_NEWTABLE, nftables.Str(unix.NFTA_TABLE_NAME, table), nftables.Num(unix.NFTA_TABLE_FLAGS, 1)),
		}
	}
}

func TestVerifyAndRepair(t *testing.T) {
	eachRung(t, func(l *lab, r Rung) {
		g := l.attach(r)
		for words, harm := range vandals(l, g) {
			until := boottime() + hour
			l.renew(g, until)
			l.must(g.Verify())
			harm()
			err := g.Verify()
			if err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "vrrp51") {
				l.Errorf("Verify says %v, want %q", err, words)
			}
			l.must(g.Repair())
			l.must(g.Verify())
			if g.Deadline() != until {
				l.Errorf("%s: after Repair the deadline is %d, want %d", words, g.Deadline(), until)
			}
			l.want(words+", repaired", true)
			l.must(g.Close())
			l.want(words+", repaired and closed", false)
		}
		l.must(l.nl.LinkDel(l.link("vrrp51")))
		if err := g.Verify(); !errors.Is(err, unix.ENODEV) {
			l.Errorf("without the interface Verify says %v", err)
		}
		if err := g.Repair(); err == nil && r != Nftables {
			l.Error("Repair has repaired an interface that does not exist")
		}
	})
}

// Detach leaves everything as before Attach, also when the interface went first.
func TestDetach(t *testing.T) {
	eachRung(t, func(l *lab, r Rung) {
		before := l.guarded()
		g := l.attach(r)
		l.renew(g, boottime()+hour)
		if slices.Equal(before, l.guarded()) {
			l.Fatal("a guard makes no difference")
		}
		l.must(g.Detach())
		if after := l.guarded(); !slices.Equal(before, after) {
			l.Errorf("before %q, after %q", before, after)
		}
		if g.Deadline() != 0 {
			l.Errorf("deadline %d after Detach", g.Deadline())
		}
		l.must(g.Detach())

		g = l.attach(r)
		l.must(l.nl.LinkDel(l.link("vrrp51")))
		before = slices.DeleteFunc(before, func(s string) bool {
			return strings.Contains(s, "vrrp51") || strings.HasSuffix(s, fmt.Sprint("on ", l.index))
		})
		l.must(g.Detach())
		if after := l.guarded(); !slices.Equal(before, after) {
			l.Errorf("before %q, after %q", before, after)
		}
	})
}

// What others have on the interface stays.
func TestForeignNeighboursStay(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	l.kernelHas(TCX)
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "somebody", Type: ebpf.SchedCLS, License: "MIT", Instructions: passAll})
	l.must(err)
	defer prog.Close()
	l.must(l.nl.QdiscAdd(qdisc(l.index)))
	l.must(l.nl.FilterAdd(&netlib.BpfFilter{
		FilterAttrs: netlib.FilterAttrs{LinkIndex: l.index, Parent: netlib.HANDLE_MIN_EGRESS, Handle: 1, Priority: 7, Protocol: unix.ETH_P_ALL},
		Fd:          prog.FD(), Name: "somebody", DirectAction: true,
	}))
	l.must(link.RawAttachProgram(link.RawAttachProgramOptions{Target: l.index, Program: prog, Attach: ebpf.AttachTCXIngress}))
	before := l.guarded()
	for _, r := range rungs {
		l.kernelHas(r)
		g := l.attach(r)
		l.want(r.String()+", closed", false)
		l.renew(g, boottime()+hour)
		l.want(r.String()+", open", true)
		l.must(g.Detach())
		if after := l.guarded(); !slices.Equal(before, after) {
			l.Errorf("%v: before %q, after %q", r, before, after)
		}
	}
	l.must(l.guards().Loosen(l.index))
	if after := l.guarded(); !slices.Equal(before, after) {
		l.Errorf("loosened where there is none: before %q, after %q", before, after)
	}
}

func TestRemoveByAnotherProcess(t *testing.T) {
	eachRung(t, func(l *lab, r Rung) {
		before := l.guarded()
		g := l.attach(r)
		l.want("closed", false)
		l.start().do("remove %d", l.index)
		if after := l.guarded(); !slices.Equal(before, after) {
			l.Errorf("before %q, after %q", before, after)
		}
		if g.Verify() == nil {
			l.Error("Verify has not noticed")
		}
		l.must(l.guards().Remove(l.index)) // twice is harmless
		l.must(l.guards().Remove(99999))
	})
}

// Closing the Guards, as the end of the process does, leaves the guard in force.
func TestCloseLeavesTheGuard(t *testing.T) {
	eachRung(t, func(l *lab, r Rung) {
		g, err := Open(Config{Ladder: []Rung{r}})
		l.must(err)
		x, err := g.Attach(l.index)
		l.must(err)
		l.must(g.Close())
		l.want("after Close", false)
		if r != Nftables {
			l.renew(x, boottime()+hour)
			l.want("the memory is still there", true)
		}
	})
}

// Who asks whether nobody is at work does not wait for who is.
func TestFree(t *testing.T) {
	l := newLab(t)
	g := l.guards()
	if !g.Free() {
		t.Error("nobody is at work")
	}
	g.mu.Lock()
	if g.Free() {
		t.Error("somebody is at work")
	}
	g.mu.Unlock()
	if !g.Free() {
		t.Error("nobody is at work any more")
	}
}
