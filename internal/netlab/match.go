package netlab

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/net/bpf"
)

// Field is a condition on a frame: the big-endian number of Size bytes (1, 2
// or 4) at offset At equals Value. Offset 0 is the destination MAC.
type Field struct {
	At, Size int
	Value    uint32
}

// Match selects frames: those that fulfil all Fields of any of its rows. The
// zero value selects every frame. Sniffers and losses evaluate it in the
// kernel. It knows IPv4 headers without options only.
type Match [][]Field

// Or selects what any of the matches selects.
func Or(matches ...Match) Match { return slices.Concat(matches...) }

// Offsets in an Ethernet frame.
const (
	etherTypeAt = 12
	ip4At       = 14
	ip4ProtoAt  = ip4At + 9
	ip4End      = ip4At + 20
	ip6NextAt   = ip4At + 6
	ip6End      = ip4At + 40
	ahLen       = 24 // authentication header with the 12 bytes of HMAC-MD5-96
)

// EtherTypes and protocol numbers.
const (
	typeIP4, typeARP, typeIP6 = 0x0800, 0x0806, 0x86dd

	protoICMP, protoUDP, protoAH, protoVRRP = 1, 17, 51, 112
)

// vrrpGroup4 is 224.0.0.18.
const vrrpGroup4 = 0xe0000012

// MatchARP selects ARP.
func MatchARP() Match { return Match{{{etherTypeAt, 2, typeARP}}} }

// MatchICMP selects ICMP for IPv4.
func MatchICMP() Match { return Match{{{etherTypeAt, 2, typeIP4}, {ip4ProtoAt, 1, protoICMP}}} }

// MatchUDP selects UDP over IPv4.
func MatchUDP() Match { return Match{{{etherTypeAt, 2, typeIP4}, {ip4ProtoAt, 1, protoUDP}}} }

// MatchAdverts selects VRRP adverts over IPv4 and IPv6, with or without an
// authentication header.
func MatchAdverts() Match { return advertsWith() }

// MatchVRID selects the adverts of one virtual router.
func MatchVRID(vrid uint8) Match { return advertsWith(Field{1, 1, uint32(vrid)}) }

// MatchPriority selects adverts of one priority; 0 is a resignation.
func MatchPriority(priority uint8) Match { return advertsWith(Field{2, 1, uint32(priority)}) }

// advertsWith selects adverts whose VRRP message fulfils the fields, whose
// offsets count from its first byte.
func advertsWith(fields ...Field) Match {
	row := func(start int, conditions ...Field) []Field {
		for _, f := range fields {
			conditions = append(conditions, Field{start + f.At, f.Size, f.Value})
		}
		return conditions
	}
	return Match{
		row(ip4End, Field{etherTypeAt, 2, typeIP4}, Field{ip4ProtoAt, 1, protoVRRP}),
		row(ip4End+ahLen, Field{etherTypeAt, 2, typeIP4}, Field{ip4ProtoAt, 1, protoAH}, Field{ip4At + 16, 4, vrrpGroup4}),
		row(ip6End, Field{etherTypeAt, 2, typeIP6}, Field{ip6NextAt, 1, protoVRRP}),
	}
}

// Frame tells whether the match selects the frame.
func (m Match) Frame(frame []byte) bool {
	return len(m) == 0 || slices.ContainsFunc(m, func(row []Field) bool {
		return !slices.ContainsFunc(row, func(f Field) bool { return !f.holds(frame) })
	})
}

func (f Field) holds(frame []byte) bool {
	if f.At < 0 || f.At+f.Size > len(frame) {
		return false
	}
	switch b := frame[f.At:]; f.Size {
	case 1:
		return uint32(b[0]) == f.Value
	case 2:
		return uint32(binary.BigEndian.Uint16(b)) == f.Value
	case 4:
		return binary.BigEndian.Uint32(b) == f.Value
	}
	return false
}

func (m Match) validate() error {
	for _, row := range m {
		for _, f := range row {
			if f.At < 0 || f.At > 1<<15 || f.Size != 1 && f.Size != 2 && f.Size != 4 {
				return fmt.Errorf("match: no field of %d bytes at %d", f.Size, f.At)
			}
		}
	}
	return nil
}

// classic returns the match as a socket filter. A frame too short for a field
// is not selected, nor looked at further: rows are for frames of one kind, and
// a short one of that kind is malformed.
func (m Match) classic() ([]bpf.RawInstruction, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	var prog []bpf.Instruction
	for _, row := range m {
		for i, f := range row {
			// Behind this comparison: two instructions a field, and RetConstant.
			skip := 2*(len(row)-i-1) + 1
			prog = append(prog,
				bpf.LoadAbsolute{Off: uint32(f.At), Size: f.Size},
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: f.Value, SkipFalse: uint8(skip)})
		}
		prog = append(prog, bpf.RetConstant{Val: 1 << 18})
	}
	if len(m) == 0 {
		prog = append(prog, bpf.RetConstant{Val: 1 << 18})
	}
	return bpf.Assemble(append(prog, bpf.RetConstant{Val: 0}))
}

// extended returns the match as the beginning of an eBPF program: it goes on at
// the symbol hit or jumps to miss. It expects the context in R6.
func (m Match) extended(hit, miss string) asm.Instructions {
	var prog asm.Instructions
	for n, row := range m {
		next := fmt.Sprintf("row%d", n+1)
		for i, f := range row {
			load := asm.LoadAbs(int32(f.At), size(f.Size))
			if i == 0 && n > 0 {
				load = load.WithSymbol(fmt.Sprintf("row%d", n))
			}
			prog = append(prog, load, asm.JNE.Imm32(asm.R0, int32(f.Value), next))
		}
		prog = append(prog, asm.Ja.Label(hit))
	}
	if len(m) > 0 {
		prog = append(prog, asm.Ja.Label(miss).WithSymbol(fmt.Sprintf("row%d", len(m))))
	}
	return prog
}

func size(bytes int) asm.Size {
	switch bytes {
	case 1:
		return asm.Byte
	case 2:
		return asm.Half
	}
	return asm.Word
}
