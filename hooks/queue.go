package hooks

// queue is what waits while a command runs, oldest first: at most two jobs, and
// never two neighbours for the same state. The package doc says why.
type queue struct {
	jobs [2]Job
	n    int
}

func (q *queue) push(j Job) {
	switch {
	case q.n > 0 && q.jobs[q.n-1].side() == j.side():
		q.jobs[q.n-1] = j
	case q.n == len(q.jobs) && q.jobs[0].side() == j.side():
		q.jobs = [2]Job{j}
		q.n = 1
	case q.n == len(q.jobs):
		// Three states in a row (INIT is one): the one in between has passed.
		q.jobs[1] = j
	default:
		q.jobs[q.n] = j
		q.n++
	}
}

func (q *queue) pop() (j Job, ok bool) {
	if q.n == 0 {
		return Job{}, false
	}
	j = q.jobs[0]
	q.jobs = [2]Job{q.jobs[1]}
	q.n--
	return j, true
}
