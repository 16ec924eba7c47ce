package lan

import (
	"bytes"
	"context"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"vrrpd/internal/realtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen. It is no measure of
// anything: only a test that fails waits so long.
const patience = 20 * time.Second

// host is a network namespace with one interface, veth0 (a link to the other).
type host struct {
	t   testing.TB
	ns  netns.NsHandle
	nl  *netlink.Handle
	ifi *net.Interface
}

// newPair makes two hosts with a cable between them, both ends up. It binds
// the test's goroutine to its thread for good: the thread dies with the test.
func newPair(t testing.TB) (a, b *host) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	runtime.LockOSThread()
	a, b = newHost(t), newHost(t)
	// Different indices at the two ends: the kernel takes ends with the same
	// one for real NICs, whose carrier it reports up to a second late.
	err := a.nl.LinkAdd(&netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: "veth0", Index: 100},
		PeerName:      "veth0",
		PeerNamespace: netlink.NsFd(b.ns),
	})
	if err != nil {
		t.Fatal("add veth pair:", err)
	}
	a.setUp(true)
	b.setUp(true)
	for _, h := range []*host{a, b} {
		h.carrier()
		l := h.link()
		h.ifi = &net.Interface{Index: l.Attrs().Index, Name: "veth0", HardwareAddr: l.Attrs().HardwareAddr}
	}
	return a, b
}

func newHost(t testing.TB) *host {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal("new namespace:", err)
	}
	nl, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal("netlink:", err)
	}
	t.Cleanup(func() {
		nl.Close()
		ns.Close()
	})
	return &host{t: t, ns: ns, nl: nl}
}

func (h *host) link() netlink.Link {
	h.t.Helper()
	l, err := h.nl.LinkByName("veth0")
	if err != nil {
		h.t.Fatal("find veth0:", err)
	}
	return l
}

func (h *host) setUp(up bool) {
	h.t.Helper()
	set := h.nl.LinkSetDown
	if up {
		set = h.nl.LinkSetUp
	}
	if err := set(h.link()); err != nil {
		h.t.Fatalf("set veth0 up=%v: %v", up, err)
	}
}

// carrier waits until the link carries frames. An interface that has just come
// up throws them away without a word until the kernel has activated its queue.
func (h *host) carrier() { h.t.Helper(); h.operState(netlink.OperUp) }

// operState waits until the link is in one of these states.
func (h *host) operState(wanted ...netlink.LinkOperState) {
	h.t.Helper()
	updates, done := make(chan netlink.LinkUpdate), make(chan struct{})
	defer func() {
		close(done)
		for range updates { // it is closed when its goroutine has ended
		}
	}()
	err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{Namespace: &h.ns, ListExisting: true})
	if err != nil {
		h.t.Fatal("watch links:", err)
	}
	deadline := time.After(patience)
	for {
		select {
		case u := <-updates:
			if a := u.Attrs(); a.Name == "veth0" && slices.Contains(wanted, a.OperState) {
				return
			}
		case <-deadline:
			h.t.Fatalf("veth0 does not become %v", wanted)
		}
	}
}

// enter moves the test's thread into the host's namespace.
func (h *host) enter() {
	h.t.Helper()
	if err := netns.Set(h.ns); err != nil {
		h.t.Fatal("enter namespace:", err)
	}
}

func (h *host) mac() [6]byte { return [6]byte(h.ifi.HardwareAddr) }

func (h *host) config() Config {
	return Config{Index: h.ifi.Index, Name: "veth0", MAC: h.mac()}
}

func (h *host) open(change ...func(*Config)) *Port {
	h.t.Helper()
	cfg := h.config()
	for _, c := range change {
		c(&cfg)
	}
	h.enter()
	p, err := Open(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { p.Close() })
	return p
}

// tap opens a plain packet socket on the host.
func (h *host) tap(protocol int, filter []bpf.RawInstruction) *packet.Conn {
	h.t.Helper()
	h.enter()
	c, err := packet.Listen(h.ifi, packet.Raw, protocol, &packet.Config{Filter: filter})
	if err != nil {
		h.t.Fatal("open tap:", err)
	}
	h.t.Cleanup(func() { c.Close() })
	return c
}

// readTap returns the next frame that want likes.
func readTap(t testing.TB, c *packet.Conn, want func(frame []byte) bool) []byte {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			t.Fatal("read tap:", err)
		}
		if want(buf[:n]) {
			return bytes.Clone(buf[:n])
		}
	}
}

