package control

import (
	"sync"
	"time"
)

// Kinds of Event.
const (
	KindState      = "state"      // first line of every watch: how things stand
	KindTransition = "transition" // the machine changed: From, To, Reason
	KindAlarm      = "alarm"      // Reason began (Active) or has gone
	KindFault      = "fault"      // of one member: Reason began (Active) or has gone
	KindCheck      = "check"      // a check fails (Active) or passes: its name in Reason, Message
	KindHook       = "hook"       // a command ended: Message
	KindCommand    = "command"    // an operator's wish: Message
	KindReplace    = "replace"    // last line: the program is being replaced, and the next one goes on
	KindEnd        = "end"        // last line: why nothing more comes, in Message
)

// Event is one thing that happened, as one line of a watch.
type Event struct {
	At        time.Time `json:"at"`
	Kind      string    `json:"kind"`
	Instance  string    `json:"instance"`            // the server fills it in
	Group     string    `json:"group"`               // as in Machine
	Interface string    `json:"interface,omitempty"` // "": the whole machine
	Parent    string    `json:"parent,omitempty"`
	VRID      uint8     `json:"vrid,omitempty"`
	From      string    `json:"from,omitempty"`   // election.State
	To        string    `json:"to,omitempty"`     // election.State
	Reason    string    `json:"reason,omitempty"` // election.Reason
	Peer      string    `json:"peer,omitempty"`
	Active    bool      `json:"active,omitempty"`
	Epoch     uint64    `json:"epoch,omitempty"`
	Message   string    `json:"message,omitempty"`
}

// Feed hands events to any number of watchers. Publish never waits: a watcher
// that has fallen behind by its whole queue is let go. The zero value is ready.
type Feed struct {
	mu       sync.Mutex // guards what follows, held for a few channel operations
	watchers map[*watcher]struct{}
	closed   string // why there is nothing to watch any more
}

// feedQueue is how many events a watcher may be behind.
const feedQueue = 256

type watcher struct {
	feed   *Feed
	events chan Event    // closed when the feed lets the watcher go
	why    string        // set before events is closed
	kind   string        // of the last line
	gone   chan struct{} // closed when nothing more is written
}

// Publish hands the event to every watcher.
func (f *Feed) Publish(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.watchers {
		select {
		case w.events <- e:
		default:
			f.drop(w, "too slow: events were lost, look at the state and watch again")
		}
	}
}

// Close lets every watcher go, and every later one at once, with the reason.
func (f *Feed) Close(why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = why
	for w := range f.watchers {
		f.drop(w, why)
	}
}

// Replace lets every watcher go with the news that the program is being replaced, and
// later ones in. It waits until they have been told, but not for those who do not listen.
func (f *Feed) Replace(what string) {
	f.mu.Lock()
	var all []*watcher
	for w := range f.watchers {
		w.kind = KindReplace
		f.drop(w, what)
		all = append(all, w)
	}
	f.mu.Unlock()
	limit := time.NewTimer(replaceLimit)
	defer limit.Stop()
	for _, w := range all {
		select {
		case <-w.gone:
		case <-limit.C:
			return
		}
	}
}

// replaceLimit is how long watchers may take to be told of a replacement.
const replaceLimit = 500 * time.Millisecond

func (f *Feed) watch() *watcher {
	w := &watcher{feed: f, events: make(chan Event, feedQueue), kind: KindEnd, gone: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed != "" {
		w.why = f.closed
		close(w.events)
		return w
	}
	if f.watchers == nil {
		f.watchers = make(map[*watcher]struct{})
	}
	f.watchers[w] = struct{}{}
	return w
}

// drop is called with mu held.
func (f *Feed) drop(w *watcher, why string) {
	delete(f.watchers, w)
	w.why = why
	close(w.events)
}

// stop ends a watch from the watcher's side; doing it twice is harmless.
func (w *watcher) stop() {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	if _, ok := w.feed.watchers[w]; ok {
		w.feed.drop(w, "")
	}
}
