package lease

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/cilium/ebpf/asm"
	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Direct says which addresses a guard on a parent is for: those of a virtual router
// without a virtual MAC.
//
// Closed, it drops what is sent to one of them and what is sent from one of them, and
// the ARP packets and neighbour advertisements that say where they are; so nobody is
// answered, and nothing is begun. Everything else passes, open or closed, after a few
// instructions that compare one address: the machine's own traffic, adverts, what
// the virtual router's members ask, and frames of a VLAN, which are another
// interface's. So do reports of multicast groups (MLD), whose source may be a virtual
// address: without them a switch would forget the parent's own.
type Direct struct {
	Family    uint8 // 4 or 6
	VRID      uint8
	Addresses []netip.Addr
}

// place is one such guard: each has programs and filters of its own.
type place struct {
	index        int
	family, vrid uint8
}

const (
	// parentProg begins the name of every program on a parent.
	parentProg = "vrrpd_p"
	// parentHandle is that of their filters, with family and VRID.
	parentHandle = 0x76700000
	// madeMark in the handle says that the queueing discipline was made for a guard,
	// and goes with the last one. An administrator's stays.
	madeMark = 1 << 16
)

func (p place) prog() string {
	return parentProg + strconv.Itoa(int(p.family)) + "_" + strconv.Itoa(int(p.vrid))
}

func (p place) target(g *Guards) target {
	return target{
		index: p.index, prog: p.prog(), handle: parentHandle | uint32(p.family)<<8 | uint32(p.vrid), mark: madeMark, own: g.own,
	}
}

// direct reports whether the guard is one on a parent.
func (t target) direct() bool { return t.mark != 0 }

var errParent = errors.New("nftables guards virtual interfaces only")

// AttachDirect puts a closed guard for some addresses on a parent, in the place of
// one for the same virtual router that a dead (or another) instance has left. Guards
// of other virtual routers stay. Otherwise it is as Attach.
func (g *Guards) AttachDirect(index int, d Direct) (*Guard, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := d.validate(); err != nil {
		return nil, fmt.Errorf("guard interface %d: %w", index, err)
	}
	name, err := g.guardable(index, true)
	if err != nil {
		return nil, err
	}
	at := place{index, d.Family, d.VRID}
	t := at.target(g)
	t.name = name
	if slices.ContainsFunc(g.below, func(r Rung) bool { return r == Clsact || r == TCX }) {
		t.block, err = makeBlock(at.prog(), index, 1, func(array int) [2]asm.Instructions {
			return [2]asm.Instructions{d.program(array, true, nearly()), d.program(array, false, nearly())}
		})
		if err != nil {
			return nil, fmt.Errorf("guard %s: %w", name, err)
		}
	}
	old := g.direct[at]
	if t.block != nil {
		g.direct[at] = t.block
	}
	guard, err := g.attach(t, g.below)
	if old != nil && t.block != nil {
		err = errors.Join(err, old.close())
	}
	return guard, err
}

// Bare is what a parent is like without a guard.
type Bare struct {
	Qdisc bool // it has a clsact or ingress queueing discipline
	Queue int  // length of its transmit queue
}

// Bare looks at a parent before AttachDirect, for RemoveDirect.
func (g *Guards) Bare(index int) (Bare, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k, err := g.route.LinkByIndex(index)
	if err != nil {
		return Bare{}, fmt.Errorf("look at interface %d: %w", index, noLink(err))
	}
	found, err := ingress(g.route, k)
	if err != nil {
		return Bare{}, fmt.Errorf("look at %s: %w", k.Attrs().Name, err)
	}
	return Bare{Qdisc: found != "", Queue: k.Attrs().TxQLen}, nil
}

// ingress is the kind of the queueing discipline that filters for the way in stand on;
// "": there is none.
func ingress(route *netlib.Handle, k netlib.Link) (kind string, err error) {
	qdiscs, err := route.QdiscList(k)
	for _, q := range qdiscs {
		if q.Attrs().Parent == netlib.HANDLE_CLSACT {
			kind = q.Type()
		}
	}
	return kind, err
}

// RemoveDirect takes the guard of a virtual router off a parent, as Remove, and with the
// last filter everything that was not there before, which the guard cannot tell if its
// process was killed while it was attached.
func (g *Guards) RemoveDirect(index int, family, vrid uint8, was Bare) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := place{index, family, vrid}.target(g)
	if err := g.remove(t); err != nil {
		return err
	}
	k, err := g.route.LinkByIndex(index)
	if errors.Is(noLink(err), unix.ENODEV) {
		return nil
	}
	if err == nil {
		err = clsact{g.route}.restore(k, was)
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("restore interface %d: %w", index, err)
	}
	return nil
}

func (d Direct) validate() error {
	if d.Family != 4 && d.Family != 6 || len(d.Addresses) == 0 {
		return fmt.Errorf("%d addresses of family %d", len(d.Addresses), d.Family)
	}
	for _, a := range d.Addresses {
		if a.Is4() != (d.Family == 4) || a.Is4In6() || !a.IsValid() {
			return fmt.Errorf("%v is not an IPv%d address", a, d.Family)
		}
	}
	return nil
}

// Where in an Ethernet frame the addresses are.
const (
	ethernetLen = 14

	ipv4Source, ipv4Destination = ethernetLen + 12, ethernetLen + 16
	ipv6Source, ipv6Destination = ethernetLen + 8, ethernetLen + 24
	ipv6Next                    = ethernetLen + 6
	arpSender                   = ethernetLen + 14

	hopByHop = 0 // the next header with which MLD begins
)

