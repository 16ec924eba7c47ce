package health

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"vrrpd/lan"
	"vrrpd/rtnl"
)

var (
	gateway = netip.MustParseAddr("192.0.2.254")
	other   = netip.MustParseAddr("192.0.2.253")
	ownMAC  = [6]byte{2, 0, 0, 0, 0, 1}
	gwMAC   = [6]byte{2, 0, 0, 0, 0, 9}
)

func eth0(up, carrier bool) Interface {
	return Interface{
		Link:  rtnl.Link{Index: 7, Name: "eth0", MAC: ownMAC, Up: up, Running: up && carrier, LowerUp: carrier},
		Addrs: []rtnl.Addr{{Index: 7, Prefix: netip.MustParsePrefix("192.0.2.1/24")}},
	}
}

// An interface is told: its verdict follows at once, and nothing runs in between.
func TestInterface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Options{}, Pending, Check{Name: "uplink", Interface: "eth0", Interval: time.Second, Rise: 1, Fall: 1, Weight: -30})
		if !b.Wants("eth0") || b.Wants("eth1") {
			t.Error("wants another interface")
		}
		time.Sleep(time.Hour)
		b.silent() // nothing is known of it
		b.Tell("eth0", Interface{})
		if r := b.becomes(Failing, "eth0 does not exist"); r.Was != Pending || r.Sum != (Sum{Weight: -30}) {
			t.Errorf("%+v", r)
		}
		b.Tell("eth1", eth0(true, true))
		b.Tell("eth0", eth0(true, true))
		if r := b.becomes(Passing, "eth0 is up"); r.Sum != (Sum{}) {
			t.Errorf("%+v", r)
		}
		b.Tell("eth0", eth0(true, true))
		b.Tell("eth0", eth0(true, false))
		b.becomes(Failing, "eth0 has no carrier")
		b.Tell("eth0", eth0(false, false))
		synctest.Wait()
		b.silent() // it fails still
		if s := b.Status(); len(s) != 1 || s[0].Detail != "eth0 is down" || s[0].Verdict != Failing || s[0].Check.Kind() != KindInterface {
			t.Errorf("%+v", s)
		}
		b.end()
	})
}

// Rise and fall of what is told: it must last.
func TestToldMustLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Options{}, Pending, Check{Name: "uplink", Interface: "eth0", Interval: time.Second, Rise: 4, Fall: 3})
		b.Tell("eth0", eth0(true, true))
		b.becomes(Passing, "eth0 is up")
		for range 5 { // never longer than 1.9 s
			b.Tell("eth0", eth0(true, false))
			time.Sleep(1900 * time.Millisecond)
			b.Tell("eth0", eth0(true, true))
			time.Sleep(10 * time.Second)
		}
		b.silent()
		begin := time.Now()
		b.Tell("eth0", eth0(true, false))
		if r := b.becomes(Failing, "eth0 has no carrier"); time.Since(begin) != 2*time.Second || !r.Sum.Hold {
			t.Errorf("after %v: %+v", time.Since(begin), r)
		}
		begin = time.Now()
		b.Tell("eth0", eth0(true, true))
		if b.becomes(Passing, "eth0 is up"); time.Since(begin) != 3*time.Second {
			t.Errorf("after %v", time.Since(begin))
		}
		b.end()
	})
}

// fakeLAN answers for some addresses.
type fakeLAN struct {
	answers atomic.Pointer[[]netip.Addr]
	after   time.Duration
	fail    atomic.Bool // sockets break
	asked   chan string
	open    atomic.Int32
}

func (l *fakeLAN) set(a ...netip.Addr) { l.answers.Store(&a) }

type fakeAsker struct {
	lan     *fakeLAN
	index   int
	waiting []lan.Answer
	closed  chan struct{}
}

func (l *fakeLAN) openAsker(index int, name string, family uint8) (asker, error) {
	if l.fail.Load() {
		return nil, errors.New("no socket")
	}
	l.open.Add(1)
	return &fakeAsker{lan: l, index: index, closed: make(chan struct{})}, nil
}

