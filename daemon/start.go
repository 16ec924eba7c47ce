package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/grouplock"
	"vrrpd/rtnl"
	"vrrpd/sysd"
	"vrrpd/vmacif"
)

// Run sets everything up, runs the election until it is told to stop (a signal)
// and leaves the machine as it was found. An error says why the daemon could
// not start; nothing is left behind then. A config.UsageError means that the
// configuration cannot work on this machine, and that nothing was changed.
//
// Setting up goes from what changes nothing to what serves: checks, the
// instance's lock, kernel events, interfaces, sockets, the control socket; the
// loop comes last. Taking down is the reverse: the loop has resigned, the
// readers end, the last on-backup command may finish, then the interfaces go,
// and the place in the group is given back last, because as long as it is held
// nobody cleans up after us.
func (d *Daemon) Run(ctx context.Context) (err error) {
	if !d.opt.Supervised {
		defer d.catchSignals()()
	}
	defer d.stopReaders()
	defer d.ends.Wait()
	var undo []func()
	defer func() {
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}()
	later := func(f func()) { undo = append(undo, f) }
	d.later = later
	later(func() { d.countLight(0) })
	later(func() {
		if d.ready {
			d.log.Info("stopped", d.aboutMachine(sysd.KeyMessageID, sysd.MessageStopped)...)
		}
	})
	setUp := d.setUp
	if d.heir != nil {
		setUp = d.resume
	}
	if err := setUp(later); err != nil {
		if d.heir != nil {
			// Interfaces serve. Whoever cleans up after a crash does it better.
			undo = nil
		}
		return err
	}
	// The group's doorbell rings on the loop, which owns the machine.
	d.goRead(later, func(ctx context.Context) error {
		return d.group.Run(ctx, func(b grouplock.Bell) { d.inbox.call(func() { d.doorbell(b) }) })
	})
	d.loop(ctx)
	close(d.done)
	d.feed.Close("vrrpd is stopping")
	return nil
}

// setUp sets everything up, in the order that Run says.
func (d *Daemon) setUp(later func(func())) error {
	if d.hands == nil { // else that has been done
		if err := d.check(); err != nil {
			return err
		}
	}
	if err := d.urgent(later); err != nil {
		return err
	}
	if err := d.join(later); err != nil {
		return err
	}
	changes, err := d.watchKernel(later)
	if err != nil {
		return err
	}
	go d.worker.run()
	later(d.worker.end)
	if err := d.filter(later); err != nil {
		return err
	}
	if err := d.stand(changes, later); err != nil {
		return err
	}
	d.sayGuards()
	if err := d.listen(later); err != nil {
		return err
	}
	d.startHooks(later)
	d.startNotifier(later)
	d.startChecks(later)
	d.machine = election.New(d.electionConfig(), d.board, d.electionRouters())
	return nil
}

// check refuses what cannot work here. It changes nothing.
func (d *Daemon) check() error {
	if err := capable(); err != nil {
		return err
	}
	if err := d.checkUrgent(); err != nil {
		return err
	}
	if err := d.prepareAuth(); err != nil {
		return err
	}
	if err := d.checkScriptUser(); err != nil {
		return err
	}
	if err := d.lookupChecks(); err != nil {
		return err
	}
	if err := checkPeers(d.routers...); err != nil {
		return err
	}
	if err := d.checkAccept(); err != nil {
		return err
	}
	if _, err := lookupGroup(d.cfg.SocketGroup); err != nil {
		return err
	}
	if err := d.takeHands(); err != nil {
		return err
	}
	look := d.hands.Checker()
	for _, r := range d.routers {
		if d.moved != nil && d.moved(*r.cfg) {
			continue
		}
		warnings, err := d.checkCarrier(r, look)
		for _, w := range warnings {
			d.opt.Warn(w)
			d.log.Warn(w, d.about(r)...)
		}
		var refused vmacif.Refused
		if errors.As(err, &refused) {
			return config.UsageError(refused)
		}
		if err != nil {
			return err
		}
	}
	return d.openGuards()
}

// capable says plainly what is missing.
func capable() error {
	var header unix.CapUserHeader
	var data [2]unix.CapUserData
	header.Version = unix.LINUX_CAPABILITY_VERSION_3
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for _, c := range []struct {
		bit  uint
		name string
	}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"}} {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			return fmt.Errorf("%s is missing: run vrrpd as root, or give the service CAP_NET_ADMIN and CAP_NET_RAW", c.name)
		}
	}
	return nil
}

