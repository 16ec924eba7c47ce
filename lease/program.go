package lease

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// progName is the name of the program in the kernel and of the filters: by it a
// guard of a dead instance is recognised. At most 15 bytes.
const progName = "vrrpd_lease"

// blockSize is how many consecutive interface indexes share an array and a
// program.
const blockSize = 512

// An entry of the array is two words: the deadline, and one that the program
// keeps for itself.
const (
	entryWords = 2
	wordSize   = 8
)

// block is an array of deadlines and the programs that read it, one for each side of
// an interface: of the interfaces with an index from first on, whose programs are the
// same, or of one guard on a parent. The ordinary process has one.
type block struct {
	first    int
	ids      [2]ebpf.ProgramID // by side, as hooks and sides
	progs    [2]*ebpf.Program
	array    *ebpf.Map
	deadline *cells
}

// newBlock makes the block of the interfaces from first on.
func newBlock(first int) (*block, error) { return newBlockNear(first, nearly()) }

// nearly is how near a deadline has to be for the clock to be read for every frame, ns.
func nearly() int64 { return int64(stallTicks * kernelTick()) }

// newBlockNear is newBlock with another distance at which deadlines are near.
func newBlockNear(first int, nearly int64) (*block, error) {
	return makeBlock(progName, first, blockSize, func(array int) [2]asm.Instructions {
		p := program(array, first, nearly)
		return [2]asm.Instructions{p, p}
	})
}

// makeBlock makes an array of entries and the programs for it.
func makeBlock(name string, first, entries int, programs func(array int) [2]asm.Instructions) (*block, error) {
	array, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: entryWords * wordSize,
		MaxEntries: uint32(entries), Flags: unix.BPF_F_MMAPABLE,
	})
	if err != nil {
		return nil, fmt.Errorf("make the array of deadlines: %w", err)
	}
	b := &block{first: first, array: array}
	p := programs(array.FD())
	for side := range p {
		if side > 0 && &p[side][0] == &p[0][0] {
			b.progs[side], b.ids[side] = b.progs[0], b.ids[0]
			continue
		}
		if err := b.load(side, name, p[side]); err != nil {
			return nil, errors.Join(fmt.Errorf("load the guard program: %w", err), b.close())
		}
	}
	if b.deadline, err = mapCells(array.FD(), entryWords*entries); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *block) load(side int, name string, p asm.Instructions) (err error) {
	b.progs[side], err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name, Type: ebpf.SchedCLS, License: "MIT", // no helper in it is for the GPL only
		Instructions: p,
	})
	if err != nil {
		return err
	}
	info, err := b.progs[side].Info()
	if err == nil {
		b.ids[side], _ = info.ID()
	}
	return err
}

// close lets go of the descriptors. Filters and attachments keep the programs,
// and the programs keep the array.
func (b *block) close() error {
	errs := []error{b.array.Close()}
	for _, p := range b.progs {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}

// stallTicks is how long the kernel's count of ticks may stand still while frames
// are handled: another processor sees to it that it goes on after five of its own
// ticks (MAX_STALLED_JIFFIES, Linux 5.18), and may be late by one; so may this one.
const stallTicks = 7

// program drops a frame unless now < deadline of the interface it comes in on
// or goes out of. What it does not know it drops. A frame that it passes is
// left to the filters after it. The comparison is signed: a negative deadline
// is a closed guard, not an eternal one.
//
// Reading the clock is nearly all that the program costs. As long as the deadline is
// more than nearly (ns) away it does so once for each deadline and tick of the
// kernel: the sum of both is kept in the second word, and a frame that finds its own
// sum there passes, because within that tick the deadline cannot be reached. The sum
// of another deadline and another tick is not the same, because deadlines are
// nanoseconds and ticks small numbers; and a guard that is closed is never looked up.
func program(array, first int, nearly int64) asm.Instructions {
	p := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, skbIfindex, asm.Word),
		asm.Sub.Imm(asm.R6, int32(first)),
		asm.StoreMem(asm.RFP, keySlot, asm.R6, asm.Word),
	}
	return append(p, untilDeadline(array, nearly)...)
}

// Offsets into struct __sk_buff, linux/bpf.h.
const (
	skbProtocol = 16
	skbVLAN     = 24 // vlan_tci; 0 without a tag
	skbIfindex  = 40
)

// keySlot is where on the stack the key of an entry lies, below the frame pointer.
const keySlot = -4

// untilDeadline is the end of every program: it passes (label "pass") while the
// deadline of the entry with the key in keySlot lies ahead, and drops (label "drop")
// from then on.
func untilDeadline(array int, nearly int64) asm.Instructions {
	const (
		next = -1 // TC_ACT_UNSPEC, TCX_NEXT
		drop = 2  // TC_ACT_SHOT, TCX_DROP
	)
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, array),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, keySlot),
		asm.FnMapLookupElem.Call(), // the kernel makes it a few instructions
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.LoadMem(asm.R6, asm.R7, 0, asm.DWord),
		asm.JSLE.Imm(asm.R6, 0, "drop"),

		asm.FnJiffies64.Call(), // one load
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.Add.Reg(asm.R8, asm.R6),
		asm.LoadMem(asm.R1, asm.R7, wordSize, asm.DWord),
		asm.JEq.Reg(asm.R1, asm.R8, "pass"),

		asm.FnKtimeGetBootNs.Call(),
		asm.JSGE.Reg(asm.R0, asm.R6, "drop"),
		asm.LoadImm(asm.R1, nearly, asm.DWord),
		asm.Sub.Reg(asm.R6, asm.R1),
		asm.JSGE.Reg(asm.R0, asm.R6, "pass"),
		asm.StoreMem(asm.R7, wordSize, asm.R8, asm.DWord),

		asm.Mov.Imm(asm.R0, next).WithSymbol("pass"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, drop).WithSymbol("drop"),
		asm.Return(),
	}
}
