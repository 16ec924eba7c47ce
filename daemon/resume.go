package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"vrrpd/accept"
	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/grouplock"
	"vrrpd/health"
	"vrrpd/internal/reexec"
	"vrrpd/lan"
	"vrrpd/lease"
	"vrrpd/sysd"
	"vrrpd/vrrp"
)

// heir goes on where another program has stopped in this very process; see replace.go.
// Adverts come first: until they have left neither a name service nor the kernel's lists
// of links and addresses are asked, and of files only those in the run directory are
// opened: records of the group, numbers of adverts, the control socket. That is in memory
// as a rule; on a disk that hangs it takes as long as that does. What has changed
// meanwhile is found after that (settlein.go), as after a loss of events.
type heir struct {
	kept     kept
	state    *reexec.State
	done     func(replaced) // told when everything is as ever
	routers  map[*router]*keptRouter
	byVR     map[int]*router // by what the last program has called them
	parents  map[*parent]*keptParent
	replaced replaced
}

// replaced is what the replacement has cost.
type replaced struct {
	pause  time.Duration // between the last turn before it and the first after it
	missed int           // adverts that were late
	late   time.Duration // by how much the first of them was
}

// and is the worse of both.
func (r replaced) and(s replaced) replaced {
	return replaced{max(r.pause, s.pause), r.missed + s.missed, max(r.late, s.late)}
}

func (r replaced) String() string {
	text := fmt.Sprintf("a pause of %v", r.pause.Round(100*time.Microsecond))
	switch r.missed {
	case 0:
		return text + ", no advert late"
	case 1:
		return text + fmt.Sprintf(", 1 advert late by %v", r.late.Round(100*time.Microsecond))
	}
	return text + fmt.Sprintf(", %d adverts late by at most %v", r.missed, r.late.Round(100*time.Microsecond))
}

// Inherit is New for a process that goes on with what another program has left
// (Options.Inherited), or says why it cannot. It starts and changes nothing.
func Inherit(cfg config.Config, opt Options) (*Daemon, error) {
	var d *Daemon
	opt.Program.cleans()
	d, err := inherit(cfg, opt, opt.Inherited, func(cost replaced) {
		d.notify.Ready()
		settleReplacement(d.opt, opt.Inherited, cost)
	})
	return d, err
}

// settleReplacement says what the replacement was, and cleans up after the last program.
func settleReplacement(opt Options, s *reexec.State, cost replaced) {
	text := fmt.Sprintf("binary replaced: version %s -> %s, with %v", s.Version, opt.Version, cost)
	opt.Log.Info(text, sysd.KeyMessageID, sysd.MessageStarted, "version", opt.Version, "go", runtime.Version())
	if s.Caller > 0 {
		// Who does not listen any more will see the state.
		_ = control.Answer(s.Caller, control.Result{Done: true, Message: text})
	}
	go func() {
		s.Reap()
		opt.Program.cleaned()
	}()
}

