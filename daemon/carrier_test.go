package daemon

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"vrrpd/config"
	"vrrpd/election"
	"vrrpd/lan"
	"vrrpd/rtnl"
)

var physical = [6]byte{0x02, 0, 0, 0, 0, 0x0b}

// Without a virtual MAC the parent's is in adverts, and another one in all that is sent
// after it was changed.
func TestDirectFrames(t *testing.T) {
	_, r := testDaemon(t, t.TempDir(), "-n")
	r.parent.link = rtnl.Link{Index: 2, MAC: physical}
	for _, mac := range [][6]byte{physical, {0x02, 0, 0, 0, 0, 0x0c}} {
		r.parent.link.MAC = mac
		for _, priority := range []uint8{100, 0} {
			frame, err := r.frame(priority)
			if err != nil {
				t.Fatal(err)
			}
			if in, drop := lan.ParseAdvert(frame, false); drop != lan.Delivered || in.SrcMAC != mac {
				t.Errorf("priority %d: %+v, %v, want source %x", priority, in, drop, mac)
			}
		}
	}
	if id := r.identity(); id.VMAC != "" || id.Parent != "eth0" || len(id.Frame) == 0 {
		t.Errorf("identity %+v", id)
	}
	if d := r.parent.d.direct(r); d.Parent != "eth0" || !slices.Equal(d.Addresses, r.cfg.Addresses) {
		t.Errorf("%+v", d)
	}
}

// The announcements say the parent's MAC, and once more when the machine that hands over
// has surely heard us.
func TestDirectAnnouncements(t *testing.T) {
	s := newStage(t)
	p := &parent{name: "eth0", link: rtnl.Link{Index: 2, MAC: physical}}
	r := serving(p, 51, 1)
	reconfigure(r, func(c *config.Router) { c.NoVMAC = true })
	s.all(r, s.at())
	s.runFor(time.Minute)
	if got, want := s.times(r.vips[0]), []time.Duration{0, 200 * time.Millisecond, time.Second, 5 * time.Second}; !slices.Equal(got, want) {
		t.Errorf("announced at %v, want %v", got, want)
	}
	for _, x := range s.log {
		if x.mac != physical {
			t.Errorf("announced at %x", x.mac)
		}
	}
}

// A virtual address on the parent is never the source of adverts, and no other address
// of the parent is a virtual router's.
func TestDirectAddressesOfTheParent(t *testing.T) {
	d, r := testDaemon(t, t.TempDir(), "-n")
	p := r.parent
	p.link = rtnl.Link{Index: 2, Name: "eth0", MAC: physical, Up: true, Running: true, LowerUp: true}
	p.opened = p.link
	p.port = &lan.Port{} // nothing is sent here
	r.index = 2
	add := func(kind rtnl.ChangeKind, prefix string) {
		c := rtnl.Change{Kind: kind, Addr: rtnl.Addr{Index: 2, Prefix: netip.MustParsePrefix(prefix)}}
		d.addrChanged(&c, nil, map[*parent]bool{})
		d.judgeParent(p)
	}
	add(rtnl.AddrAdded, "192.0.2.100/24")
	if r.source.IsValid() || r.faults&election.FaultNoAddress == 0 {
		t.Errorf("source %v", r.source)
	}
	add(rtnl.AddrAdded, "192.0.2.11/24")
	if r.source.String() != "192.0.2.11" || r.faults != 0 {
		t.Errorf("source %v, faults %v", r.source, r.faults)
	}
	if len(r.present) != 1 || !r.present.has(r.vips[0]) {
		t.Errorf("present: %v", r.present)
	}
	r.wanted = true
	add(rtnl.AddrGone, "192.0.2.11/24")
	if len(r.found) != 0 {
		t.Errorf("to be repaired: %v", r.found)
	}
	add(rtnl.AddrGone, "192.0.2.100/24")
	if len(r.found) != 1 {
		t.Errorf("to be repaired: %v", r.found)
	}
	// The parent goes down and comes up: nothing to repair.
	down := p.link
	down.Up = false
	d.linkChanged(&rtnl.Change{Kind: rtnl.LinkChanged, Old: p.link, New: down}, nil, map[*parent]bool{})
	if len(r.found) != 1 {
		t.Errorf("to be repaired: %v", r.found)
	}
}

// Who is asked over IPv6 besides the group is the machine whose advert came last.
func TestDirectServer(t *testing.T) {
	d, r := testDaemon(t, t.TempDir(), "")
	if got := d.server(r); got != r.vmac {
		t.Errorf("with a virtual MAC: %x", got)
	}
	reconfigure(r, func(c *config.Router) { c.NoVMAC = true })
	if got := d.server(r); got != [6]byte{} {
		t.Errorf("nobody was heard: %x", got)
	}
	d.machine.Start(boottime(), nil)
	d.machine.Step(boottime(), []election.Event{{
		Kind: election.EvAdvert, Addr: netip.MustParseAddr("192.0.2.12"), MAC: physical, Priority: 200, Interval: time.Second,
	}}, nil)
	if got := d.server(r); got != physical {
		t.Errorf("after an advert: %x", got)
	}
}

// Instances of both forms are named alike: one may succeed the other.
func TestDirectIsNamedByTheParent(t *testing.T) {
	c, err := config.Parse([]string{"-i", "eth0", "-v", "51", "-n", "192.0.2.100"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Routers[0]; r.Name != "eth0" || instanceName(r) != "eth0-51" {
		t.Errorf("%+v is %s", r, instanceName(r))
	}
}
