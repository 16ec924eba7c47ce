package netlab

import "time"

// poll calls done every millisecond until it is true or the limit has passed,
// and at least once; it returns the last answer.
func poll(limit time.Duration, done func() bool) bool {
	deadline := time.Now().Add(limit)
	for !done() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

// Eventually waits until cond is true, and fails the test with the state that
// cond described last when the limit has passed. It is for facts of which no
// event tells; for links, addresses, frames and lines of output there are
// WaitLink, Sniffer.WaitFor and Proc.WaitLine.
func Eventually(t TB, limit time.Duration, cond func() (ok bool, state string)) {
	t.Helper()
	var state string
	held := poll(limit, func() bool {
		var ok bool
		ok, state = cond()
		return ok
	})
	if !held {
		t.Fatalf("not within %v; last seen: %s", limit, state)
	}
}
