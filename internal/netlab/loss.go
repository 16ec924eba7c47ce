package netlab

import (
	"errors"
	"fmt"
	"math"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Direction of frames on a cable.
type Direction uint8

const (
	FromHost Direction = iota + 1 // what the host sends
	ToHost                        // what the host would receive
)

// Loss says which frames a cable loses.
type Loss struct {
	Direction Direction
	Match     Match   // zero value: every frame
	Count     int     // how many are lost before the rest passes; 0: all
	Share     float64 // probability of each loss, 0 < Share < 1; 0: every one
}

// Drop is a Loss in force.
type Drop struct {
	rules *rules
	prog  *ebpf.Program
	state *ebpf.Map
	bpf   *netlink.BpfFilter
	item  *item
}

// rules are the losses of one port: a clsact queueing discipline with one
// filter a loss.
type rules struct {
	cable *Cable
	drops stack
	next  uint16 // priority of the next filter; guarded by Cable.mu
}

// noLimit is a budget that nobody uses up.
const noLimit = math.MaxInt64 / 2

// Drop makes the cable lose frames until the Drop is closed. It works by eBPF
// on the switch's port, so that both ends see a carrier and nothing else.
// Losses in one direction add up.
func (c *Cable) Drop(loss Loss) (*Drop, error) {
	if err := loss.Match.validate(); err != nil {
		return nil, err
	}
	if loss.Direction != FromHost && loss.Direction != ToHost || loss.Count < 0 || loss.Share < 0 || loss.Share >= 1 {
		return nil, fmt.Errorf("drop on %s: bad loss %+v", c.Port, loss)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loss == nil {
		qdisc := &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: c.index,
			Handle:    netlink.MakeHandle(0xffff, 0),
			Parent:    netlink.HANDLE_CLSACT,
		}}
		if err := c.Switch.nl.QdiscAdd(qdisc); err != nil {
			return nil, fmt.Errorf("drop on %s: add clsact: %w", c.Port, err)
		}
		c.loss = &rules{cable: c, next: 1}
	}
	d := &Drop{rules: c.loss}
	if err := d.attach(loss); err != nil {
		return nil, errors.Join(fmt.Errorf("drop on %s: %w", c.Port, err), d.release())
	}
	d.item = c.loss.drops.push(d.end)
	return d, nil
}

func (d *Drop) attach(loss Loss) error {
	var err error
	d.state, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("make map: %w", err)
	}
	budget := int64(noLimit)
	if loss.Count > 0 {
		budget = int64(loss.Count)
	}
	if err := d.state.Put(uint32(0), [2]int64{budget, 0}); err != nil {
		return fmt.Errorf("set budget: %w", err)
	}
	d.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "netlab_drop", Type: ebpf.SchedCLS, License: "MIT",
		Instructions: dropProgram(loss, d.state.FD()),
	})
	if err != nil {
		return fmt.Errorf("load program: %w", err)
	}
	parent := uint32(netlink.HANDLE_MIN_INGRESS)
	if loss.Direction == ToHost {
		parent = netlink.HANDLE_MIN_EGRESS
	}
	bpf := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: d.rules.cable.index, Parent: parent, Handle: 1,
			Protocol: unix.ETH_P_ALL, Priority: d.rules.next,
		},
		Fd: d.prog.FD(), Name: "netlab_drop", DirectAction: true,
	}
	if err := d.rules.cable.Switch.nl.FilterAdd(bpf); err != nil {
		return fmt.Errorf("add filter: %w", err)
	}
	d.rules.next++
	d.bpf = bpf
	return nil
}

// dropProgram returns TC_ACT_SHOT for what is to be lost, and TC_ACT_UNSPEC for
// the rest: the next filter decides. State is {budget left, dropped}.
func dropProgram(loss Loss, state int) asm.Instructions {
	const (
		shot   = 2
		unspec = -1
	)
	// cilium/ebpf 0.22.0 encodes every atomic operation as a plain add unless
	// the constant, which it means to set itself, is there already.
	fetchAdd := asm.FetchAdd.Mem(asm.R0, asm.R1, asm.DWord, 0)
	fetchAdd.Constant = 1 // BPF_FETCH
	prog := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	prog = append(prog, loss.Match.extended("hit", "miss")...)
	start := len(prog)
	if loss.Share > 0 {
		prog = append(prog,
			asm.FnGetPrandomU32.Call(),
			asm.LoadImm(asm.R1, int64(loss.Share*(1<<32)), asm.DWord),
			asm.JGE.Reg(asm.R0, asm.R1, "miss"))
	}
	prog = append(prog,
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, state),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "miss"),
		asm.Mov.Imm(asm.R1, -1),
		fetchAdd,
		asm.JSLE.Imm(asm.R1, 0, "miss"), // R1 is the budget before
		asm.Mov.Imm(asm.R1, 1),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 8),
		asm.Mov.Imm(asm.R0, shot),
		asm.Return(),
		asm.Mov.Imm(asm.R0, unspec).WithSymbol("miss"),
		asm.Return(),
	)
	prog[start] = prog[start].WithSymbol("hit")
	return prog
}

// Lost returns how many frames were dropped so far.
func (d *Drop) Lost() (int, error) {
	var state [2]int64
	if err := d.state.Lookup(uint32(0), &state); err != nil {
		return 0, fmt.Errorf("read counter of dropped frames: %w", err)
	}
	return int(state[1]), nil
}

// Close lets the frames pass again.
func (d *Drop) Close() error { return d.item.Close() }

func (d *Drop) end() error {
	var err error
	if d.bpf != nil && !d.rules.cable.Host.lab.closing.Load() {
		if err = d.rules.cable.Switch.nl.FilterDel(d.bpf); err != nil {
			err = fmt.Errorf("remove filter from %s: %w", d.rules.cable.Port, err)
		}
	}
	return errors.Join(err, d.release())
}

// release lets go of the descriptors; the kernel's filter keeps what it needs.
func (d *Drop) release() error {
	var errs []error
	if d.prog != nil {
		errs = append(errs, d.prog.Close())
	}
	if d.state != nil {
		errs = append(errs, d.state.Close())
	}
	return errors.Join(errs...)
}

func (r *rules) close() error { return r.drops.closeAll() }