// inherit makes a Daemon that goes on with what is left to its group. It starts and
// changes nothing, so that it can be tried.
func inherit(cfg config.Config, opt Options, s *reexec.State, done func(replaced)) (*Daemon, error) {
	opt.Inherited = nil
	d := New(cfg, opt)
	h := &heir{state: s, done: done, routers: map[*router]*keptRouter{}, byVR: map[int]*router{}, parents: map[*parent]*keptParent{}}
	if err := s.Part(groupPart+d.instance, &h.kept); err != nil {
		return nil, err
	}
	k := &h.kept
	for i := range k.Parents {
		for _, p := range d.parents {
			if p.configured == k.Parents[i].Configured {
				h.parents[p] = &k.Parents[i]
			}
		}
	}
	type identity struct {
		parent       string
		vrid, family uint8
	}
	left := make(map[identity]*keptRouter, len(k.Routers))
	for i := range k.Routers {
		one := &k.Routers[i]
		left[identity{one.Parent, one.VRID, one.Family}] = one
	}
	if k.Layout != grouplock.Layout {
		return nil, fmt.Errorf("the records of %s in the run directory have the layout %#x, and this vrrpd knows %#x: restart vrrpd instead", d.instance, k.Layout, uint64(grouplock.Layout))
	}
	if err := k.Guards.Check(); err != nil {
		return nil, fmt.Errorf("the state of %s: %w", d.instance, err)
	}
	for _, p := range d.parents {
		was := h.parents[p]
		if was == nil {
			return nil, fmt.Errorf("the state of %s says nothing of %s", d.instance, p.configured)
		}
		if err := was.check(p); err != nil {
			return nil, err
		}
	}
	for _, r := range d.routers {
		one := left[identity{r.asked.Interface, r.cfg.VRID, uint8(r.rules.Family)}]
		if one == nil {
			return nil, fmt.Errorf("the state of %s says nothing of VRID %d on %s", d.instance, r.cfg.VRID, r.asked.Interface)
		}
		h.routers[r], h.byVR[one.VR] = one, r
	}
	if len(k.Routers) != len(d.routers) || len(k.Machine.Own) != len(d.routers) || len(k.Machine.Members) != len(d.routers) {
		return nil, fmt.Errorf("the state of %s has %d virtual routers, the configuration %d", d.instance, len(k.Routers), len(d.routers))
	}
	for _, m := range k.Machine.Members {
		if h.byVR[m.VR] == nil {
			return nil, fmt.Errorf("the state of %s has a member %d that is no virtual router", d.instance, m.VR)
		}
	}
	d.heir = h
	return d, d.restore()
}

// restore is what can be done before anything is opened.
func (d *Daemon) restore() error {
	k := &d.heir.kept
	var own map[netip.Addr]bool
	for _, a := range k.Own {
		if own == nil {
			own = make(map[netip.Addr]bool, len(k.Own))
		}
		own[a] = true
	}
	for p, was := range d.heir.parents {
		if slices.ContainsFunc(p.routers, (*router).unicast) {
			p.own = own
		}
		p.name, p.link, p.opened, p.sources, p.counters = was.Name, was.Link, was.Opened, was.Sources, countersOf(was.Counters)
		for _, r := range p.routers {
			r.standOn(p.name)
		}
	}
	for r, was := range d.heir.routers {
		if err := r.restore(was); err != nil {
			return err
		}
		if !r.accepts() {
			r.filter = accept.New(r.cfg.Name, r.vips)
		}
	}
	d.leftAt, d.realised, d.told, d.holding, d.lastPeer = k.LeftAt, k.Realised, k.Told, k.Holding, k.LastPeer
	if k.SendError != "" {
		d.lastSendError = errors.New(k.SendError)
	}
	d.lastGone = goneSibling{k.GoneName, k.GoneAt}
	for _, name := range k.Dead {
		d.roll.Died(name)
	}
	d.runAs, d.checkSum, d.ready = k.RunAs, k.CheckSum, true
	d.serves.Store(k.Realised.State().Serving())
	d.raising.Store(slices.ContainsFunc(d.routers, (*router).up))
	d.checks = plainChecks(d.cfg)
	for i := range d.checks {
		d.checks[i].RunAs = k.Users[d.checks[i].Name]
	}
	return nil
}

