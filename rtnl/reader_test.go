package rtnl

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	mdl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func TestReader(t *testing.T) {
	l := newLab(t)
	l.veth("eth0", "far0")
	l.up("eth0", "far0")
	l.addr("eth0", "192.0.2.1/24")
	l.addr("eth0", "192.0.2.2/24")
	l.addr("far0", "198.51.100.1/24")
	l.must(l.nl.LinkAddAltName(l.link("eth0"), "alternative"))
	r, err := OpenReader()
	l.must(err)
	defer r.Close()
	eth, err := r.LinkByName("eth0")
	l.must(err)
	if again, err := r.ReadLink(eth.Index); err != nil || again.Name != "eth0" || !again.Up {
		t.Errorf("ReadLink: %+v %v", again, err)
	}
	if alt, err := r.LinkByName("alternative"); err == nil && alt.Name != "eth0" {
		t.Errorf("by alternative name: %+v", alt)
	}
	for _, name := range []string{"eth9", "", "a-name-too-long-for-linux"} {
		if _, err := r.LinkByName(name); !errors.Is(err, ErrNoLink) {
			t.Errorf("LinkByName(%q): %v", name, err)
		}
	}
	for _, index := range []int{9999, 0, -1} {
		if _, err := r.ReadLink(index); !errors.Is(err, ErrNoLink) {
			t.Errorf("ReadLink(%d): %v", index, err)
		}
	}
	addrs, err := r.Addrs(eth.Index)
	l.must(err)
	var got []string
	for _, a := range addrs {
		if a.Index != eth.Index {
			t.Errorf("address of another interface: %+v", a)
		}
		if a.Prefix.Addr().Is4() {
			got = append(got, a.Prefix.String())
		}
	}
	if want := []string{"192.0.2.1/24", "192.0.2.2/24"}; !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
	ip, ok, err := r.PrimaryIPv4(eth.Index)
	if err != nil || !ok || ip != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("primary %v %t %v", ip, ok, err)
	}
	if addrs, err := r.Addrs(9999); len(addrs) != 0 || (err != nil && !errors.Is(err, ErrNoLink)) {
		t.Errorf("addresses of no interface: %v %v", addrs, err)
	}
}

// A kernel that does not filter dumps by interface.
func TestAddrsWithoutStrictChecking(t *testing.T) {
	l := newLab(t)
	l.veth("eth0", "far0")
	l.addr("eth0", "192.0.2.1/24")
	l.addr("far0", "198.51.100.1/24")
	r, err := OpenReader()
	l.must(err)
	defer r.Close()
	l.must(r.s.conn.SetOption(mdl.GetStrictCheck, false))
	addrs, err := r.Addrs(l.link("eth0").Attrs().Index)
	if err != nil || len(addrs) != 1 || addrs[0].Prefix.String() != "192.0.2.1/24" {
		t.Errorf("addresses of eth0: %v %v", addrs, err)
	}
}

func BenchmarkReadLink(b *testing.B) {
	r, err := OpenReader()
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.ReadLink(1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadFlags(b *testing.B) {
	fd, err := ioctlSocket(0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := readFlags(fd, "lo"); err != nil {
			b.Fatal(err)
		}
	}
}

func readLink(name string) (Link, error) {
	r, err := OpenReader()
	if err != nil {
		return Link{}, err
	}
	defer r.Close()
	return r.LinkByName(name)
}
