package lease

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	netlib "github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		helper()
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// hour is a lease that does not end during a test.
const hour = int64(time.Hour)

type mac [6]byte

func (m mac) hw() net.HardwareAddr { return m[:] }

var (
	vmac     = mac{0x00, 0x00, 0x5e, 0x00, 0x01, 51}
	ctlMAC   = mac{0x02, 0x00, 0x00, 0x00, 0x01, 0x01}
	everyone = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	vip      = netip.MustParseAddr("192.0.2.200")
	ctl      = netip.MustParseAddr("192.0.2.250")
	client   = netip.MustParseAddr("192.0.2.9")
	beyond   = netip.MustParseAddr("198.51.100.9")
)

const testProto = 0x88b5 // for local experiments, IEEE 802

// lab is a router's network namespace on a thread of its own. It is joined to
// the client's by two cables: eth0 (192.0.2.1/24) to far0 and eth1
// (198.51.100.1/24) to far1. On eth0 stand two macvlans that are up: vrrp51 with
// the VIP, which is to be guarded, and ctl0 with another address, which never is:
// what ctl0 does afterwards proves that vrrp51 would have done it before.
type lab struct {
	testing.TB
	nl         *netlib.Handle
	here, away netns.NsHandle
	index      int // of vrrp51
	near, far  *tap
	out        map[string]*tap // to send from vrrp51 and ctl0
	serial     uint32

	raw, nearIndex int // of rawSocket
}

// newLab pins the thread to one CPU, so that frames that are sent one after the
// other are also received so.
func newLab(t testing.TB) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	runtime.LockOSThread() // never given back
	l := &lab{TB: t, out: make(map[string]*tap)}
	var all, one unix.CPUSet
	l.must(unix.SchedGetaffinity(0, &all))
	for i := 0; one.Count() == 0; i++ {
		if all.IsSet(i) {
			one.Set(i)
		}
	}
	l.must(unix.SchedSetaffinity(0, &one))
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
	l.set("/proc/sys/net/ipv4/ip_forward", "1")
	l.cable("eth0", "far0", "192.0.2.1/24")
	l.cable("eth1", "far1", "198.51.100.1/24")
	l.near, l.far = l.tap("far0", unix.ETH_P_ALL), l.tap("far1", unix.ETH_P_IP)
	for ip, hw := range map[netip.Addr]mac{client: l.near.mac, beyond: l.far.mac} {
		name := "eth0"
		if ip == beyond {
			name = "eth1"
		}
		l.must(l.nl.NeighSet(&netlib.Neigh{LinkIndex: l.link(name).Attrs().Index, State: netlib.NUD_PERMANENT, IP: ip.AsSlice(), HardwareAddr: hw.hw()}))
	}
	l.macvlan("vrrp51", vmac, vip)
	l.macvlan("ctl0", ctlMAC, ctl)
	l.index = l.link("vrrp51").Attrs().Index
	return l
}

// kernelHas skips the test where a rung cannot be had.
func (l *lab) kernelHas(r Rung) {
	l.Helper()
	g, err := Open(Config{Ladder: []Rung{r}})
	if err != nil {
		l.Skipf("needs %v: %v", r, err)
	}
	l.must(g.Close())
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) set(path, value string) {
	l.Helper()
	l.must(os.WriteFile(path, []byte(value), 0o644))
}

// quiet makes an interface answer for its own addresses only, and say nothing
// by itself.
func (l *lab) quiet(name string) {
	l.Helper()
	l.set("/proc/sys/net/ipv4/conf/"+name+"/arp_ignore", "1")
	l.set("/proc/sys/net/ipv4/conf/"+name+"/rp_filter", "2")
	l.set("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", "1")
}

// abroad runs f in the client's namespace.
func (l *lab) abroad(f func()) {
	l.Helper()
	l.must(netns.Set(l.away))
	defer func() { l.must(netns.Set(l.here)) }()
	f()
}

func (l *lab) cable(name, far, addr string) {
	l.Helper()
	l.must(l.nl.LinkAdd(&netlib.Veth{LinkAttrs: netlib.LinkAttrs{Name: name}, PeerName: far}))
	l.must(l.nl.LinkSetNsFd(l.link(far), int(l.away)))
	l.quiet(name)
	l.addr(name, addr)
	l.must(l.nl.LinkSetUp(l.link(name)))
	l.abroad(func() {
		nl, err := netlib.NewHandle()
		l.must(err)
		defer nl.Close()
		k, err := nl.LinkByName(far)
		l.must(err)
		l.quiet(far)
		l.must(nl.LinkSetUp(k))
	})
	l.until(name+" has a carrier", func() bool { return l.link(name).Attrs().OperState == netlib.OperUp })
}

// until waits for a state that nobody announces.
func (l *lab) until(what string, ok func() bool) {
	l.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			l.Fatalf("waited for %v: %s", patience, what)
		}
	}
}