func (a *fakeAsker) Ask(mac [6]byte, source, target netip.Addr, to [6]byte) error {
	if a.lan.fail.Load() {
		return errors.New("network is down")
	}
	a.lan.asked <- fmt.Sprintf("%d %v %v %x", a.index, source, target, to[5])
	if slices.Contains(*a.lan.answers.Load(), target) {
		a.waiting = append(a.waiting, lan.Answer{MAC: gwMAC, IP: target})
	}
	return nil
}

func (a *fakeAsker) Next(deadline time.Time) (lan.Answer, error) {
	if len(a.waiting) > 0 {
		select {
		case <-time.After(a.lan.after):
		case <-a.closed:
			return lan.Answer{}, os.ErrClosed
		}
		first := a.waiting[0]
		a.waiting = a.waiting[1:]
		return first, nil
	}
	select {
	case <-time.After(time.Until(deadline)):
		return lan.Answer{}, os.ErrDeadlineExceeded
	case <-a.closed:
		return lan.Answer{}, os.ErrClosed
	}
}

func (a *fakeAsker) Close() error {
	select {
	case <-a.closed:
	default:
		close(a.closed)
		a.lan.open.Add(-1)
	}
	return nil
}

// A gateway is asked every interval with the machine's own address, alone as long as
// it answers, and everybody when it does not; one of several is enough.
func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &fakeLAN{after: time.Millisecond, asked: make(chan string, 1000)}
		l.set(gateway)
		serving := atomic.Bool{}
		b := start(t, Options{open: l.openAsker, Serving: serving.Load}, Pending, Check{
			Name: "gateway", Interface: "eth0", Addresses: []netip.Addr{gateway, other},
			Interval: time.Second, Timeout: 300 * time.Millisecond, Rise: 2, Fall: 3,
		})
		time.Sleep(10500 * time.Millisecond)
		b.silent()
		b.Tell("eth0", eth0(true, true))
		b.becomes(Passing, "192.0.2.254 answers") // at once
		asked := func(want ...string) {
			t.Helper()
			for _, w := range want {
				select {
				case got := <-l.asked:
					if got != w {
						t.Errorf("asked %q, want %q", got, w)
					}
				default:
					t.Errorf("%q was not asked", w)
				}
			}
		}
		asked("7 192.0.2.1 192.0.2.254 0", "7 192.0.2.1 192.0.2.253 0")
		time.Sleep(2 * time.Second)
		asked("7 192.0.2.1 192.0.2.254 9", "7 192.0.2.1 192.0.2.253 0", "7 192.0.2.1 192.0.2.254 9", "7 192.0.2.1 192.0.2.253 0")

		l.set(other) // one of the two is enough
		time.Sleep(10 * time.Second)
		b.silent()
		l.set()
		begin := time.Now()
		r := b.becomes(Failing, "no answer from 192.0.2.254, 192.0.2.253 on eth0")
		if d := time.Since(begin); d < 2300*time.Millisecond || d > 3300*time.Millisecond || !r.Sum.Hold {
			t.Errorf("after %v: %+v", d, r)
		}
		for len(l.asked) > 0 {
			<-l.asked
		}
		time.Sleep(time.Second)
		asked("7 192.0.2.1 192.0.2.254 0")
		l.set(gateway)
		b.becomes(Passing, "192.0.2.254 answers")

		// The interface goes and is another one when it comes back.
		b.Tell("eth0", Interface{})
		b.becomes(Failing, "eth0 does not exist")
		synctest.Wait()
		if n := l.open.Load(); n != 0 {
			t.Errorf("%d sockets of an interface that does not exist", n)
		}
		again := eth0(true, true)
		again.Link.Index = 8
		b.Tell("eth0", again)
		b.becomes(Passing, "192.0.2.254 answers")
		// Sockets that break are opened again.
		l.fail.Store(true)
		b.becomes(Failing, "no socket")
		l.fail.Store(false)
		b.becomes(Passing, "192.0.2.254 answers")
		if n := l.open.Load(); n != 1 {
			t.Errorf("%d sockets", n)
		}
		// A question that waits does not hold up the end.
		l.set()
		time.Sleep(time.Second)
		begin = time.Now()
		b.end()
		if d := time.Since(begin); d != 0 {
			t.Errorf("the end took %v", d)
		}
		if n := l.open.Load(); n != 0 {
			t.Errorf("%d sockets are left", n)
		}
	})
}

