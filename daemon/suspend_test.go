package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

// Waking up: a MASTER that was stopped or suspended for
// longer than its lease reads what waits in its sockets before it judges. After a
// suspend it first listens whether somebody serves by now; after a mere stall in
// which nobody has spoken it goes on. Either way nothing is said that somebody
// else's service contradicts.
func TestWakeUp(t *testing.T) {
	const interval = 100 * time.Millisecond
	for _, c := range []struct {
		name      string
		suspended time.Duration
		successor bool
		logs      []string // in this order, after it goes on
		never     string
	}{
		{"stalled, and nobody else", 0, false, nil, " -> "},
		{"stalled, and somebody else serves", 0, true, []string{"MASTER -> BACKUP: lease-expired"}, "suspended"},
		{"suspended, and nobody else", 8 * time.Hour, false,
			[]string{"the machine was suspended for 8h0m0s", "MASTER -> LISTEN: suspended", "LISTEN -> MASTER: master-timeout"}, "BACKUP"},
		{"suspended, and somebody else serves", 8 * time.Hour, true,
			[]string{"the machine was suspended for 8h0m0s", "MASTER -> BACKUP: lease-expired"}, "LISTEN"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			l := newLAN(t)
			r1 := l.host("r1", 1)
			p := r1.vrrpd("-v 51 192.0.2.51 -p 150 -s")
			p.says(0, "BACKUP -> MASTER")
			// Another machine measures the time; as a successor it takes over.
			r2 := l.host("r2", 2)
			other, vrid := "-v 52 192.0.2.52", uint8(52)
			if c.successor {
				other, vrid = "-v 51 192.0.2.51 -p 100", 51
			}
			q := r2.vrrpd(other)
			q.says(0, "HELD -> BACKUP")
			l.check(p.Signal(syscall.SIGSTOP))
			q.says(0, "BACKUP -> MASTER")
			for mark, n := r2.heard.Mark(), 0; n < 10; n++ { // a second
				mark = l.advert(r2, mark, vrid) + 1
			}
			if c.suspended > 0 {
				l.check(r1.WriteFile(sleptFile, netlab.File{Text: fmt.Sprint(int64(c.suspended)), Mode: 0o644}))
			}
			lines, mark, woke := len(p.Lines()), r1.heard.Mark(), time.Now()
			l.check(p.Signal(syscall.SIGCONT))
			at := lines
			for _, text := range c.logs {
				at = p.says(at, text) + 1
			}
			if !c.successor {
				f := l.frame(r1, mark, 51)
				spoke := f.At.Sub(woke)
				t.Logf("spoke again after %v", spoke)
				// One interval and the skew time of the least priority.
				if listens := interval + 255*interval/256; c.suspended > 0 && spoke < listens {
					t.Errorf("it spoke %v after it woke, and had to listen for %v", spoke, listens)
				}
				if c.suspended == 0 && spoke > interval {
					t.Errorf("nobody else serves, and it was silent for %v more", spoke)
				}
			}
			// Five intervals of the other one.
			for mark, n := r2.heard.Mark(), 0; n < 5; n++ {
				mark = l.advert(r2, mark, vrid) + 1
			}
			for _, f := range r1.heard.Frames(mark) {
				if a, ok := f.Advert(); ok && !f.Out && a.Priority != 0 && c.successor {
					t.Errorf("after it woke it claimed to be master: %+v", a)
				}
			}
			for _, line := range p.Lines()[lines:] {
				if strings.Contains(line.Text, c.never) {
					t.Errorf("it said: %s", line.Text)
				}
			}
		})
	}
}

// wire is a LAN with machines on it.
type wire struct {
	t   *testing.T
	lab *netlab.Lab
	sw  *netlab.Switch
}

func newLAN(t *testing.T) *wire {
	t.Helper()
	l := &wire{t: t, lab: netlab.ForTest(t)}
	sw, err := l.lab.Switch("lan", netlab.SwitchOptions{})
	l.check(err)
	l.sw = sw
	return l
}

func (l *wire) check(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *wire) within() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	l.t.Cleanup(cancel)
	return ctx
}

// machine is a host, with what it sends.
type machine struct {
	*netlab.Host
	lan   *wire
	heard *netlab.Sniffer
}

func (l *wire) host(name string, n byte) *machine {
	l.t.Helper()
	h, err := l.lab.Host(name, netlab.HostOptions{})
	l.check(err)
	c, err := l.lab.Connect(h, "eth0", l.sw, netlab.CableOptions{
		MAC: netlab.MAC{2, 0, 0, 0, 0, n}, Addrs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 24)},
	})
	l.check(err)
	sn, err := c.StartSniffer(netlab.SnifferOptions{Match: append(netlab.MatchAdverts(), netlab.MatchARP()...)})
	l.check(err)
	return &machine{h, l, sn}
}

// frame waits for an advert of the machine for the virtual router.
func (l *wire) frame(m *machine, mark int, vrid uint8) netlab.Frame {
	l.t.Helper()
	f, err := m.heard.WaitFrom(l.within(), mark, func(f netlab.Frame) bool {
		a, ok := f.Advert()
		return ok && !f.Out && a.VRID == vrid && a.Priority != 0
	})
	l.check(err)
	return f
}

func (l *wire) advert(m *machine, mark int, vrid uint8) int {
	l.t.Helper()
	return l.frame(m, mark, vrid).N
}

// running is a daemon on a machine.
type running struct {
	*netlab.Proc
	lan *wire
}

func (m *machine) vrrpd(args string, env ...string) *running {
	m.lan.t.Helper()
	self, err := os.Executable()
	m.lan.check(err)
	p, err := m.Start(netlab.Command{
		Path: self, Args: append(strings.Fields("-F -i eth0 -d 0.1"), strings.Fields(args)...), Env: append(env, processEnv+"=1"),
	})
	m.lan.check(err)
	return &running{p, m.lan}
}

// says waits for a line of the log, from the given one on, and returns its index.
func (p *running) says(from int, text string) int {
	p.lan.t.Helper()
	at := -1
	netlab.Eventually(p.lan.t, 20*time.Second, func() (bool, string) {
		lines := p.Lines()
		at = slices.IndexFunc(lines[min(from, len(lines)):], func(l netlab.Line) bool { return strings.Contains(l.Text, text) })
		return at >= 0, fmt.Sprintf("no line says %q: %v", text, lines)
	})
	return from + at
}
