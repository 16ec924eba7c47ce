package vrrp

import (
	"testing"
	"time"
)

// Version 2 beside version 3 (RFC 9568 section 8.4.2): both are heard, the interval of
// version 2 is learned in its seconds, and all other checks of version 2 stay.
func TestRFC9568_8_4_2_BothVersionsAreHeard(t *testing.T) {
	r, p2 := goldenNamed(t, v2Two)
	_, p3 := goldenNamed(t, v3IPv4)
	both := r
	both.Version, both.Beside2 = 3, true
	only3 := r
	only3.Version = 3
	for name, p := range map[string]Packet{"version 2": p2, "version 3": p3} {
		if a := expect(t, both, p, DropNone); a.IntervalDiffers || a.AddressesDiffer || a.Version != p.Payload[0]>>4 {
			t.Errorf("%s: %+v", name, a)
		}
	}
	expect(t, r, p3, DropVersion)
	expect(t, only3, p2, DropVersion)
	expect(t, both, edit(p2, func(b []byte) { b[0] = 0x41 }), DropVersion)

	every := func(s byte) Packet { return edit(p2, func(b []byte) { b[5] = s }) }
	if a := expect(t, both, every(5), DropNone); a.Interval != 5*time.Second || !a.IntervalDiffers {
		t.Errorf("learned %v, differs: %v", a.Interval, a.IntervalDiffers)
	}
	expect(t, r, every(5), DropInterval)
	expect(t, both, every(0), DropIntervalZero)
	// Version 2 cannot say less than a second.
	both.Interval = 100 * time.Millisecond
	if a := expect(t, both, every(1), DropNone); a.Interval != time.Second || a.IntervalDiffers {
		t.Errorf("learned %v, differs: %v", a.Interval, a.IntervalDiffers)
	}

	// What else version 2 is dropped for.
	expect(t, both, edit(p2, func(b []byte) { b[4] = AuthPassword }), DropAuthType)
	expect(t, both, edit(p2, func(b []byte) { b[11]++ }), DropAddressList)
	expect(t, both, Packet{Src: p2.Src, Dst: p2.Dst, TTL: 254, Payload: p2.Payload}, DropTTL)
	both.Family = IPv6
	expect(t, both, p2, DropFamily)
}
