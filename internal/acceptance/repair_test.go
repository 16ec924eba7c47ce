package acceptance

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// foul is what somebody else does to the virtual interface of LAN A, or to what
// it needs.
type foul struct {
	name string
	do   func(*router)
	// mended waits until it is undone, and returns when; mark is where the record
	// of links was before.
	mended func(r *router, mark int) time.Time
	found  string // what the journal says about it
}

// onVRRP does something to the virtual interface of LAN A.
func onVRRP(do func(nl *netlink.Handle, vrrp netlink.Link) error) func(*router) {
	return func(r *router) {
		r.site.t.Helper()
		vrrp, err := r.Netlink().LinkByName(lanA.vrrp())
		check(r.site.t, err)
		check(r.site.t, do(r.Netlink(), vrrp))
	}
}

// somebodysMAC is none of ours.
var somebodysMAC = netlab.MAC{0x02, 0xee, 0, 0, 0, 1}

// write writes a sysctl as a program on the machine does: by way of the machine's
// own /proc.
func (r *router) write(key, value string) {
	r.site.t.Helper()
	check(r.site.t, r.Do(func() error { return os.WriteFile("/proc/sys/net/"+key, []byte(value), 0) }))
}

// waitSysctl waits until a sysctl has a value, and returns when. Nothing tells of
// that in time: it looks all the time.
func (r *router) waitSysctl(key, value string) (at time.Time) {
	r.site.t.Helper()
	check(r.site.t, r.Do(func() error {
		for limit := time.Now().Add(patience); ; runtime.Gosched() {
			text, err := os.ReadFile("/proc/sys/net/" + key)
			at = time.Now()
			switch {
			case err != nil:
				return err
			case strings.TrimSpace(string(text)) == value:
				return nil
			case at.After(limit):
				return fmt.Errorf("%s is %q, want %s", key, text, value)
			}
		}
	}))
	return at
}

// sysctlFoul changes a setting.
func sysctlFoul(key, right, wrong string) foul {
	parts := strings.Split(key, "/") // ipv4/conf/eth0/arp_ignore
	return foul{
		name:   parts[2] + "." + parts[3],
		do:     func(r *router) { r.write(key, wrong) },
		mended: func(r *router, _ int) time.Time { return r.waitSysctl(key, right) },
		found:  fmt.Sprintf("sysctl %s.%s=%s", parts[2], parts[3], wrong),
	}
}

// sysctlFouls are the settings that virtual routers need.
func sysctlFouls() []foul {
	return []foul{
		sysctlFoul("ipv4/conf/eth0/arp_ignore", "1", "0"),
		sysctlFoul("ipv4/conf/eth0/arp_announce", "2", "0"),
		sysctlFoul("ipv4/conf/vrrp51/arp_ignore", "1", "0"),
		sysctlFoul("ipv4/conf/vrrp51/arp_announce", "2", "1"),
		sysctlFoul("ipv4/conf/vrrp51/arp_filter", "0", "1"),
		sysctlFoul("ipv4/conf/vrrp51/rp_filter", "2", "1"),
		sysctlFoul("ipv4/conf/vrrp51/proxy_arp", "0", "1"),
		sysctlFoul("ipv4/conf/vrrp51/forwarding", "1", "0"),
		sysctlFoul("ipv6/conf/vrrp51/disable_ipv6", "1", "0"),
	}
}

// identityFouls are done to what the interface is, in whatever state.
func identityFouls() []foul {
	return []foul{
		{"MAC changed", onVRRP(func(nl *netlink.Handle, vrrp netlink.Link) error {
			return nl.LinkSetHardwareAddr(vrrp, net.HardwareAddr(somebodysMAC[:]))
		}), func(r *router, _ int) time.Time {
			_, err := r.WaitLink(within(r.site.t, patience), lanA.vrrp(), func(k netlab.Link) bool { return k.MAC == lanA.vmac() })
			check(r.site.t, err)
			return time.Now()
		}, "mac " + somebodysMAC.String()},
		{"renamed", onVRRP(func(nl *netlink.Handle, vrrp netlink.Link) error { return nl.LinkSetName(vrrp, "mine0") }),
			func(r *router, _ int) time.Time {
				_, err := r.WaitLink(within(r.site.t, patience), lanA.vrrp(), netlab.Link.Exists)
				check(r.site.t, err)
				return time.Now()
			}, "name mine0"},
	}
}