func TestSource(t *testing.T) {
	v4 := []rtnl.Addr{
		{Prefix: netip.MustParsePrefix("192.0.2.100/32")},
		{Prefix: netip.MustParsePrefix("198.51.100.1/24")},
		{Prefix: netip.MustParsePrefix("192.0.2.1/24")},
		{Prefix: netip.MustParsePrefix("192.0.2.2/24"), Secondary: true},
		{Prefix: netip.MustParsePrefix("fe80::1/64")},
	}
	for _, c := range []struct {
		addrs  []rtnl.Addr
		target string
		want   string
		ok     bool
	}{
		{v4, "192.0.2.254", "192.0.2.1", true},
		{v4, "198.51.100.254", "198.51.100.1", true},
		{v4, "203.0.113.1", "198.51.100.1", true},
		{nil, "192.0.2.254", "invalid IP", true},
		{v4, "2001:db8::1", "fe80::1", true},
		{nil, "fe80::9", "invalid IP", false},
	} {
		got, ok := sourceFor(c.addrs, netip.MustParseAddr(c.target))
		if got.String() != c.want || ok != c.ok {
			t.Errorf("%s: %v, %v", c.target, got, ok)
		}
	}
}

// A reload keeps what has not changed as it is, and what is changed or added passes
// until it fails; what has gone says nothing any more.
func TestApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		check := func(name string, weight int) Check {
			return Check{Name: name, Interface: name, Interval: time.Second, Rise: 1, Fall: 2, Weight: weight}
		}
		b := start(t, Options{}, Pending, check("a", 0), check("b", -10), check("c", 0))
		for _, name := range []string{"a", "b", "c"} {
			b.Tell(name, Interface{})
			b.becomes(Failing, name+" does not exist")
		}
		b.Tell("a", eth0(true, true))
		b.becomes(Passing, "a is up")
		b.Tell("a", Interface{}) // the first of two failures
		synctest.Wait()
		if sum := b.Apply([]Check{check("d", -7), check("a", 0), check("b", -20)}, Passing); sum != (Sum{Weight: -20}) {
			t.Errorf("%+v", sum)
		}
		b.Tell("c", eth0(true, true))
		// The others are looked at again.
		time.Sleep(time.Second)
		if r := b.becomes(Failing, "a does not exist"); !r.Sum.Hold || r.Sum.Weight != -20 {
			t.Errorf("%+v", r)
		}
		b.Tell("d", Interface{})
		time.Sleep(time.Second)
		if r := b.becomes(Failing, "d does not exist"); r.Sum != (Sum{Weight: -27, Hold: true}) {
			t.Errorf("%+v", r)
		}
		if sum := b.Apply(nil, Passing); sum != (Sum{}) {
			t.Errorf("%+v", sum)
		}
		b.Tell("a", eth0(true, true))
		time.Sleep(time.Minute)
		b.silent()
		b.end()
		if sum := b.Apply([]Check{check("a", 0)}, Pending); sum != (Sum{}) || len(b.Status()) != 0 {
			t.Errorf("after the end: %+v", sum)
		}
		if err := b.Run(context.Background()); err == nil {
			t.Error("a Set runs twice")
		}
	})
}

// What fails on the MASTER alone is believed later each time.
func TestOnlyOnTheMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var serving atomic.Bool
		b := start(t, Options{Serving: serving.Load}, Passing, Check{Name: "a", Interface: "eth0", Interval: time.Second, Rise: 2, Fall: 1, Weight: -50})
		for _, want := range []time.Duration{1, 3, 7, 15} {
			serving.Store(true)
			b.Tell("eth0", eth0(true, false))
			b.becomes(Failing, "eth0 has no carrier")
			serving.Store(false)
			begin := time.Now()
			b.Tell("eth0", eth0(true, true))
			if b.becomes(Passing, "eth0 is up"); time.Since(begin) != want*time.Second {
				t.Errorf("well after %v, want %v s", time.Since(begin), want)
			}
		}
		b.end()
	})
}