func (r *router) restore(k *keptRouter) error {
	r.at, r.wanted, r.announced, r.overtaken, r.source, r.until = k.At, k.Wanted, k.Announced, k.Overtaken, k.Source, k.Until
	for _, a := range k.Present {
		r.present.add(a)
	}
	r.faults, r.detail, r.repairs, r.repairsSince, r.repaired = k.Faults, k.Detail, k.Repairs, k.RepairsSince, k.Repaired
	r.announcedAt, r.masters, r.late, r.hookedIn = k.AnnouncedAt, k.Masters, k.Late, k.HookedIn
	r.sent.adverts, r.sent.zero, r.sent.failed, r.sent.announced = k.Sent, k.Zero, k.Failed, k.Tells
	r.peerForm.Store(k.PeerForm)
	r.formTold, r.heard = k.FormTold, k.Heard.heard()
	r.beside = beside{three: k.Three.heard(), alone: k.Alone, rcvd: k.Beside[0], ignored: k.Beside[1]}
	r.counters, r.received = countersOf(k.Counters), receivedOf(k.Received)
	if k.Auth.Kind != r.cfg.Auth.Kind {
		return fmt.Errorf("VRID %d on %s: the state is about another kind of authentication", r.cfg.VRID, r.cfg.Interface)
	}
	if err := r.authenticate(k.Auth); err != nil {
		return err
	}
	r.auth.sequence, r.auth.ipID, r.auth.epoch = k.Numbers, k.IPID, k.AuthEpoch
	r.auth.heard.Store(k.AuthHeard)
	r.recallMarks(k)
	return nil
}

// recallMarks goes on with the numbers that peers have used.
func (r *router) recallMarks(k *keptRouter) {
	if r.marks == nil {
		return
	}
	*r.marks = vrrp.Marks{}
	for _, m := range k.Marks {
		r.marks.Restore(m.Src, m.Sequence)
	}
}

// resume sets up again what the last program had, up to the loop. What it asks of the
// kernel does not wait for anybody.
func (d *Daemon) resume(later func(func())) error {
	k := &d.heir.kept
	if err := d.urgent(later); err != nil {
		return err
	}
	if err := d.takeHands(); err != nil {
		return err
	}
	var err error
	if d.guards, err = lease.Adopt(k.Guards); err != nil {
		return err
	}
	if err := d.rejoin(later); err != nil {
		return err
	}
	go d.worker.run()
	later(d.worker.end)
	later(d.removeFilters)
	later(d.takeDownAll)
	for _, p := range d.parents {
		if err := d.heir.parents[p].adopt(p); err != nil {
			return err
		}
	}
	for r, was := range d.heir.routers {
		if err := d.recarry(r, was); err != nil {
			return err
		}
	}
	d.socket = &control.Server{Source: d, Feed: &d.feed, Log: d.log, GID: k.SocketGID}
	path := filepath.Join(d.cfg.RunDir, d.instance+sockSuffix)
	if err := d.socket.Adopt(path, k.Socket); err != nil {
		d.log.Warn("a new control socket is made, and who has just asked must ask again", "err", err)
		if err := d.socket.Listen(path); err != nil {
			return err
		}
	}
	d.goRead(later, d.socket.Run)
	d.startHooks(later)
	d.startNotifier(later)
	d.health = d.newHealth()
	d.health.Apply(d.checks, health.Pending)
	d.judgeChecks(d.health.Resume(k.Checks))
	d.reannounce()
	d.machine = election.Resume(d.electionConfig(), d.board, k.Machine, func(m election.SavedMember) (int, election.Router) {
		r := d.heir.byVR[m.VR] // inherit has seen it
		return r.vr, r.election()
	})
	return nil
}

// rejoin takes the place in the group that this process has.
func (d *Daemon) rejoin(later func(func())) error {
	k := &d.heir.kept
	g, err := grouplock.Adopt(d.groupConfig(), k.Group)
	if err != nil {
		return err
	}
	d.group, d.board, d.groupName = g, g, g.Name()
	later(d.leaveGroup)
	if err := d.remember(later); err != nil {
		return err
	}
	for r, was := range d.heir.routers {
		// The numbering goes on; what is in the file is for who comes after a crash, and
		// what the last program wanted written may not be there.
		r.auth.sequence = was.Numbers
		r.recallMarks(was)
		if r.auth.file != nil {
			r.auth.file.keep(func(s *authState) { s.reserve, s.marks = was.Numbers.Reserve, *r.marks })
		}
	}
	later(d.removeOwnFiles)
	// Who has come or gone meanwhile.
	now := map[string]bool{}
	var b grouplock.Bell
	for _, m := range g.Members() {
		if m.Status == grouplock.Alive {
			now[m.Instance] = true
			if !slices.Contains(k.Siblings, m.Instance) {
				b.Joined = append(b.Joined, m.Instance)
			}
		} else {
			now[m.Instance] = true // Run tells
		}
	}
	for _, name := range k.Siblings {
		if !now[name] {
			b.Left = append(b.Left, name)
		}
	}
	if len(b.Joined)+len(b.Left) > 0 {
		d.inbox.call(func() { d.doorbell(b) })
	}
	return nil
}

