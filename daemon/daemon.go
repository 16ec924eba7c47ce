package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/grouplock"
	"vrrpd/grouplock/siblings"
	"vrrpd/hooks"
	"vrrpd/lease"
	"vrrpd/rtnl"
	"vrrpd/sysd"
	"vrrpd/vmacif"
)

// machineGroup is the group of all processes that were started with -M.
const machineGroup = "machine"

// Options are what the program gives the daemon besides the configuration.
type Options struct {
	Log     *slog.Logger
	Version string
	Notify  *sysd.Notifier
	// Warn is told what the user should know at start. nil: nobody.
	Warn func(string)
	// Ready is called once, when the interface and the sockets stand and the
	// first state is reached. nil: nobody waits.
	Ready func()
}

// Daemon is one vrrpd process. Fields belong to the loop unless they say
// otherwise.
type Daemon struct {
	cfg       config.Config // fixed
	opt       Options       // fixed
	log       *slog.Logger
	notify    *sysd.Notifier
	instance  string // name in the run directory: eth0-51
	groupName string
	started   time.Time

	inbox *inbox // shared
	feed  control.Feed
	// readers ends everything that reads and posts.
	readers     context.Context
	stopReaders context.CancelFunc
	done        chan struct{} // closed when the loop has ended

	hands   *vmacif.Hands
	watcher *rtnl.Watcher
	guards  *lease.Guards
	perTick bool // leases may end a tick of the kernel late: see renew
	// watching: somebody listens to what the kernel tells of that kind of guard.
	watching        map[lease.Rung]bool
	watchingFilters bool
	settings        *vmacif.SettingsWatch // nil: nobody tells of sysctls
	later           func(func())          // has something done when everything is taken down
	group           *grouplock.Group
	board           election.Board // group
	machine         *election.Machine
	hooks           *hooks.Runner
	runAs           *hooks.Identity // of --script-user; nil: as the daemon
	worker          *worker
	roll            siblings.Roll // siblings that died and have not come back
	routers         []*router
	parents         []*parent
	links           map[int]rtnl.Link   // every interface of the machine
	addrs           map[int][]rtnl.Addr // of every interface of the machine

	agenda    agenda
	announcer announcer
	heldHooks []hooks.Job // until the addresses are announced
	events    []election.Event
	results   []election.Event // facts for the next step
	calls     []func()
	actions   []election.Action
	afterStep []func()
	batch     [][]byte
	batched   []sending
	probes    [][]byte
	probeBuf  []byte
	waiters   []waiter

	exit     bool
	leftAt   int64 // boottime ns: this process stopped serving last
	ready    bool
	turns    turns
	asleep   func() int64 // asleep; a test's own
	realised election.Word
	watchdog time.Duration // how often to say that the loop is alive; 0: never
	barked   int64

	told          election.State  // the state people were told last
	holding       election.Reason // what holds the machine, NoReason: nothing does
	lastPeer      netip.Addr
	history       []control.Transition
	alarms        []control.Alarm
	hookLog       [2]*control.HookResult // on-backup, on-master
	lastSendError error
	// watchingOddities: the agenda has a look at what lasts.
	watchingOddities bool

	status atomic.Pointer[control.Status] // for readers when the loop is stuck
}

// New makes a daemon of what the user asked for. It starts nothing.
func New(cfg config.Config, opt Options) *Daemon {
	if opt.Warn == nil {
		opt.Warn = func(string) {}
	}
	if opt.Ready == nil {
		opt.Ready = func() {}
	}
	d := &Daemon{
		cfg: cfg, opt: opt, log: opt.Log, notify: opt.Notify,
		instance: instanceName(cfg.Routers[0]),
		inbox:    newInbox(), worker: newWorker(), asleep: asleep, done: make(chan struct{}),
		links: map[int]rtnl.Link{}, addrs: map[int][]rtnl.Addr{}, watching: map[lease.Rung]bool{}, started: time.Now(),
	}
	d.announcer = d.newAnnouncer()
	d.readers, d.stopReaders = context.WithCancel(context.Background())
	byName := map[string]*parent{}
	for i, c := range cfg.Routers {
		p := byName[c.Interface]
		if p == nil {
			p = &parent{d: d, name: c.Interface, configured: c.Interface, noted: map[note]*sighting{}}
			byName[c.Interface] = p
			d.parents = append(d.parents, p)
		}
		r := newRouter(i, c, p)
		p.routers = append(p.routers, r)
		p.byVRID[familyIndex(r.rules.Family)][c.VRID] = r
		d.routers = append(d.routers, r)
	}
	return d
}

// instanceName is the name of a process in the run directory: eth0-51, or eth0-51v6
// for IPv6, because one VRID may be used by both.
func instanceName(r config.Router) string {
	name := fmt.Sprintf("%s-%d", r.Interface, r.VRID)
	if r.Family == 6 {
		name += "v6"
	}
	return name
}

// owner is how this process signs what it puts on the machine.
func (d *Daemon) owner() string { return ownerName(d.cfg.RunDir, d.instance) }

func (d *Daemon) work(f func()) { d.worker.post(f) }
