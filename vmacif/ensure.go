package vmacif

import (
	"errors"
	"fmt"

	netlib "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// fate is what becomes of an interface that already has the wanted name.
type fate uint8

const (
	create  fate = iota // there is none
	adopt               // a leftover that can be used as it is
	replace             // a leftover that cannot
)

// look is the machine at one moment.
type look struct {
	all     []device
	owners  []string // of each device; "": vrrpd did not make it
	byIndex map[int]device
	byName  map[string]int
	living  map[string]bool // owners asked about so far
	read    map[[3]string]sysctl
	h       *Hands
}

// blank is a look that has seen nothing yet.
func (h *Hands) blank() *look {
	return &look{byIndex: make(map[int]device), byName: make(map[string]int), living: make(map[string]bool), read: make(map[[3]string]sysctl), h: h}
}

func (h *Hands) look() (*look, error) {
	all, err := h.wire.devices()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	l := h.blank()
	for _, d := range all {
		l.add(d)
	}
	return l, nil
}

func (l *look) add(d device) {
	owner, _ := ownerOf(d.Alias)
	l.byIndex[d.Index], l.byName[d.Name] = d, len(l.all)
	l.all, l.owners = append(l.all, d), append(l.owners, owner)
}

func (l *look) named(name string) (device, bool) {
	if i, ok := l.byName[name]; ok {
		return l.all[i], true
	}
	return device{}, false
}

func (l *look) device(index int) device { return l.byIndex[index] }

// sysctl is what reading one has brought.
type sysctl struct {
	value string
	err   error
}

// sysctl reads each one once.
func (l *look) sysctl(family, iface, key string) (string, error) {
	place := [3]string{family, iface, key}
	s, known := l.read[place]
	if !known {
		s.value, s.err = readSysctl(family, iface, key)
		l.read[place] = s
	}
	return s.value, s.err
}

// alive asks about each owner once.
func (l *look) alive(owner string) bool {
	living, known := l.living[owner]
	if !known {
		living = l.h.alive(owner)
		l.living[owner] = living
	}
	return living
}

// survey is the machine as one Spec sees it. Nothing in it is a refusal.
type survey struct {
	*look
	parent   device
	existing device // meaningful unless fate is create
	fate     fate
	stale    []device // other interfaces of this owner, or dead twins: to be deleted
}

// Expect tells which virtual routers this owner has, all of them: interfaces of its
// own with other names are leftovers, and parents that none of them stands on are not
// used any more. Without it an owner has what Ensure made, and the one that is asked
// for.
func (h *Hands) Expect(specs []Spec) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expected = make(map[string]string, len(specs))
	for _, s := range specs {
		h.expected[s.Name] = s.Parent
	}
}

// keeps reports whether an interface of this owner belongs to one of its present
// virtual routers.
func (h *Hands) keeps(name string) bool {
	h.mu.Lock()
	_, expected := h.expected[name]
	h.mu.Unlock()
	return expected || h.has(name)
}

// has reports whether an interface was made here.
func (h *Hands) has(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.names[name] != nil
}

// used are the parents of the owner's virtual routers.
func (h *Hands) used(l *look, owner string) map[int]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	used := make(map[int]bool)
	for _, parent := range h.expected {
		if d, ok := l.named(parent); ok {
			used[d.Index] = true
		}
	}
	for i := range h.made {
		if p := int(i.parent.Load()); i.spec.Owner == owner && l.device(p).Index == p {
			used[p] = true
		}
	}
	return used
}

// Ensure makes the interface of a virtual router: a macvlan in bridge mode on
// the parent, down, without addresses, with its alias, MAC and settings. A
// leftover that a dead instance made is recognised by its alias and put into
// exactly the same state, or made again if its parent, mode or MAC is another.
// The parent's settings are journalled and set. After an error everything is as
// before, except that leftovers of dead instances may be gone.
//
// The caller must hold whatever makes spec.Owner the only living instance of
// that name. A Refused error means that spec cannot be had on this machine.
func (h *Hands) Ensure(spec Spec) (*Iface, error) {
	made, errs := h.EnsureAll([]Spec{spec})
	return made[0], errs[0]
}

// EnsureAll does so for several virtual routers of one owner, after one look at the
// machine. The results are in the order of specs; of each either is nil.
func (h *Hands) EnsureAll(specs []Spec) ([]*Iface, []error) {
	made, errs := make([]*Iface, len(specs)), make([]error, len(specs))
	fail := func(err error) ([]*Iface, []error) {
		for i := range errs {
			if errs[i] == nil && made[i] == nil {
				errs[i] = err
			}
		}
		return made, errs
	}
	l, err := h.look()
	if err != nil {
		return fail(err)
	}
	acquired, discarded := make(map[int]bool), make(map[int]bool)
	var todo []*building
	for n, spec := range specs {
		if errs[n] = spec.validate(); errs[n] != nil {
			continue
		}
		s, err := h.survey(l, spec)
		for _, d := range s.stale {
			if err == nil && !discarded[d.Index] {
				err = h.discard(d)
				discarded[d.Index] = true
			}
		}
		if err == nil && s.fate != create && discarded[s.existing.Index] {
			s.fate = create // it was in the way of another one
		}
		if err == nil && spec.Family == 4 && !acquired[s.parent.Index] {
			j, used := h.journals(), h.used(l, spec.Owner)
			used[s.parent.Index] = true
			if _, err = j.acquire(s.parent, spec, used); err != nil {
				err = advise(err)
			}
			acquired[s.parent.Index] = err == nil
		}
		if err != nil {
			errs[n] = err
			continue
		}
		i := &Iface{h: h, spec: spec}
		i.parent.Store(int64(s.parent.Index))
		todo = append(todo, &building{Iface: i, at: n, fate: s.fate, device: s.existing, parent: s.parent})
	}
	h.buildAll(todo)
	for _, b := range todo {
		if b.err != nil {
			errs[b.at] = advise(errors.Join(b.err, h.letGo(b.Iface)))
			continue
		}
		h.remember(b.Iface)
		made[b.at] = b.Iface
	}
	return made, errs
}

