package vmacif

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	netlib "github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests.
const patience = 20 * time.Second

var (
	vmac   = [6]byte{0x00, 0x00, 0x5e, 0x00, 0x01, 51}
	vip    = netip.MustParseAddr("192.0.2.200")
	own    = netip.MustParseAddr("192.0.2.1")
	client = netip.MustParseAddr("192.0.2.9")
	ctl    = netip.MustParseAddr("192.0.2.250")
)

// lab is a router's network namespace on a thread of its own, joined by a veth
// pair to a client's: eth0 (192.0.2.1/24) here, far0 (192.0.2.9/24) there.
type lab struct {
	*testing.T
	nl         *netlib.Handle
	here, away netns.NsHandle
	dir        string // run directory
	alive      map[string]bool
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	runtime.LockOSThread()
	l := &lab{T: t, dir: t.TempDir(), alive: make(map[string]bool)}
	var err error
	l.away, err = netns.New()
	l.must(err)
	l.here, err = netns.New()
	l.must(err)
	l.nl, err = netlib.NewHandle()
	l.must(err)
	t.Cleanup(func() {
		l.nl.Close()
		_ = l.here.Close()
		_ = l.away.Close()
	})
	l.cable("eth0", "far0", "192.0.2.1/24", "192.0.2.9/24")
	return l
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// deadline is patience as a context.
func (l *lab) deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(l.Context(), patience)
}

// abroad runs f in the client's namespace.
func (l *lab) abroad(f func()) {
	l.Helper()
	l.must(netns.Set(l.away))
	defer func() { l.must(netns.Set(l.here)) }()
	f()
}

// cable joins the namespaces by one more link, without IPv6, up and ready.
func (l *lab) cable(name, far, addr, farAddr string) {
	l.Helper()
	l.must(l.nl.LinkAdd(&netlib.Veth{LinkAttrs: netlib.LinkAttrs{Name: name}, PeerName: far}))
	l.must(l.nl.LinkSetNsFd(l.link(far), int(l.away)))
	l.sysctl("ipv6", name, "disable_ipv6", "1")
	l.addr(name, addr)
	l.must(l.nl.LinkSetUp(l.link(name)))
	l.abroad(func() {
		nl, err := netlib.NewHandle()
		l.must(err)
		defer nl.Close()
		k, err := nl.LinkByName(far)
		l.must(err)
		l.sysctl("ipv6", far, "disable_ipv6", "1")
		a, err := netlib.ParseAddr(farAddr)
		l.must(err)
		l.must(nl.AddrAdd(k, a))
		l.must(nl.LinkSetUp(k))
	})
	deadline := time.Now().Add(patience)
	for {
		k := l.link(name).Attrs()
		if k.OperState == netlib.OperUp {
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("%s does not come up: %v", name, k.OperState)
		}
		runtime.Gosched()
	}
}

func (l *lab) link(name string) netlib.Link {
	l.Helper()
	k, err := l.nl.LinkByName(name)
	if err != nil {
		l.Fatalf("link %s: %v", name, err)
	}
	return k
}

func (l *lab) mac(name string) (m [6]byte) {
	l.Helper()
	copy(m[:], l.link(name).Attrs().HardwareAddr)
	return m
}

func (l *lab) addr(name, prefix string) *netlib.Addr {
	l.Helper()
	a, err := netlib.ParseAddr(prefix)
	l.must(err)
	l.must(l.nl.AddrAdd(l.link(name), a))
	return a
}

func (l *lab) sysctl(family, name, key, value string) {
	l.Helper()
	l.must(os.WriteFile(sysctlPath(family, name, key), []byte(value), 0o644))
}

func (l *lab) wantSysctl(family, name, key, want string) {
	l.Helper()
	if got, err := readSysctl(family, name, key); err != nil || got != want {
		l.Errorf("%s.%s.%s is %q (%v), want %q", family, name, key, got, err, want)
	}
}