// check refuses sockets that this program would have opened otherwise.
func (k *keptParent) check(p *parent) error {
	if k.Port == nil {
		return nil
	}
	families, _ := p.families()
	unicast, ungrouped := p.manners()
	for _, f := range families {
		grouped := !slices.Contains(ungrouped, f)
		if !slices.Contains(k.Heard, f) || slices.Contains(unicast, f) && !slices.Contains(k.Unicast, f) || grouped && slices.Contains(k.Alone, f) {
			return fmt.Errorf("the sockets on %s are not as this vrrpd wants them: restart vrrpd instead", p.configured)
		}
	}
	if err := k.Port.Check(); err != nil {
		return fmt.Errorf("the sockets on %s are not as this vrrpd wants them: %w: restart vrrpd instead", p.configured, err)
	}
	return nil
}

// adopt takes the sockets over that were left to a parent.
func (k *keptParent) adopt(p *parent) error {
	if k.Port == nil {
		return nil
	}
	adopt := func(c lan.Config) (*lan.Port, error) { return lan.Adopt(c, *k.Port) }
	return p.listen(adopt, k.Opened, k.Heard, k.Unicast, k.Alone)
}

// recarry takes over what carries the addresses of a router, and its guard.
func (d *Daemon) recarry(r *router, k *keptRouter) (err error) {
	if k.Guard != nil {
		if r.guard, err = d.guards.Resume(*k.Guard); err != nil {
			return err
		}
	}
	if r.faults&election.FaultInterface != 0 {
		d.retryInterface(r)
	}
	switch r.index = k.Index; {
	case r.index == 0:
	case r.cfg.NoVMAC:
		r.iface = d.hands.AdoptDirect(d.direct(r), k.Index, k.Wanted)
	default:
		r.iface = d.hands.Adopt(r.spec(d.owner()), k.Index, r.parent.link.Index, k.Wanted, k.Risen)
	}
	return nil
}

// reannounce goes on with announcements that were begun.
func (d *Daemon) reannounce() {
	for r, k := range d.heir.routers {
		for _, x := range k.Rounds {
			if x.Round >= 0 && x.Round < len(r.announceRounds()) {
				d.announcer.add(x.announcement(r))
			}
		}
	}
}

// catchUp begins the loop where the last program has stopped: what waits in the sockets
// is known before anything is decided.
func (d *Daemon) catchUp() {
	k := &d.heir.kept
	d.drain()
	now := boottime()
	d.turns = turns{last: k.LastTurn, looked: k.LastTurn, due: maxTime, slept: k.Slept}
	cost := &d.heir.replaced
	cost.pause = time.Duration(now - k.LastTurn)
	if late := now - k.Due; k.Due != 0 && late >= 0 {
		cost.late, cost.missed = time.Duration(late), 1+int(late/int64(d.interval()))
	}
	settings := []string{}
	for r := range d.heir.routers {
		settings = append(settings, r.parent.name, r.cfg.Name)
	}
	slices.Sort(settings)
	h, settings := d.heir, slices.Compact(settings)
	// After the first turn, in which the adverts leave.
	d.inbox.call(func() { d.afterStep = append(d.afterStep, func() { go d.settleIn(h, settings) }) })
}
