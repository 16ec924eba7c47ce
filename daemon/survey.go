package daemon

import (
	"cmp"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"vrrpd/control"
	"vrrpd/election"
)

// statusPatience is how long a status request waits for the loop before it is
// given the last snapshot: a loop that is stuck is just what somebody may be
// asking about.
const (
	statusPatience = 100 * time.Millisecond
	firstPatience  = time.Second // in addition, as long as there is none
)

// surveyPiece is how many routers the loop describes at a time. In between it does
// whatever is due, so that an advert is never late by more than a piece takes (some
// tens of microseconds), however many routers there are and whoever asks.
const surveyPiece = 32

// Status implements control.Source.
func (d *Daemon) Status() control.Status {
	fresh := make(chan struct{})
	d.inbox.call(func() { d.wantSurvey(fresh) })
	patience := time.NewTimer(statusPatience)
	defer patience.Stop()
	select {
	case <-fresh:
	case <-d.done:
	case <-patience.C:
		if d.status.Load() == nil {
			// Nothing is there to fall back on.
			patience.Reset(firstPatience)
			select {
			case <-fresh:
			case <-d.done:
			case <-patience.C:
			}
		}
	}
	s := d.status.Load()
	if s == nil {
		return control.Status{Instance: d.instance, PID: os.Getpid(), Program: "vrrpd " + d.opt.Version, Time: time.Now()}
	}
	// What the loop need not do.
	out := *s
	out.Hooks = slices.Clone(out.Hooks)
	slices.SortFunc(out.Hooks, func(a, b control.HookResult) int {
		// The group's first, of each -D before -U.
		return cmp.Or(strings.Compare(a.Interface, b.Interface), strings.Compare(a.State, b.State))
	})
	out.Goroutines, out.HeapLive = runtime.NumGoroutine(), heapLive()
	return out
}

// survey is a status in the making.
type survey struct {
	status  control.Status
	routers []*router // those that are described, in the order of status.Routers
	done    int       // of them
	roster  uint64    // Daemon.roster when it began
	view    election.View
	waiting []chan struct{}
}

// wantSurvey makes a status for somebody who waits for it. Those who ask while one is
// being made get the next one, together, because it has to be newer than their question.
// It runs on the loop.
func (d *Daemon) wantSurvey(fresh chan struct{}) {
	d.surveyed = append(d.surveyed, fresh)
	if d.survey == nil {
		d.beginSurvey()
	}
}

func (d *Daemon) beginSurvey() {
	d.survey = &survey{waiting: d.surveyed}
	d.surveyed = nil
	d.goOnSurveying()
}

func (d *Daemon) goOnSurveying() {
	y := d.survey
	if !y.piece(d, surveyPiece) {
		d.inbox.call(d.goOnSurveying)
		return
	}
	d.status.Store(&y.status)
	for _, w := range y.waiting {
		close(w)
	}
	if d.survey = nil; len(d.surveyed) > 0 {
		// Others are waiting; after what is due now.
		d.inbox.call(func() {
			if d.survey == nil && len(d.surveyed) > 0 {
				d.beginSurvey()
			}
		})
	}
}

// piece describes the next n routers and reports whether that was the last piece, which
// takes the machine as well. A state that has changed meanwhile is put into what was
// described before; if virtual routers came or went, it begins anew.
func (y *survey) piece(d *Daemon, n int) (whole bool) {
	if y.routers == nil || y.roster != d.roster {
		y.routers, y.roster, y.done = d.routers, d.roster, 0 // a list is never changed in place
		y.view = d.machine.View()
		y.status.Routers = make([]control.Router, len(y.routers))
	}
	end := min(y.done+n, len(y.routers))
	for ; y.done < end; y.done++ {
		s := &y.status.Routers[y.done]
		*s = d.routerStatus(y.routers[y.done])
		d.inState(s, y.routers[y.done], &y.view)
	}
	if y.done < len(y.routers) {
		return false
	}
	if v := d.machine.View(); v != y.view {
		for i, r := range y.routers {
			d.inState(&y.status.Routers[i], r, &v)
		}
		y.view = v
	}
	routers := y.status.Routers
	y.status = d.wholeStatus(y.view)
	y.status.Routers = routers
	y.status.Parents, y.status.Global = d.parentStatus(routers)
	return true
}

// heapLive is what the last garbage collection has found in use, in bytes.
func heapLive() uint64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return live[0].Value.Uint64()
}