// join takes the instance's lock and the place in the group.
func (d *Daemon) join(later func(func())) error {
	g, err := grouplock.Join(d.groupConfig())
	if err != nil {
		return err
	}
	d.group, d.board, d.groupName = g, g, g.Name()
	later(d.leaveGroup)
	if err := d.remember(later); err != nil {
		return err
	}
	for _, m := range g.Members() {
		if m.Status != grouplock.Alive || len(m.Facts) == 0 {
			continue
		}
		if theirs, ours := time.Duration(m.Facts[0].Interval), d.interval(); theirs != ours {
			return fmt.Errorf("-d %g: %s of this machine has an interval of %v, and all processes with -M need the same one",
				ours.Seconds(), m.Instance, theirs)
		}
	}
	if p := g.Previous(); p != nil {
		d.log.Warn(fmt.Sprintf("the previous instance (pid %d) did not leave in order: cleaning up after it", p.Pid), d.aboutMachine()...)
	}
	// Also what a predecessor was writing when it was killed.
	later(d.removeOwnFiles)
	if err := replaceFile(filepath.Join(d.cfg.RunDir, d.instance+pidSuffix), strconv.Itoa(os.Getpid())+"\n"); err != nil {
		return err
	}
	if !g.Volatile() {
		d.log.Warn("the run directory is on a disk; put it on a tmpfs (/run), or a busy disk may delay adverts", "dir", d.cfg.RunDir)
	}
	return nil
}

// groupConfig is the place in the group.
func (d *Daemon) groupConfig() grouplock.Config {
	group := ""
	if d.cfg.Monitor > 0 {
		group = machineGroup
	}
	ids := make([]grouplock.Identity, len(d.routers))
	for i, r := range d.routers {
		ids[i] = r.identity()
	}
	return grouplock.Config{
		Dir: d.cfg.RunDir, Group: group, Instance: d.instance, Wanted: d.cfg.Monitor, Routers: ids, Capacity: d.capacity(),
	}
}

func (d *Daemon) leaveGroup() {
	if err := d.group.Leave(); err != nil {
		d.log.Error("cannot leave the group in order", "err", err)
	}
}

func (d *Daemon) removeOwnFiles() {
	if err := removeFiles(d.cfg.RunDir, d.instance, pidSuffix, stateSuffix); err != nil {
		d.log.Error("cannot leave the run directory in order", "err", err)
	}
}

// capacity is how many virtual routers the group's record has room for: of a file
// some may be added later.
func (d *Daemon) capacity() int {
	n := len(d.routers)
	if d.cfg.Group == "" {
		return n
	}
	return min(n+max(n/4, 64), grouplock.MaxRouters)
}

// watchKernel starts the eyes and returns the kernel's state at this moment.
func (d *Daemon) watchKernel(later func(func())) ([]rtnl.Change, error) {
	w, err := rtnl.Open(rtnl.Config{})
	if err != nil {
		return nil, err
	}
	initial, failed := make(chan []rtnl.Change, 1), make(chan error, 1)
	d.followKernel(w, later, func(c []rtnl.Change) { initial <- c }, func(err error) { failed <- err })
	select {
	case c := <-initial:
		return c, nil
	case err := <-failed:
		return nil, fmt.Errorf("watch the kernel: %w", err)
	}
}

// followKernel begins to hear what the kernel says; first is given what it says at the
// beginning, and ended why that is over.
func (d *Daemon) followKernel(w *rtnl.Watcher, later func(func()), first func([]rtnl.Change), ended func(error)) {
	d.watcher = w
	later(func() { _ = w.Close() })
	begun, overruns := false, uint64(0)
	d.goRead(later, func(ctx context.Context) error {
		err := w.Run(ctx, func(c []rtnl.Change) {
			if !begun {
				begun = true
				first(c)
				return
			}
			lost := w.Counters().Overruns
			again := lost != overruns
			overruns = lost
			d.inbox.call(func() {
				if again {
					d.log.Warn("events of the kernel were lost: links and addresses were read anew", d.aboutMachine()...)
				}
				d.kernel(c)
			})
		})
		ended(err)
		return err
	})
}

// stand makes the interfaces and sockets stand.
func (d *Daemon) stand(initial []rtnl.Change, later func(func())) error {
	later(d.takeDownAll)
	// What an instance has left whose interface went with its parent.
	if err := errors.Join(d.guards.Sweep(), removeDirect(d.guards, d.hands, d.owner())); err != nil {
		d.log.Warn("cannot remove what dead instances have left", "err", err)
	}
	d.watchSettings(later)
	touched := map[*parent]bool{}
	for i := range initial {
		if c := &initial[i]; c.Kind == rtnl.AddrAdded {
			d.addrChanged(c, places{}, touched)
		} else {
			d.linkChanged(c, places{}, touched)
		}
	}
	d.know()
	for _, p := range d.parents {
		if p.link.Index == 0 {
			return config.UsageError(fmt.Sprintf("-i %s: there is no such interface", p.name))
		}
		if err := p.open(); err != nil {
			return err
		}
		for _, r := range p.routers {
			if err := r.fits(p.link.MTU); err != nil {
				return err
			}
		}
	}
	if d.cfg.Monitor == 0 {
		// The sockets hear by now, so the master-down interval runs while a thousand
		// interfaces are made; what was heard meanwhile comes before the first decision.
		// For the processes of -M a member is there when its interface is.
		d.listening()
	}
	if err := d.ensureAll(d.routers); err != nil {
		return err
	}
	for _, p := range d.parents {
		d.judgeParent(p)
	}
	return nil
}

