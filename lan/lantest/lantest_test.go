package lantest_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/lan"
	"vrrpd/lan/lantest"
)

// port is what a daemon wants of either kind.
type port interface {
	Send(frames [][]byte) (sent int, err error)
	Run(ctx context.Context, sink lan.Sink) error
	Drain() (frames int, err error)
	Counters() lan.Counters
	Close() error
}

var _, _ port = (*lan.Port)(nil), (*lantest.Port)(nil)

var (
	vmac = [6]byte{0, 0, 0x5e, 0, 1, 51}
	phys = [6]byte{2, 0, 0, 0, 0, 1}
	src  = netip.MustParseAddr("192.0.2.11")
	vip  = netip.MustParseAddr("192.0.2.200")
)

func advert(text string) []byte {
	return lan.AppendAdvert(nil, vmac, src, lan.Group4(), 1, []byte(text))
}

// run reads a port in a goroutine of its own. The batches are those of the
// moment after synctest.Wait.
type run struct {
	batches []lan.Batch
	texts   []string // payloads, copied
	err     error
	ended   bool
	cancel  context.CancelFunc
}

func start(t *testing.T, p port) *run {
	ctx, cancel := context.WithCancel(t.Context())
	r := &run{cancel: cancel}
	go func() {
		r.err = p.Run(ctx, func(b lan.Batch) {
			r.batches = append(r.batches, b)
			for _, a := range b.Adverts {
				r.texts = append(r.texts, string(a.Payload))
			}
		})
		r.ended = true
	}()
	t.Cleanup(func() {
		cancel()
		synctest.Wait()
		if !r.ended {
			t.Error("Run has not ended with its context")
		}
	})
	synctest.Wait()
	return r
}

func now() int64 { return time.Now().UnixNano() }

func send(t *testing.T, p port, frames ...[]byte) {
	t.Helper()
	if n, err := p.Send(frames); n != len(frames) || err != nil {
		t.Fatalf("sent %d of %d: %v", n, len(frames), err)
	}
	synctest.Wait()
}

func TestEveryOtherPortHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lantest.New(now)
		a, b, c := l.Open("a"), l.Open("b"), l.Open("c")
		ra, rb, rc := start(t, a), start(t, b), start(t, c)
		var tapped [][]byte
		l.Tap(func(from string, f []byte) { tapped = append(tapped, bytes.Clone(f)) })
		l.Pass(func(from, to string, _ []byte) bool { return !(from == "a" && to == "c") })
		send(t, a, advert("one"), advert("two"))
		if len(ra.batches) != 0 || len(rc.batches) != 0 {
			t.Errorf("heard by the sender %v, by the one cut off %v", ra.batches, rc.batches)
		}
		if len(rb.texts) != 2 || rb.texts[0] != "one" || rb.texts[1] != "two" || rb.batches[0].At != now() {
			t.Errorf("b heard %q at %d, now %d", rb.texts, rb.batches[0].At, now())
		}
		if len(tapped) != 2 || !bytes.Equal(tapped[1], advert("two")) {
			t.Errorf("tapped %x", tapped)
		}
		if got := string(rb.batches[0].Adverts[0].Payload); got == "one" {
			t.Error("a payload outlived its callback")
		}
		l.Pass(nil)
		send(t, a, advert("three"))
		if len(rc.texts) != 1 {
			t.Errorf("c heard %q", rc.texts)
		}
		if n := a.Counters().Sent; n != 3 {
			t.Errorf("sent counts %d", n)
		}
		if n := b.Counters().Adverts; n != 3 {
			t.Errorf("b counts %d adverts", n)
		}
	})
}

func TestFilterAndParser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lantest.New(now)
		a, b := l.Open("a"), l.Open("b")
		rb := start(t, b)
		udp := advert("x")
		udp[23] = 17
		cut := advert("cut")
		other := advert("x")
		other[33] = 5
		send(t, a, udp, other, lan.AppendGratuitousARP(nil, vmac, vip, false), []byte("short"), cut[:len(cut)-1])
		if len(rb.batches) != 0 {
			t.Errorf("delivered %+v", rb.batches)
		}
		c := b.Counters()
		c.Drops(func(d lan.Drop, n uint64) {
			want := uint64(0)
			if d == lan.DropTruncated {
				want = 1
			}
			if n != want {
				t.Errorf("%d dropped as %v, want %d", n, d, want)
			}
		})
		if err := b.Inject(advert("injected")); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(rb.texts) != 1 || rb.texts[0] != "injected" {
			t.Errorf("heard %q", rb.texts)
		}
	})
}

func TestClaimAnswersProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lantest.New(now)
		a, b := l.Open("a"), l.Open("b")
		ra := start(t, a)
		probe := lan.AppendARPProbe(nil, phys, vip)
		send(t, a, probe)
		b.Claim(vip, vmac)
		send(t, a, probe)
		b.Unclaim(vip)
		send(t, a, probe)
		if len(ra.batches) != 1 || len(ra.batches[0].Answers) != 1 || ra.batches[0].Answers[0] != (lan.Answer{MAC: vmac, IP: vip}) {
			t.Errorf("heard %+v, want one answer", ra.batches)
		}
	})
}

func TestDownUpDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lantest.New(now)
		a, b := l.Open("a"), l.Open("b")
		rb := start(t, b)
		b.Down()
		b.Down()
		send(t, a, advert("lost"))
		if _, err := b.Send([][]byte{advert("x")}); !errors.Is(err, unix.ENETDOWN) {
			t.Errorf("send while down: %v", err)
		}
		if len(rb.batches) != 1 || rb.batches[0].Parent != lan.ParentDown || rb.ended {
			t.Errorf("down: %+v", rb)
		}
		b.Up()
		b.FailSends(unix.ENOBUFS)
		if n, err := b.Send([][]byte{advert("x")}); n != 0 || !errors.Is(err, unix.ENOBUFS) {
			t.Errorf("made to fail: %d, %v", n, err)
		}
		b.FailSends(nil)
		send(t, b, advert("x"))
		send(t, a, advert("heard"))
		if len(rb.texts) != 1 || rb.texts[0] != "heard" {
			t.Errorf("up again: %q", rb.texts)
		}
		b.Delete()
		b.Up() // too late
		synctest.Wait()
		if n := len(rb.batches); n != 4 || rb.batches[2].Parent != lan.ParentDown || rb.batches[3].Parent != lan.ParentGone {
			t.Errorf("deleted: %+v", rb.batches)
		}
		if !rb.ended || !errors.Is(rb.err, unix.ENODEV) {
			t.Errorf("Run: ended %v, %v", rb.ended, rb.err)
		}
		if _, err := b.Send([][]byte{advert("x")}); !errors.Is(err, unix.ENXIO) {
			t.Errorf("send after delete: %v", err)
		}
		if c := b.Counters(); c.Unsent != 3 {
			t.Errorf("%d unsent", c.Unsent)
		}

		ra := start(t, a) // hears what b has sent
		a.Down()
		a.Delete()
		synctest.Wait()
		if len(ra.batches) != 2 || ra.batches[1].Parent != lan.ParentDown || ra.ended {
			t.Errorf("deleted while down: %+v", ra)
		}
		a.Close()
		synctest.Wait()
		if !ra.ended || ra.err != nil {
			t.Errorf("closed: %v, %v", ra.ended, ra.err)
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lantest.New(now)
		a, b := l.Open("a"), l.Open("b")
		if _, err := b.Drain(); !errors.Is(err, lan.ErrNotRunning) {
			t.Errorf("before Run: %v", err)
		}
		send(t, a, advert("waited"))
		rb := start(t, b)
		if len(rb.texts) != 1 {
			t.Errorf("heard %q", rb.texts)
		}
		if _, err := a.Send([][]byte{advert("drained"), lan.AppendGratuitousARP(nil, vmac, vip, true)}); err != nil {
			t.Fatal(err)
		}
		// Run may have been faster, but when Drain is back all is delivered.
		n, err := b.Drain()
		if err != nil || n > 2 || len(rb.texts) != 2 || len(rb.batches) != 3 {
			t.Errorf("drained %d, %v; heard %q in %d batches", n, err, rb.texts, len(rb.batches))
		}
		if err := b.Run(t.Context(), func(lan.Batch) {}); err == nil {
			t.Error("a second Run was let in")
		}
		b.Close()
		synctest.Wait()
		if !rb.ended || rb.err != nil {
			t.Errorf("after Close: ended %v, %v", rb.ended, rb.err)
		}
		if _, err := b.Drain(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Drain after Close: %v", err)
		}
		if _, err := b.Send([][]byte{advert("x")}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Send after Close: %v", err)
		}
		if err := b.Run(t.Context(), func(lan.Batch) {}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Run after Close: %v", err)
		}
	})
}