// masterFouls are done to the interface of a MASTER.
func masterFouls() []foul {
	event := func(what netlab.Change, addr netip.Addr) func(*router, int) time.Time {
		return func(r *router, mark int) time.Time { return r.waitEvent(mark, lanA.vrrp(), what, addr).At }
	}
	return slices.Concat([]foul{
		{"VIP deleted", func(r *router) { check(r.site.t, r.DelAddr(lanA.vrrp(), netip.PrefixFrom(lanA.vip, 32))) },
			event(netlab.AddrAdded, lanA.vip), "address 10.16.1.200 was removed"},
		{"interface deleted", onVRRP((*netlink.Handle).LinkDel), event(netlab.LinkUp, noAddr), "interface was deleted"},
		{"interface downed", onVRRP((*netlink.Handle).LinkSetDown), event(netlab.LinkUp, noAddr), "interface was taken down"},
	}, identityFouls(), sysctlFouls())
}

// backupFouls are done to the interface of a BACKUP.
func backupFouls() []foul {
	stray := netip.MustParsePrefix("10.16.1.77/24")
	return slices.Concat([]foul{
		{"interface deleted", onVRRP((*netlink.Handle).LinkDel), func(r *router, mark int) time.Time {
			return r.waitEvent(mark, lanA.vrrp(), netlab.LinkAdded, noAddr).At
		}, "interface was deleted"},
		{"brought up", onVRRP((*netlink.Handle).LinkSetUp), func(r *router, mark int) time.Time {
			return r.waitEvent(mark, lanA.vrrp(), netlab.LinkDown, noAddr).At
		}, "up"},
		{"given an address", func(r *router) { check(r.site.t, r.AddAddr(lanA.vrrp(), stray)) }, func(r *router, mark int) time.Time {
			return r.waitEvent(mark, lanA.vrrp(), netlab.AddrGone, stray.Addr()).At
		}, "address 10.16.1.77/24"},
	}, identityFouls(), sysctlFouls()[:2])
}

// mend does something foul and returns how long that took, and how long it lasted
// from then on. The kernel tells nobody before it has done it: to change the MAC of a
// macvlan that is up it waits for a grace period of its RCU, under the mutex that
// everybody needs who changes an interface, and so it does for changing it back.
func (r *router) mend(f foul) (doing, undone time.Duration) {
	r.site.t.Helper()
	repairs := r.status(lanA).Routers[0].Statistics.Repairs
	mark, letters := r.fence(), r.syslog.mark()
	before := time.Now()
	f.do(r)
	doing = time.Since(before)
	undone = f.mended(r, mark).Sub(before) - doing
	r.syslog.waitFor(r.site.t, letters, "what was found", func(text string) bool {
		return strings.Contains(text, "repairing: ") && strings.Contains(text, f.found)
	})
	r.waitStatus(lanA, "it is counted", func(st control.Status) bool { return st.Routers[0].Statistics.Repairs > repairs })
	return doing, max(0, undone)
}

// mends does something foul a few times, and judges how fast it is undone.
func (r *router) mends(f foul) {
	t := r.site.t
	t.Helper()
	var did, took []time.Duration
	for len(took) < 3 || len(took) < 9 && middle(took) > swift {
		doing, undone := r.mend(f)
		did, took = append(did, doing), append(took, undone)
	}
	t.Logf("%s: undone %v after it was done, which took %v", f.name, took, did)
	if middle(took) > swift {
		t.Errorf("%s: undone after %v, want %v in the median", f.name, took, swift)
	}
}

