package lan

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/vishvananda/netlink"
)

// As RFC 4861 draws them (sections 4.3, 4.4 and 4.6.1). The checksums were worked out
// by another program.
func TestNeighbourGolden(t *testing.T) {
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"announcement of a router": {AppendAnnouncement(nil, vmac6, vip6, true), `
			333300000001 00005e000233 86dd
			6c000000 0020 3a ff 20010db80000000000000000000000c8 ff020000000000000000000000000001
			88 00 196a a0000000 20010db80000000000000000000000c8 0201 00005e000233`},
		"announcement of a host": {AppendAnnouncement(nil, vmac6, vip6, false), `
			333300000001 00005e000233 86dd
			6c000000 0020 3a ff 20010db80000000000000000000000c8 ff020000000000000000000000000001
			88 00 996a 20000000 20010db80000000000000000000000c8 0201 00005e000233`},
		"solicitation": {AppendSolicitation(nil, physMAC, linkLocal, vip6), `
			3333ff0000c8 02000000000a 86dd
			6c000000 0020 3a ff fe80000000000000000000000000000a ff0200000000000000000001ff0000c8
			87 00 49c1 00000000 20010db80000000000000000000000c8 0101 02000000000a`},
		"solicitation to a machine": {AppendSolicitationTo(nil, vmac6, physMAC, linkLocal, vip6), `
			00005e000233 02000000000a 86dd
			6c000000 0020 3a ff fe80000000000000000000000000000a 20010db80000000000000000000000c8
			87 00 1a0d 00000000 20010db80000000000000000000000c8 0101 02000000000a`},
		"farewell": {AppendFarewell6(nil, physMAC, linkLocal, vip6, true), `
			3333ff0000c8 02000000000a 86dd
			6c000000 0020 3a ff fe80000000000000000000000000000a ff0200000000000000000001ff0000c8
			88 00 d7b6 a0000000 fe80000000000000000000000000000a 0201 02000000000a`},
	} {
		if want := unhex(t, c.want); !bytes.Equal(c.got, want) || len(c.got) != NeighbourSize {
			t.Errorf("%s:\n got %x\nwant %x", name, c.got, want)
		}
	}
}

// mend makes the checksum of a neighbour advertisement right again.
func mend(frame []byte) []byte {
	ip := frame[ethernetSize:]
	ip[ipv6Size+2], ip[ipv6Size+3] = 0, 0
	binary.BigEndian.PutUint16(ip[ipv6Size+2:], ^icmpSum(ip[:ipv6Size+int(binary.BigEndian.Uint16(ip[4:]))]))
	return frame
}

func TestParseNeighbour(t *testing.T) {
	change := func(f func(frame []byte) []byte) []byte { return f(AppendAnnouncement(nil, vmac6, vip6, true)) }
	for name, c := range map[string]struct {
		frame []byte
		want  Answer
		drop  Drop
	}{
		"as announced": {change(func(f []byte) []byte { return f }), Answer{MAC: vmac6, IP: vip6}, Delivered},
		"padded":       {change(func(f []byte) []byte { return append(f, 0, 0, 0) }), Answer{MAC: vmac6, IP: vip6}, Delivered},
		"farewell":     {AppendFarewell6(nil, physMAC, linkLocal, vip6, true), Answer{physMAC, linkLocal, FarewellTo(vip6)}, Delivered},
		"without the option": {change(func(f []byte) []byte {
			f = f[:len(f)-8]
			f[19] = neighbourHead
			copy(f[6:], physMAC[:])
			return mend(f)
		}), Answer{MAC: physMAC, IP: vip6}, Delivered},
		"sent by somebody else": {change(func(f []byte) []byte { copy(f[6:], physMAC[:]); return f }), Answer{MAC: vmac6, IP: vip6}, Delivered},
		"another option before": {change(func(f []byte) []byte {
			f = append(f[:78], append([]byte{14, 1, 1, 2, 3, 4, 5, 6}, f[78:]...)...)
			f[19] = neighbourSize + 8
			return mend(f)
		}), Answer{MAC: vmac6, IP: vip6}, Delivered},
		"hop limit 254":            {change(func(f []byte) []byte { f[21] = 254; return f }), Answer{}, DropNeighbour},
		"checksum":                 {change(func(f []byte) []byte { f[60]++; return f }), Answer{}, DropNeighbour},
		"code":                     {change(func(f []byte) []byte { f[55] = 1; return mend(f) }), Answer{}, DropNeighbour},
		"solicitation":             {AppendSolicitation(nil, physMAC, linkLocal, vip6), Answer{}, DropNeighbour},
		"option of length 0":       {change(func(f []byte) []byte { f[79] = 0; return mend(f) }), Answer{}, DropNeighbour},
		"option behind the end":    {change(func(f []byte) []byte { f[79] = 2; return mend(f) }), Answer{}, DropNeighbour},
		"a target that is a group": {change(func(f []byte) []byte { f[62] = 0xff; return mend(f) }), Answer{}, DropSource},
		"from nobody":              {change(func(f []byte) []byte { clear(f[22:38]); return mend(f) }), Answer{}, DropSource},
		"short":                    {change(func(f []byte) []byte { return f[:60] }), Answer{}, DropTruncated},
		"cut":                      {change(func(f []byte) []byte { return f[:len(f)-1] }), Answer{}, DropTruncated},
		"IPv4":                     {change(func(f []byte) []byte { f[14] = 0x45; return f }), Answer{}, DropHeader},
	} {
		if got, drop := ParseAnswer(c.frame); got != c.want || drop != c.drop {
			t.Errorf("%s: %+v, %v, want %+v, %v", name, got, drop, c.want, c.drop)
		}
	}
}

