package acceptance

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	mdnetlink "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// filters are how many filters the guard of an interface has, by clsact.
func (r *router) filters(l lan) int {
	r.site.t.Helper()
	k, err := r.Netlink().LinkByName(l.vrrp())
	check(r.site.t, err)
	n := 0
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		list, err := r.Netlink().FilterList(k, parent)
		check(r.site.t, err)
		n += len(list)
	}
	return n
}

// programs are how many programs of TCX an interface has; each is also passed to
// detach, if that is not nil.
func (r *router) programs(l lan, detach func(index int, at ebpf.AttachType, p *ebpf.Program) error) (n int) {
	r.site.t.Helper()
	check(r.site.t, r.DoNet(func() error {
		k, err := r.Netlink().LinkByName(l.vrrp())
		if err != nil {
			return err
		}
		for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
			res, err := link.QueryPrograms(link.QueryOptions{Target: k.Attrs().Index, Attach: at})
			if err != nil {
				return err
			}
			n += len(res.Programs)
			for _, info := range res.Programs {
				if detach == nil {
					continue
				}
				p, err := ebpf.NewProgramFromID(info.ID)
				if err != nil {
					return err
				}
				if err := detach(k.Attrs().Index, at, p); err != nil {
					return err
				}
				if err := p.Close(); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	return n
}

// table tells whether the table of the guard of an interface is there.
func (r *router) table(l lan) (there bool) {
	r.site.t.Helper()
	check(r.site.t, r.DoNet(func() error {
		conn, err := mdnetlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return err
		}
		defer conn.Close()
		attrs, err := mdnetlink.MarshalAttributes([]mdnetlink.Attribute{{
			Type: unix.NFTA_TABLE_NAME, Data: append([]byte("vrrpd-lease-"+l.vrrp()), 0)}})
		if err != nil {
			return err
		}
		_, err = conn.Execute(mdnetlink.Message{
			Header: mdnetlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETTABLE, Flags: mdnetlink.Request | mdnetlink.Acknowledge},
			Data:   append([]byte{unix.NFPROTO_NETDEV, 0, 0, 0}, attrs...),
		})
		there = err == nil
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return err
	}))
	return there
}

// Somebody removes the guard of a MASTER: there is one again within 20 ms, the
// machine stays MASTER, and the journal says so. Where the kernel does not tell (TCX),
// it is there with the next event of the interface; and because attaching it takes
// longer, the filters of clsact stand in for it.
func guardRemoved(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rung, interval string
		remove         func(r *router)
		there          func(r *router) bool
		instead        func(r *router) bool // nil: nothing
	}{
		{"clsact", "0.3", func(r *router) {
			k, err := r.Netlink().LinkByName("vrrp51")
			check(t, err)
			check(t, r.Netlink().QdiscDel(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
				LinkIndex: k.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}))
		}, func(r *router) bool { return r.filters(lanA) == 2 }, nil},
		{"tcx", "0.3", func(r *router) {
			r.programs(lanA, takeOff)
			check(t, r.AddAddr("vrrp51", netip.MustParsePrefix("10.16.1.201/32")))
		}, func(r *router) bool { return r.programs(lanA, nil) == 2 && r.filters(lanA) == 0 },
			func(r *router) bool { return r.filters(lanA) == 2 }},
		{"nftables", "1", func(r *router) {
			if got := r.typed("nft delete table netdev vrrpd-lease-vrrp51"); got.Code != 0 {
				t.Fatalf("nft: %+v", got)
			}
		}, func(r *router) bool { return r.table(lanA) }, nil},
	} {
		t.Run(c.rung, func(t *testing.T) {
			onStage(t)
			s := pair(t, options{interval: c.interval, flags: "--lease " + c.rung})
			r := s.r1
			if !c.there(r) {
				t.Fatal("no guard is found before it is removed")
			}
			epoch, mark := r.status(lanA).Machine.Epoch, r.syslog.mark()
			// What is removed, and what is put back, may each have to wait for a grace
			// period of the kernel, and for each other's: then it is tried again.
			const enough, tries = 2, 24
			var took []time.Duration
			inTime := 0
			quietly(t, func() {
				for inTime < enough && len(took) < tries {
					c.remove(r)
					at := time.Now()
					guarded := func() (bool, string) {
						return c.there(r) || c.instead != nil && c.instead(r), "the guard is missing"
					}
					for ok, _ := guarded(); !ok && time.Since(at) < patience; ok, _ = guarded() {
					}
					took = append(took, time.Since(at))
					if took[len(took)-1] <= swift {
						inTime++
					}
					netlab.Eventually(t, patience, func() (bool, string) { return c.there(r), "the guard is missing" })
					if c.instead != nil {
						t.Logf("%s: back after %s, something in its place after %s", c.rung, ms(time.Since(at)), ms(took[len(took)-1]))
					}
					r.waitStatus(lanA, "it has counted that", func(st control.Status) bool {
						return st.Routers[0].Statistics.Repairs >= uint64(len(took))
					})
					if c.rung == "tcx" {
						check(t, r.DelAddr("vrrp51", netip.MustParsePrefix("10.16.1.201/32")))
					}
				}
			})
			t.Logf("%s: guarded again after %v", c.rung, took)
			if inTime < enough {
				t.Errorf("guarded again after %v, want %v", took, swift)
			}
			r.syslog.waitFor(t, mark, "the repair", containing("repairing: guard of vrrp51"))
			st := r.status(lanA)
			if st.Machine.Epoch != epoch || st.Machine.Phase != "MASTER" {
				t.Errorf("it has left: %+v", st.Machine)
			}
			// It is one that works, with the lease that the machine has.
			if mac, err := s.client.Resolve(within(t, patience), "eth0", lanA.vip); err != nil || mac != lanA.vmac() {
				t.Errorf("%v is at %v, %v", lanA.vip, mac, err)
			}
			watch := s.watch(20 * time.Millisecond)
			killTogether(t, r.processes())
			for _, l := range lans {
				s.r2.waitServing(l)
			}
			s.r2.waitAdverts(s.r2.sniff(lanA, netlab.MatchAdverts()), 3)
			s.neverTwo(watch)
		})
	}
}

