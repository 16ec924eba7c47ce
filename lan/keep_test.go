package lan

import (
	"bytes"
	"encoding/json"
	"testing"

	"golang.org/x/sys/unix"
)

// kept is what the next program reads, with descriptors of its own.
func kept(t *testing.T, p *Port) Kept {
	t.Helper()
	text, err := json.Marshal(p.Keep())
	if err != nil {
		t.Fatal(err)
	}
	var k Kept
	if err := json.Unmarshal(text, &k); err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]int{k.Packet, k.Groups, k.Unicast} {
		for i, fd := range list {
			if fd < 0 {
				continue
			}
			if list[i], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 100); err != nil {
				t.Fatal(err)
			}
		}
	}
	return k
}

// What arrives while one program takes the place of another waits for the next one, in
// order; memberships and counters go on, and so do the filters.
func TestAdopt(t *testing.T) {
	a, b := newPair(t)
	pa, pb := a.open(), b.open()
	l := listen(t, pb)
	mustSend(t, pa, advert(1))
	l.advert()

	l.cancel() // the last program reads no more
	if err := l.wait(); err != nil {
		t.Error(err)
	}
	arrived := b.sentinelTap()
	mustSend(t, pa, advert(2), advert(3), sentinel())
	readTap(t, arrived, func(f []byte) bool { return bytes.Equal(f, sentinel()) })
	next, err := Adopt(pb.cfg, kept(t, pb))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	l2 := listen(t, next)
	for _, want := range [][]byte{payload, payload, sentinelPayload} {
		if got := l2.advert(); !bytes.Equal(got.Payload, want) {
			t.Errorf("%q waited, want %q", got.Payload, want)
		}
	}
	if c := next.Counters(); c.Adverts != 4 {
		t.Errorf("counters: %+v", c)
	}
	// It speaks and hears as before, also when the last program lets go.
	if err := pb.Close(); err != nil {
		t.Error(err)
	}
	mustSend(t, pa, advert(4))
	l2.advert()
	la := listen(t, pa)
	mustSend(t, next, advert(5))
	la.advert()
}

// Another number of sockets than the configuration needs is refused, and nothing is left
// open.
func TestAdoptRefuses(t *testing.T) {
	_, b := newPair(t)
	pb := b.open()
	for what, change := range map[string]func(*Kept){
		"too many": func(k *Kept) { k.Packet = append(k.Packet, k.Packet[0]) },
		"none":     func(k *Kept) { k.Packet = nil },
	} {
		k := kept(t, pb)
		change(&k)
		if p, err := Adopt(pb.cfg, k); err == nil {
			t.Errorf("%s: adopted", what)
			p.Close()
		}
	}
}
