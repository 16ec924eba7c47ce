package lan

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A real neighbour answers what everybody is asked and what it is asked alone; an
// address that nobody has is answered by nobody, and what others want to know is no
// answer.
func TestAsker(t *testing.T) {
	for _, c := range []struct {
		family            uint8
		own, theirs, none string
	}{
		{4, "192.0.2.1", "192.0.2.2", "192.0.2.3"},
		{6, "fe80::1", "fe80::2", "fe80::3"},
		{6, "fe80::1", "2001:db8::2", "2001:db8::3"},
	} {
		t.Run(c.theirs, func(t *testing.T) {
			a, b := newPair(t)
			for h, ip := range map[*host]string{a: c.own, b: c.theirs} {
				h.address(netip.MustParseAddr(ip))
			}
			a.enter()
			asker, err := OpenAsker(a.ifi.Index, "veth0", c.family)
			if err != nil {
				t.Fatal(err)
			}
			defer asker.Close()
			own, theirs, none := netip.MustParseAddr(c.own), netip.MustParseAddr(c.theirs), netip.MustParseAddr(c.none)
			for _, to := range [][6]byte{{}, b.mac()} {
				if err := asker.Ask(a.mac(), own, theirs, to); err != nil {
					t.Fatal(err)
				}
				got, err := asker.Next(time.Now().Add(patience))
				if err != nil || got != (Answer{MAC: b.mac(), IP: theirs}) {
					t.Fatalf("%+v, %v", got, err)
				}
			}
			if err := asker.Ask(a.mac(), own, none, [6]byte{}); err != nil {
				t.Fatal(err)
			}
			// After it comes what is answered: then nothing was for the other.
			if err := asker.Ask(a.mac(), own, theirs, [6]byte{}); err != nil {
				t.Fatal(err)
			}
			if got, err := asker.Next(time.Now().Add(patience)); err != nil || got.IP != theirs {
				t.Errorf("%+v, %v", got, err)
			}
			if got, err := asker.Next(time.Now().Add(time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%+v, %v", got, err)
			}
			a.setUp(false)
			if err := asker.Ask(a.mac(), own, theirs, [6]byte{}); !errors.Is(err, unix.ENETDOWN) {
				t.Errorf("asked on an interface that is down: %v", err)
			}
			asker.Close()
			if _, err := asker.Next(time.Now().Add(patience)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

// Without an address of its own the machine asks as RFC 5227 has it.
func TestARPRequest(t *testing.T) {
	to, mac, target := [6]byte{2, 0, 0, 0, 0, 9}, [6]byte{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("192.0.2.9")
	probe := AppendARPProbe(nil, mac, target)
	if got := AppendARPRequest(nil, broadcast, mac, netip.Addr{}, target); string(got) != string(probe) {
		t.Errorf("% x\nis not % x", got, probe)
	}
	got := AppendARPRequest([]byte{1, 2, 3}, to, mac, netip.MustParseAddr("192.0.2.1"), target)[3:]
	want := append([]byte(nil), probe...)
	copy(want, to[:])
	copy(want[28:], []byte{192, 0, 2, 1})
	if string(got) != string(want) {
		t.Errorf("% x\nis not % x", got, want)
	}
}