// program is the guard's program for one direction: the destination of what comes in,
// the source of what goes out.
//
// A VLAN's frames carry their tag beside them here; tag 0 is no VLAN but a priority.
func (d Direct) program(array int, ingress bool, nearly int64) asm.Instructions {
	b := &assembly{}
	b.add(
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R1, asm.R6, skbVLAN, asm.Word),
		asm.And.Imm(asm.R1, 0xfff),
		asm.JNE.Imm(asm.R1, 0, "pass"),
		asm.LoadMem(asm.R1, asm.R6, skbProtocol, asm.Word),
	)
	switch {
	case d.Family == 4 && ingress:
		b.add(asm.JNE.Imm(asm.R1, ethertype(unix.ETH_P_IP), "pass"))
		b.load(ipv4Destination, 4)
	case d.Family == 4:
		b.add(
			asm.JEq.Imm(asm.R1, ethertype(unix.ETH_P_IP), "ip"),
			asm.JNE.Imm(asm.R1, ethertype(unix.ETH_P_ARP), "pass"))
		b.load(arpSender, 4)
		b.add(asm.Ja.Label("loaded"))
		b.label("ip")
		b.load(ipv4Source, 4)
		b.label("loaded")
	default:
		b.add(asm.JNE.Imm(asm.R1, ethertype(unix.ETH_P_IPV6), "pass"))
		at := int32(ipv6Source)
		if ingress {
			at = ipv6Destination
		}
		b.load(at, 16)
	}
	b.compare(d.words())
	if d.Family == 6 && !ingress {
		b.label("hit")
		b.load(ipv6Next, 1)
		b.add(
			asm.LoadMem(asm.R1, asm.RFP, addressSlot, asm.Byte),
			asm.JEq.Imm(asm.R1, hopByHop, "pass"))
	} else {
		b.label("hit")
	}
	b.add(asm.StoreImm(asm.RFP, keySlot, 0, asm.Word))
	b.add(untilDeadline(array, nearly)...)
	return b.code
}

// ethertype is a protocol number as it lies in a __sk_buff: in network byte order.
func ethertype(n uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n)))
}

// words are the addresses as 32-bit words, the last one first: it tells most of them
// apart.
func (d Direct) words() [][]uint32 {
	all := make([][]uint32, len(d.Addresses))
	for i, a := range d.Addresses {
		b := a.AsSlice()
		for n := len(b) - 4; n >= 0; n -= 4 {
			all[i] = append(all[i], binary.BigEndian.Uint32(b[n:]))
		}
	}
	slices.SortFunc(all, slices.Compare)
	return slices.CompactFunc(all, slices.Equal)
}

// addressSlot is where on the stack an address of the frame lies.
const addressSlot = -24

// assembly is a program in the making. The label of the next instruction is kept
// until there is one.
type assembly struct {
	code    asm.Instructions
	pending string
	labels  int
}

func (b *assembly) add(code ...asm.Instruction) {
	if b.pending != "" && len(code) > 0 {
		code[0], b.pending = code[0].WithSymbol(b.pending), ""
	}
	b.code = append(b.code, code...)
}

// label names the next instruction.
func (b *assembly) label(name string) {
	if b.pending != "" { // one instruction has one name
		b.add(asm.Mov.Reg(asm.R0, asm.R0))
	}
	b.pending = name
}

// load copies bytes of the frame to addressSlot. A frame that is too short for them
// passes: nobody will take it for what it says to be.
func (b *assembly) load(offset, size int32) {
	const fromMAC = 0 // BPF_HDR_START_MAC
	b.add(
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, offset),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, addressSlot),
		asm.Mov.Imm(asm.R4, size),
		asm.Mov.Imm(asm.R5, fromMAC),
		asm.FnSkbLoadBytesRelative.Call(),
		asm.JNE.Imm(asm.R0, 0, "pass"))
}

// compare goes to "hit" if the address in addressSlot is one of those given, sorted,
// and to "pass" if it is not.
func (b *assembly) compare(addrs [][]uint32) {
	last := int16(len(addrs[0])-1) * 4
	b.word(addressSlot + last)
	b.search(addrs)
}

// word loads one word of the address into R1.
func (b *assembly) word(slot int16) {
	b.add(
		asm.LoadMem(asm.R1, asm.RFP, slot, asm.Word),
		asm.HostTo(asm.BE, asm.R1, asm.Word))
}

// search halves the addresses until few are left, and compares those.
func (b *assembly) search(addrs [][]uint32) {
	const few = 4
	if len(addrs) > few {
		b.labels++
		upper := "upper" + strconv.Itoa(b.labels)
		half := len(addrs) / 2
		for half < len(addrs) && addrs[half][0] == addrs[half-1][0] {
			half++ // the same last word belongs together
		}
		if half < len(addrs) {
			b.add(asm.JGE.Imm32(asm.R1, int32(addrs[half][0]), upper))
			b.search(addrs[:half])
			b.label(upper)
			b.search(addrs[half:])
			return
		}
	}
	for _, a := range addrs {
		if len(a) == 1 {
			b.add(asm.JEq.Imm32(asm.R1, int32(a[0]), "hit"))
			continue
		}
		// R1 is the last word; R2 is for the others.
		b.labels++
		not := "not" + strconv.Itoa(b.labels)
		b.add(asm.JNE.Imm32(asm.R1, int32(a[0]), not))
		for n := 1; n < len(a); n++ {
			b.add(
				asm.LoadMem(asm.R2, asm.RFP, addressSlot+int16(len(a)-1-n)*4, asm.Word),
				asm.HostTo(asm.BE, asm.R2, asm.Word),
				asm.JNE.Imm32(asm.R2, int32(a[n]), not))
		}
		b.add(asm.Ja.Label("hit"))
		b.label(not)
	}
	b.add(asm.Ja.Label("pass"))
}
