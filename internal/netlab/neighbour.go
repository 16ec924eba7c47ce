package netlab

import (
	"encoding/binary"
	"net/netip"
)

// ICMPv6 types.
const (
	echoRequest6, echoReply6     = 128, 129
	solicitation, advertisement6 = 135, 136
)

const protoICMP6 = 58

// Neighbour is a neighbour solicitation or advertisement (RFC 4861), what ARP is to
// IPv4. It is decoded independently of package lan, which is what is tested.
type Neighbour struct {
	Advertisement               bool
	Router, Solicited, Override bool // flags of an advertisement
	Src, Dst                    netip.Addr
	HopLimit                    uint8
	Target                      netip.Addr
	MAC                         MAC // of the option; zero: there is none
}

// MatchNeighbours selects neighbour solicitations and advertisements.
func MatchNeighbours() Match { return matchICMP6(solicitation, advertisement6) }

// MatchEcho6 selects ICMPv6 echo requests and replies.
func MatchEcho6() Match { return matchICMP6(echoRequest6, echoReply6) }

func matchICMP6(types ...uint32) (m Match) {
	for _, t := range types {
		m = append(m, []Field{{etherTypeAt, 2, typeIP6}, {ip6NextAt, 1, protoICMP6}, {ip6End, 1, t}})
	}
	return m
}

// Neighbour decodes the frame; false if it is neither.
func (f Frame) Neighbour() (n Neighbour, ok bool) {
	proto, b, ok := f.ip(&n.Src, &n.Dst, &n.HopLimit)
	if !ok || proto != protoICMP6 || !n.Src.Is6() || len(b) < 24 || b[0] != solicitation && b[0] != advertisement6 {
		return Neighbour{}, false
	}
	n.Advertisement = b[0] == advertisement6
	if n.Advertisement {
		n.Router, n.Solicited, n.Override = b[4]&0x80 != 0, b[4]&0x40 != 0, b[4]&0x20 != 0
	}
	n.Target = netip.AddrFrom16([16]byte(b[8:24]))
	for o := b[24:]; len(o) >= 8 && o[1] > 0 && len(o) >= 8*int(o[1]); o = o[8*int(o[1]):] {
		if kind := byte(1); o[0] == kind || n.Advertisement && o[0] == 2 {
			copy(n.MAC[:], o[2:])
		}
	}
	return n, true
}

// Frame returns a solicitation as an Ethernet frame to the target's group.
func (n Neighbour) Frame() []byte {
	t := n.Target.As16()
	group := [16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]}
	return n.solicitation(MAC{0x33, 0x33, 0xff, t[13], t[14], t[15]}, netip.AddrFrom16(group))
}

// FrameTo returns one to the target itself, which is thought to be at mac.
func (n Neighbour) FrameTo(mac MAC) []byte { return n.solicitation(mac, n.Target) }

func (n Neighbour) solicitation(to MAC, dst netip.Addr) []byte {
	b := append([]byte{solicitation, 0, 0, 0, 0, 0, 0, 0}, n.Target.AsSlice()...)
	b = append(append(b, 1, 1), n.MAC[:]...)
	return icmp6(n.MAC, to, n.Src, dst, b)
}

// icmp6 is an Ethernet frame with an ICMPv6 message, whose checksum it fills in.
func icmp6(from, to MAC, src, dst netip.Addr, message []byte) []byte {
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(message)))
	pseudo = append(pseudo, 0, 0, 0, protoICMP6)
	binary.BigEndian.PutUint16(message[2:], checksum(append(pseudo, message...)))
	b := ethernet(from, to, typeIP6)
	b = append(b, 0x60, 0, 0, 0, byte(len(message)>>8), byte(len(message)), protoICMP6, 255)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	return append(b, message...)
}
