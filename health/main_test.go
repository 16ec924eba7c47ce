package health

import (
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vrrpd/internal/child"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "pretend" {
		select {} // a process to be watched, whatever its name
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

// bench is a Set at work, and what it says.
type bench struct {
	*Set
	t       testing.TB
	reports chan Report
	stop    context.CancelFunc
	ended   chan error
	over    chan struct{} // its Starter has ended
}

// start runs checks until the end of the test.
func start(t testing.TB, o Options, begin Verdict, checks ...Check) *bench {
	b := &bench{t: t, reports: make(chan Report, 1000), ended: make(chan error, 1), over: make(chan struct{})}
	starter := child.NewStarter()
	if o.Start == nil {
		o.Start = starter.Start
	}
	o.Changed = func(r Report) { b.reports <- r }
	b.Set = New(o)
	b.Apply(checks, begin)
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	go func() { b.ended <- b.Run(ctx) }()
	go func() { defer close(b.over); starter.Run(ctx) }()
	t.Cleanup(b.end)
	return b
}

func (b *bench) end() {
	if b.ended == nil {
		return
	}
	b.stop()
	if err := <-b.ended; err != nil {
		b.t.Error(err)
	}
	<-b.over
	b.ended = nil
}

// next is the next report.
func (b *bench) next() Report {
	b.t.Helper()
	select {
	case r := <-b.reports:
		return r
	case <-time.After(patience):
		b.t.Fatalf("no report; the checks: %+v", b.Status())
		panic("unreachable")
	}
}

// becomes wants the next report to be this one.
func (b *bench) becomes(v Verdict, detail string) Report {
	b.t.Helper()
	r := b.next()
	if r.Now != v || r.Detail != detail {
		b.t.Fatalf("%s is %v: %s; want %v: %s", r.Check.Name, r.Now, r.Detail, v, detail)
	}
	return r
}

// silent wants no report so far.
func (b *bench) silent() {
	b.t.Helper()
	select {
	case r := <-b.reports:
		b.t.Fatalf("%s is %v: %s", r.Check.Name, r.Now, r.Detail)
	default:
	}
}