func (l *lab) macvlan(name string, m mac, ip netip.Addr) {
	l.Helper()
	l.must(l.nl.LinkAdd(&netlib.Macvlan{
		LinkAttrs: netlib.LinkAttrs{Name: name, ParentIndex: l.link("eth0").Attrs().Index, HardwareAddr: m.hw()},
		Mode:      netlib.MACVLAN_MODE_BRIDGE,
	}))
	l.quiet(name)
	l.addr(name, ip.String()+"/32")
	l.must(l.nl.LinkSetUp(l.link(name)))
}

func (l *lab) link(name string) netlib.Link {
	l.Helper()
	k, err := l.nl.LinkByName(name)
	if err != nil {
		l.Fatalf("link %s: %v", name, err)
	}
	return k
}

func (l *lab) addr(name, prefix string) {
	l.Helper()
	a, err := netlib.ParseAddr(prefix)
	l.must(err)
	l.must(l.nl.AddrAdd(l.link(name), a))
}

// guards opens Guards for this test.
func (l *lab) guards(ladder ...Rung) *Guards {
	l.Helper()
	g, err := Open(Config{Ladder: ladder})
	l.must(err)
	l.Cleanup(func() { l.must(g.Close()) })
	return g
}

// attach guards vrrp51.
func (l *lab) attach(ladder ...Rung) *Guard {
	l.Helper()
	t, err := l.guards(ladder...).Attach(l.index)
	l.must(err)
	return t
}

func (l *lab) renew(t *Guard, until int64) {
	l.Helper()
	l.must(t.Renew(until))
}

// tap sends and sees whole frames of one interface.
type tap struct {
	l    *lab
	conn *packet.Conn
	mac  mac
	buf  []byte
}

// tap opens one at a client's interface.
func (l *lab) tap(name string, proto int) (s *tap) {
	l.Helper()
	l.abroad(func() { s = l.open(name, proto) })
	return s
}

func (l *lab) open(name string, proto int) *tap {
	l.Helper()
	s := &tap{l: l, buf: make([]byte, 2048)}
	ifi, err := net.InterfaceByName(name)
	l.must(err)
	s.mac = mac(ifi.HardwareAddr)
	s.conn, err = packet.Listen(ifi, packet.Raw, proto, nil)
	l.must(err)
	l.Cleanup(func() { _ = s.conn.Close() })
	return s
}

func (s *tap) send(frame []byte) {
	s.l.Helper()
	_, err := s.conn.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])})
	s.l.must(err)
}

// next receives a frame, or nothing before the deadline.
func (s *tap) next(end time.Time) []byte {
	s.l.Helper()
	s.l.must(s.conn.SetReadDeadline(end))
	n, _, err := s.conn.ReadFrom(s.buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	s.l.must(err)
	return s.buf[:n]
}

// await receives until each of these marks has been seen or the last one has,
// and tells which were. It fails if the last one does not come: that is the one
// that must, and that was sent after the others.
func (s *tap) await(mark func(frame []byte) uint32, marks ...uint32) (seen []uint32) {
	s.l.Helper()
	end := time.Now().Add(patience)
	for {
		f := s.next(end)
		if f == nil {
			s.l.Fatalf("the control frame did not come within %v", patience)
		}
		m := mark(f)
		if slices.Contains(marks, m) {
			seen = append(seen, m)
		}
		if m == marks[len(marks)-1] {
			return seen
		}
	}
}

func header(dst, src mac, proto uint16) []byte {
	return binary.BigEndian.AppendUint16(append(append([]byte{}, dst[:]...), src[:]...), proto)
}

// arpRequest asks for ip. The asking MAC carries a serial number, by which the
// answer is told.
func (l *lab) arpRequest(to mac, ip netip.Addr) (frame []byte, serial uint32) {
	l.serial++
	sha := mac{0x02, 0xaa}
	binary.BigEndian.PutUint32(sha[2:], l.serial)
	f := header(to, sha, unix.ETH_P_ARP)
	f = append(f, 0, 1, 0x08, 0, 6, 4, 0, 1)
	f = append(f, sha[:]...)
	f = append(f, client.AsSlice()...)
	f = append(f, 0, 0, 0, 0, 0, 0)
	return append(f, ip.AsSlice()...), l.serial
}

// arpAnswer is the serial number of the question that a frame answers.
func arpAnswer(f []byte) uint32 {
	if len(f) < 42 || binary.BigEndian.Uint16(f[12:]) != unix.ETH_P_ARP || f[21] != 2 || f[32] != 0x02 || f[33] != 0xaa {
		return 0
	}
	return binary.BigEndian.Uint32(f[34:])
}

// answers tells whether the VIP is answered for, asked at the MAC to.
func (l *lab) answers(to mac) bool {
	l.Helper()
	ask, serial := l.arpRequest(to, vip)
	control := ctlMAC
	if to == everyone {
		control = everyone // by the same queue
	}
	askCtl, last := l.arpRequest(control, ctl)
	l.near.send(ask)
	l.near.send(askCtl)
	return slices.Contains(l.near.await(arpAnswer, serial, last), serial)
}

// forwards tells whether what is sent to the VMAC is forwarded.
func (l *lab) forwards() bool {
	l.Helper()
	datagram := func(to mac) ([]byte, uint32) {
		l.serial++
		f := header(to, l.near.mac, unix.ETH_P_IP)
		f = append(f, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 253, 0, 0) // protocol for experiments
		f = append(f, client.AsSlice()...)
		f = append(f, beyond.AsSlice()...)
		var sum uint32
		for i := 14; i < 34; i += 2 {
			sum += uint32(binary.BigEndian.Uint16(f[i:]))
		}
		sum = sum>>16 + sum&0xffff
		binary.BigEndian.PutUint16(f[24:], ^uint16(sum+sum>>16))
		return binary.BigEndian.AppendUint32(append(f, 0, 0, 0, 0), l.serial), l.serial
	}
	ask, serial := datagram(vmac)
	control, last := datagram(ctlMAC)
	l.near.send(ask)
	l.near.send(control)
	return slices.Contains(l.far.await(func(f []byte) uint32 {
		if len(f) < 42 || f[23] != 253 {
			return 0
		}
		return binary.BigEndian.Uint32(f[38:])
	}, serial, last), serial)
}

// leaves tells whether what is sent on vrrp51 reaches the wire.
func (l *lab) leaves() bool {
	l.Helper()
	send := func(name string, from mac) uint32 {
		if l.out[name] == nil {
			l.out[name] = l.open(name, testProto)
		}
		l.serial++
		frame := binary.BigEndian.AppendUint32(header(l.near.mac, from, testProto), l.serial)
		_, err := l.out[name].conn.WriteTo(frame, &packet.Addr{HardwareAddr: l.near.mac.hw()})
		// What the guard drops on the way out is an error of the sender.
		if err != nil && !(name == "vrrp51" && (errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EPERM))) {
			l.Fatal(err)
		}
		return l.serial
	}
	serial := send("vrrp51", vmac)
	last := send("ctl0", ctlMAC)
	return slices.Contains(l.near.await(func(f []byte) uint32 {
		if len(f) < 18 || binary.BigEndian.Uint16(f[12:]) != testProto {
			return 0
		}
		return binary.BigEndian.Uint32(f[14:])
	}, serial, last), serial)
}

