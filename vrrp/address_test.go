package vrrp

import (
	"net/netip"
	"testing"
)

func TestRFC9568_5_1_1_2_Group(t *testing.T) {
	if got := IPv4.Group(); got != netip.MustParseAddr("224.0.0.18") {
		t.Errorf("IPv4 group is %v", got)
	}
	if got := IPv4.GroupMAC(); got != [6]byte{0x01, 0x00, 0x5e, 0x00, 0x00, 0x12} {
		t.Errorf("IPv4 group MAC is % x", got)
	}
}

func TestRFC9568_5_1_1_4_Protocol(t *testing.T) {
	if Protocol != 112 {
		t.Errorf("protocol is %d", Protocol)
	}
}

func TestRFC9568_5_1_2_2_Group(t *testing.T) {
	if got := IPv6.Group(); got != netip.MustParseAddr("ff02::12") {
		t.Errorf("IPv6 group is %v", got)
	}
	if got := IPv6.GroupMAC(); got != [6]byte{0x33, 0x33, 0x00, 0x00, 0x00, 0x12} {
		t.Errorf("IPv6 group MAC is % x", got)
	}
}

func TestRFC9568_7_3_VMAC(t *testing.T) {
	if got := IPv4.VMAC(51); got != [6]byte{0x00, 0x00, 0x5e, 0x00, 0x01, 0x33} {
		t.Errorf("IPv4: % x", got)
	}
	if got := IPv6.VMAC(255); got != [6]byte{0x00, 0x00, 0x5e, 0x00, 0x02, 0xff} {
		t.Errorf("IPv6: % x", got)
	}
}

func TestFamily(t *testing.T) {
	for addr, want := range map[netip.Addr]Family{
		netip.MustParseAddr("192.0.2.1"):        IPv4,
		netip.MustParseAddr("fe80::1"):          IPv6,
		netip.MustParseAddr("::ffff:192.0.2.1"): IPv6,
		{}:                                      0,
	} {
		if got := FamilyOf(addr); got != want {
			t.Errorf("%v is %v", addr, got)
		}
	}
	if none := Family(0); none.Group().IsValid() || none.VMAC(1) != [6]byte{} || none.GroupMAC() != [6]byte{} {
		t.Error("no family has addresses")
	}
	for f, want := range map[Family]string{IPv4: "IPv4", IPv6: "IPv6", 5: "no family"} {
		if f.String() != want {
			t.Errorf("family %d is %q", uint8(f), f)
		}
	}
	for f, want := range map[ChecksumForm]string{RFC9568: "rfc9568", RFC5798: "rfc5798", 2: "unknown"} {
		if f.String() != want {
			t.Errorf("form %d is %q", uint8(f), f)
		}
	}
}
