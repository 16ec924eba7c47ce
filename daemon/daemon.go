package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/grouplock"
	"vrrpd/grouplock/siblings"
	"vrrpd/health"
	"vrrpd/hooks"
	"vrrpd/internal/child"
	"vrrpd/internal/realtime"
	"vrrpd/internal/reexec"
	"vrrpd/lease"
	"vrrpd/rtnl"
	"vrrpd/vmacif"
)

// machineGroup is the group of all processes that were started with -M.
const machineGroup = "machine"

// Options are what the program gives the daemon besides the configuration.
type Options struct {
	Log     *slog.Logger
	LogLost func() uint64 // how many records of Log could not be written; nil: nobody counts
	Version string
	Notify  Notifier
	// Warn is told what the user should know at start. nil: nobody.
	Warn func(string)
	// Ready is called once, when the interface and the sockets stand and the
	// first state is reached. nil: nobody waits.
	Ready func()
	// Reload reads the configuration again and says what came of it; it may take as
	// long as a hand-over. nil: there is none but the keys.
	Reload func(context.Context) (string, error)
	// Supervised: signals are somebody else's business.
	Supervised bool
	// Program is what this process runs, for putting another in its place; nil: that
	// cannot be done.
	Program *Program
	// Inherited is what another program has left to this one in the same process; nil:
	// it was started.
	Inherited *reexec.State

	// replace has the whole process go on as another program; nil: this daemon is all
	// there is.
	replace func(ctx context.Context, caller int) error
	// lights is the process's; nil: this daemon is all there is.
	lights *lights
	lulls  *lulls // the same
}

