package acceptance

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
)

// The end of light guards, and guards that give way to others.

// A survivor says priority 0 for a sibling that has died before it takes away a light
// guard, which waits for the kernel: the peers wait for the word.
func TestGuard_LightSiblingIsBuried(t *testing.T) {
	// Not parallel: it speaks every 10 ms, for which a busy machine is too slow at times:
	// a BACKUP has nothing to say.
	for range 5 {
		if lightSiblingIsBuried(t) {
			return
		}
	}
	t.Error("five times the machine was not MASTER any more when a process died")
}

// lightSiblingIsBuried reports whether the machine was MASTER.
func lightSiblingIsBuried(t *testing.T) bool {
	s := pair(t, options{interval: paces[2].interval, flags: "-s"})
	for _, l := range lans {
		s.r1.waitLight(l)
	}
	sn := s.r1.sniff(lanA, netlab.MatchAdverts())
	stands := func() (yes bool) {
		check(t, s.r1.DoNet(func() error {
			k, err := s.r1.Netlink().LinkByName(lanA.vrrp())
			yes = err == nil && attached(k.Attrs().Index) > 0
			return nil
		}))
		return yes
	}
	letters := s.r1.syslog.mark()
	check(t, s.r1.daemon(lanA).Signal(syscall.SIGKILL))
	var stood time.Time // when it was seen last
	for began := time.Now(); ; {
		at := time.Now()
		if !stands() {
			break
		}
		if stood = at; time.Since(began) > patience {
			t.Fatal("nobody buries the sibling")
		}
	}
	end := s.r1.syslog.waitFor(t, letters, "the death", containing("-> HELD: member-dead"))
	if !strings.Contains(end.text, "MASTER ->") {
		t.Log(end.text)
		return false
	}
	word := s.r1.waitAdvert(sn, 0, "resigns", func(a netlab.Advert) bool { return a.Priority == 0 })
	if !word.At.Before(stood) {
		t.Errorf("priority 0 was said %s after the guard was seen last", ms(word.At.Sub(stood)))
	}
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	return true
}

// More than a few have light guards, and when they end nobody waits for the kernel's mutex
// as long as all of them take together: after a stop, and after a crash.
func TestGuard_LightMany(t *testing.T) {
	// Not parallel: it speaks every 10 ms.
	const n = 5 // each takes a second to change over
	s := newSite(t, options{})
	r := s.r1
	check(t, r.WriteFile(runDir+"/.keep", netlab.File{}))
	before := r.machine()
	r.conf(strings.Replace(crowd(1, n), "0.3", paces[2].interval, 1))
	for _, c := range []struct {
		sig syscall.Signal
		end func()
	}{
		{syscall.SIGTERM, func() { r.waitProcesses(0) }},
		{syscall.SIGKILL, func() { r.waitProcesses(0); r.startsRelease() }},
	} {
		r.startLine("vrrpd -c " + confFile)
		r.waitServes(n)
		netlab.Eventually(t, 2*patience, func() (bool, string) {
			light := 0
			for i := range n {
				check(t, r.DoNet(func() error {
					k, err := r.Netlink().LinkByName(fmt.Sprint("many", i))
					if err == nil && attached(k.Attrs().Index) == 2 {
						light++
					}
					return err
				}))
			}
			return light == n, fmt.Sprintf("%d guards are light, want %d", light, n)
		})
		all, err := r.Find("vrrpd")
		check(t, err)
		waits := r.waitsForKernel()
		began := time.Now()
		check(t, all[0].Signal(c.sig))
		c.end()
		took, longest := time.Since(began), waits()
		t.Logf("%v: over after %v, the longest wait was %v", c.sig, took, longest)
		if longest > took/2 {
			t.Errorf("%v: somebody waited for %v of %v", c.sig, longest, took)
		}
		before.same(t, "after "+c.sig.String(), r.machine())
	}
}

// waitsForKernel changes nothing on another machine, again and again, for which the kernel
// needs its RTNL mutex. The result ends that, and returns the longest that it has taken.
func (r *router) waitsForKernel() func() time.Duration {
	r.site.t.Helper()
	nl := r.site.server.Netlink()
	k, err := nl.LinkByName("eth0")
	check(r.site.t, err)
	over := make(chan struct{})
	var longest time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			at := time.Now()
			if err := nl.LinkSetTxQLen(k, k.Attrs().TxQLen); err != nil {
				r.site.t.Error(err)
				return
			}
			longest = max(longest, time.Since(at))
		}
	})
	return func() time.Duration {
		close(over)
		wg.Wait()
		return longest
	}
}