// hands opens Hands for which exactly the owners in l.alive live.
func (l *lab) hands() *Hands {
	l.Helper()
	h, err := Open(Config{Notes: l.dir, Alive: func(o string) bool { return l.alive[o] }})
	l.must(err)
	l.Cleanup(func() { _ = h.Close() })
	return h
}

func spec51() Spec {
	return Spec{Name: "vrrp51", Parent: "eth0", VRID: 51, Family: 4, MAC: vmac, Addresses: []netip.Addr{vip}, Owner: "eth0-51"}
}

func spec(vrid uint8, parent string, addrs ...string) Spec {
	s := Spec{
		Name: fmt.Sprint("vrrp", vrid), Parent: parent, VRID: vrid, Family: 4, MAC: vmac,
		Owner: fmt.Sprintf("%s-%d", parent, vrid),
	}
	s.MAC[5] = vrid
	for _, a := range addrs {
		s.Addresses = append(s.Addresses, netip.MustParseAddr(a))
	}
	return s
}

func (l *lab) ensure(h *Hands, s Spec) *Iface {
	l.Helper()
	i, err := h.Ensure(s)
	l.must(err)
	return i
}

func (l *lab) up(i *Iface) {
	l.Helper()
	l.must(i.Up(l.Context()))
}

// snapshot is everything about the namespace that could have been changed.
func (l *lab) snapshot() map[string]string {
	l.Helper()
	out := make(map[string]string)
	links, err := l.nl.LinkList()
	l.must(err)
	for _, k := range links {
		a := k.Attrs()
		out["link "+a.Name] = fmt.Sprintf("%s %s %d up=%t alias=%q group=%d parent=%d master=%d promisc=%d", k.Type(), a.HardwareAddr, a.MTU, a.Flags&net.FlagUp != 0, a.Alias, a.Group, a.ParentIndex, a.MasterIndex, a.Promisc)
		if mv, ok := k.(*netlib.Macvlan); ok {
			out["macvlan "+a.Name] = fmt.Sprint("mode ", mv.Mode, " queue ", mv.BCQueueLen)
		}
		addrs, err := l.nl.AddrList(k, netlib.FAMILY_ALL)
		l.must(err)
		for _, x := range addrs {
			out[fmt.Sprintf("addr %s %s", a.Name, x.IPNet)] = fmt.Sprint(x.Scope, x.Flags)
		}
	}
	for _, family := range []int{netlib.FAMILY_V4, netlib.FAMILY_V6} {
		routes, err := l.nl.RouteListFiltered(family, &netlib.Route{}, 0)
		l.must(err)
		for _, r := range routes {
			out["route "+r.String()] = ""
		}
	}
	maps.Copy(out, l.sysctls(""))
	return out
}

// sysctls reads all settings of the interface, or of every interface.
func (l *lab) sysctls(iface string) map[string]string {
	l.Helper()
	out := make(map[string]string)
	for _, family := range []string{"ipv4", "ipv6"} {
		root := filepath.Join(sysctlRoot, family, "conf", iface)
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, unix.EIO) && !errors.Is(err, unix.EACCES) {
				return err
			}
			out[path] = string(b)
			return nil
		})
		l.must(err)
	}
	if len(out) == 0 {
		l.Fatal("no sysctls were read")
	}
	return out
}

func (l *lab) same(what string, before, after map[string]string) {
	l.Helper()
	for _, k := range slices.Sorted(maps.Keys(before)) {
		if v, ok := after[k]; !ok {
			l.Errorf("%s: %s has gone (was %q)", what, k, before[k])
		} else if v != before[k] {
			l.Errorf("%s: %s was %q, is %q", what, k, before[k], v)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[k]; !ok {
			l.Errorf("%s: %s is new: %q", what, k, after[k])
		}
	}
}

// stranger is a socket of the client that sends and sees whole frames.
type stranger struct {
	l    *lab
	conn *packet.Conn
	mac  [6]byte
	buf  []byte
}

func (l *lab) stranger(far string, proto int) *stranger {
	l.Helper()
	s := &stranger{l: l, buf: make([]byte, 2048)}
	l.abroad(func() {
		ifi, err := net.InterfaceByName(far)
		l.must(err)
		copy(s.mac[:], ifi.HardwareAddr)
		s.conn, err = packet.Listen(ifi, packet.Raw, proto, nil)
		l.must(err)
	})
	l.Cleanup(func() { _ = s.conn.Close() })
	return s
}

func (s *stranger) send(frame []byte) {
	s.l.Helper()
	_, err := s.conn.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])})
	s.l.must(err)
}

