package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// View is the whole machine: every group, put together from what its processes
// said.
type View struct {
	Model  string    `json:"model"`
	Groups []Group   `json:"groups"`
	Silent []Trouble `json:"silent"` // processes that live and did not answer
	Dead   []Trouble `json:"dead"`   // sockets that a dead process left behind
}

// Trouble is a process that said nothing.
type Trouble struct {
	Instance string `json:"instance"`
	Message  string `json:"message"`
	err      error
}

// Group is one state shared by one or more processes. Its Machine is what the
// process with the highest epoch says, with every process's faults and alarms.
type Group struct {
	Machine
	Agreed      bool         `json:"agreed"`
	Members     []Member     `json:"members"`
	Routers     []Router     `json:"vrrp-instance"`
	Checks      []Check      `json:"checks"`
	Hooks       []MemberHook `json:"hooks"`
	Transitions []Transition `json:"transitions"` // oldest first
	// Counts are those of the process that Machine is of, since its start.
	Counts []TransitionCount `json:"transition-counts"`

	paths []string // sockets, those that agree first
}

// Member is one process of a group.
type Member struct {
	Instance string `json:"instance"`
	PID      int    `json:"pid"`
	Program  string `json:"program"`
	Phase    string `json:"phase"` // as this process sees it
	Epoch    uint64 `json:"epoch"`
	Agrees   bool   `json:"agrees"`
	LogLost  uint64 `json:"log-records-lost"`
	// Realtime is the real-time priority of what hears and speaks; 0: the ordinary one.
	Realtime   int  `json:"realtime-priority"`
	MemoryLock bool `json:"memory-locked"`
	// Global and Parents are of this process: where two share an interface, each counts
	// what arrives there, and the other's packets as of no VRID of its own.
	Global  Global   `json:"vrrp"`
	Parents []Parent `json:"parents"`
}

// MemberHook is how a process's command ended.
type MemberHook struct {
	Instance string `json:"instance"`
	HookResult
}

// Processes of a machine may be asked in the very moment of a transition, and
// then differ. That is over when each has obeyed the new epoch; asking again
// for a fifth of a second tells the moment from the malady.
const (
	askAgain = 5
	askPause = 40 * time.Millisecond
)

// Look discovers and merges, and asks again while the processes disagree. The
// error is that of the run directory or of ctx.
func Look(ctx context.Context, runDir string) (View, error) {
	for i := 0; ; i++ {
		all, err := Discover(ctx, runDir)
		if err != nil {
			return View{}, err
		}
		v := Merge(all)
		if i == askAgain || !slices.ContainsFunc(v.Groups, func(g Group) bool { return !g.Agreed }) {
			return v, nil
		}
		pause := time.NewTimer(askPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return View{}, fmt.Errorf("look for vrrpd in %s: %w", runDir, ctx.Err())
		}
	}
}

// Merge puts the groups together from one answer of each process.
func Merge(all []Process) View {
	v := View{Model: Model, Groups: []Group{}, Silent: []Trouble{}, Dead: []Trouble{}}
	byGroup := make(map[string][]Process)
	for _, p := range all {
		switch {
		case p.Err == nil:
			name := p.Status.Machine.Group
			byGroup[name] = append(byGroup[name], p)
		case IsDead(p.Err):
			v.Dead = append(v.Dead, Trouble{p.Instance, "nobody listens there: it died", p.Err})
		default:
			v.Silent = append(v.Silent, Trouble{p.Instance, p.Err.Error(), p.Err})
		}
	}
	for _, members := range byGroup {
		v.Groups = append(v.Groups, mergeGroup(members))
	}
	slices.SortFunc(v.Groups, func(a, b Group) int { return strings.Compare(a.Machine.Group, b.Machine.Group) })
	return v
}

