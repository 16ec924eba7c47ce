package daemon

import "sync"

// worker does one after the other what would make the loop wait: taking
// interfaces down, writing files. Its queue has no limit; what is posted is
// bounded by the transitions of the election.
type worker struct {
	mu    sync.Mutex
	more  *sync.Cond
	queue []func()
	busy  bool
	ended bool
	done  chan struct{}
}

func newWorker() *worker {
	w := &worker{done: make(chan struct{})}
	w.more = sync.NewCond(&w.mu)
	return w
}

// post never blocks.
func (w *worker) post(f func()) {
	w.mu.Lock()
	w.queue = append(w.queue, f)
	w.mu.Unlock()
	w.more.Signal()
}

// run works until end is called and the queue is empty.
func (w *worker) run() {
	defer close(w.done)
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.ended {
			w.more.Wait()
		}
		if len(w.queue) == 0 {
			w.mu.Unlock()
			return
		}
		f := w.queue[0]
		w.queue[0] = nil
		w.queue, w.busy = w.queue[1:], true
		w.mu.Unlock()
		f()
		w.mu.Lock()
		w.busy = false
		w.mu.Unlock()
	}
}

// idle reports that nothing is done or waits.
func (w *worker) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.busy && len(w.queue) == 0
}

// end lets run return when everything posted is done, and waits for it.
func (w *worker) end() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.more.Signal()
	<-w.done
}