// next receives one frame that the stranger did not send itself.
func (s *stranger) next() []byte {
	s.l.Helper()
	s.l.must(s.conn.SetReadDeadline(time.Now().Add(patience)))
	for {
		n, _, err := s.conn.ReadFrom(s.buf)
		if err != nil {
			s.l.Fatalf("waiting for a frame: %v", err)
		}
		if f := s.buf[:n]; n >= 14 && [6]byte(f[6:12]) != s.mac {
			return f
		}
	}
}

// arp is an ARP packet for IPv4 over Ethernet.
type arp struct {
	op       uint16
	sha, tha [6]byte
	spa, tpa netip.Addr
}

func parseARP(f []byte) (a arp, ok bool) {
	if len(f) < 42 || binary.BigEndian.Uint16(f[12:]) != unix.ETH_P_ARP {
		return arp{}, false
	}
	return arp{
		op: binary.BigEndian.Uint16(f[20:]), sha: [6]byte(f[22:28]), spa: netip.AddrFrom4([4]byte(f[28:32])),
		tha: [6]byte(f[32:38]), tpa: netip.AddrFrom4([4]byte(f[38:42])),
	}, true
}

// ask broadcasts an ARP request for ip.
func (s *stranger) ask(ip netip.Addr) {
	s.l.Helper()
	f := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	f = append(f, s.mac[:]...)
	f = append(f, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1)
	f = append(f, s.mac[:]...)
	f = append(f, client.AsSlice()...)
	f = append(f, 0, 0, 0, 0, 0, 0)
	f = append(f, ip.AsSlice()...)
	s.send(f)
}

// whoHas asks for ip and lists the MACs that answer for it, sorted. When it has
// waited long enough it knows from the answer of the control interface, which
// was asked afterwards and gets the question by the same queue.
func (s *stranger) whoHas(ip netip.Addr, control [6]byte) []string {
	s.l.Helper()
	return s.whoHasBy(ip, ctl, control)
}

// whoHasBy does so with another address of the control interface.
func (s *stranger) whoHasBy(ip, ctl netip.Addr, control [6]byte) []string {
	s.l.Helper()
	s.ask(ip)
	s.ask(ctl)
	var macs []string
	for {
		a, ok := parseARP(s.next())
		switch {
		case !ok || a.op != 2:
		case a.spa == ip:
			macs = append(macs, macString(a.sha))
		case a.spa == ctl && a.sha == control:
			slices.Sort(macs)
			return macs
		}
	}
}

// control makes a macvlan on eth0 that is always up and answers for ctl.
func (l *lab) control() [6]byte {
	l.Helper()
	l.must(l.nl.LinkAdd(&netlib.Macvlan{
		LinkAttrs: netlib.LinkAttrs{Name: "ctl0", ParentIndex: l.link("eth0").Attrs().Index},
		Mode:      netlib.MACVLAN_MODE_BRIDGE,
	}))
	l.sysctl("ipv6", "ctl0", "disable_ipv6", "1")
	l.sysctl("ipv4", "ctl0", "arp_ignore", "1")
	l.addr("ctl0", ctl.String()+"/32")
	l.must(l.nl.LinkSetUp(l.link("ctl0")))
	return l.mac("ctl0")
}

func (l *lab) wantMACs(what string, got []string, want ...[6]byte) {
	l.Helper()
	var w []string
	for _, m := range want {
		w = append(w, macString(m))
	}
	slices.Sort(w)
	if !slices.Equal(got, w) {
		l.Errorf("%s: answered by %v, want %v", what, got, w)
	}
}

func contains(t *testing.T, what string, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s: %q does not say %q", what, text, w)
		}
	}
}
