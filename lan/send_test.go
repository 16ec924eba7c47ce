package lan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/realtime"
)

// roomy lets all that a test sends wait, should the reader not be scheduled.
func roomy(c *Config) { c.ReceiveBuffer = 8 << 20 }

func TestBatchOfThousand(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open(roomy)
	l := listen(t, pb)
	const n = 3000 // more than one sendmmsg takes
	frames := make([][]byte, n)
	for i := range frames {
		frames[i] = AppendAdvert(nil, vmac51, primary, Group4(), uint16(i), binary.BigEndian.AppendUint32(nil, uint32(i)))
	}
	// First 1,000 in one call, then the three calls' worth.
	for _, size := range []int{1000, n} {
		mustSend(t, pa, frames[:size]...)
		for i := range size {
			if got := binary.BigEndian.Uint32(l.advert().Payload); got != uint32(i) {
				t.Fatalf("advert %d of %d carries %d", i, size, got)
			}
		}
	}
	if c := pb.Counters(); c.Adverts != 1000+n || c.Overruns != 0 {
		t.Errorf("counts %+v", c)
	}
}

// What the wire brings in every shape, RFC trap 14 first: padding and options.
func TestShapesOfFrames(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	l := listen(t, pb)
	padded := append(AppendAdvert(nil, vmac51, primary, Group4(), 0, payload[:12]), 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee)
	mustSend(t, pa, padded, withOptions(advert(1)))
	if r := l.advert(); !bytes.Equal(r.Payload, payload[:12]) {
		t.Errorf("padded: payload %x", r.Payload)
	}
	if r := l.advert(); !bytes.Equal(r.Payload, payload) {
		t.Errorf("options: payload %x", r.Payload)
	}
	want := [drops]uint64{}
	for _, bad := range badFrames {
		if len(bad.frame) < ethernetSize+ipv4Size {
			continue
		}
		want[bad.want]++
		mustSend(t, pa, bad.frame)
	}
	mustSend(t, pa, sentinel())
	if r := l.advert(); !bytes.Equal(r.Payload, sentinelPayload) {
		t.Errorf("a bad frame came through: %+v", r)
	}
	if c := pb.Counters(); c.Dropped != want {
		t.Errorf("dropped %v, want %v", c.Dropped, want)
	}
}

func TestPartialSend(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	l := listen(t, pb)
	tooLong := AppendAdvert(nil, vmac51, primary, Group4(), 0, make([]byte, 1600))
	n, err := pa.Send([][]byte{advert(1), advert(2), tooLong, advert(3)})
	if n != 2 || !errors.Is(err, unix.EMSGSIZE) {
		t.Fatalf("sent %d, %v; want 2 and EMSGSIZE", n, err)
	}
	if want := "send 2 of 4 frames to veth0: message too long"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if c := pa.Counters(); c.Sent != 2 || c.Unsent != 2 {
		t.Errorf("counts %+v", c)
	}
	if n, err := pa.Send([][]byte{{}}); n != 0 || err == nil {
		t.Errorf("an empty frame: %d, %v", n, err)
	}
	if n, err := pa.Send(nil); n != 0 || err != nil {
		t.Errorf("no frames: %d, %v", n, err)
	}
	for i, v := range pa.out.iov {
		if v.Base != nil {
			t.Errorf("frame %d of a past batch is kept alive", i)
		}
	}
	mustSend(t, pa, sentinel())
	l.advert()
	l.advert()
	if r := l.advert(); !bytes.Equal(r.Payload, sentinelPayload) {
		t.Errorf("got %+v, want the sentinel", r)
	}
}

// Why the doc comment of Send sends its reader to rtnl for a pulled cable.
func TestSendWithoutCarrier(t *testing.T) {
	a, b := newPair(t)
	pa := a.open()
	b.setUp(false)
	a.operState(netlink.OperDown, netlink.OperLowerLayerDown)
	if n, err := pa.Send([][]byte{advert(1)}); n != 1 || err != nil {
		t.Errorf("without carrier: %d, %v; the comment of Send says it succeeds", n, err)
	}
}

// Who sends many frames, for which nobody waits at the socket, hears what comes meanwhile;
// that allocates nothing.
func TestManyAreSentWhileListening(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	bell, err := realtime.NewBell(false)
	if err != nil {
		t.Fatal(err)
	}
	defer bell.Close()
	heard := 0
	if err := pa.Listen(bell, func(b Batch) { heard += len(b.Adverts) }, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	defer pa.Leave()
	for round := 1; round <= 3; round++ {
		mustSend(t, pb, advert(1))
		mustSend(t, pa, prebuilt(2*manyFrames)...)
		for deadline := boottime() + int64(patience); heard < round; {
			if boottime() > deadline {
				t.Fatalf("round %d: heard %d", round, heard)
			}
			bell.Wait(deadline)
			bell.Serve()
		}
	}
	many := prebuilt(2 * manyFrames)
	if n := testing.AllocsPerRun(20, func() { mustSend(t, pa, many...) }); n != 0 {
		t.Errorf("Send allocates %v times", n)
	}
}
