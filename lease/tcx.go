package lease

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// tcx attaches the program by BPF_PROG_ATTACH. Never as a bpf_link: that would
// die with the process, and the traffic would come back.
type tcx struct{ absent error } // absent: why this kernel has none

var sides = [...]struct {
	attach ebpf.AttachType
	side   string
}{
	{ebpf.AttachTCXIngress, "ingress"},
	{ebpf.AttachTCXEgress, "egress"},
}

// openTCX asks the kernel for the programs of an interface that always exists.
func openTCX() tcx {
	const loopback = 1
	_, err := link.QueryPrograms(link.QueryOptions{Target: loopback, Attach: ebpf.AttachTCXIngress})
	return tcx{absent: err}
}

// install attaches first and detaches the guards of dead instances afterwards:
// meanwhile both must agree, which is the safe side.
func (x tcx) install(t target) error {
	if err := x.attach(t); err != nil {
		return err
	}
	return x.detach(t, t.block.ids)
}

// attach is install without the end of others.
func (tcx) attach(t target) error {
	for side, s := range sides {
		err := link.RawAttachProgram(link.RawAttachProgramOptions{
			Target: t.index, Program: t.block.progs[side], Attach: s.attach, Anchor: link.Head(),
		})
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("attach the %s program: %w", s.side, err)
		}
	}
	return nil
}

// supplant puts the programs of this process in the places of those that another instance
// has there: in one step of the kernel for each side, which nobody waits for, where to
// attach and to detach take a grace period. It reports whether they stand on both sides
// now; whatever hinders it, that is for install and remove.
func (x tcx) supplant(t target) (bool, error) {
	for side, s := range sides {
		ids, err := x.list(t.index, s.attach)
		if err != nil {
			return false, err
		}
		if slices.Contains(ids, t.block.ids[side]) {
			continue
		}
		at := slices.IndexFunc(ids, func(id ebpf.ProgramID) bool { return x.replace(t, side, id) == nil })
		if at < 0 {
			return false, nil
		}
	}
	return true, nil
}

// replace puts our program in the place of one.
func (tcx) replace(t target, side int, id ebpf.ProgramID) error {
	return t.identified(id, func(old *ebpf.Program) error {
		return link.RawAttachProgram(link.RawAttachProgramOptions{
			Target: t.index, Program: t.block.progs[side], Attach: sides[side].attach, Anchor: link.ReplaceProgram(old),
		})
	}, errForeign)
}

// alone reports whether no other programs than those of this process are there.
func (x tcx) alone(t target) (bool, error) {
	for side, s := range sides {
		ids, err := x.list(t.index, s.attach)
		if err != nil || slices.ContainsFunc(ids, func(id ebpf.ProgramID) bool { return id != t.block.ids[side] }) {
			return false, err
		}
	}
	return true, nil
}

// withdraw detaches the programs of this process only.
func (x tcx) withdraw(t target) error {
	for side, s := range sides {
		ids, err := x.list(t.index, s.attach)
		if err == nil && slices.Contains(ids, t.block.ids[side]) {
			err = x.detachOne(t, s.attach, t.block.ids[side])
		}
		if err != nil {
			return fmt.Errorf("detach the %s program: %w", s.side, err)
		}
	}
	return nil
}

func (x tcx) check(t target) error {
	for side, s := range sides {
		ids, err := x.list(t.index, s.attach)
		if err != nil {
			return err
		}
		if !slices.Contains(ids, t.block.ids[side]) {
			return fmt.Errorf("the %s program %w", s.side, errMissing)
		}
	}
	return nil
}

// bare reports whether there is no program with our name on either side, nor one that may
// have it for all that this process may know.
func (x tcx) bare(t target) (bool, error) {
	known, err := x.named(t)
	if errors.Is(err, errForeign) {
		return false, nil
	}
	return known, err
}

// none tells which side has a program with our name, nil if none has, or if this process
// may not know.
func (x tcx) none(t target) error {
	_, err := x.named(t)
	return err
}

// named tells the same, and whether this process may know of all of them.
func (x tcx) named(t target) (known bool, err error) {
	known = true
	for _, s := range sides {
		ids, err := x.list(t.index, s.attach)
		if err != nil {
			return false, err
		}
		for _, id := range ids {
			err := t.identified(id, func(*ebpf.Program) error { return errForeign }, nil)
			switch {
			case errors.Is(err, ErrStale):
				known = false
			case errors.Is(err, errForeign):
				return false, fmt.Errorf("the %s program %w", s.side, err)
			case err != nil:
				return false, err
			}
		}
	}
	return known, nil
}

func (x tcx) remove(t target) error {
	if x.absent != nil {
		return nil
	}
	return x.detach(t, [2]ebpf.ProgramID{})
}

// detach detaches every program with our name but one on each side.
func (x tcx) detach(t target, but [2]ebpf.ProgramID) error {
	for side := range sides {
		if err := x.detachSide(t, side, but[side]); err != nil {
			return err
		}
	}
	return nil
}

func (x tcx) detachSide(t target, side int, but ebpf.ProgramID) error {
	s := sides[side]
	ids, err := x.list(t.index, s.attach)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if id == but {
			continue
		}
		if err := x.detachOne(t, s.attach, id); err != nil {
			return fmt.Errorf("detach an %s program: %w", s.side, err)
		}
	}
	return nil
}

func (tcx) detachOne(t target, at ebpf.AttachType, id ebpf.ProgramID) error {
	return t.identified(id, func(prog *ebpf.Program) error {
		err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: t.index, Program: prog, Attach: at})
		if err != nil && !gone(err) && !errors.Is(err, unix.ENOENT) {
			return err
		}
		return nil
	}, nil)
}

// identified has something done to a program if it has our name; else, and if it is no
// more, the result is otherwise.
func (t target) identified(id ebpf.ProgramID, do func(*ebpf.Program) error, otherwise error) error {
	prog, ours := t.own(id, t.prog)
	if prog == nil {
		p, err := ebpf.NewProgramFromID(id)
		switch {
		case errors.Is(err, unix.ENOENT):
			return otherwise
		case errors.Is(err, unix.EPERM):
			return ErrStale
		case err != nil:
			return fmt.Errorf("identify program %d: %w", id, err)
		}
		defer p.Close()
		info, err := p.Info()
		if err != nil {
			return fmt.Errorf("identify program %d: %w", id, err)
		}
		prog, ours = p, info.Name == t.prog
	}
	if !ours {
		return otherwise
	}
	return do(prog)
}

// list returns nothing for an interface that does not exist.
func (tcx) list(index int, at ebpf.AttachType) ([]ebpf.ProgramID, error) {
	res, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: at})
	if err != nil {
		if gone(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("list the TCX programs: %w", err)
	}
	ids := make([]ebpf.ProgramID, len(res.Programs))
	for i, p := range res.Programs {
		ids[i] = p.ID
	}
	return ids, nil
}