// takeDownAll removes what stand has made.
func (d *Daemon) takeDownAll() {
	for _, r := range d.routers {
		d.closeGuard(r)
	}
	for _, p := range d.parents {
		_ = p.close()
	}
	if err := d.deleteCarriers(); err != nil {
		d.log.Error("cannot remove the virtual interfaces and addresses", "err", err)
	}
	d.detachGuards()
	_ = d.hands.Close()
}

// listen opens the control socket.
func (d *Daemon) listen(later func(func())) error {
	gid, err := lookupGroup(d.cfg.SocketGroup)
	if err != nil {
		return err
	}
	server := &control.Server{Source: d, Feed: &d.feed, Log: d.log, GID: gid}
	if err := server.Listen(filepath.Join(d.cfg.RunDir, d.instance+sockSuffix)); err != nil {
		return err
	}
	d.socket = server
	d.goRead(later, server.Run)
	return nil
}

// goRead runs a reader until everything is taken down. A reader that fails
// while the daemon runs is said, and stops it: a daemon that is deaf on one ear
// must not go on as if it heard.
func (d *Daemon) goRead(later func(func()), run func(context.Context) error) {
	ctx, cancel := context.WithCancel(d.readers)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			d.inbox.call(func() { d.fatal(err) })
		}
	})
	later(func() {
		cancel()
		wg.Wait()
	})
}

// fatal resigns in order and leaves, so that the service manager starts anew.
func (d *Daemon) fatal(err error) {
	d.log.Error("vrrpd cannot go on", "err", err)
	d.notify.Stopping()
	d.results = append(d.results, election.Event{Kind: election.EvStop})
}

// electionConfig is what the election has to know of the configuration.
func (d *Daemon) electionConfig() election.Config {
	return election.Config{
		Guard: d.guarded(), LeaseIntervals: d.cfg.LeaseIntervals, PreemptDelay: d.first().cfg.PreemptDelay,
		HoldDown: d.cfg.HoldDown, MixedLimit: d.cfg.MixedLimit,
	}
}

// electionRouters are the members as the election knows them.
func (d *Daemon) electionRouters() []election.Router {
	out := make([]election.Router, len(d.routers))
	for i, r := range d.routers {
		out[i] = r.election()
	}
	return out
}

// election is the router as the election knows it.
func (r *router) election() election.Router {
	return election.Router{
		Family: uint8(r.rules.Family), VRID: r.cfg.VRID, Version: r.cfg.Version, Priority: r.cfg.Priority,
		Interval: r.cfg.Interval, Preempt: r.cfg.Preempt, VIP: r.vips[0], Source: r.source, LAN: r.parent.lan, NoAsk: r.unicast(),
	}
}

// startNotifier lets the service manager hear from us.
func (d *Daemon) startNotifier(later func(func())) {
	if iv, err := sysd.WatchdogInterval(); err != nil {
		d.log.Warn("no watchdog", "err", err)
	} else {
		d.watchdog = iv / 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.notify.Run(ctx) })
	later(func() {
		cancel()
		wg.Wait()
	})
}

// becomeReady tells whoever waits that the interface and the sockets stand and
// that the first state is reached.
func (d *Daemon) becomeReady() {
	if d.ready {
		return
	}
	d.ready = true
	d.notifyStatus()
	d.notify.Ready()
	r := d.first()
	if n := len(d.routers); n > 1 {
		d.log.Info(fmt.Sprintf("ready: %d virtual routers on %d interfaces, priority %d, every %v", n, len(d.parents), d.machine.View().Priority, r.cfg.Interval),
			d.aboutMachine(sysd.KeyMessageID, sysd.MessageStarted, "version", d.opt.Version, "go", runtime.Version())...)
	} else {
		version := fmt.Sprint("VRRPv", r.cfg.Version)
		if r.cfg.Beside2 {
			version = "VRRPv2 and VRRPv3"
		}
		d.log.Info(fmt.Sprintf("ready: VRID %d with %v on %s, priority %d, %s every %v", r.cfg.VRID, r.vips, r.cfg.Interface,
			r.cfg.Priority, version, r.cfg.Interval),
			d.about(r, sysd.KeyMessageID, sysd.MessageStarted, "version", d.opt.Version, "go", runtime.Version())...)
	}
	for _, r := range d.routers {
		if note := r.cfg.GeneratedNote(); note != "" {
			d.log.Info(note, d.about(r)...)
		}
		switch {
		case r.filter != nil:
			d.log.Info("packets to the virtual addresses are dropped, but for ARP and neighbour discovery (--no-accept)", d.about(r)...)
		case r.cfg.NoAccept:
			d.log.Info("packets to the virtual addresses are accepted in spite of --no-accept: the owner (priority 255) always accepts them", d.about(r)...)
		}
	}
	d.sayUrgent()
	d.opt.Ready()
	d.tidyLater()
}
