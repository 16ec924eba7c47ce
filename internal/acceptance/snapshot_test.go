package acceptance

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// snapshot is all of a machine that vrrpd could change, one line of text for
// each thing.
type snapshot map[string]string

// snapshot looks at the links, addresses, routes, per-interface sysctls and
// link-layer groups of the machine, and at its run directory. Only what begins
// with one of the prefixes is kept; none: everything.
func (r *router) snapshot(prefixes ...string) snapshot {
	r.site.t.Helper()
	s := snapshot{}
	nl := r.Netlink()
	links, err := whole(nl.LinkList)
	check(r.site.t, err)
	names := map[int]string{}
	for _, l := range links {
		a := l.Attrs()
		names[a.Index] = a.Name
		s["link "+a.Name] = fmt.Sprintf("%s index %d mac %v flags %#x mtu %d master %d group %d alias %q qlen %d",
			l.Type(), a.Index, a.HardwareAddr, a.RawFlags, a.MTU, a.MasterIndex, a.Group, a.Alias, a.TxQLen)
		// A card that cannot filter a second MAC is made to listen to all by the
		// kernel, as long as the second MAC is wanted.
		s["reception "+a.Name] = fmt.Sprintf("promiscuity %d allmulti %d", a.Promisc, a.Allmulti)
	}
	addrs, err := whole(func() ([]netlink.Addr, error) { return nl.AddrList(nil, netlink.FAMILY_ALL) })
	check(r.site.t, err)
	for _, a := range addrs {
		s[fmt.Sprintf("addr %s %v", names[a.LinkIndex], a.IPNet)] = fmt.Sprintf("flags %#x scope %d label %q broadcast %v", a.Flags, a.Scope, a.Label, a.Broadcast)
	}
	routes, err := whole(func() ([]netlink.Route, error) {
		return nl.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	})
	check(r.site.t, err)
	for _, route := range routes {
		s[fmt.Sprintf("route %s %v table %d type %d", names[route.LinkIndex], route.Dst, route.Table, route.Type)] = route.String()
	}
	check(r.site.t, r.DoNet(func() error { return s.sysctls() }))
	check(r.site.t, r.Do(func() error { return s.files("/run") }))
	maps.DeleteFunc(s, func(key, _ string) bool {
		return len(prefixes) > 0 && !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
	})
	return s
}

// whole repeats a list of the kernel's that changed while it was read.
func whole[T any](list func() ([]T, error)) (all []T, err error) {
	for range 100 {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

// sysctls reads every per-interface setting of the calling thread's network
// namespace, and the link-layer multicast groups.
func (s snapshot) sysctls() error {
	for _, dir := range []string{"ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh"} {
		err := filepath.WalkDir(filepath.Join("/proc/sys/net", dir), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it went while it was looked at
			}
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			switch {
			case err == nil:
				s["sysctl "+strings.TrimPrefix(path, "/proc/sys/net/")] = strings.TrimSpace(string(text))
			case errors.Is(err, fs.ErrNotExist):
			case strings.HasSuffix(path, "stable_secret"): // cannot be read before it is set
			default:
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	text, err := os.ReadFile("/proc/thread-self/net/dev_mcast")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 5 {
			s["group "+f[1]+" "+net.HardwareAddr(unhex(f[4])).String()] = "users " + f[2]
		}
	}
	return err
}

func unhex(text string) []byte {
	var b []byte
	_, _ = fmt.Sscanf(text, "%x", &b)
	return b
}

// files lists a directory of the host.
func (s snapshot) files(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		s["file "+path] = fmt.Sprintf("mode %o size %d owner %d", st.Mode, st.Size*int64(boolInt(d.Type().IsRegular())), st.Uid)
		return nil
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// differences are what has changed from s to now, in lines for people.
func (s snapshot) differences(now snapshot) []string {
	var diff []string
	for key, was := range s {
		if is, there := now[key]; !there {
			diff = append(diff, "gone: "+key+": "+was)
		} else if is != was {
			diff = append(diff, "changed: "+key+": "+was+" -> "+is)
		}
	}
	for key, is := range now {
		if _, was := s[key]; !was {
			diff = append(diff, "new: "+key+": "+is)
		}
	}
	slices.Sort(diff)
	return diff
}

// same ends the test unless nothing has changed.
func (s snapshot) same(t *testing.T, what string, now snapshot) {
	t.Helper()
	if diff := s.differences(now); len(diff) > 0 {
		t.Fatalf("%s:\n%s", what, strings.Join(diff, "\n"))
	}
}
