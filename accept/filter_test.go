package accept

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	netlib "github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
	"vrrpd/internal/nftables"
)

func TestMain(m *testing.M) {
	netlab.Hook()
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// inside runs a test in a network namespace of its own, in which there is an interface
// vrrp51.
func inside(t *testing.T, test func(h *netlab.Host)) {
	t.Helper()
	h, err := netlab.ForTest(t).Host("r", netlab.HostOptions{})
	must(t, err)
	must(t, h.Netlink().LinkAdd(&netlib.Veth{LinkAttrs: netlib.LinkAttrs{Name: "vrrp51"}, PeerName: "far"}))
	must(t, h.DoNet(func() error { test(h); return nil }))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addresses(s string) []netip.Addr {
	var all []netip.Addr
	for a := range strings.FieldsSeq(s) {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

func many(first string) []netip.Addr {
	all := addresses(first)
	for len(all) < 255 {
		all = append(all, all[len(all)-1].Next())
	}
	return all
}

// Whatever somebody does to a filter is found out, and Install undoes it; Remove leaves
// nothing, and may be done twice.
func TestVerifyAndInstall(t *testing.T) {
	for _, addrs := range [][]netip.Addr{addresses("192.0.2.1"), addresses("fe80::1 2001:db8::1"), many("198.51.100.1"), many("2001:db8::1")} {
		inside(t, func(*netlab.Host) {
			f := New("vrrp51", addrs)
			table := f.table()
			do := func(typ uint16, attrs ...nftables.Attr) func() {
				return func() {
					var c nftables.Conn
					must(t, c.Commit(f.message(typ, 0, attrs...)))
					must(t, c.Close())
				}
			}
			chain := []nftables.Attr{nftables.Str(unix.NFTA_CHAIN_TABLE, table), nftables.Str(unix.NFTA_CHAIN_NAME, chainName)}
			elements := func(typ uint16, a netip.Addr) func() {
				return do(typ, nftables.Str(unix.NFTA_SET_ELEM_LIST_TABLE, table), nftables.Str(unix.NFTA_SET_ELEM_LIST_SET, setName),
					nftables.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, nftables.Element(a.AsSlice())))
			}
			rules := do(unix.NFT_MSG_DELRULE, nftables.Str(unix.NFTA_RULE_TABLE, table), nftables.Str(unix.NFTA_RULE_CHAIN, chainName))
			last := addrs[len(addrs)-1]
			for want, spoil := range map[string][]func(){
				"is missing":                     {do(unix.NFT_MSG_DELTABLE, nftables.Str(unix.NFTA_TABLE_NAME, table))},
				"has been switched off":          {do(unix.NFT_MSG_NEWTABLE, nftables.Str(unix.NFTA_TABLE_NAME, table), nftables.Num(unix.NFTA_TABLE_FLAGS, 1))},
				"is not as this process made it": {rules, elements(unix.NFT_MSG_DELSETELEM, last), elements(unix.NFT_MSG_NEWSETELEM, last.Next()), do(unix.NFT_MSG_NEWCHAIN, append(chain, nftables.Num(unix.NFTA_CHAIN_POLICY, nftables.Drop))...)},
			} {
				for i, s := range spoil {
					must(t, f.Install())
					must(t, f.Verify())
					s()
					if err := f.Verify(); err == nil || !strings.Contains(err.Error(), table+" "+want) {
						t.Errorf("%v..., %s (%d): %v", addrs[0], want, i, err)
					}
				}
			}
			must(t, f.Install())
			must(t, f.Remove())
			must(t, f.Remove())
			if err := f.Verify(); err == nil {
				t.Error("it is still there")
			}
			must(t, f.Remove()) // closes the connection again
		})
	}
}

// A successor replaces what another process has left, also with other addresses; what
// belongs to an interface that is gone is swept, and nothing else.
func TestSweep(t *testing.T) {
	inside(t, func(h *netlab.Host) {
		must(t, Available())
		var c nftables.Conn
		defer func() { must(t, c.Close()) }()
		must(t, c.Commit(nftables.Message(unix.NFPROTO_IPV4, unix.NFT_MSG_NEWTABLE, 0, nftables.Str(unix.NFTA_TABLE_NAME, "firewall"))))
		old := New("vrrp51", addresses("192.0.2.1 192.0.2.2"))
		must(t, old.Install())
		f := New("vrrp51", addresses("192.0.2.1"))
		if f.Verify() == nil {
			t.Error("what another process has left passes for ours")
		}
		must(t, f.Install())
		must(t, f.Verify())
		gone := New("vrrp52v6", addresses("fe80::1"))
		must(t, gone.Install())
		tables := func(want4, want6 string) {
			t.Helper()
			four, err := c.Tables(unix.NFPROTO_IPV4)
			must(t, err)
			six, err := c.Tables(unix.NFPROTO_IPV6)
			must(t, err)
			slices.Sort(four)
			if got4, got6 := strings.Join(four, " "), strings.Join(six, " "); got4 != want4 || got6 != want6 {
				t.Errorf("tables %q and %q, want %q and %q", got4, got6, want4, want6)
			}
		}
		tables("firewall vrrpd-accept-vrrp51", "vrrpd-accept-vrrp52v6")
		must(t, Sweep())
		tables("firewall vrrpd-accept-vrrp51", "")
		l, err := h.Netlink().LinkByName("vrrp51")
		must(t, err)
		must(t, h.Netlink().LinkDel(l))
		must(t, Sweep())
		tables("firewall", "")
		for _, f := range []*Filter{old, f, gone} {
			must(t, f.Remove())
		}
	})
}

// Changes of a filter are told by the name of its interface, others are not.
func TestWatch(t *testing.T) {
	inside(t, func(h *netlab.Host) {
		w, err := Watch()
		must(t, err)
		ctx, stop := context.WithCancel(context.Background())
		told, ended := make(chan string, 100), make(chan error, 1)
		go func() { ended <- w.Run(ctx, func(name string) { told <- name }) }()
		var c nftables.Conn
		must(t, c.Commit(nftables.Message(unix.NFPROTO_IPV4, unix.NFT_MSG_NEWTABLE, 0, nftables.Str(unix.NFTA_TABLE_NAME, "firewall"))))
		must(t, c.Close())
		f := New("vrrp51", addresses("192.0.2.1"))
		for _, do := range []func() error{f.Install, f.Remove} {
			must(t, do())
			select {
			case name := <-told:
				if name != "vrrp51" {
					t.Errorf("told of %q", name)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("nothing is told")
			}
			for len(told) > 0 { // the kernel tells of each part
				<-told
			}
		}
		stop()
		must(t, <-ended)
	})
}

// A large filter is right at once, also while the kernel makes its set larger.
func TestVerifyRightAfterInstall(t *testing.T) {
	inside(t, func(*netlab.Host) {
		f := New("vrrp51", many("2001:db8::1"))
		for range 300 {
			must(t, f.Install())
			must(t, f.Verify())
		}
		must(t, f.Remove())
	})
}
