package sysd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// sendLimit is how long one datagram may wait for a busy receiver.
const sendLimit = time.Second

// Notifier tells the service manager (sd_notify(3)) what the loop says. Every
// method but Run and Flush posts and returns at once; only the latest STATUS
// and one WATCHDOG wait at a time. Without a socket everything is a no-op.
// All methods may be called from any goroutine.
type Notifier struct {
	log  *slog.Logger
	sock dgram
	wake chan struct{} // capacity 1: something was posted
	told string        // the STATUS that was sent last; belongs to Run

	mu      sync.Mutex // guards what follows; never held during a send
	pending pending
	posted  uint64        // number of posts so far
	tried   uint64        // posts that an attempt has covered
	err     error         // of the last attempt
	attempt chan struct{} // closed after each attempt, then replaced
}

// pending is what has been posted and not yet sent.
type pending struct {
	life     []string // READY, RELOADING, STOPPING in the order of posting, each once
	status   string   // "" is none
	errno    string   // "" is none
	watchdog bool
}

// NewNotifier makes a notifier for the socket that NOTIFY_SOCKET names; "" makes
// every method a no-op. It sends nothing before Run. Sending errors go to log,
// each kind once. NOTIFY_SOCKET itself is left in the environment; what starts
// other programs must not hand it on.
func NewNotifier(socket string, log *slog.Logger) *Notifier {
	return &Notifier{
		log:     log,
		sock:    dgram{path: socket},
		wake:    make(chan struct{}, 1),
		attempt: make(chan struct{}),
	}
}

// Enabled reports whether there is a service manager to talk to.
func (n *Notifier) Enabled() bool { return n.sock.path != "" }

// Ready posts READY=1: start-up, or a reload, is complete.
func (n *Notifier) Ready() { n.life(daemon.SdNotifyReady, "") }

// Stopping posts STOPPING=1. Flush makes sure that it has left before the
// process does.
func (n *Notifier) Stopping() { n.life(daemon.SdNotifyStopping, "") }

// Reloading posts RELOADING=1 with the monotonic time of this call, which
// Type=notify-reload asks for. Ready must follow.
func (n *Notifier) Reloading() {
	n.life(daemon.SdNotifyReloading, strings.TrimSuffix(daemon.SdNotifyMonotonicUsec(), "\n"))
}

// Status posts the one line that systemctl status shows. The latest wins;
// line breaks become spaces.
func (n *Notifier) Status(text string) {
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == 0 {
			return ' '
		}
		return r
	}, text)
	n.post(func(p *pending) { p.status = text })
}

// Errno posts the error number with which the service failed.
func (n *Notifier) Errno(errno int) {
	s := strconv.Itoa(errno)
	n.post(func(p *pending) { p.errno = s })
}

// Watchdog posts WATCHDOG=1. Call it from the loop whose life it proves, and
// from nowhere else. It does not allocate.
func (n *Notifier) Watchdog() {
	if !n.Enabled() {
		return
	}
	n.mu.Lock()
	n.pending.watchdog = true
	n.posted++
	n.mu.Unlock()
	n.ring()
}

func (n *Notifier) life(word, extra string) {
	n.post(func(p *pending) {
		// A repeated word moves to the end: READY, RELOADING, READY is the
		// same as RELOADING, READY to a manager that has seen neither.
		p.life = slices.DeleteFunc(p.life, func(s string) bool { return strings.HasPrefix(s, word) })
		if extra != "" {
			word += "\n" + extra
		}
		p.life = append(p.life, word)
	})
}

func (n *Notifier) post(change func(*pending)) {
	if !n.Enabled() {
		return
	}
	n.mu.Lock()
	change(&n.pending)
	n.posted++
	n.mu.Unlock()
	n.ring()
}

func (n *Notifier) ring() {
	select {
	case n.wake <- struct{}{}:
	default: // already awake
	}
}

// Run sends what is posted until ctx ends, and then once more what is still
// waiting. What could not be sent is tried again with the next post, except a
// WATCHDOG: the loop that was alive then may not be now. It returns nil.
func (n *Notifier) Run(ctx context.Context) error {
	if !n.Enabled() {
		<-ctx.Done()
		return nil
	}
	defer n.sock.close()
	said := ""
	for {
		select {
		case <-n.wake:
		case <-ctx.Done():
			n.deliver()
			return nil
		}
		text := ""
		if err := n.deliver(); err != nil {
			text = err.Error()
		}
		if text != "" && text != said {
			n.log.Warn("service manager does not hear us", "error", text)
		}
		said = text
	}
}

// Flush waits until everything posted before it has been tried, and returns the
// error of that attempt, or of ctx. Run must be running.
func (n *Notifier) Flush(ctx context.Context) error {
	if !n.Enabled() {
		return nil
	}
	n.mu.Lock()
	want := n.posted
	for n.tried < want {
		done := n.attempt
		n.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return fmt.Errorf("notify %s: %w", n.sock.path, ctx.Err())
		}
		n.mu.Lock()
	}
	err := n.err
	n.mu.Unlock()
	return err
}

// deliver makes one attempt to send all that is pending.
func (n *Notifier) deliver() error {
	n.mu.Lock()
	p, upTo := n.pending, n.posted
	n.pending = pending{}
	n.mu.Unlock()

	if p.status == n.told {
		p.status = ""
	}
	err := n.send(&p)

	n.mu.Lock()
	defer n.mu.Unlock()
	n.restore(p)
	n.tried, n.err = upTo, err
	close(n.attempt)
	n.attempt = make(chan struct{})
	return err
}

// send writes p in datagrams of one life word each, the last with everything
// else, and takes out of p what has been written.
func (n *Notifier) send(p *pending) error {
	for {
		last := len(p.life) <= 1
		var lines []string
		if len(p.life) > 0 {
			lines = append(lines, p.life[0])
		}
		if last {
			if p.status != "" {
				lines = append(lines, "STATUS="+p.status)
			}
			if p.errno != "" {
				lines = append(lines, "ERRNO="+p.errno)
			}
			if p.watchdog {
				lines = append(lines, daemon.SdNotifyWatchdog)
			}
		}
		if len(lines) == 0 {
			return nil
		}
		err := n.sock.send([]byte(strings.Join(lines, "\n")), nil, time.Now().Add(sendLimit))
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("notify %s: busy for %s: %w", n.sock.path, sendLimit, err)
			}
			return fmt.Errorf("notify: %w", err)
		}
		if last {
			if p.status != "" {
				n.told = p.status
			}
			*p = pending{}
			return nil
		}
		p.life = p.life[1:]
	}
}

// restore puts back what was not sent, under n.mu, unless something newer of
// its kind has been posted since.
func (n *Notifier) restore(p pending) {
	q := &n.pending
	for _, s := range slices.Backward(p.life) {
		word, _, _ := strings.Cut(s, "\n")
		if !slices.ContainsFunc(q.life, func(t string) bool { return strings.HasPrefix(t, word) }) {
			q.life = slices.Insert(q.life, 0, s)
		}
	}
	if q.status == "" {
		q.status = p.status
	}
	if q.errno == "" {
		q.errno = p.errno
	}
}

// WatchdogInterval is how often the service manager wants to hear WATCHDOG=1 at
// least (WATCHDOG_USEC, for this process by WATCHDOG_PID); the loop should post
// twice as often. 0: no watchdog. A malformed environment is an error.
func WatchdogInterval() (time.Duration, error) {
	d, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0, fmt.Errorf("read WATCHDOG_USEC and WATCHDOG_PID: %w", err)
	}
	return d, nil
}
