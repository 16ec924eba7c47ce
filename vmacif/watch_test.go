package vmacif

import (
	"context"
	"testing"
	"time"
)

// hearing collects what a SettingsWatch tells.
type hearing struct {
	*lab
	w    *SettingsWatch
	told chan hint
}

type hint struct {
	index int
	name  string
}

func (l *lab) hear() *hearing {
	l.Helper()
	w, err := WatchSettings()
	l.must(err)
	h := &hearing{l, w, make(chan hint, 1000)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, func(index int, name string) { h.told <- hint{index, name} }) }()
	l.Cleanup(func() {
		cancel()
		l.must(<-done)
		l.must(w.Close())
	})
	return h
}

// until waits for a hint.
func (h *hearing) until(what string, want hint) {
	h.Helper()
	limit := time.After(patience)
	for {
		select {
		case got := <-h.told:
			if got == want {
				return
			}
		case <-limit:
			h.Fatalf("%s: nothing was told of %+v", what, want)
		}
	}
}

func TestSettingsWatch(t *testing.T) {
	l := newLab(t)
	h := l.hear()
	l.ensure(l.hands(), spec51())
	l.must(h.w.Follow("eth0"))
	l.must(h.w.Follow("vrrp51"))
	vrrp, eth := hint{0, "vrrp51"}, hint{0, "eth0"}
	l.sysctl("ipv4", "eth0", "arp_ignore", "0")
	h.until("a setting that only inotify tells", eth)
	l.sysctl("ipv6", "vrrp51", "disable_ipv6", "0")
	h.until("IPv6", vrrp)
	l.sysctl("ipv4", "vrrp51", "rp_filter", "0")
	h.until("a setting that netlink tells, too", hint{l.link("vrrp51").Attrs().Index, ""})
	l.sysctl("ipv4", "default", "send_redirects", "0")
	h.until("default", hint{})

	// Twice is as good as once, and the directory of a new interface is another.
	l.must(h.w.Follow("vrrp51"))
	l.sysctl("ipv4", "vrrp51", "arp_ignore", "0")
	h.until("followed twice", vrrp)
	l.must(l.nl.LinkDel(l.link("vrrp51")))
	l.ensure(l.hands(), spec51())
	l.must(h.w.Follow("vrrp51"))
	l.sysctl("ipv4", "vrrp51", "arp_ignore", "0")
	h.until("made again", vrrp)
	l.must(l.nl.LinkSetName(l.link("eth0"), "lan0"))
	h.w.Forget("eth0")
	l.must(h.w.Follow("lan0"))
	l.sysctl("ipv4", "lan0", "arp_announce", "0")
	h.until("renamed", hint{0, "lan0"})
	l.must(l.nl.LinkSetName(l.link("lan0"), "eth0"))

	if err := h.w.Follow("nothing0"); err != nil {
		t.Errorf("an interface that does not exist: %v", err)
	}
}

// Netlink tells of all interfaces at once with an index that is none.
func TestNetconfOf(t *testing.T) {
	for _, c := range []struct {
		b     []byte
		index int
		ok    bool
	}{
		{[]byte{2, 0, 0, 0, 8, 0, 1, 0, 7, 0, 0, 0}, 7, true},
		{[]byte{2, 0, 0, 0, 8, 0, 1, 0, 0xff, 0xff, 0xff, 0xff}, 0, true},
		{[]byte{2, 0, 0, 0, 8, 0, 2, 0, 7, 0, 0, 0}, 0, false},
		{[]byte{2, 0, 0, 0, 8, 0, 1, 0, 7, 0}, 0, false},
		{[]byte{2, 0}, 0, false},
		{nil, 0, false},
	} {
		if index, ok := netconfOf(c.b); ok != c.ok || ok && index != c.index {
			t.Errorf("%v: %d %t", c.b, index, ok)
		}
	}
}
