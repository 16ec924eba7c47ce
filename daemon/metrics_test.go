package daemon

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"vrrpd/control"
	"vrrpd/internal/reexec"
)

// Another program goes on with the port of metrics, opens it anew if there is none any
// more, and says why not if that cannot be.
func TestAdoptMetrics(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := netip.MustParseAddrPort(taken.Addr().String())
	f, err := taken.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	none, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	again := netip.AddrPortFrom(port.Addr(), 0)
	for _, c := range []struct {
		left *os.File // nil: nothing
		addr netip.AddrPort
		ok   bool
	}{{f, port, true}, {nil, again, true}, {none, again, true}, {nil, port, false}} {
		p := &Process{state: &reexec.State{}, opt: Options{Log: slog.New(slog.DiscardHandler)}}
		var own keptProcess
		if c.left != nil {
			if own.Metrics, err = unix.Dup(int(c.left.Fd())); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.state.SetPart(processPart, own); err != nil {
			t.Fatal(err)
		}
		server := &control.MetricsServer{}
		err := p.adoptMetrics(server, c.addr)
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
		if err == nil {
			server.Close()
		}
	}
}