// proc reads a file of /proc/net in the host's namespace.
func (h *host) proc(name string) string {
	h.t.Helper()
	h.enter()
	b, err := os.ReadFile("/proc/thread-self/net/" + name)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

// members is how many times the NIC was asked to let the group in: by the
// adverts socket and by IP for the IGMP membership. igmp says that the latter
// is there.
func (h *host) members() (ethernet int, igmp bool) {
	h.t.Helper()
	for line := range strings.Lines(h.proc("dev_mcast")) {
		// index, name, users, global users, address
		if f := strings.Fields(line); len(f) == 5 && f[4] == "01005e000012" {
			ethernet, _ = strconv.Atoi(f[2])
		}
	}
	return ethernet, strings.Contains(strings.ToUpper(h.proc("igmp")), "120000E0")
}

// run listens, with a bell of its own, until ctx ends or the Port is closed (nil), or the
// socket fails.
func run(ctx context.Context, p *Port, sink Sink) error {
	bell, err := realtime.NewBell(false)
	if err != nil {
		return err
	}
	defer bell.Close()
	var failed error // the bell's
	if err := p.Listen(bell, sink, func(err error) { failed = err }); err != nil {
		return err
	}
	defer p.Leave()
	for ctx.Err() == nil && !p.closed.Load() && failed == nil {
		bell.Wait(boottime() + int64(10*time.Millisecond)) // nobody rings when the Port is closed
		bell.Serve()
	}
	if p.closed.Load() {
		return nil // which it may have met as an error
	}
	return failed
}

// listener runs a Port and keeps copies of what it delivers.
type listener struct {
	t      testing.TB
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of run, once ended is closed

	mu   sync.Mutex
	got  []Batch
	bell chan struct{}
}

func listen(t testing.TB, p *Port) *listener {
	ctx, cancel := context.WithCancel(context.Background())
	l := &listener{t: t, cancel: cancel, ended: make(chan struct{}), bell: make(chan struct{}, 1)}
	go func() {
		defer close(l.ended)
		l.err = run(ctx, p, l.sink)
	}()
	t.Cleanup(func() {
		cancel()
		l.wait()
	})
	return l
}

func (l *listener) sink(b Batch) {
	keep := Batch{At: b.At, Answers: append([]Answer(nil), b.Answers...)}
	for _, r := range b.Adverts {
		r.Payload = bytes.Clone(r.Payload)
		r.Header = bytes.Clone(r.Header)
		keep.Adverts = append(keep.Adverts, r)
	}
	l.mu.Lock()
	l.got = append(l.got, keep)
	l.mu.Unlock()
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

// wait returns what run returned.
func (l *listener) wait() error {
	l.t.Helper()
	select {
	case <-l.ended:
		return l.err
	case <-time.After(patience):
		l.t.Fatal("run does not end")
		return nil
	}
}

// next returns the next batch, cut to one advert or one answer.
func (l *listener) next() Batch {
	l.t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		if len(l.got) > 0 {
			b := &l.got[0]
			one := Batch{At: b.At}
			switch {
			case len(b.Adverts) > 0:
				one.Adverts, b.Adverts = b.Adverts[:1], b.Adverts[1:]
			case len(b.Answers) > 0:
				one.Answers, b.Answers = b.Answers[:1], b.Answers[1:]
			}
			if len(b.Adverts)+len(b.Answers) == 0 {
				l.got = l.got[1:]
			}
			l.mu.Unlock()
			return one
		}
		l.mu.Unlock()
		select {
		case <-l.bell:
		case <-deadline:
			l.t.Fatal("nothing arrives")
		}
	}
}

func (l *listener) advert() Received {
	l.t.Helper()
	b := l.next()
	if len(b.Adverts) != 1 {
		l.t.Fatalf("got %+v, want an advert", b)
	}
	return b.Adverts[0]
}

func (l *listener) answer() Answer {
	l.t.Helper()
	b := l.next()
	if len(b.Answers) != 1 {
		l.t.Fatalf("got %+v, want an answer", b)
	}
	return b.Answers[0]
}

// sentinel is the advert that tells that everything before it is through.
var sentinelPayload = []byte("sentinel")

func sentinel() []byte {
	return AppendAdvert(nil, vmac51, primary, Group4(), 0, sentinelPayload)
}

// sentinelTap hears sentinels only, so that a crowd before them cannot fill it.
func (h *host) sentinelTap() *packet.Conn {
	h.t.Helper()
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: ethernetSize + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(ipv4Size + len(sentinelPayload)), SkipTrue: 1},
		bpf.RetConstant{Val: refuse},
		bpf.RetConstant{Val: whole},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return h.tap(unix.ETH_P_IP, filter)
}

func mustSend(t testing.TB, p *Port, frames ...[]byte) {
	t.Helper()
	if n, err := p.Send(frames); n != len(frames) || err != nil {
		t.Fatalf("sent %d of %d: %v", n, len(frames), err)
	}
}