// takeOff is for programs.
func takeOff(index int, at ebpf.AttachType, p *ebpf.Program) error {
	return link.RawDetachProgram(link.RawDetachProgramOptions{Target: index, Attach: at, Program: p})
}

// The interface of a MASTER is deleted and made again: so is its guard, and it has
// what was left of the lease.
func TestGuard_InterfaceMadeAgain(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	r := s.r1
	k, err := r.Netlink().LinkByName("vrrp51")
	check(t, err)
	mark := r.links.Mark()
	check(t, r.Netlink().LinkDel(k))
	r.waitEvent(mark, "vrrp51", netlab.LinkGone, noAddr)
	r.waitServing(lanA)
	if n := r.filters(lanA); n != 2 {
		t.Errorf("the interface has %d filters", n)
	}
	watch := s.watch(20 * time.Millisecond)
	killTogether(t, r.processes())
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	s.r2.waitAdverts(s.r2.sniff(lanA, netlab.MatchAdverts()), 3)
	s.neverTwo(watch)
}

// swallow makes every send on an interface of the machine fail with ENOBUFS, by a
// filter that drops what goes out.
func (r *router) swallow(nic string) {
	r.site.t.Helper()
	k, err := r.Netlink().LinkByName(nic)
	check(r.site.t, err)
	const shot = 2 // TC_ACT_SHOT
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "swallow", Type: ebpf.SchedCLS, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, shot), asm.Return()}})
	check(r.site.t, err)
	r.site.t.Cleanup(func() { check(r.site.t, p.Close()) })
	check(r.site.t, r.Netlink().QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: k.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}))
	check(r.site.t, r.Netlink().FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: k.Attrs().Index, Parent: netlink.HANDLE_MIN_EGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL},
		Fd:          p.FD(), Name: "swallow", DirectAction: true,
	}))
}

