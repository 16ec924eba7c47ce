package hooks

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"vrrpd/election"
)

var sides = map[byte]election.State{'M': election.Master, 'B': election.Backup, 'I': election.Init}

// TestQueue pushes one job per letter; the number is the place in the sequence,
// so that one sees which of two jobs for the same state has been kept.
func TestQueue(t *testing.T) {
	for _, c := range []struct{ push, want string }{
		{"", ""},
		{"M", "M1"},
		{"MM", "M2"},
		{"MB", "M1 B2"},
		{"MBB", "M1 B3"},
		{"MBM", "M3"},
		{"BMB", "B3"},
		{"BMBM", "B3 M4"},
		{"BMBMB", "B5"},
		{"BMMB", "B4"},
		{"IBM", "I1 M3"},
		{"IBMI", "I4"},
		{"IBMB", "I1 B4"},
	} {
		if got := contents(pushed(c.push)); got != c.want {
			t.Errorf("%s: %s waits, want %s", c.push, got, c.want)
		}
	}
}

func pushed(letters string) *queue {
	q := &queue{}
	for i := range len(letters) {
		q.push(Job{State: sides[letters[i]], VRID: uint8(i + 1)})
	}
	return q
}

func contents(q *queue) string {
	var words []string
	for j, ok := q.pop(); ok; j, ok = q.pop() {
		words = append(words, j.State.String()[:1]+string('0'+rune(j.VRID)))
	}
	return strings.Join(words, " ")
}

// TestQueueSideIsOutward: HELD and BACKUP are the same to a script.
func TestQueueSideIsOutward(t *testing.T) {
	q := &queue{}
	for i, s := range []election.State{election.Master, election.Held, election.Backup, election.Linger} {
		q.push(Job{State: s, VRID: uint8(i + 1)})
	}
	if got, want := contents(q), "L4"; got != want {
		t.Errorf("%s waits, want %s", got, want)
	}
}

// TestQueueRules: whatever is posted and run in whatever order, the last run is
// the last posted, nothing runs twice or out of order, two wait at most, and
// what runs alternates.
func TestQueueRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := &queue{}
		posted, ran := 0, 0
		var last Job
		side := election.Init
		run := func() {
			j, ok := q.pop()
			if !ok {
				return
			}
			if int(j.Priority) <= ran {
				t.Fatalf("job %d ran after job %d", j.Priority, ran)
			}
			ran, side = int(j.Priority), j.side()
		}
		for _, op := range rapid.SliceOfN(rapid.SampledFrom([]byte("MBr")), 1, 200).Draw(t, "posts and runs") {
			if op == 'r' {
				run()
			} else {
				posted++
				last = Job{State: sides[op], Priority: uint8(posted)}
				q.push(last)
			}
			if q.n > 2 || q.n == 2 && q.jobs[0].side() == q.jobs[1].side() {
				t.Fatalf("%d wait: %v", q.n, q.jobs)
			}
			if q.n > 0 && q.jobs[q.n-1].Priority != last.Priority {
				t.Fatalf("%v waits last, posted last was %v", q.jobs[q.n-1], last)
			}
		}
		for q.n > 0 {
			run()
		}
		if posted > 0 && (ran != posted || side != last.side()) {
			t.Fatalf("the last of %d posted is not the last run, that was %d", posted, ran)
		}
	})
}
