package lan

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Drain may be the one that meets the end of the parent: who listens goes on where it
// only went down.
func TestDrainMeetsTheEnd(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	l := listen(t, pb)
	mustSend(t, pa, advert(1))
	l.advert()
	pb.mu.Lock() // who listens waits
	b.setUp(false)
	errno := func() unix.Errno { _, errno := pb.receiver.receive(); return errno }
	if first, then := errno(), errno(); first != unix.ENETDOWN || then != unix.EAGAIN {
		t.Errorf("read %v, then %v", first, then)
	}
	pb.mu.Unlock()
	b.setUp(true)
	a.carrier()
	mustSend(t, pa, advert(1))
	l.advert()
}

// Without anybody who waits, Drain alone brings what waits.
func TestDrain(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	if n, err := pb.Drain(); n != 0 || !errors.Is(err, errNobody) {
		t.Errorf("before Listen: %d, %v", n, err)
	}
	// As if who listens were stopped just after he had begun.
	var got []string
	pb.sink = func(b Batch) {
		for _, r := range b.Adverts {
			got = append(got, string(r.Payload))
		}
		for _, a := range b.Answers {
			got = append(got, a.IP.String())
		}
	}
	arrived := b.sentinelTap()
	arp := b.tap(unix.ETH_P_ARP, nil)
	const n = 3*batchSize + 1
	for range n - 1 {
		mustSend(t, pa, advert(1))
	}
	garp := AppendGratuitousARP(nil, vmac51, vip, true)
	mustSend(t, pa, garp, sentinel())
	readTap(t, arp, func(f []byte) bool { return bytes.Equal(f, garp) })
	readTap(t, arrived, func(f []byte) bool { return bytes.Equal(f, sentinel()) })
	frames, err := pb.Drain()
	if err != nil || frames != n+1 || len(got) != n+1 {
		t.Fatalf("drained %d, delivered %d, %v; want %d", frames, len(got), err, n+1)
	}
	if got[n-1] != string(sentinelPayload) || got[n] != vip.String() {
		t.Errorf("last are %q and %q", got[n-1], got[n])
	}
	if frames, err := pb.Drain(); frames != 0 || err != nil {
		t.Errorf("again: %d, %v", frames, err)
	}
}

// A flood must not keep the caller of Drain for ever.
func TestDrainIsBounded(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open(func(c *Config) { c.ReceiveBuffer = 8 << 10 })
	limit := pb.receiver.limit
	batch := make([][]byte, batchSize)
	for i := range batch {
		batch[i] = advert(uint16(i))
	}
	pb.sink = func(Batch) { mustSend(t, pa, batch...) } // never empty
	arrived := b.tap(unix.ETH_P_IP, nil)
	mustSend(t, pa, batch...)
	readTap(t, arrived, func(f []byte) bool { return true })
	frames, err := pb.Drain()
	if err != nil || frames == 0 || frames > limit+batchSize {
		t.Errorf("drained %d, %v; the limit is %d", frames, err, limit)
	}
}

// Listening and Drain at once: every frame once, in order, one callback at a time.
func TestDrainBesideListening(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open(roomy)
	const n = 4000
	var inside atomic.Int32
	var next uint32
	done := make(chan struct{})
	sink := func(b Batch) {
		if inside.Add(1) != 1 {
			t.Error("callbacks overlap")
		}
		defer inside.Add(-1)
		for _, r := range b.Adverts {
			if got := binary.BigEndian.Uint32(r.Payload); got != next {
				t.Errorf("got %d, want %d", got, next)
			}
			if next++; next == n {
				close(done)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() {
		if err := run(ctx, pb, sink); err != nil {
			t.Error(err)
		}
	})
	all.Go(func() {
		for ctx.Err() == nil {
			if _, err := pb.Drain(); err != nil && !errors.Is(err, errNobody) {
				t.Error(err)
			}
		}
	})
	for i := 0; i < n; i += 10 {
		var frames [][]byte
		for j := range 10 {
			frames = append(frames, AppendAdvert(nil, vmac51, primary, Group4(), 0, binary.BigEndian.AppendUint32(nil, uint32(i+j))))
		}
		mustSend(t, pa, frames...)
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Errorf("delivered %d of %d; receiver %+v, sender %+v", pb.Counters().Adverts, n, pb.Counters(), pa.Counters())
	}
	cancel()
	all.Wait()
}

func TestOverrunsAreCounted(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open(func(c *Config) { c.ReceiveBuffer = 16 << 10 })
	frames := make([][]byte, 500)
	for i := range frames {
		frames[i] = advert(uint16(i))
	}
	arrived := b.sentinelTap()
	mustSend(t, pa, append(frames, sentinel())...)
	readTap(t, arrived, func(f []byte) bool { return bytes.Equal(f, sentinel()) })
	first := pb.Counters().Overruns
	pb.sink = func(Batch) {}
	read, err := pb.Drain()
	if err != nil {
		t.Fatal(err)
	}
	if first == 0 || int(first)+read != len(frames)+1 {
		t.Errorf("%d overruns and %d read, sent %d", first, read, len(frames)+1)
	}
	if again := pb.Counters().Overruns; again != first {
		t.Errorf("asked again: %d overruns, before %d", again, first)
	}
}
