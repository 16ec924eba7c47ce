package vmacif

import (
	"errors"
	"io/fs"
	"net/netip"
	"testing"
)

// several are virtual routers of one owner on two parents.
func several() []Spec {
	all := []Spec{
		spec(51, "eth0", "192.0.2.51"), spec(52, "eth0", "192.0.2.52"),
		spec(51, "eth1", "198.51.100.51"),
	}
	all[2].Name = "second51"
	for i := range all {
		all[i].Owner = "machine"
	}
	return all
}

func (l *lab) ensureAll(h *Hands, specs []Spec) []*Iface {
	l.Helper()
	made, errs := h.EnsureAll(specs)
	l.must(errors.Join(errs...))
	return made
}

func (l *lab) wantLinks(what string, want map[string]bool) {
	l.Helper()
	for name, exists := range want {
		if _, err := l.nl.LinkByName(name); err == nil != exists {
			l.Errorf("%s: %s exists: %t (%v), want %t", what, name, err == nil, err, exists)
		}
	}
}

func TestSeveralOfOneOwner(t *testing.T) {
	l := newLab(t)
	l.cable("eth1", "far1", "198.51.100.1/24", "198.51.100.9/24")
	before := l.snapshot()
	h := l.hands()
	specs := several()
	h.Expect(specs)
	made := l.ensureAll(h, specs)
	// Made again one by one, none takes another for a leftover.
	for i, s := range specs {
		made[i] = l.ensure(h, s)
		l.up(made[i])
	}
	for i, s := range specs {
		if got, err := made[i].State(); err != nil || !got.Up || got.Addresses[0].Addr() != s.Addresses[0] {
			t.Errorf("%s: %+v, %v", s.Name, got, err)
		}
	}
	l.wantParent("1", "2")
	l.wantSysctl("ipv4", "eth1", "arp_ignore", "1")
	// One of two on a parent goes: the parent keeps its settings. The only one of
	// another takes them along.
	l.must(made[0].Delete())
	l.wantParent("1", "2")
	l.must(made[2].Delete())
	l.wantSysctl("ipv4", "eth1", "arp_ignore", "0")
	l.wantParent("1", "2")
	l.must(made[1].Delete())
	l.same("after all have gone", before, l.snapshot())
}

// A successor adopts what it still has, and removes the rest.
func TestSeveralAfterACrash(t *testing.T) {
	l := newLab(t)
	l.cable("eth1", "far1", "198.51.100.1/24", "198.51.100.9/24")
	before := l.snapshot()
	h := l.hands()
	specs := several()
	h.Expect(specs)
	for _, i := range l.ensureAll(h, specs) {
		l.up(i)
	}
	index := l.link("vrrp52").Attrs().Index

	h = l.hands() // of the next instance
	now := specs[1:2]
	now[0].Addresses = append(now[0].Addresses, netip.MustParseAddr("192.0.2.53"))
	h.Expect(now)
	i := l.ensureAll(h, now)[0]
	if got := l.link("vrrp52").Attrs().Index; got != index {
		t.Errorf("vrrp52 has the index %d now, had %d: it was not adopted", got, index)
	}
	if got, err := i.State(); err != nil || got.Up || len(got.Addresses) != 0 {
		t.Errorf("adopted: %+v, %v", got, err)
	}
	l.wantLinks("after a crash", map[string]bool{"vrrp51": false, "vrrp52": true, "second51": false})
	l.wantSysctl("ipv4", "eth1", "arp_ignore", "0")
	l.wantParent("1", "2")
	l.must(h.DeleteAll())
	l.same("after the end", before, l.snapshot())
}

// What was refused for one is no obstacle for the others.
func TestSeveralAndOneRefused(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	specs := several()
	h.Expect(specs)
	made, errs := h.EnsureAll(specs) // there is no eth1
	var refused Refused
	if made[0] == nil || made[1] == nil || made[2] != nil || !errors.As(errs[2], &refused) {
		t.Errorf("made %v, errors %v", made, errs)
	}
	l.must(h.DeleteAll())
	if _, err := l.nl.LinkByName("vrrp52"); err == nil {
		t.Error("vrrp52 is still there")
	}
	l.wantParent("0", "0")
	if _, err := h.Leftover("vrrp51", specs[0].Owner); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("vrrp51 is still there: %v", err)
	}
}
