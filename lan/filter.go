package lan

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The filter runs in the kernel for every frame that the parent receives, the router's
// whole traffic: the first few instructions turn away nearly everything.
//
// The socket is a tap for all protocols. The kernel shows a frame to those before anything
// else has it. Where a tap for IPv4 alone gets it, IP's own handler is a second receiver
// of the same packet, and the kernel makes it a copy of the packet's head, which costs three
// times as much as all the rest. What comes of that, besides:
//
//   - what the machine itself sends is not shown (PACKET_IGNORE_OUTGOING), or, by a kernel
//     before 4.20, turned away;
//   - a frame of a VLAN is shown without its tag, as meant for us, whether the machine has
//     that VLAN or not. The kernel says beside it that there was one. Number 0 is none: it
//     gives the frame a priority;
//   - a frame to the MAC of a macvlan on the parent is one for another host;
//   - no classifier, firewall or bridge of this machine has seen the frame.

const (
	refuse = 0
	// whole is longer than any frame: the buffers decide how much is copied.
	whole = 1 << 18
)

// Where a jump of a part of the filter goes, until it is put together.
const (
	// no: to the end, where the frame is refused.
	no = 0xfe
	// ours: to the questions whom the frame is for.
	ours = 0xff
)

// finish makes a part a program: what comes through it is asked whom it is for.
func finish(part []bpf.Instruction) []bpf.Instruction {
	tail := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: unix.PACKET_MULTICAST, SkipTrue: no},
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 2},
		bpf.LoadExtension{Num: bpf.ExtVLANTag},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0xfff, SkipTrue: no},
		bpf.RetConstant{Val: whole},
		bpf.RetConstant{Val: refuse},
	}
	all := slices.Concat(part, tail)
	for i, in := range all {
		jump, ok := in.(bpf.JumpIf)
		if !ok {
			continue
		}
		switch jump.SkipTrue {
		case no:
			jump.SkipTrue = uint8(len(all) - 1 - (i + 1))
		case ours:
			jump.SkipTrue = uint8(len(part) - (i + 1))
		}
		all[i] = jump
	}
	return all
}

// portFilter is the filter of a Port: a program for each type of frame.
func portFilter(families []uint8, unicast func(family uint8) bool) ([]bpf.RawInstruction, error) {
	all := []bpf.Instruction{bpf.LoadAbsolute{Off: 12, Size: 2}}
	add := func(protocol uint32, part []bpf.Instruction) {
		program := finish(part)
		all = append(append(all, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocol, SkipTrue: uint8(len(program))}), program...)
	}
	// In this order: most of what a router forwards is IPv4.
	if slices.Contains(families, 4) {
		add(unix.ETH_P_IP, adverts4(unicast(4)))
	}
	if slices.Contains(families, 6) {
		add(unix.ETH_P_IPV6, heard6(unicast(6)))
	}
	if slices.Contains(families, 4) {
		add(unix.ETH_P_ARP, answers4())
	}
	return bpf.Assemble(append(all, bpf.RetConstant{Val: refuse}))
}

// adverts4 passes protocols 112 and 51 to Group4, and with unicast those to this
// machine alone. Protocol 51 is for everybody: who does not use the Authentication
// Header wants to be able to say that a peer does. The offsets are right also with IP
// options: they lie before them.
func adverts4(unicast bool) []bpf.Instruction {
	g := Group4().As4()
	part := []bpf.Instruction{
		bpf.LoadAbsolute{Off: ethernetSize + 9, Size: 1}, // protocol
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: ProtocolVRRP, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: ProtocolAH, SkipTrue: no},
	}
	if unicast {
		part = append(part,
			bpf.LoadExtension{Num: bpf.ExtType},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_HOST, SkipTrue: ours})
	}
	return append(part,
		bpf.LoadAbsolute{Off: ethernetSize + 16, Size: 4}, // destination
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(g[:]), SkipTrue: no})
}

// answers4 passes ARP replies for Ethernet and IPv4.
func answers4() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: ethernetSize + 6, Size: 2}, // operation
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: arpReply, SkipTrue: no},
		bpf.LoadAbsolute{Off: ethernetSize, Size: 4}, // hardware and protocol type
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: arpEthernetIPv4, SkipTrue: no},
		bpf.LoadAbsolute{Off: ethernetSize + 4, Size: 2}, // lengths
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: arpLengths, SkipTrue: no},
	}
}

// heard6 passes what goes to Group6, whatever its next header is, because a filter
// cannot follow extension headers, and neighbour advertisements with hop limit 255;
// with unicast also protocol 112 to this machine alone, where it comes without such
// headers. The group's last word is looked at first: of the traffic the others are often
// the same.
func heard6(unicast bool) []bpf.Instruction {
	g := Group6().As16()
	const to = ethernetSize + 24 // destination
	var part []bpf.Instruction
	word := func(i int) []bpf.Instruction {
		return []bpf.Instruction{
			bpf.LoadAbsolute{Off: uint32(to + 4*i), Size: 4},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(g[4*i:]), SkipTrue: uint8(2 * i)},
		}
	}
	// Each goes on behind the last of them if it is another.
	part = slices.Concat(word(3), word(2), word(1), word(0))
	part[7] = bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(g[:]), SkipTrue: ours}
	if unicast {
		// The packet type has to say that it is meant for this machine: that is asked of all.
		part = append(part,
			bpf.LoadAbsolute{Off: ethernetSize + 6, Size: 1}, // next header
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: ProtocolVRRP, SkipTrue: ours})
	}
	return append(part, neighbours6()...)
}

// neighbours6 passes neighbour advertisements with hop limit 255.
func neighbours6() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: ethernetSize + 6, Size: 1}, // next header
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmpv6, SkipTrue: no},
		bpf.LoadAbsolute{Off: ethernetSize + ipv6Size, Size: 1}, // type
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: advertisement, SkipTrue: no},
		bpf.LoadAbsolute{Off: ethernetSize + 7, Size: 1}, // hop limit
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 255, SkipTrue: no},
	}
}