// letGo takes the owner of an interface that is no more off the list of those who
// use the settings of its parent, unless another of its interfaces stands there; and
// dead ones off all lists. Of a leftover the parent is not known.
func (h *Hands) letGo(i *Iface) error {
	j, owner, parent := h.journals(), i.spec.Owner, int(i.parent.Load())
	// An IPv6 router uses none of the parent's settings.
	stays := i.spec.Family == 6 || parent != 0 && h.standsOn(owner, parent)
	if stays && h.busy() {
		return nil // the last one looks after the dead
	}
	return j.release(func(on int, u string) bool {
		if u == owner {
			return !stays && (parent == 0 || on == parent)
		}
		return !j.alive(u)
	})
}

// busy reports whether there is any interface that was made here.
func (h *Hands) busy() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.made) > 0
}

// standsOn reports whether an IPv4 router of the owner has an interface on a parent.
func (h *Hands) standsOn(owner string, parent int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.made {
		if i.spec.Owner == owner && i.spec.Family != 6 && int(i.parent.Load()) == parent {
			return true
		}
	}
	return false
}

// discard deletes an interface that may already be gone.
func (h *Hands) discard(d device) error {
	_ = h.loosen(d.Index) // else its end is longer
	attrs := netlib.NewLinkAttrs()
	attrs.Name, attrs.Index = d.Name, d.Index
	err := h.slow.LinkDel(&netlib.Macvlan{LinkAttrs: attrs})
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete %s: %w", d.Name, err)
	}
	return nil
}

// advise adds what to do to the errors that have an answer.
func advise(err error) error {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w (vrrpd needs CAP_NET_ADMIN: run it as root)", err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w (it has just become a port of a bridge, bond or team, or carries an ipvlan: take it out, or run vrrpd on that interface; a running vrrpd tries again by itself)", err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w (/proc/sys is read-only here: in a container make it writable, in a systemd unit leave ProtectKernelTunables off)", err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w (this kernel lacks macvlan, CONFIG_MACVLAN: load the module, or do without a virtual MAC with -n)", err)
	}
	return err
}

// survey looks at what Ensure would have to do, and refuses what it must not.
func (h *Hands) survey(l *look, spec Spec) (survey, error) {
	s := survey{look: l}
	var known bool
	if s.parent, known = l.named(spec.Parent); !known {
		return s, noParent(spec, l.all)
	}
	if err := judgeParent(spec, s.parent, l); err != nil {
		return s, err
	}
	if d, exists := l.named(spec.Name); exists {
		var err error
		if s.fate, err = h.judge(l, spec, d, s.parent); err != nil {
			return s, err
		}
		s.existing = d
	}
	for i := range l.all {
		d, owner := &l.all[i], l.owners[i]
		if d.Name == spec.Name || d.Kind != "macvlan" {
			continue
		}
		tagged := owner != ""
		sibling := tagged && owner == spec.Owner
		twin := !d.Foreign && d.Parent == s.parent.Index && d.MAC == spec.MAC
		if !twin && (!tagged || sibling && h.keeps(d.Name)) {
			continue
		}
		mine := sibling || tagged && !l.alive(owner)
		switch {
		case twin && sibling && h.has(d.Name):
			return s, refuse("VRID %d on %s is served by the interface %s of this instance already", spec.VRID, spec.Parent, d.Name)
		case twin && tagged && !mine:
			return s, refuse("VRID %d on %s is already served by the running instance %s with the interface %s: choose another VRID, or stop that instance", spec.VRID, spec.Parent, owner, d.Name)
		case twin && !mine:
			return s, refuse("%s on %s already has the virtual MAC %s and was not made by vrrpd: stop the program that uses it, or choose another VRID", d.Name, spec.Parent, macString(spec.MAC))
		case twin, sibling:
			s.stale = append(s.stale, *d)
		case !mine && !d.Foreign && d.Parent == s.parent.Index && h.apart(owner):
			return s, refuse("%s of the running instance %s stands on %s, too, and what the settings of %s were is noted in another place than by this one, so that each would undo what the other needs: give both the same run directory (-f), or run both as the same user", d.Name, owner, spec.Parent, spec.Parent)
		}
	}
	return s, nil
}

// judge decides about an interface of the wanted name.
func (h *Hands) judge(l *look, spec Spec, d, parent device) (fate, error) {
	owner, tagged := ownerOf(d.Alias)
	fits := d.Kind == "macvlan" && !d.Foreign && d.Parent == parent.Index && d.Mode == modeBridge && d.MAC == spec.MAC
	// An instance that died between the two messages of creation left no
	// alias, but its link group.
	unborn := d.Alias == "" && d.Group&groupMask == groupMark && fits
	switch {
	case d.Kind != "macvlan" || (!tagged && !unborn):
		return 0, refuse("an interface %s exists that vrrpd did not make: choose another name with --name, or delete it", spec.Name)
	case tagged && owner != spec.Owner && l.alive(owner):
		return 0, refuse("the interface %s belongs to the running instance %s: choose another name with --name", spec.Name, owner)
	case fits:
		return adopt, nil
	}
	return replace, nil
}