func middle(list []time.Duration) time.Duration {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// Whatever somebody does to the interface of a MASTER, or to settings that it
// needs, is undone within 20 ms, without leaving that state; journalled with what
// was found, and counted.
func repairMaster(t *testing.T) {
	t.Parallel()
	for _, f := range masterFouls() {
		t.Run(strings.ReplaceAll(f.name, " ", "-"), func(t *testing.T) {
			onStage(t)
			s := pair(t, calm)
			r := s.r1
			epoch := r.status(lanA).Machine.Epoch
			quietly(t, func() { r.mends(f) })
			if st := r.status(lanA).Machine; st.Epoch != epoch || st.Phase != "MASTER" {
				t.Errorf("it has left: %+v", st)
			}
			r.waitServing(lanA)
			if mac, err := s.client.Resolve(within(t, patience), "eth0", lanA.vip); err != nil || mac != lanA.vmac() {
				t.Errorf("%v is at %v, %v", lanA.vip, mac, err)
			}
			if n := r.filters(lanA); n != 2 {
				t.Errorf("its guard has %d filters", n)
			}
		})
	}
}

// So it is on a BACKUP, which stays one, with an interface that is down and empty.
func repairBackup(t *testing.T) {
	t.Parallel()
	for _, f := range backupFouls() {
		t.Run(strings.ReplaceAll(f.name, " ", "-"), func(t *testing.T) {
			onStage(t)
			s := pair(t, calm)
			r := s.r2
			epoch := r.status(lanA).Machine.Epoch
			heard := r.sniff(lanA, netlab.MatchAdverts())
			quietly(t, func() { r.mends(f) })
			if st := r.status(lanA).Machine; st.Epoch != epoch || st.Phase != "BACKUP" {
				t.Errorf("it has left: %+v", st)
			}
			r.waitBackup(lanA)
			s.r1.waitAdverts(s.r1.sniff(lanA, netlab.MatchAdverts()), 2)
			for _, frame := range heard.Frames(0) {
				if a, ok := frame.Advert(); ok && !frame.Out {
					t.Errorf("it has said %v", a)
				}
			}
		})
	}
}

// What nobody tells is found all the same: a setting that is written by way of another
// mount of /proc, a guard of TCX that is removed while nothing else happens.
func TestRepair_Untold(t *testing.T) {
	t.Parallel()
	s := pair(t, options{interval: "0.3", flags: "--lease tcx"})
	for _, r := range s.routers() {
		check(t, r.SetSysctl("net/ipv4/conf/eth0/arp_ignore", "0"))
		r.programs(lanA, takeOff)
	}
	at := time.Now()
	for _, r := range s.routers() {
		netlab.Eventually(t, patience, func() (bool, string) {
			value, err := r.Sysctl("net/ipv4/conf/eth0/arp_ignore")
			n := r.programs(lanA, nil)
			return value == "1" && n == 2, fmt.Sprintf("%s: arp_ignore is %s, %v; there are %d programs", r.Name(), value, err, n)
		})
		t.Logf("%s: right after %v", r.Name(), time.Since(at))
	}
}

// Somebody who sets a setting again and again is fought for a while, and then the
// machine is held and says what was done to it.
func TestRepair_Fight(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	r := s.r1
	for range 20 {
		r.write("ipv4/conf/vrrp51/rp_filter", "1")
		r.waitSysctl("ipv4/conf/vrrp51/rp_filter", "2")
	}
	r.waitStatus(lanA, "all are counted", func(st control.Status) bool { return st.Routers[0].Statistics.Repairs == 20 })
	r.write("ipv4/conf/vrrp51/rp_filter", "1")
	for _, l := range lans {
		s.r2.waitServing(l)
	}
	const detail = "sysctl vrrp51.rp_filter=1, 20 repairs within 1m0s: something fights us"
	r.syslog.waitFor(t, 0, "what was done", containing(detail))
	st := r.status(lanA).Machine
	if st.Phase != "HELD" || st.Reason != "interface-fault" || len(st.Faults) != 1 || st.Faults[0].Detail != detail {
		t.Errorf("%+v", st)
	}
}
