package interop

import (
	"fmt"
	"sync"
	"time"

	"vrrpd/internal/netlab"
)

// column is one thing that is found out about each case; the texts head the tables of
// docs/interop.md, with PEER for the implementation.
type column string

const (
	oursPreempts column = "vrrpd comes and takes over"
	oursStops    column = "vrrpd stops"
	oursFails    column = "vrrpd loses power"

	theirsPreempts column = "PEER comes and takes over"
	theirsStops    column = "PEER stops"
	theirsFails    column = "PEER loses power"

	tieOurs     column = "vrrpd has the higher address"
	tieTheirs   column = "PEER has the higher address"
	oursWaits   column = "vrrpd, better, without preemption"
	theirsWaits column = "PEER, better, without preemption"
)

// result is what was found out about a case.
type result struct {
	implementation, form string
	what                 column
}

// results are those of this run.
var results struct {
	mu    sync.Mutex
	found map[result]string // guarded by mu
}

func (s *site) record(what column, value string) {
	s.t.Logf("%s: %s", what, value)
	results.mu.Lock()
	defer results.mu.Unlock()
	if results.found == nil {
		results.found = make(map[result]string)
	}
	results.found[result{s.c.implementation(), s.c.name, what}] = value
}

// milliseconds is the length of an outage as the document shows it.
func milliseconds(gap netlab.Outage) string {
	if gap.Lost == 0 {
		return "0 ms"
	}
	return whole(gap.Length())
}

func whole(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
