package acceptance

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"vrrpd/internal/netlab"
)

// What happens to the machines in the soak, at adverts of 0.1 s and priority 100:
// skew time 61 ms, master-down interval 361 ms, lease 200 ms.

const (
	asked   = 80 * time.Millisecond  // a resignation on one LAN, a question on the other
	silence = 370 * time.Millisecond // nobody is left to say anything
	hung    = 300 * time.Millisecond // a stuck process is expelled when its lease ends
	mended  = 20 * time.Millisecond  // a repair
	planned = 10 * time.Millisecond
	nothing = 0
)

// scene is what a trouble has to do with.
type scene struct {
	*site
	dice           *rand.Rand
	master, backup *router
	attacker       *netlab.Host // on LAN A
	struck         *router      // nil: the network
}

func (x *scene) on() string {
	if x.struck == nil {
		return "the network"
	}
	return x.struck.Name()
}

// lan is one of the two.
func (x *scene) lan() lan { return lans[x.dice.IntN(len(lans))] }

// wait lets time pass: what is done to a machine lasts for a while. It ends early
// if the test does.
func (x *scene) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-x.t.Context().Done():
	}
}

func (x *scene) between(a, b time.Duration) time.Duration {
	return a + time.Duration(x.dice.Int64N(int64(b-a)))
}

// trouble is one kind of fault, what it explains, and how it is made. It undoes
// what does not mend itself.
type trouble struct {
	name  string
	hole  time.Duration
	cause func(x *scene)
}

// harmless are the troubles after which every process lives and none is held down:
// those of the second half, in which leaks are looked for.
var harmless = map[string]bool{
	"nothing at all":                       true,
	"SIGSTOP of all MASTER processes":      true,
	"SIGSTOP of all BACKUP processes":      true,
	"a short SIGSTOP of the MASTER":        true,
	"atropos --backup":                     true,
	"atropos --hold and --release":         true,
	"the virtual address is deleted":       true,
	"the virtual interface is deleted":     true,
	"the virtual interface is set down":    true,
	"the virtual MAC is changed":           true,
	"the guard is removed":                 true,
	"a setting of the parent is changed":   true,
	"the BACKUP's interface is deleted":    true,
	"the BACKUP's interface is set up":     true,
	"two lost adverts":                     true,
	"a storm of link events":               true,
	"a storm of link events on the BACKUP": true,
	"a flood of forged adverts":            true,
	"a blocked port of the BACKUP":         true,
}

// of the MASTER or of the BACKUP: what concerns the latter nobody may notice.
func onMaster(f func(x *scene, r *router)) func(*scene) {
	return func(x *scene) { x.struck = x.master; f(x, x.master) }
}

func onBackup(f func(x *scene, r *router)) func(*scene) {
	return func(x *scene) { x.struck = x.backup; f(x, x.backup) }
}

var troubles = []trouble{
	{"nothing at all", nothing, func(x *scene) { x.wait(300 * time.Millisecond) }},
	{"a cable of the MASTER", asked, onMaster(cable)},
	{"a cable of the BACKUP", nothing, onBackup(cable)},
	{"a blocked port of the BACKUP", nothing, onBackup(blocked)},
	{"SIGKILL of one MASTER process", asked, onMaster(killOne)},
	{"SIGKILL of one BACKUP process", nothing, onBackup(killOne)},
	{"SIGKILL of all MASTER processes", silence, onMaster(killAll)},
	{"SIGKILL of all BACKUP processes", nothing, onBackup(killAll)},
	{"SIGSTOP of one MASTER process", hung, onMaster(stopOne)},
	{"SIGSTOP of all MASTER processes", silence, onMaster(stopAll)},
	{"SIGSTOP of all BACKUP processes", nothing, onBackup(stopAll)},
	{"a short SIGSTOP of the MASTER", nothing, onMaster(stopShortly)},
	{"SIGTERM of the MASTER", planned, onMaster(restart)},
	{"SIGTERM of the BACKUP", nothing, onBackup(restart)},
	{"the MASTER's programs are replaced", nothing, onMaster(replacePrograms)},
	{"the BACKUP's programs are replaced", nothing, onBackup(replacePrograms)},
	{"atropos --backup", planned, onMaster(func(x *scene, r *router) {
		if x.asks(r, "atropos --backup") {
			r.ready("BACKUP")
		}
		x.asks(r, "atropos --release")
	})},
	{"atropos --hold and --release", planned, onMaster(func(x *scene, r *router) {
		x.asks(r, "atropos --hold")
		x.backup.ready("MASTER")
		x.asks(r, "atropos --release")
	})},
	{"the virtual address is deleted", mended, onMaster(func(x *scene, r *router) {
		l := x.lan()
		x.meddled(r.DelAddr(l.vrrp(), netip.PrefixFrom(l.vip, 32)))
	})},
	{"the virtual interface is deleted", mended, onMaster(meddle(func(r *router, k netlink.Link) error { return r.Netlink().LinkDel(k) }))},
	{"the virtual interface is set down", mended, onMaster(meddle(func(r *router, k netlink.Link) error { return r.Netlink().LinkSetDown(k) }))},
	{"the virtual MAC is changed", mended, onMaster(meddle(func(r *router, k netlink.Link) error {
		return r.Netlink().LinkSetHardwareAddr(k, net.HardwareAddr{2, 0, 0, 0, 0, 9})
	}))},
	{"the guard is removed", mended, onMaster(meddle(func(r *router, k netlink.Link) error {
		return r.Netlink().QdiscDel(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: k.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}})
	}))},
	// As long as it is wrong a machine whose processes are dead answers for the virtual
	// address with its own MAC, which no guard prevents. So it has to be mended first.
	{"a setting of the parent is changed", nothing, onMaster(func(x *scene, r *router) {
		key := "ipv4/conf/" + x.lan().nic + "/arp_ignore"
		r.write(key, "0")
		r.waitSysctl(key, "1")
	})},
	{"the BACKUP's interface is deleted", nothing, onBackup(meddle(func(r *router, k netlink.Link) error { return r.Netlink().LinkDel(k) }))},
	{"the BACKUP's interface is set up", nothing, onBackup(meddle(func(r *router, k netlink.Link) error { return r.Netlink().LinkSetUp(k) }))},
	{"the MASTER's own address goes", asked, onMaster(func(x *scene, r *router) {
		l := x.lan()
		check(x.t, r.DelAddr(l.nic, r.own(l)))
		x.backup.ready("MASTER")
		check(x.t, r.AddAddr(l.nic, r.own(l)))
	})},
	{"two lost adverts", nothing, func(x *scene) {
		drop, err := x.master.cable(x.lan()).Drop(netlab.Loss{Direction: netlab.FromHost, Match: netlab.MatchAdverts(), Count: 2})
		check(x.t, err)
		x.wait(500 * time.Millisecond)
		check(x.t, drop.Close())
	}},
	{"a storm of link events", nothing, onMaster(storm)},
	{"a storm of link events on the BACKUP", nothing, onBackup(storm)},
	{"a flood of forged adverts", nothing, func(x *scene) {
		self, err := os.Executable()
		check(x.t, err)
		got, err := x.attacker.Run(within(x.t, patience), netlab.Command{Path: self, Env: []string{toolEnv + "=" + toolFlood},
			Args: []string{"eth0", "garbage", "20000", "1s"}})
		check(x.t, err)
		if got.Code != 0 {
			x.t.Fatal(got.Stderr)
		}
	}},
}