// want wants all of the interface's traffic to pass, or none.
func (l *lab) want(what string, open bool) {
	l.Helper()
	for _, c := range []struct {
		way  string
		pass bool
	}{
		{"ARP to the VMAC", l.answers(vmac)},
		{"ARP to everyone", l.answers(everyone)},
		{"forwarding", l.forwards()},
		{"sending", l.leaves()},
	} {
		if c.pass != open {
			l.Errorf("%s: %s passes is %t, want %t", what, c.way, c.pass, open)
		}
	}
}

// exchange is a question for the VIP and its answer.
type exchange struct {
	asked, answered int64 // boottime ns; answered is 0 if it was not
}

// ask asks the VMAC for the VIP once and waits for the answer, or for that of
// the control.
func (l *lab) ask() exchange {
	l.Helper()
	x := exchange{asked: boottime()}
	if l.answers(vmac) {
		x.answered = boottime()
	}
	return x
}

// guarded lists everything in the namespace that could be a guard.
func (l *lab) guarded() []string {
	l.Helper()
	var all []string
	qdiscs, err := l.nl.QdiscList(nil)
	l.must(err)
	for _, q := range qdiscs {
		all = append(all, fmt.Sprintf("qdisc %s on %d", q.Type(), q.Attrs().LinkIndex))
	}
	links, err := l.nl.LinkList()
	l.must(err)
	for _, k := range links {
		for _, h := range hooks {
			filters, err := l.nl.FilterList(k, h.parent)
			l.must(err)
			for _, f := range filters {
				all = append(all, fmt.Sprintf("filter %s %v on %s %s", f.Type(), f.Attrs(), k.Attrs().Name, h.side))
			}
		}
		for _, s := range sides {
			ids, err := tcx{}.list(k.Attrs().Index, s.attach)
			if err == nil {
				all = append(all, fmt.Sprintf("%d TCX programs on %s %s", len(ids), k.Attrs().Name, s.side))
			}
		}
	}
	var n nft
	tables, err := n.wire.Tables(unix.NFPROTO_NETDEV)
	if err == nil {
		all = append(all, fmt.Sprint("nftables ", tables))
	}
	l.must(n.close())
	slices.Sort(all)
	return all
}

// rungs are those that guard.
var rungs = []Rung{Clsact, TCX, Nftables}

// eachRung runs a test in a fresh lab for every rung that the kernel has.
func eachRung(t *testing.T, f func(l *lab, r Rung)) {
	for _, r := range rungs {
		t.Run(r.String(), func(t *testing.T) {
			l := newLab(t)
			l.kernelHas(r)
			f(l, r)
		})
	}
}
