package vmacif

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	netlib "github.com/vishvananda/netlink"
)

// What the kernel tells of a setting by netlink is what /proc says, and what it takes by
// netlink is what /proc says afterwards: of each one alone.
func TestSettingsByNetlink(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	l.must(l.nl.LinkAdd(&netlib.Bridge{LinkAttrs: netlib.LinkAttrs{Name: "other0"}}))
	look := func() device {
		t.Helper()
		d, err := h.wire.device("other0", 0)
		l.must(err)
		return d
	}
	other := map[string]string{"0": "1", "1": "0"}
	for family, table := range map[string]map[string]int{"ipv4": conf4, "ipv6": conf6} {
		for _, key := range slices.Sorted(maps.Keys(table)) {
			before, told := look().conf.get(family, key)
			if !told {
				t.Errorf("%s.%s is not told", family, key)
				continue
			}
			l.wantSysctl(family, "other0", key, before)
			value := other[before]
			if value == "" {
				value = "1"
			}
			if family == "ipv4" {
				req, err := nameplateRequest(look().Index, "x", 0, false, []setting{{family, key, value}})
				l.must(err)
				l.must(h.wire.one(t.Context(), req, nil))
			} else {
				l.sysctl(family, "other0", key, value)
			}
			l.wantSysctl(family, "other0", key, value)
			if v, _ := look().conf.get(family, key); v != value {
				t.Errorf("%s.%s=%s: netlink tells %s", family, key, value, v)
			}
		}
	}
}

// crowd are n virtual routers of one process.
func crowd(n int) (specs []Spec) {
	for n := range n {
		s := spec(uint8(10+n), "eth0", fmt.Sprint("192.0.2.", 10+n))
		s.Owner = "machine"
		specs = append(specs, s)
	}
	return specs
}

// Many at once are made like one: some new, some left by a dead instance, one of which
// serves, and one that cannot be had, for which none of the others suffers.
func TestManyAtOnce(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	specs := crowd(3 * few)
	dead := l.hands()
	for i, made := range l.ensureAll(dead, specs[:few+2]) {
		if i == 3 {
			l.up(made)
		}
		l.sysctl("ipv4", made.Name(), "arp_ignore", "0")
	}
	l.must(dead.Close())
	l.must(l.nl.LinkAdd(&netlib.Bridge{LinkAttrs: netlib.LinkAttrs{Name: specs[20].Name}}))

	h := l.hands()
	h.Expect(specs)
	made, errs := h.EnsureAll(specs)
	for n, i := range made {
		if n == 20 {
			if refused := Refused(""); i != nil || !errors.As(errs[n], &refused) {
				t.Errorf("a foreign interface has the name: %v, %v", i, errs[n])
			}
			continue
		}
		if errs[n] != nil {
			t.Fatalf("%s: %v", specs[n].Name, errs[n])
		}
		l.wantState("made", i, false)
		if found, err := i.Inspect(); err != nil || found.Any() {
			t.Errorf("%s is not as wanted: %+v %v", i.Name(), found, err)
		}
		l.wantSysctl("ipv4", i.Name(), "arp_ignore", "1")
		l.wantSysctl("ipv6", i.Name(), "disable_ipv6", "1")
		if k := l.link(i.Name()).Attrs(); k.Alias != specs[n].alias() || k.Group != h.group || k.Index != i.Index() {
			t.Errorf("%s: %+v", i.Name(), k)
		}
	}
	l.must(h.DeleteAll())
	l.must(l.nl.LinkDel(l.link(specs[20].Name)))
	l.same("after all have gone", before, l.snapshot())
}

// Many that a dead instance has left up are made anew in about the time that one takes to
// go down; not if somebody else has put an interface into their group.
func TestManyLeftUp(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		t.Run(fmt.Sprint("foreign=", foreign), func(t *testing.T) {
			l := newLab(t)
			before := l.snapshot()
			specs := crowd(2 * few)
			dead := l.hands()
			was := map[string]int{}
			for _, i := range l.ensureAll(dead, specs) {
				l.up(i)
				was[i.Name()] = i.Index()
			}
			l.must(dead.Close())
			if foreign {
				l.must(l.nl.LinkAdd(&netlib.Bridge{LinkAttrs: netlib.LinkAttrs{Name: "other0", Group: dead.group}}))
			}
			h := l.hands()
			h.Expect(specs)
			for _, i := range l.ensureAll(h, specs) {
				l.wantState("made", i, false)
				if found, err := i.Inspect(); err != nil || found.Any() {
					t.Errorf("%s is not as wanted: %+v %v", i.Name(), found, err)
				}
				if again := i.Index() != was[i.Name()]; again == foreign || i.Fresh() != again {
					t.Errorf("%s was made anew: %t, fresh: %t", i.Name(), again, i.Fresh())
				}
			}
			l.must(h.DeleteAll())
			if foreign {
				l.must(l.nl.LinkDel(l.link("other0")))
			}
			l.same("after all have gone", before, l.snapshot())
		})
	}
}
