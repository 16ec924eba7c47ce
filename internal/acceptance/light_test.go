package acceptance

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// waitLight waits until the guard of an interface is one of TCX and nothing else.
func (r *router) waitLight(l lan) {
	r.site.t.Helper()
	netlab.Eventually(r.site.t, patience, func() (bool, string) {
		p, f := r.programs(l, nil), r.filters(l)
		return p == 2 && f == 0, fmt.Sprintf("%s has %d programs of TCX and %d filters", l.vrrp(), p, f)
	})
	r.waitStatus(l, "its lease is tcx", func(st control.Status) bool { return st.Routers[0].Lease.Rung == "tcx" })
}

// attached is how many sides of an interface of this thread's namespace have a program of
// TCX.
func attached(index int) (n int) {
	for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		if res, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: at}); err == nil && len(res.Programs) > 0 {
			n++
		}
	}
	return n
}

// At adverts every 10 ms the guards change over to TCX by themselves. Somebody who
// removes one, and the kernel tells nobody, finds it back within 20 ms in the median, and
// so does who deletes the interface: clsact stands in. When the machine dies, it is silent
// before the other one speaks, and the next start makes it right again.
func TestGuard_Light(t *testing.T) {
	// Not parallel: it speaks every 10 ms.
	p := paces[2]
	s := pair(t, options{interval: p.interval})
	r := s.r1
	for _, r := range s.routers() {
		for _, l := range lans {
			r.waitLight(l)
		}
	}
	r.syslog.waitFor(t, 0, "the change", containing("lease: tcx, which costs a frame less"))
	if got := r.typed("atropos --state"); !strings.Contains(got.Stdout, "tcx") {
		t.Errorf("atropos --state does not show the lease:\n%s", got.Stdout)
	}

	guarded := func() bool {
		n := 0 // parts of a guard; in the meantime there may be no interface
		check(t, r.DoNet(func() error {
			k, err := r.Netlink().LinkByName(lanA.vrrp())
			if err != nil || k.Attrs().Flags&net.FlagUp == 0 {
				return nil
			}
			for i, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
				res, err := link.QueryPrograms(link.QueryOptions{Target: k.Attrs().Index, Attach: at})
				if err == nil && len(res.Programs) > 0 {
					n++
					continue
				}
				parent := []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS}[i]
				if list, err := r.Netlink().FilterList(k, parent); err == nil && len(list) > 0 {
					n++
				}
			}
			return nil
		}))
		return n == 2
	}
	took := map[string][]time.Duration{}
	measure := func(what string, harm func()) {
		r.waitServing(lanA)
		r.waitLight(lanA)
		harm()
		at := time.Now()
		for !guarded() && time.Since(at) < patience {
		}
		took[what] = append(took[what], time.Since(at))
	}
	remove := func() {
		measure("programs removed", func() {
			r.programs(lanA, takeOff)
		})
	}
	remake := func() {
		measure("interface deleted", func() {
			k, err := r.Netlink().LinkByName(lanA.vrrp())
			check(t, err)
			check(t, r.Netlink().LinkDel(k))
		})
	}
	// Together fewer than a machine may repair within a minute, and of one guard fewer than
	// it is made light again after.
	for range 5 {
		remove()
		remake()
	}
	for what, took := range took {
		slices.Sort(took)
		t.Logf("%s: guarded again after %v", what, took)
		if m := took[len(took)/2]; m > swift {
			t.Errorf("%s: guarded again after %v in the median, want %v", what, m, swift)
		}
	}

	s.settled(r, s.r2)
	r.waitLight(lanA)
	watch := s.watch(p.ask)
	killTogether(t, r.processes())
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	s.r2.pass(5*p.iv, p.iv)
	s.neverTwo(watch)
	r.startAll()
	s.settled(r, s.r2)
	for _, l := range lans {
		r.waitLight(l)
	}
}

// A guard that somebody takes away whenever it is light stays on clsact, and is no fault.
func TestGuard_LightIsGivenUp(t *testing.T) {
	// Not parallel: it speaks every 10 ms.
	s := newSite(t, options{interval: paces[2].interval})
	r := s.r1
	r.startLine(fmt.Sprintf("vrrpd -i eth0 -v 51 10.16.1.200 -d %s", paces[2].interval))
	r.waitServing(lanA)
	mark := r.syslog.mark()
	for range 2 {
		r.waitLight(lanA)
		r.programs(lanA, takeOff)
	}
	r.syslog.waitFor(t, mark, "that it is given up", containing("lease: stays clsact from here on"))
	r.pass(3*time.Second, 100*time.Millisecond) // it changes after one
	if f, p := r.filters(lanA), r.programs(lanA, nil); f != 2 || p != 0 {
		t.Errorf("%d filters and %d programs", f, p)
	}
	r.waitServing(lanA)
}

// At other intervals, and where somebody has chosen, it stays what it is.
func TestGuard_StaysHeavy(t *testing.T) {
	t.Parallel()
	for _, c := range []options{{interval: "0.1"}, {interval: "0.01", flags: "--lease clsact"}} {
		s := newSite(t, c)
		s.r1.startLine(fmt.Sprintf("vrrpd -i eth0 -v 51 10.16.1.200 -d %s %s", c.interval, c.flags))
		s.r1.waitServing(lanA)
		s.r1.pass(2*time.Second, 100*time.Millisecond)
		if f, p := s.r1.filters(lanA), s.r1.programs(lanA, nil); f != 2 || p != 0 {
			t.Errorf("%+v: %d filters and %d programs", c, f, p)
		}
	}
}

// The next program goes on with a light guard, looks after it, and makes one light again
// that it had to repair.
func TestGuard_LightIsReplaced(t *testing.T) {
	// Not parallel: it speaks every 10 ms.
	s := newSite(t, options{interval: paces[2].interval, program: ownProgram})
	for _, r := range s.routers() {
		r.install("")
	}
	s.open()
	s.opened()
	r := s.r1
	for _, l := range lans {
		r.waitLight(l)
	}
	programs := func() (ids []ebpf.ProgramID) {
		r.programs(lanA, func(_ int, _ ebpf.AttachType, p *ebpf.Program) error {
			info, err := p.Info()
			if err == nil {
				id, _ := info.ID()
				ids = append(ids, id)
			}
			return err
		})
		return ids
	}
	was := programs()
	for range 3 {
		r.reexec(0)
		if now := programs(); !slices.Equal(now, was) || r.filters(lanA) != 0 {
			t.Fatalf("programs %v, were %v; %d filters", now, was, r.filters(lanA))
		}
	}
	mark := r.syslog.mark()
	r.programs(lanA, takeOff)
	r.syslog.waitFor(t, mark, "the repair", containing("repairing: guard of vrrp51"))
	r.waitLight(lanA)
	if now := programs(); !slices.Equal(now, was) {
		t.Errorf("programs %v, were %v", now, was)
	}
}