// As a user of its own it has light guards, too. What a crash leaves it cannot identify,
// and makes the interface anew.
func TestGuard_LightOwnUser(t *testing.T) {
	// Not parallel: it speaks every 10 ms.
	s := newSite(t, options{})
	r := s.r1
	r.did(fmt.Sprintf("mkdir -m 755 %[1]s && chown %[2]d:%[2]d %[1]s", runDir, nobody))
	self, err := os.Executable()
	check(t, err)
	args := strings.Fields(fmt.Sprintf("vrrpd -F -i eth0 -v 51 -d %s %s", paces[2].interval, lanA.vip))
	index := 0
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		_, err = r.Start(netlab.Command{Path: self, Args: args, Env: []string{toolEnv + "=" + toolOwnUser}})
		check(t, err)
		r.waitServing(lanA)
		r.waitLight(lanA)
		if _, err := s.client.Resolve(within(t, patience), "eth0", lanA.vip); err != nil {
			t.Error(err)
		}
		k, err := r.Netlink().LinkByName(lanA.vrrp())
		check(t, err)
		if k.Attrs().Index == index {
			t.Error("the interface is the one that the dead one has left")
		}
		index = k.Attrs().Index
		r.signal(lanA, sig)
		r.waitProcesses(0)
	}
	if k, err := r.Link(lanA.vrrp()); err != nil || k.Exists() {
		t.Errorf("left %+v, %v", k, err)
	}
}

// What silences an owner whose guard is of a lower rung, or who has none, is found and
// undone by the owner.
func TestGuard_BelowAnother(t *testing.T) {
	t.Parallel()
	for _, rung := range []string{"tcx", "nftables", "none"} {
		t.Run(rung, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{})
			r := s.r1
			r.startLine("vrrpd -i eth0 -v 51 10.16.1.200 -d 1 --lease " + rung)
			r.waitServing(lanA)
			k, err := r.Netlink().LinkByName(lanA.vrrp())
			check(t, err)
			// It may take away the first before there is a second.
			netlab.Eventually(t, patience, func() (bool, string) {
				err := r.DoNet(func() error { return drops(r.Netlink(), k.Attrs().Index) })
				return err == nil, fmt.Sprint(err)
			})
			r.syslog.waitFor(t, 0, "the repair", containing("filter is not as this process made it"))
			netlab.Eventually(t, patience, func() (bool, string) {
				n := r.filters(lanA)
				return n == 0, fmt.Sprintf("%d filters", n)
			})
			if _, err := s.client.Resolve(within(t, patience), "eth0", lanA.vip); err != nil {
				t.Error(err)
			}
		})
	}
}

// drops puts the closed filters of another instance on an interface.
func drops(nl *netlink.Handle, index int) error {
	const shot = 2 // TC_ACT_SHOT
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "vrrpd_lease", Type: ebpf.SchedCLS, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, shot), asm.Return()}})
	if err != nil {
		return err
	}
	defer p.Close()
	if err := nl.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		if err := nl.FilterReplace(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: parent, Handle: 0x76727270, Priority: 1, Protocol: unix.ETH_P_ALL},
			Fd:          p.FD(), Name: "vrrpd_lease", DirectAction: true,
		}); err != nil {
			return err
		}
	}
	return nil
}

// A guard that becomes one of a lower rung says so and why, and one of the better rung
// again when the interface is made anew.
func TestGuard_StepsDown(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	r := s.r1
	r.startLine("vrrpd -i eth0 -v 51 10.16.1.200 -d 1")
	r.waitServing(lanA)
	nl := r.Netlink()
	k, err := nl.LinkByName(lanA.vrrp())
	check(t, err)
	at := func(parent uint32) netlink.QdiscAttrs {
		return netlink.QdiscAttrs{LinkIndex: k.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: parent}
	}
	mark := r.syslog.mark()
	// It puts its own back as soon as it can.
	netlab.Eventually(t, patience, func() (bool, string) {
		_ = nl.QdiscDel(&netlink.Clsact{QdiscAttrs: at(netlink.HANDLE_CLSACT)})
		err := nl.QdiscAdd(&netlink.Ingress{QdiscAttrs: at(netlink.HANDLE_INGRESS)})
		return err == nil, fmt.Sprint(err)
	})
	r.syslog.waitFor(t, mark, "the step down", containing("lease: tcx (clsact: guard vrrp51: an ingress queueing discipline"))
	if n := r.programs(lanA, nil); n != 2 {
		t.Errorf("%d programs", n)
	}
	mark = r.syslog.mark()
	check(t, nl.LinkDel(k))
	r.syslog.waitFor(t, mark, "the step up", containing("lease: clsact parent="))
	r.waitServing(lanA)
	if n := r.filters(lanA); n != 2 {
		t.Errorf("%d filters", n)
	}
}