func mergeGroup(members []Process) Group {
	top := slices.MaxFunc(members, func(a, b Process) int {
		return cmp.Or(cmp.Compare(a.Status.Machine.Epoch, b.Status.Machine.Epoch),
			a.Status.Time.Compare(b.Status.Time))
	})
	g := Group{Machine: top.Status.Machine, Agreed: true, Routers: []Router{}, Checks: []Check{}, Hooks: []MemberHook{}}
	g.Faults, g.Alarms = []Fault{}, []Alarm{}
	for _, p := range members {
		m := &p.Status.Machine
		agrees := m.Epoch == g.Epoch && m.Phase == g.Phase
		g.Agreed = g.Agreed && agrees
		g.Members = append(g.Members, Member{p.Instance, p.Status.PID, p.Status.Program,
			m.Phase, m.Epoch, agrees, p.Status.LogLost, p.Status.Realtime, p.Status.MemoryLock,
			p.Status.Global, list(p.Status.Parents)})
		if agrees {
			g.paths = append(g.paths, p.Path)
		}
		g.Partition = g.Partition || m.Partition
		g.MixedView = g.MixedView || m.MixedView
		g.HeldMS = max(g.HeldMS, m.HeldMS)
		g.Faults = append(g.Faults, m.Faults...)
		for _, a := range m.Alarms {
			// What concerns the whole machine every process says.
			if !slices.ContainsFunc(g.Alarms, func(b Alarm) bool {
				return a.Interface == b.Interface && a.Reason == b.Reason && a.Peer == b.Peer
			}) {
				g.Alarms = append(g.Alarms, a)
			}
		}
		g.Routers = append(g.Routers, p.Status.Routers...)
		g.Checks = append(g.Checks, p.Status.Checks...)
		for _, h := range p.Status.Hooks {
			g.Hooks = append(g.Hooks, MemberHook{p.Instance, h})
		}
	}
	for i, p := range members {
		if !g.Members[i].Agrees {
			g.paths = append(g.paths, p.Path)
		}
	}
	g.Transitions = mergeTransitions(members)
	g.Counts = list(top.Status.Counts)
	slices.SortStableFunc(g.Routers, func(a, b Router) int {
		return cmp.Or(strings.Compare(a.Parent, b.Parent), cmp.Compare(a.VRID, b.VRID), strings.Compare(a.Family, b.Family))
	})
	return g
}

// mergeTransitions is the longest history, with what only others remember of
// epochs that it does not know. A process that was late has several steps under
// one epoch, or only their sum, so that histories cannot be mixed within one.
func mergeTransitions(members []Process) []Transition {
	byLength := slices.SortedStableFunc(slices.Values(members), func(a, b Process) int {
		return cmp.Compare(len(b.Status.Transitions), len(a.Status.Transitions))
	})
	all := []Transition{}
	known := make(map[uint64]bool)
	for _, p := range byLength {
		for _, t := range p.Status.Transitions {
			if !known[t.Epoch] {
				all = append(all, t)
			}
		}
		for _, t := range p.Status.Transitions {
			known[t.Epoch] = true
		}
	}
	slices.SortStableFunc(all, func(a, b Transition) int { return cmp.Compare(a.Epoch, b.Epoch) })
	// Whose fault it was, only the process knows that has it.
	for i := range all {
		for _, p := range members {
			for _, t := range p.Status.Transitions {
				if all[i].Where == "" && all[i].Detail == "" && t.Epoch == all[i].Epoch && t.To == all[i].To && t.Reason == all[i].Reason {
					all[i].Where, all[i].Detail = t.Where, t.Detail
				}
			}
		}
	}
	return all
}

// Empty reports that no process lives here.
func (v View) Empty() bool { return len(v.Groups) == 0 && len(v.Silent) == 0 }

// Whole reports that every process answered and that those of a group agree.
func (v View) Whole() bool {
	return len(v.Silent) == 0 && !slices.ContainsFunc(v.Groups, func(g Group) bool { return !g.Agreed })
}

// Processwise puts the groups of a process together, for what concerns the process:
// a Command then goes to one of them, and to another if the first ends meanwhile.
func Processwise(groups []Group) (all []Group) {
	at := map[int]int{} // by process id, 1 + place in all
	for _, g := range groups {
		if len(g.Members) == 0 {
			continue
		}
		pid := g.Members[0].PID
		if n := at[pid]; n == 0 {
			g.paths = slices.Clone(g.paths)
			all = append(all, g)
			at[pid] = len(all)
		} else if g.Machine.Group == mainGroup {
			g.paths = slices.Concat(g.paths, all[n-1].paths)
			all[n-1] = g
		} else {
			all[n-1].paths = append(all[n-1].paths, g.paths...)
		}
	}
	return all
}

// mainGroup is the one that a process has longest: config.DefaultGroup.
const mainGroup = "machine"

// Command has one process carry out the verb for the group. Where that process
// dies, the next is asked, unless the verb may have been carried out already
// and doing it twice would be wrong. The error says why nobody answered.
func (g Group) Command(ctx context.Context, verb Verb) (Result, error) {
	var err error
	for _, path := range g.paths {
		var r Result
		if r, err = NewClient(path).Command(ctx, verb); err == nil {
			return r, nil
		}
		if ctx.Err() != nil || !verb.repeatable() && !notSent(err) {
			break
		}
	}
	return Result{}, err
}
