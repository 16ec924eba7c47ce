package rtnl

import (
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; none of them needs a thousandth.
const patience = 20 * time.Second

// lab is a network namespace of its own on a thread of its own, which ends with
// the test.
type lab struct {
	*testing.T
	nl *netlink.Handle
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	runtime.LockOSThread()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make network namespace: %v", err)
	}
	nl, err := netlink.NewHandle()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nl.Close()
		_ = ns.Close()
	})
	return &lab{t, nl}
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) link(name string) netlink.Link {
	l.Helper()
	k, err := l.nl.LinkByName(name)
	if err != nil {
		l.Fatalf("link %s: %v", name, err)
	}
	return k
}

func (l *lab) veth(name, peer string) {
	l.Helper()
	l.must(l.nl.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer}))
}

func (l *lab) up(names ...string) {
	l.Helper()
	for _, n := range names {
		l.must(l.nl.LinkSetUp(l.link(n)))
	}
}

func (l *lab) addr(name, prefix string) *netlink.Addr {
	l.Helper()
	a, err := netlink.ParseAddr(prefix)
	l.must(err)
	l.must(l.nl.AddrAdd(l.link(name), a))
	return a
}

// view is what a consumer knows that only ever saw Changes.
type view struct {
	links map[int]Link
	addrs map[Addr]bool
}

func (v view) take(changes []Change) error {
	for _, c := range changes {
		switch c.Kind {
		case LinkChanged:
			if v.links[c.New.Index] != c.Old {
				return fmt.Errorf("%v: old is %+v, we knew %+v", c, c.Old, v.links[c.New.Index])
			}
			if c.Old == c.New {
				return fmt.Errorf("%v changes nothing", c)
			}
			v.links[c.New.Index] = c.New
		case LinkGone:
			if v.links[c.Old.Index] != c.Old {
				return fmt.Errorf("%v: old is %+v, we knew %+v", c, c.Old, v.links[c.Old.Index])
			}
			for a := range v.addrs {
				if a.Index == c.Old.Index {
					return fmt.Errorf("%v leaves the address %v", c, a.Prefix)
				}
			}
			delete(v.links, c.Old.Index)
		case AddrAdded:
			if v.addrs[c.Addr] {
				return fmt.Errorf("%v changes nothing", c)
			}
			for a := range v.addrs {
				if a.same(c.Addr) {
					delete(v.addrs, a)
				}
			}
			v.addrs[c.Addr] = true
		case AddrGone:
			if !v.addrs[c.Addr] {
				return fmt.Errorf("%v: was not known", c)
			}
			delete(v.addrs, c.Addr)
		default:
			return fmt.Errorf("change of kind %d", c.Kind)
		}
	}
	return nil
}

func (v view) named(name string) Link {
	for _, l := range v.links {
		if l.Name == name {
			return l
		}
	}
	return Link{}
}

func (v view) has(index int, prefix string) bool {
	for a := range v.addrs {
		if a.Index == index && a.Prefix.String() == prefix {
			return true
		}
	}
	return false
}

// watch runs a Watcher in the lab's namespace and follows it.
type watch struct {
	lab     *lab
	w       *Watcher
	v       view
	batches chan []Change
	seen    []Change
}

func (l *lab) watch(c Config) *watch {
	l.Helper()
	w, err := Open(c)
	l.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	k := &watch{lab: l, w: w, v: view{map[int]Link{}, map[Addr]bool{}}, batches: make(chan []Change)}
	done := make(chan error, 1)
	go func() {
		done <- w.Run(ctx, func(b []Change) {
			select {
			case k.batches <- b:
			case <-ctx.Done():
			}
		})
	}()
	l.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				l.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			l.Error("Run did not end")
			return
		}
		if err := w.Close(); err != nil {
			l.Errorf("Close: %v", err)
		}
	})
	k.step("initial state")
	return k
}

// step takes one batch in.
func (k *watch) step(what string) []Change {
	k.lab.Helper()
	select {
	case b := <-k.batches:
		if len(b) == 0 {
			k.lab.Fatalf("%s: empty batch", what)
		}
		if err := k.v.take(b); err != nil {
			k.lab.Fatalf("%s: %v", what, err)
		}
		k.seen = append(k.seen, b...)
		return b
	case <-time.After(patience):
		k.lab.Fatalf("%s: nothing came; known: %+v", what, k.v)
		return nil
	}
}

// until takes batches in until ok.
func (k *watch) until(what string, ok func(view) bool) {
	k.lab.Helper()
	for !ok(k.v) {
		k.step(what)
	}
}

// kinds lists what was seen of one interface since the last call, and forgets it.
func (k *watch) kinds(index int) (out []ChangeKind) {
	for _, c := range k.seen {
		if c.Index() == index {
			out = append(out, c.Kind)
		}
	}
	k.seen = nil
	return out
}

// sameAsDump waits until the consumer's view equals a fresh dump.
func (k *watch) sameAsDump() {
	k.lab.Helper()
	s, err := dial(0)
	k.lab.must(err)
	defer s.Close()
	k.until("view equal to a fresh dump", func(v view) bool {
		d, err := s.everything()
		if err != nil {
			return false
		}
		links := make(map[int]Link)
		for _, l := range d.links {
			links[l.Index] = l
		}
		addrs := make(map[Addr]bool)
		for _, a := range d.addrs {
			addrs[a] = true
		}
		return maps.Equal(links, v.links) && maps.Equal(addrs, v.addrs)
	})
}
