package vmacif

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// attribute is one of netlink.
func attribute(typ uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, typ), value...)
	return append(b, make([]byte, aligned(len(b))-len(b))...)
}

// What changes by itself is no change, whatever else is.
func TestSum(t *testing.T) {
	link := func(flags uint32, attributes ...[]byte) sum {
		b := make([]byte, unix.SizeofIfInfomsg)
		binary.NativeEndian.PutUint32(b[4:], 5)
		binary.NativeEndian.PutUint32(b[8:], flags)
		return linkSum(append(b, bytes.Join(attributes, nil)...))
	}
	spec := func(inet6 ...[]byte) []byte {
		v4 := attribute(unix.AF_INET, attribute(inetConf, 1, 0, 0, 0)...)
		v6 := attribute(unix.AF_INET6|unix.NLA_F_NESTED, bytes.Join(inet6, nil)...)
		return attribute(unix.IFLA_AF_SPEC, append(v4, v6...)...)
	}
	name := attribute(unix.IFLA_IFNAME, 'v', '1', 0)
	base := link(unix.IFF_UP, name, spec(attribute(inet6Conf, 7, 7)))
	for what, same := range map[string]sum{
		"running":    link(unix.IFF_UP|unix.IFF_RUNNING|unix.IFF_LOWER_UP, name, spec(attribute(inet6Conf, 7, 7))),
		"carrier":    link(unix.IFF_UP, name, attribute(unix.IFLA_CARRIER, 1), attribute(unix.IFLA_CARRIER_CHANGES, 2, 0, 0, 0), spec(attribute(inet6Conf, 7, 7))),
		"statistics": link(unix.IFF_UP, name, spec(attribute(inet6Stats, 1), attribute(inet6Conf, 7, 7), attribute(inet6CacheInfo, 3, 4), attribute(inet6ICMPStats, 1))),
	} {
		if same != base {
			t.Errorf("%s: another sum", what)
		}
	}
	for what, other := range map[string]sum{
		"down":              link(0, name, spec(attribute(inet6Conf, 7, 7))),
		"another name":      link(unix.IFF_UP, attribute(unix.IFLA_IFNAME, 'v', '2', 0), spec(attribute(inet6Conf, 7, 7))),
		"another attribute": link(unix.IFF_UP, attribute(unix.IFLA_IFALIAS, 'v', '1', 0), spec(attribute(inet6Conf, 7, 7))),
		"one more":          link(unix.IFF_UP, name, attribute(unix.IFLA_MASTER, 3, 0, 0, 0), spec(attribute(inet6Conf, 7, 7))),
		"a setting":         link(unix.IFF_UP, name, spec(attribute(inet6Conf, 7, 8))),
		"the other family":  link(unix.IFF_UP, name, spec(attribute(unix.IFLA_INET6_ADDR_GEN_MODE, 7, 7))),
		"nothing of IPv6":   link(unix.IFF_UP, name, spec()),
		"cut short":         link(unix.IFF_UP, name, spec(attribute(inet6Conf, 7, 7))[:20]),
	} {
		if other == base {
			t.Errorf("%s: the same sum", what)
		}
	}
	info := func(kind string, attributes ...[]byte) sum {
		k := attribute(unix.IFLA_INFO_KIND, []byte(kind+"\x00")...)
		return link(unix.IFF_UP, name, attribute(unix.IFLA_LINKINFO, append(k, bytes.Join(attributes, nil)...)...))
	}
	if info("bridge", attribute(unix.IFLA_INFO_DATA, 1)) != info("bridge", attribute(unix.IFLA_INFO_DATA, 2)) {
		t.Error("a timer of a bridge makes another sum")
	}
	if info("veth", attribute(unix.IFLA_INFO_SLAVE_DATA, 1)) != info("veth") {
		t.Error("what a bridge has of a port makes another sum")
	}
	if info("macvlan", attribute(unix.IFLA_INFO_DATA, 1)) == info("macvlan", attribute(unix.IFLA_INFO_DATA, 2)) || info("veth") == info("macvlan") {
		t.Error("another mode or kind has the same sum")
	}
	address := func(bits uint8, attributes ...[]byte) sum {
		return addressSum(append([]byte{unix.AF_INET, bits, 0, 0, 5, 0, 0, 0}, bytes.Join(attributes, nil)...))
	}
	local := attribute(unix.IFA_LOCAL, 192, 0, 2, 1)
	if address(32, local) != address(32, local, attribute(unix.IFA_CACHEINFO, make([]byte, 16)...)) {
		t.Error("a lifetime makes another sum")
	}
	if address(32, local) == address(24, local) || address(32, local) == address(32, attribute(unix.IFA_LOCAL, 192, 0, 2, 2)) {
		t.Error("another address has the same sum")
	}
}

// A glance allocates nothing. One that fails, also long after the last exchange, leaves nothing behind that the
// next one, or somebody else, would take for an answer.
func TestGlanceAtNothing(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	i := l.ensure(h, spec51())
	l.up(i)
	parent := l.link("eth0").Attrs().Index
	want, ok := h.wire.glance(i.Index(), parent)
	if !ok {
		t.Fatal("no glance at an interface that is there")
	}
	if _, err := i.Inspect(); err != nil { // which remembers
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(10, func() { _, _ = i.Inspect() }); n != 0 {
		t.Errorf("a look at what has not changed allocates %v times", n)
	}
	for _, c := range [][2]int{{1 << 20, parent}, {i.Index(), 1 << 20}} {
		l.must(h.wire.conn.SetDeadline(past))
		if _, ok := h.wire.glance(c[0], c[1]); ok {
			t.Errorf("%v: a glance at what is not there", c)
		}
		if found, err := i.Inspect(); err != nil || found.Any() {
			t.Errorf("%v: then Inspect: %v, %v", c, found, err)
		}
		if got, ok := h.wire.glance(i.Index(), parent); !ok || got != want {
			t.Errorf("%v: then another sum: %x %t, want %x", c, got, ok, want)
		}
	}
}

// FuzzSum: no message makes it look beyond its end, and what is decoded differently has
// another sum.
func FuzzSum(f *testing.F) {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[4] = 5
	f.Add(append(b, attribute(unix.IFLA_IFNAME, 'v', '1', 0)...), uint(20), byte('w'))
	f.Add(append(b, attribute(unix.IFLA_AF_SPEC, attribute(unix.AF_INET6, attribute(unix.IFLA_INET6_ADDR_GEN_MODE, 1)...)...)...), uint(28), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, at uint, to byte) {
		before, ok, err := decodeDevice(b)
		was := linkSum(b)
		_ = addressSum(b)
		if err != nil || !ok {
			return
		}
		changed := bytes.Clone(b)
		changed[at%uint(len(b))] = to
		after, _, err := decodeDevice(changed)
		if err != nil || linkSum(changed) != was {
			return
		}
		if after.Kind != before.Kind || after.Type != before.Type || after.Master != before.Master || after.Foreign != before.Foreign || after.Balance != before.Balance ||
			after.Name != before.Name || after.Alias != before.Alias || after.Index != before.Index || after.MAC != before.MAC ||
			after.Group != before.Group || after.Parent != before.Parent || after.Up != before.Up || after.Mode != before.Mode ||
			after.GenMode != before.GenMode || !bytes.Equal(after.conf.v4, before.conf.v4) || !bytes.Equal(after.conf.v6, before.conf.v6) {
			t.Fatalf("the same sum of %+v and %+v", before, after)
		}
	})
}
