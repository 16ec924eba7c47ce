package vmacif

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vrrpd/internal/rundir"
)

// Which addresses vrrpd has put on a parent itself cannot be seen in the kernel: they
// look like the administrator's. So they are noted before the first of them is added,
// one file for each virtual router, and the note goes after they have. Only what is
// noted is ever removed.

const directVersion = 1

// directNote is the content of such a file.
type directNote struct {
	Version int    `json:"version"`
	Owner   string `json:"owner"`
	VRID    uint8  `json:"vrid"`
	Family  uint8  `json:"family"`
	// Index, Boot and NetNS tell the device: see journal.
	Index     int            `json:"ifindex"`
	Boot      string         `json:"boot"`
	NetNS     uint64         `json:"netns"`
	Addresses []netip.Prefix `json:"addresses"`
	Was       DirectWas      `json:"was"`
}

func (n *directNote) same(s DirectSpec) bool {
	return n.Owner == s.Owner && n.VRID == s.VRID && n.Family == s.Family
}

// directNoteName is the name of a virtual router's file. An owner's name may be long
// and have slashes in it; who finds another's note under its own hash refuses.
func directNoteName(netns uint64, s DirectSpec) string {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(s.Owner))
	return fmt.Sprintf("%d-%d-%d-%016x%s", netns, s.Family, s.VRID, sum.Sum64(), journalSuffix)
}

// parseDirectNote reads a note; nil is one that none of ours would write.
func parseDirectNote(b []byte) *directNote {
	var n directNote
	if json.Unmarshal(b, &n) != nil || n.Version != directVersion || n.Index <= 0 || n.Owner == "" {
		return nil
	}
	n.Addresses = slices.DeleteFunc(n.Addresses, func(p netip.Prefix) bool {
		return !p.IsValid() || p.Addr().Is4() != (n.Family == 4) || p.Addr().IsLoopback()
	})
	return &n
}

func (h *Hands) directNotes() journalDir {
	return journalDir{path: filepath.Join(h.notes, "addresses"), alive: h.alive}
}

// noteDirect notes the addresses.
func (h *Hands) noteDirect(s DirectSpec, index int, was DirectWas) error {
	fail := func(err error) error { return fmt.Errorf("note the virtual addresses of %s: %w", s.Parent, err) }
	j, err := h.directNotes().lock()
	if err != nil {
		return fail(err)
	}
	defer j.unlock()
	name := directNoteName(j.netns, s)
	old, err := j.dir.Read(name, journalLimit)
	if n := parseDirectNote(old); err == nil && n != nil && n.Boot == j.boot {
		if !n.same(s) {
			return fail(fmt.Errorf("%s is that of %s", j.dir.Path(name), n.Owner))
		}
		if n.Index == index {
			was = n.Was
		}
	}
	b, err := json.MarshalIndent(directNote{
		Version: directVersion, Owner: s.Owner, VRID: s.VRID, Family: s.Family,
		Index: index, Boot: j.boot, NetNS: j.netns, Addresses: s.Addresses, Was: was,
	}, "", "  ")
	if err == nil {
		err = j.dir.Replace(name, append(b, '\n'))
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// eachDirect shows every note of this life of the kernel and this network namespace
// to f, which says whether it may go, and removes what nobody needs. f runs with the
// lock held: nobody notes anything meanwhile.
func (h *Hands) eachDirect(f func(n *directNote) (remove bool, err error)) error {
	dir := h.directNotes()
	if _, err := os.Lstat(dir.path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	j, err := dir.lock()
	if err != nil {
		return err
	}
	defer j.unlock()
	return j.eachDirect(true, f)
}

// readDirect shows them to f without the lock, which a process may hold that stands
// still; each is written whole or not at all. It makes no directory, which only who has
// the lock may remove.
func (h *Hands) readDirect(f func(n *directNote) error) error {
	dir := h.directNotes()
	d, err := rundir.Open(dir.path, rundir.ToChange)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer d.Close()
		err = d.Private()
	}
	if err != nil {
		return err
	}
	j := &journals{journalDir: dir, dir: d}
	if j.boot, j.netns, err = here(); err != nil {
		return err
	}
	return j.eachDirect(false, func(n *directNote) (bool, error) { return false, f(n) })
}

// eachDirect removes nothing unless clean is set.
func (j *journals) eachDirect(clean bool, f func(n *directNote) (remove bool, err error)) error {
	names, err := j.dir.Names()
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // removed since it was opened
		return err
	}
	var errs []error
	for _, name := range names {
		b, err := j.dir.Read(name, journalLimit)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EISDIR) {
				errs = append(errs, err)
			}
			continue
		}
		n, remove := parseDirectNote(b), true
		switch {
		case strings.HasSuffix(name, newSuffix), n == nil, n.Boot != j.boot:
		case n.NetNS != j.netns:
			remove = false
		default:
			remove, err = f(n)
		}
		if remove && clean && err == nil {
			err = j.dir.Remove(name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// releaseDirect removes the addresses of the virtual routers for which gone is true,
// and their notes.
func (h *Hands) releaseDirect(gone func(*directNote) bool) error {
	err := h.eachDirect(func(n *directNote) (bool, error) {
		if !gone(n) {
			return false, nil
		}
		return true, h.takeOff(n.Index, n.Addresses)
	})
	if err != nil {
		return fmt.Errorf("remove virtual addresses: %w", err)
	}
	return nil
}

// ReleaseDirect removes the virtual addresses of an instance from their parents, and
// the notes.
func (h *Hands) ReleaseDirect(owner string) error {
	return h.releaseDirect(func(n *directNote) bool { return n.Owner == owner })
}

// staying are all addresses of the machine but those that are on a parent only until
// their owner, who is dead, or starts just now, has been cleaned up after.
func (h *Hands) staying(owner string) ([]held, error) {
	left := make(map[held]bool) // by index and prefix
	addrs, err := h.wire.held(0)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	err = h.readDirect(func(n *directNote) error {
		for _, p := range n.Addresses {
			if n.Owner == owner || !h.alive(n.Owner) {
				left[held{Index: n.Index, Prefix: p}] = true
			}
		}
		return nil
	})
	return slices.DeleteFunc(addrs, func(a held) bool { return left[held{Index: a.Index, Prefix: a.Prefix}] }), err
}

// DirectLeft is what an instance has, or has left, on a parent.
type DirectLeft struct {
	Index     int // of the parent
	VRID      uint8
	Family    uint8
	Addresses []netip.Prefix
	Was       DirectWas
}

// DirectOf lists what an instance may have on parents.
func (h *Hands) DirectOf(owner string) (all []DirectLeft, err error) {
	err = h.readDirect(func(n *directNote) error {
		if n.Owner == owner {
			all = append(all, DirectLeft{Index: n.Index, VRID: n.VRID, Family: n.Family, Addresses: n.Addresses, Was: n.Was})
		}
		return nil
	})
	return all, err
}

// StripDirect removes the virtual addresses of a dead or stuck instance from their
// parents: it ends the service, in microseconds. The notes stay, for whoever cleans
// up, or for the instance itself when it goes on.
func (h *Hands) StripDirect(owner string) error {
	return h.readDirect(func(n *directNote) error {
		if n.Owner != owner {
			return nil
		}
		return h.takeOff(n.Index, n.Addresses)
	})
}
