package daemon

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

// Whoever takes over because nobody was heard has looked into its sockets first. These
// processes do not read when a socket rings, and all that they know is what they have
// found before they judged.
func TestSilenceIsOfTheLAN(t *testing.T) {
	const late = lateEnv + "=1"
	t.Run("a master that speaks", func(t *testing.T) {
		l := newLAN(t)
		r1, r2 := l.host("r1", 1), l.host("r2", 2)
		r2.vrrpd("-v 51 192.0.2.51 -p 200").says(0, "BACKUP -> MASTER")
		p := r1.vrrpd("-v 51 192.0.2.51 -p 100", late)
		p.says(0, "HELD -> BACKUP")
		for mark, n := r2.heard.Mark(), 0; n < 15; n++ { // of 0.1 s each: five times what it waits for
			mark = l.advert(r2, mark, 51) + 1
		}
		for _, f := range r1.heard.Frames(0) {
			if a, ok := f.Advert(); ok && !f.Out {
				t.Fatalf("the other one has spoken all the time, and it sent %+v", a)
			}
		}
		for _, line := range p.Lines() {
			if strings.Contains(line.Text, "MASTER") {
				t.Errorf("it said: %s", line.Text)
			}
		}
	})
	// A master hangs when it is to be preempted, and answers for as long as its lease
	// allows: the answers are found, and the guard stays closed until then.
	t.Run("a master that hangs", func(t *testing.T) {
		l := newLAN(t)
		vip := netip.MustParseAddr("192.0.2.51")
		r1, r2 := l.host("r1", 1), l.host("r2", 2)
		q := r2.vrrpd("-v 51 192.0.2.51 -p 100 -d 1")
		q.says(0, "BACKUP -> MASTER")
		p := r1.vrrpd("-v 51 192.0.2.51 -p 200 -d 1", late)
		// Held for two intervals, it preempts after three and its skew time.
		p.says(0, "HELD -> BACKUP")
		last := l.frame(r2, r2.heard.Mark(), 51)
		l.check(q.Signal(syscall.SIGSTOP))
		p.says(0, "-> MASTER: preempted")
		served, err := r1.heard.WaitFrom(l.within(), 0, func(f netlab.Frame) bool {
			a, ok := f.ARP()
			return ok && !f.Out && a.SenderIP == vip && a.TargetIP == vip
		})
		l.check(err)
		// It may have been stopped between its last advert and the lease that this is worth;
		// then it answers for a second only.
		var answered time.Time
		for _, f := range r1.heard.Frames(0) {
			if a, ok := f.ARP(); ok && f.Out && a.Reply && a.SenderIP == vip && f.At.Before(served.At) {
				answered = f.At
			}
		}
		if lasted := answered.Sub(last.At); lasted < 900*time.Millisecond {
			t.Errorf("it answered for %v after its last advert, so nothing was tested", lasted)
		}
		if d := served.At.Sub(answered); d < 49*time.Millisecond {
			t.Errorf("it serves %v after the last answer", d)
		}
	})
}