// Linux answers both forms of our question, and is not made to know who asks by more
// than is true.
func TestSolicitationIsAnswered(t *testing.T) {
	a, b := newPair(t)
	a.address(linkLocal)
	b.address(vip6)
	pa := a.open(both)
	l := listen(t, pa)
	for name, frame := range map[string][]byte{
		"to the group":   AppendSolicitation(nil, a.mac(), linkLocal, vip6),
		"to the machine": AppendSolicitationTo(nil, b.mac(), a.mac(), linkLocal, vip6),
	} {
		mustSend(t, pa, frame)
		for {
			if got := l.answer(); got == (Answer{MAC: b.mac(), IP: vip6}) {
				break
			} else if got.IP == vip6 {
				t.Fatalf("%s: %+v", name, got)
			} // another address of the host, which is new there
		}
	}
}

// Linux believes the announcement: it changes what a neighbour knows, and that it is
// a router.
func TestAnnouncementIsBelieved(t *testing.T) {
	a, b := newPair(t)
	if err := b.nl.NeighAdd(&netlink.Neigh{LinkIndex: b.ifi.Index, IP: vip6.AsSlice(), HardwareAddr: a.ifi.HardwareAddr, State: netlink.NUD_STALE, Family: netlink.FAMILY_V6}); err != nil {
		t.Fatal(err)
	}
	pa := a.open(both)
	l := listen(t, b.open(both))
	for _, router := range []bool{true, false} {
		mac := vmac6
		mac[5]++
		if router {
			mac = vmac6
		}
		mustSend(t, pa, AppendAnnouncement(nil, mac, vip6, router), sentinel())
		for len(l.next().Adverts) == 0 {
			// It is an answer, too.
		} // what came before the sentinel has been handled
		ns, err := b.nl.NeighList(b.ifi.Index, netlink.FAMILY_V6)
		if err != nil {
			t.Fatal(err)
		}
		learned := false
		for _, n := range ns {
			learned = learned || n.IP.Equal(vip6.AsSlice()) && bytes.Equal(n.HardwareAddr, mac[:]) && (n.Flags&netlink.NTF_ROUTER != 0) == router
		}
		if !learned {
			t.Errorf("router %v: neighbours %+v", router, ns)
		}
	}
}

func TestNeighbourDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 3*NeighbourSize)
	frame := AppendAnnouncement(nil, vmac6, vip6, true)
	advert := advert6()
	if n := testing.AllocsPerRun(100, func() {
		b := AppendAnnouncement(buf, vmac6, vip6, true)
		b = AppendSolicitation(b, physMAC, linkLocal, vip6)
		AppendSolicitationTo(b, vmac6, physMAC, linkLocal, vip6)
		if _, drop := ParseAnswer(frame); drop != Delivered {
			t.Fatal(drop)
		}
		if _, drop := ParseAdvert(advert, false); drop != Delivered {
			t.Fatal(drop)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
