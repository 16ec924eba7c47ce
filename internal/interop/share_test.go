package interop

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

// ourShare ends with the peer's word that it serves, if we are silent from then on. Others
// say so before they have the addresses; how long they take then, on a machine that is
// busy, is not ours to answer for.
func ourShare(ours, peers []netlab.Frame, virtual func(netip.Addr) bool, hole netlab.Outage) time.Duration {
	var word time.Time // its first one since it did not serve
	for _, f := range peers {
		switch a, ok := f.Advert(); {
		case !ok || f.Out || !f.At.Before(hole.To):
		case a.Priority == 0:
			word = time.Time{}
		case word.IsZero():
			word = f.At
		}
	}
	disturbs := func(f netlab.Frame) bool {
		if f.Out || !f.At.After(word) || !f.At.Before(hole.To) {
			return false
		}
		if announced(f, virtual) != "" {
			return true
		}
		// What was said before the word was heard may have crossed it.
		_, advert := f.Advert()
		return f.At.After(word.Add(often)) && (advert || answers(f, virtual))
	}
	if hole.Open || word.IsZero() || slices.ContainsFunc(ours, disturbs) {
		return hole.Length()
	}
	return max(0, word.Sub(hole.From))
}

// answers: the frame says to who has asked that one of the virtual addresses is here.
func answers(f netlab.Frame, virtual func(netip.Addr) bool) bool {
	a, arp := f.ARP()
	n, nd := f.Neighbour()
	return arp && a.Reply && virtual(a.SenderIP) || nd && n.Advertisement && virtual(n.Target)
}

// The hole begins a second after zero and lasts for half of one.
func TestOurShare(t *testing.T) {
	zero := time.Now()
	const msec = time.Millisecond
	at := func(f netlab.Frame, after time.Duration) netlab.Frame {
		f.At = zero.Add(after)
		return f
	}
	advert := func(after time.Duration, priority byte) netlab.Frame {
		ip := []byte{0x45, 0, 0, 20 + 8 + 4 + 8, 0, 0, 0, 0, 255, 112, 0, 0, 198, 51, 100, 1, 224, 0, 0, 18}
		msg := []byte{0x21, vrid, priority, 1, 0, 1, 0, 0, 198, 51, 100, 200, 0, 0, 0, 0, 0, 0, 0, 0}
		return at(netlab.Frame{Data: slices.Concat(make([]byte, 12), []byte{8, 0}, ip, msg)}, after)
	}
	arp := func(after time.Duration, a netlab.ARP) netlab.Frame {
		return at(netlab.Frame{Data: a.Frame(netlab.VMAC(vrid), netlab.Broadcast())}, after)
	}
	tells := netlab.ARP{SenderIP: vip, TargetIP: vip}
	reply := netlab.ARP{Reply: true, SenderIP: vip, TargetIP: host(10)[0].Addr()}
	hole := netlab.Outage{Span: netlab.Span{From: zero.Add(time.Second), To: zero.Add(1500 * msec)}, Lost: 50}
	const whole = 500 * msec
	before, after := advert(999*msec, 100), advert(1400*msec, 100)
	resigns := advert(900*msec, 0)
	type frames = []netlab.Frame
	for _, c := range []struct {
		what        string
		ours, peers frames
		want        time.Duration
	}{
		{"it spoke, and then nobody answered", frames{resigns}, frames{before, after}, 0},
		{"nobody answered before it spoke", frames{resigns}, frames{after}, 400 * msec},
		{"it has only resigned", nil, frames{resigns}, whole},
		{"it was silent", frames{resigns}, nil, whole},
		{"it has resigned since", nil, frames{advert(800*msec, 100), resigns}, whole},
		{"it resigns while nobody answers", nil, frames{before, advert(1100*msec, 0)}, whole},
		{"it speaks when it answers", frames{resigns}, frames{advert(1500*msec, 100)}, whole},
		{"our advert has crossed its own", frames{advert(time.Second, 100)}, frames{before}, 0},
		{"we spoke after it", frames{after}, frames{before}, whole},
		{"we resigned after it", frames{advert(1200*msec, 0)}, frames{before}, whole},
		{"we announced the address before", frames{arp(900*msec, tells)}, frames{before}, 0},
		{"we did at once after it", frames{arp(time.Second, tells)}, frames{before}, whole},
		{"we answered just before it was heard", frames{arp(time.Second, reply)}, frames{before}, 0},
		{"we answered long after it", frames{arp(1200*msec, reply)}, frames{before}, whole},
	} {
		ofVIP := func(a netip.Addr) bool { return a == vip }
		if got := ourShare(c.ours, c.peers, ofVIP, hole); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
		open := hole
		open.Open = true
		if got := ourShare(c.ours, c.peers, ofVIP, open); got != whole {
			t.Errorf("%s, and nobody ever answered: %v", c.what, got)
		}
	}
}
