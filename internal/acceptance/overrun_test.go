package acceptance

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// storm makes more than 5,000 events of links and addresses on the machine.
func (r *router) storm() {
	r.site.t.Helper()
	stray := netip.MustParsePrefix("192.0.2.99/32")
	lo, err := r.Netlink().LinkByName("lo")
	check(r.site.t, err)
	for i := range 2000 {
		check(r.site.t, r.Netlink().LinkSetMTU(lo, 60000+i%2))
		check(r.site.t, r.AddAddr("lo", stray))
		check(r.site.t, r.DelAddr("lo", stray))
	}
}

// A MASTER in a storm of events stays one, and goes on to speak.
func overrunStormOnTheMaster(t *testing.T) {
	onStage(t)
	s := pair(t, calm)
	quietly(t, func() {
		s.r1.unmoved(s.r1.storm)
		s.r1.mend(masterFouls()[0])
	})
}

// More happens on a machine while its processes are stopped than the kernel keeps
// for them. When they go on they know the machine as it is: its address, its
// interfaces, what was left on them.
func overrunStopped(t *testing.T) {
	onStage(t)
	s := pair(t, calm)
	r := s.r2
	letters := r.syslog.mark()
	// Our record of the links must not be a victim, too.
	check(t, r.links.Close())
	signalAll(t, r.processes(), syscall.SIGSTOP)
	r.storm()
	moved := netip.MustParsePrefix("10.16.1.9/25")
	check(t, r.AddAddr(lanA.nic, moved))
	check(t, r.DelAddr(lanA.nic, r.own(lanA)))
	check(t, r.AddAddr(lanA.vrrp(), netip.MustParsePrefix("10.16.1.77/24")))
	for name, do := range map[string]func(nl *netlink.Handle, l netlink.Link) error{
		lanB.vrrp(): (*netlink.Handle).LinkDel,
		lanB.nic:    func(nl *netlink.Handle, l netlink.Link) error { return nl.LinkSetMTU(l, 1400) },
	} {
		r.onNIC(name, do)
	}
	r.storm()
	signalAll(t, r.processes(), syscall.SIGCONT)
	for _, l := range lans {
		r.syslog.waitFor(t, letters, "the overrun", func(text string) bool {
			return strings.Contains(text, l.vrrp()+": warning: events of the kernel were lost")
		})
		r.waitBackup(l)
		r.waitStatus(l, "it is BACKUP", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
	}
	_, err := r.WaitLink(within(t, patience), lanB.vrrp(), func(k netlab.Link) bool { return k.MTU == 1400 })
	check(t, err)
	spoken := r.sniff(lanA, netlab.MatchAdverts())
	s.r1.stop(lans...)
	for _, l := range lans {
		r.waitServing(l)
	}
	r.waitAdvert(spoken, 0, "speaks from the new address", func(a netlab.Advert) bool { return a.Src == moved.Addr() && a.Priority > 0 })
	// What happens from here on is seen as before.
	check(t, r.cable(lanB).Cut())
	r.waitStatus(lanA, "it is held", func(st control.Status) bool { return st.Machine.Phase == "HELD" && st.Machine.Reason == "link-down" })
}