// Daemon is one vrrpd process. Fields belong to the loop unless they say
// otherwise.
type Daemon struct {
	cfg       config.Config // fixed, but for a reload
	opt       Options       // fixed
	log       *slog.Logger
	notify    Notifier
	instance  string // name in the run directory: eth0-51
	groupName string
	started   time.Time

	inbox *inbox // shared
	// realtime is the loop's thread, which hears and speaks; nil: it is an ordinary one.
	// It is written before the loop runs.
	realtime *realtime.Threads
	bell     *realtime.Bell // where the loop waits
	serve    func()         // reads the sockets that have rung; bell.Serve, or a test's own
	feed     control.Feed
	// readers ends everything that reads and posts.
	readers     context.Context
	stopReaders context.CancelFunc
	done        chan struct{}    // closed when the loop has ended
	signals     <-chan os.Signal // that have come; nil: they are somebody else's business
	pausing     *pause           // asked for and not answered; nil: not
	heir        *heir            // what is left of what another program has left; nil: nothing

	hands   *vmacif.Hands
	socket  *control.Server
	watcher *rtnl.Watcher
	guards  *lease.Guards
	// watching: somebody listens to what the kernel tells of that kind of guard.
	watching        map[lease.Rung]bool
	lightening      bool         // guards are to change over: it is on the agenda
	lightCount      int32        // this group's part of lights.routers
	lull            atomic.Int64 // see lulls
	standing        bool         // the loop is about to stand still
	watchingFilters bool
	settings        *vmacif.SettingsWatch // nil: nobody tells of sysctls
	later           func(func())          // has something done when everything is taken down
	group           *grouplock.Group
	board           election.Board // group
	machine         *election.Machine
	hooks           *hooks.Runner   // of the group's commands
	scripts         chan struct{}   // how many commands may run side by side
	starter         *child.Starter  // of all commands
	runAs           *child.Identity // of --script-user; nil: as the daemon
	health          *health.Set     // nil: not yet
	checks          []health.Check  // as configured
	checkSum        health.Sum      // as the election knows it
	serves          atomic.Bool     // this machine is MASTER; for any goroutine
	worker          *worker
	raising         atomic.Bool   // interfaces go up or are up: the worker takes none down
	roll            siblings.Roll // siblings that died and have not come back
	routers         []*router
	byVR            []*router // by VR of events and actions; nil: nobody has that number
	lanOf           []int32   // parent.lan, by VR: all together are few lines of a cache
	freeVRs         []int
	faceless        *router // the last one that there was, if there is none
	parents         []*parent
	lans            int // parents that there have been
	reload          reload
	moved           func(config.Router) bool // another group of this process still has it; nil: none
	ends            sync.WaitGroup           // of what routers that have gone leave behind
	links           rtnl.Links               // every interface of the machine
	addrs           map[int][]rtnl.Addr      // of every interface of the machine

	agenda    agenda
	announcer announcer
	heldHooks []heldHook // until the addresses are announced
	events    []election.Event
	results   []election.Event // facts for the next step
	calls     []func()
	actions   []election.Action
	afterStep []func()
	pieces    pieces
	breathed  int64 // what verdictAt was when the loop took breath
	batch     [][]byte
	batched   []sending
	probes    [][]byte
	probeBuf  []byte
	waiters   []waiter

	exit      bool
	verdictAt int64 // boottime ns: when the election is to judge again, if nothing happens
	leftAt    int64 // boottime ns: this process stopped serving last
	burials   int   // of dead siblings that are not over
	ready     bool
	turns     turns
	asleep    func() int64 // asleep; a test's own
	realised  election.Word
	watchdog  time.Duration // how often to say that the loop is alive; 0: never
	barked    int64

	told          election.State  // the state people were told last
	holding       election.Reason // what holds the machine, NoReason: nothing does
	lastPeer      netip.Addr
	history       []control.Transition
	counts        []control.TransitionCount // of all that history has ever had
	alarms        []control.Alarm
	hookLog       map[hookKey]*control.HookResult
	lastSendError error
	lastGone      goneSibling
	// watchingOddities: the agenda has a look at what lasts.
	watchingOddities bool
	tidying          bool // the agenda has memory given back
	looking          bool // the agenda looks for garbage
	crowded          bool // there have been many virtual routers
	shrinking        bool // the turn lets go of room that it does not need any more

	status atomic.Pointer[control.Status] // the latest; for readers also when the loop is stuck
	asking sync.Mutex                     // of who is to be answered next
	used   room                           // by the last survey; guarded by asking
	// unanswered is what the loop was asked in vain so far; guarded by asking. nil: nothing.
	unanswered *survey
	surveys    int          // of which the loop has taken some notes
	roster     uint64       // counts changes of routers
	enlisted   atomic.Int32 // how many there are
}

// New makes a daemon of what the user asked for. It starts nothing.
func New(cfg config.Config, opt Options) *Daemon {
	if opt.Warn == nil {
		opt.Warn = func(string) {}
	}
	if opt.Ready == nil {
		opt.Ready = func() {}
	}
	if opt.lights == nil {
		opt.lights = new(lights)
	}
	if opt.lulls == nil {
		opt.lulls = newLulls()
	}
	d := &Daemon{
		cfg: cfg, opt: opt, log: opt.Log, notify: opt.Notify,
		instance: configName(cfg),
		inbox:    &inbox{}, worker: newWorker(), asleep: asleep, done: make(chan struct{}),
		addrs: map[int][]rtnl.Addr{}, watching: map[lease.Rung]bool{}, started: time.Now(),
		hookLog: map[hookKey]*control.HookResult{}, scripts: make(chan struct{}, scriptsAtOnce), starter: child.NewStarter(),
	}
	d.announcer = d.newAnnouncer()
	d.readers, d.stopReaders = context.WithCancel(context.Background())
	for i := range cfg.Routers {
		c := &cfg.Routers[i]
		d.enlist(newRouter(d.freeVR(), c, d.parentNamed(c.Interface)))
	}
	return d
}

// configName is the name of a configuration in the run directory: that of its group,
// or in the classic form that of its virtual router.
func configName(c config.Config) string {
	if c.Group != "" {
		return c.Group
	}
	return instanceName(c.Routers[0])
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