func cable(x *scene, r *router) {
	l := x.lan()
	check(x.t, r.cable(l).Cut())
	x.wait(x.between(20*time.Millisecond, time.Second))
	check(x.t, r.cable(l).Plug())
}

func blocked(x *scene, r *router) {
	l := x.lan()
	check(x.t, r.cable(l).Block())
	x.wait(x.between(20*time.Millisecond, time.Second))
	check(x.t, r.cable(l).Unblock())
}

func killOne(x *scene, r *router) {
	l := x.lan()
	r.signal(l, syscall.SIGKILL)
	r.waitProcesses(1)
	x.wait(x.between(0, 500*time.Millisecond))
	r.start(l)
}

func killAll(x *scene, r *router) {
	killTogether(x.t, r.processes())
	r.waitProcesses(0)
	x.wait(x.between(0, time.Second))
	r.startAll()
}

func stopOne(x *scene, r *router) {
	p := r.daemon(x.lan())
	check(x.t, p.Signal(syscall.SIGSTOP))
	x.wait(x.between(300*time.Millisecond, time.Second))
	check(x.t, p.Signal(syscall.SIGCONT))
}

func stopAll(x *scene, r *router) {
	all := r.processes()
	signalAll(x.t, all, syscall.SIGSTOP)
	x.wait(x.between(500*time.Millisecond, 2*time.Second))
	signalAll(x.t, all, syscall.SIGCONT)
}

func stopShortly(x *scene, r *router) {
	all := r.processes()
	signalAll(x.t, all, syscall.SIGSTOP)
	x.wait(40 * time.Millisecond)
	signalAll(x.t, all, syscall.SIGCONT)
}

func restart(x *scene, r *router) {
	r.stop(lans...)
	x.wait(x.between(0, 500*time.Millisecond))
	r.startAll()
}

// meddle does something to the virtual interface of one LAN.
func meddle(do func(*router, netlink.Link) error) func(*scene, *router) {
	return func(x *scene, r *router) {
		k, err := r.Netlink().LinkByName(x.lan().vrrp())
		if err == nil {
			err = do(r, k)
		}
		x.meddled(err)
	}
}

// asks runs atropos, and reports whether it says that it was done: exit 1 says that
// nobody has taken over in time, and when the machine that this runs on stands still,
// nobody can.
func (x *scene) asks(r *router, command string) bool {
	x.t.Helper()
	got := r.typed(command)
	if got.Code > 1 {
		x.t.Fatalf("%s: %s: exit %d: %s%s", r.Name(), command, got.Code, got.Stdout, got.Stderr)
	}
	if got.Code == 1 {
		x.t.Logf("%s: %s: %s", r.Name(), command, strings.TrimSpace(got.Stdout+got.Stderr))
	}
	return got.Code == 0
}

// meddled ends the test if something could not be done, unless it was not there any
// more: machines also change sides because the one that this runs on stood still.
func (x *scene) meddled(err error) {
	x.t.Helper()
	var missing netlink.LinkNotFoundError
	if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.ENODEV) || errors.As(err, &missing) {
		x.t.Logf("too late: %v", err)
		return
	}
	check(x.t, err)
}

// storm changes an interface that nobody needs, a thousand times.
func storm(x *scene, r *router) {
	nl := r.Netlink()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "storm0"}, PeerName: "storm1"}
	check(x.t, nl.LinkAdd(veth))
	k, err := nl.LinkByName("storm0")
	check(x.t, err)
	for i := range 1000 {
		check(x.t, nl.LinkSetAlias(k, strings.Repeat("x", 1+i%200)))
	}
	check(x.t, nl.LinkDel(k))
}

// replacePrograms puts the same ones in their place.
func replacePrograms(_ *scene, r *router) { r.reexec(0) }
