package lan

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The filters run in the kernel for every IPv4, ARP or IPv6 frame that the parent
// receives, the router's whole traffic: the first few instructions turn away
// nearly everything.
//
// All want the packet type to be host, broadcast or multicast. That keeps out
// what the machine itself sends (a tap for one protocol does not see it anyway,
// one for all protocols does), and frames of a VLAN that this machine does not
// have: the kernel shows those to the taps of the trunk, without their tag, as
// meant for another host.
//
// Frames of a VLAN that the machine does have are shown to the taps of the trunk,
// too, without their tag and as meant for us: only the interface that they are for
// by now tells them apart (ofInterface). So are frames to the MAC of a macvlan.

const (
	refuse = 0
	// whole is longer than any frame: the buffers decide how much is copied.
	whole = 1 << 18
)

// ofInterface is what stands before every filter: it turns away what the kernel has
// meanwhile given to an interface above the one with this index.
func ofInterface(index int) ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(index), SkipTrue: 1},
		bpf.RetConstant{Val: refuse},
	})
}

// advertFilter passes protocols 112 and 51 to Group4, and with unicast those to this
// machine alone. Protocol 51 is for everybody: who does not use the Authentication
// Header wants to be able to say that a peer does. The offsets are right also with IP
// options: they lie before them.
func advertFilter(unicast bool) ([]bpf.RawInstruction, error) {
	g := Group4().As4()
	// What is meant for this machine passes at once, or goes the way of the rest.
	forMe := bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_HOST, SkipTrue: 3}
	if !unicast {
		forMe.SkipTrue = 0
	}
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: ethernetSize + 9, Size: 1}, // protocol
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: ProtocolVRRP, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: ProtocolAH, SkipTrue: 5},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: unix.PACKET_MULTICAST, SkipTrue: 3},
		forMe,
		bpf.LoadAbsolute{Off: ethernetSize + 16, Size: 4}, // destination
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(g[:]), SkipTrue: 1},
		bpf.RetConstant{Val: refuse},
		bpf.RetConstant{Val: whole},
	})
}

// answerFilter passes ARP replies for Ethernet and IPv4.
func answerFilter() ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: ethernetSize + 6, Size: 2}, // operation
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: arpReply, SkipTrue: 6},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: unix.PACKET_MULTICAST, SkipTrue: 4},
		bpf.LoadAbsolute{Off: ethernetSize, Size: 4}, // hardware and protocol type
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: arpEthernetIPv4, SkipTrue: 2},
		bpf.LoadAbsolute{Off: ethernetSize + 4, Size: 2}, // lengths
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arpLengths, SkipTrue: 1},
		bpf.RetConstant{Val: refuse},
		bpf.RetConstant{Val: whole},
	})
}

// filter6 passes what goes to Group6, whatever its next header is, because a filter
// cannot follow extension headers, and neighbour advertisements with hop limit 255;
// with unicast also protocol 112 to this machine alone, where it comes without such
// headers.
func filter6(unicast bool) ([]bpf.RawInstruction, error) {
	g := Group6().As16()
	word := func(i int) uint32 { return binary.BigEndian.Uint32(g[4*i:]) }
	const to = ethernetSize + 24 // destination
	// What is meant for this machine goes to the packet type, which has to say so, too.
	var forMe []bpf.Instruction
	if unicast {
		forMe = []bpf.Instruction{
			bpf.LoadAbsolute{Off: ethernetSize + 6, Size: 1}, // next header
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: ProtocolVRRP, SkipTrue: neighbourChecks},
		}
	}
	return bpf.Assemble(slices.Concat([]bpf.Instruction{
		bpf.LoadAbsolute{Off: to, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: word(0), SkipTrue: 6},
		bpf.LoadAbsolute{Off: to + 4, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: word(1), SkipTrue: 4},
		bpf.LoadAbsolute{Off: to + 8, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: word(2), SkipTrue: 2},
		bpf.LoadAbsolute{Off: to + 12, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: word(3), SkipTrue: uint8(len(forMe)) + neighbourChecks},
	}, forMe, neighbourTail()))
}

// neighbourChecks is how many instructions of neighbourTail tell an advertisement of
// a neighbour; the packet type follows.
const neighbourChecks = 6

// neighbourTail passes neighbour advertisements with hop limit 255.
func neighbourTail() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: ethernetSize + 6, Size: 1}, // next header
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmpv6, SkipTrue: 6},
		bpf.LoadAbsolute{Off: ethernetSize + ipv6Size, Size: 1}, // type
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: advertisement, SkipTrue: 4},
		bpf.LoadAbsolute{Off: ethernetSize + 7, Size: 1}, // hop limit
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 255, SkipTrue: 2},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: unix.PACKET_MULTICAST, SkipTrue: 1},
		bpf.RetConstant{Val: refuse},
		bpf.RetConstant{Val: whole},
	}
}