// Adverts that cannot be sent renew no lease. Before it ends, the machine resigns
// where it still can, and says why.
func TestGuard_SendsFail(t *testing.T) {
	t.Parallel()
	sendsFail(t, paces[0])
}

// At these paces, what a machine that is busy with other tests adds would count.
func TestGuard_SendsFailAtOnce(t *testing.T) {
	for _, p := range paces[1:] {
		t.Run(p.interval+"s", func(t *testing.T) { sendsFail(t, p) })
	}
}

func sendsFail(t *testing.T, p pace) {
	s := pair(t, options{interval: p.interval, flags: "-s"})
	r := s.r1
	span := 2 * p.iv
	if p.iv < 100*time.Millisecond {
		span = 3 * p.iv
	}
	watch := s.watch(p.ask)
	spoken := r.sniff(lanA, netlab.MatchAdverts())
	zero := r.sniff(lanB, netlab.MatchPriority(0))
	mark, letters := r.links.Mark(), r.syslog.mark()
	r.waitAdverts(spoken, 1)
	r.swallow(lanA.nic)
	gone := r.waitEvent(mark, lanA.vrrp(), netlab.AddrGone, lanA.vip).At
	resigned := r.waitAdvert(zero, 0, "resigns on LAN B", func(netlab.Advert) bool { return true })
	var last time.Time
	for _, f := range spoken.Frames(0) {
		if a, ok := f.Advert(); ok && !f.Out && a.Priority > 0 {
			last = f.At
		}
	}
	t.Logf("the last advert left; the addresses went %s and priority 0 was sent %s later; the lease was for %v",
		ms(gone.Sub(last)), ms(resigned.At.Sub(last)), span)
	// At 10 ms a quarter of an interval is less than a stall of the machine
	// that the test runs on; then the guard closes first.
	if p.iv >= 100*time.Millisecond && resigned.At.Sub(last) > span {
		t.Errorf("resigned %s after the last advert, the lease was for %v", ms(resigned.At.Sub(last)), span)
	}
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	r.syslog.waitFor(t, letters, "why", containing("-> HELD: send-failed"))
	r.waitStatus(lanA, "adverts were refused", func(st control.Status) bool { return st.Routers[0].Statistics.SendErrors > 0 })
	if st := r.status(lanA).Machine; st.Phase != "HELD" {
		t.Errorf("it is %+v", st)
	}
	s.r2.pass(3*p.iv, p.iv)
	s.neverTwo(watch)
}

// What a dead machine has left is silent when vrrpd --release has cleaned up, of
// whatever kind its guard was, and nothing of it remains.
func TestGuard_Release(t *testing.T) {
	t.Parallel()
	for _, rung := range []string{"clsact", "tcx", "nftables"} {
		t.Run(rung, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{})
			r := s.r1
			before, err := r.Run(within(t, patience), netlab.Command{Path: "nft", Args: []string{"list", "ruleset"}})
			check(t, err)
			r.startLine(fmt.Sprintf("vrrpd -i eth0 -v 51 10.16.1.200 --lease %s", rung))
			r.waitServing(lanA)
			check(t, r.daemon(lanA).Signal(syscall.SIGKILL))
			r.waitProcesses(0)
			r.startsRelease()
			if k, err := r.Link("vrrp51"); err != nil || k.Exists() {
				t.Errorf("%s: left %+v, %v", rung, k, err)
			}
			after, err := r.Run(within(t, patience), netlab.Command{Path: "nft", Args: []string{"list", "ruleset"}})
			check(t, err)
			if before.Stdout != after.Stdout {
				t.Errorf("%s: nftables has\n%s, and had\n%s", rung, after.Stdout, before.Stdout)
			}
		})
	}
}

// startsRelease cleans up after every dead instance.
func (r *router) startsRelease() {
	r.site.t.Helper()
	if got := r.typed("vrrpd --release"); got.Code != 0 {
		r.site.t.Fatalf("vrrpd --release: %+v", got)
	}
}
