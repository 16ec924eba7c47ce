package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// HostOptions say what a host is like; the zero value is a router that runs
// programs.
type HostOptions struct {
	// Light hosts have a network namespace only: enough for instruments
	// (clients, servers, askers), and cheaper. They run no programs.
	Light bool
	// Private are directories, besides /etc, of which the host gets a private
	// writable view: what it writes there nobody else sees. They must exist.
	Private []string
	// Files are written before anything runs, by absolute path; parents are
	// made. A path outside /run, /etc and Private is refused.
	Files map[string]File
	// NoForward leaves IPv4 and IPv6 forwarding off.
	NoForward bool
}

// File is the content of a file on a host.
type File struct {
	Text string
	Mode fs.FileMode // 0: 0644
}

// Host is a machine: its own network, and, unless Light, its own processes,
// /run, /etc, /proc and host name.
type Host struct {
	place
	number  byte // from 1, part of its MACs
	private []string
	holder  *holder // nil for a light host
	item    *item

	mu    sync.Mutex
	procs []*Proc // everything ever started; guarded by mu
	nics  byte    // cables plugged so far, part of their MACs; guarded by mu
}

// Host adds a host. The sysctls that decide about ARP, forwarding and filtering
// have the kernel's defaults whatever this machine uses itself, except that
// forwarding is on and IPv6 duplicate address detection is off (it would delay
// every link by a second).
func (l *Lab) Host(name string, opts HostOptions) (*Host, error) {
	h, err := l.reserveHost(name, opts)
	if err != nil {
		return nil, err
	}
	if err := h.start(opts); err != nil {
		return nil, err
	}
	return h, nil
}

// reserveHost gives the host its number and its place in the order of closing;
// nothing of it exists yet.
func (l *Lab) reserveHost(name string, opts HostOptions) (*Host, error) {
	if err := l.refuse(); err != nil {
		return nil, fmt.Errorf("make host %s: %w", name, err)
	}
	h := &Host{place: place{lab: l, name: name}}
	h.private = append([]string{"/run", "/etc"}, opts.Private...)
	l.mu.Lock()
	l.hosts = append(l.hosts, h)
	h.number = byte(len(l.hosts))
	l.mu.Unlock()
	h.item = l.stack.push(h.end)
	return h, nil
}

// start makes the host; when it cannot, what it made is gone.
func (h *Host) start(opts HostOptions) error {
	if err := h.make(opts); err != nil {
		return errors.Join(fmt.Errorf("make host %s: %w", h.name, err), h.item.Close())
	}
	return nil
}

func (h *Host) make(opts HostOptions) error {
	err := onThread(func() error {
		kinds := unix.CLONE_NEWNET
		if !opts.Light {
			kinds |= unix.CLONE_NEWNS | unix.CLONE_NEWUTS
		}
		if err := unix.Unshare(kinds); err != nil {
			return fmt.Errorf("make namespaces: %w", err)
		}
		if err := h.init(!opts.Light); err != nil {
			return err
		}
		if err := neutralSysctls(!opts.NoForward); err != nil {
			return err
		}
		if opts.Light {
			return nil
		}
		if err := unix.Sethostname([]byte(h.name)); err != nil {
			return fmt.Errorf("set host name: %w", err)
		}
		if err := privateView(h.private[1:]); err != nil {
			return err
		}
		var err error
		if h.holder, err = startHolder(); err != nil {
			return err
		}
		return nil
	})
	if err != nil || opts.Light {
		return err
	}
	if h.spaces.pid, err = os.Open(fmt.Sprintf("/proc/%d/ns/pid", h.PID())); err != nil {
		return err
	}
	for path, file := range opts.Files {
		if err := h.WriteFile(path, file); err != nil {
			return err
		}
	}
	return nil
}

// privateView gives the calling thread's new mount namespace its own /run, /sys
// and private copies of dirs. /proc comes with the holder.
func privateView(dirs []string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("part from the machine's mounts: %w", err)
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	// The overlays keep their files in a first tmpfs, which disappears from
	// view under the second.
	if err := unix.Mount("netlab", "/run", "tmpfs", flags, "mode=755"); err != nil {
		return fmt.Errorf("mount scratch on /run: %w", err)
	}
	for i, dir := range dirs {
		upper, work := fmt.Sprintf("/run/u%d", i), fmt.Sprintf("/run/w%d", i)
		for _, d := range []string{upper, work} {
			if err := os.Mkdir(d, 0o755); err != nil {
				return err
			}
		}
		data := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
		if err := unix.Mount("netlab", dir, "overlay", flags, data); err != nil {
			return fmt.Errorf("mount overlay on %s: %w", dir, err)
		}
	}
	if err := unix.Mount("netlab", "/run", "tmpfs", flags, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	// /sys/class/net shows the namespace in which it was mounted.
	if err := unix.Mount("netlab", "/sys", "sysfs", flags|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	return nil
}

// neutralSysctls makes the calling thread's network namespace independent of
// what the machine's administrator prefers.
func neutralSysctls(forward bool) error {
	set := []struct{ key, value string }{
		{"net/ipv6/conf/all/accept_dad", "0"},
		{"net/ipv6/conf/default/accept_dad", "0"},
	}
	for _, scope := range []string{"all", "default"} {
		for _, name := range []string{"rp_filter", "arp_ignore", "arp_announce", "arp_filter", "proxy_arp"} {
			set = append(set, struct{ key, value string }{"net/ipv4/conf/" + scope + "/" + name, "0"})
		}
	}
	if forward {
		set = append(set, struct{ key, value string }{"net/ipv4/ip_forward", "1"},
			struct{ key, value string }{"net/ipv6/conf/all/forwarding", "1"})
	}
	for _, s := range set {
		err := writeSysctl(s.key, s.value)
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(s.key, "net/ipv6/") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func writeSysctl(key, value string) error {
	if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0); err != nil {
		return fmt.Errorf("set sysctl %s to %s: %w", key, value, err)
	}
	return nil
}

// PID returns the process id of the host's holder as the lab sees it, 0 for a
// light host. "nsenter --all --target PID" looks around inside.
func (h *Host) PID() int {
	if h.holder == nil {
		return 0
	}
	return h.holder.cmd.Process.Pid
}

// Close is a power failure: all processes are killed, then the cables are
// gone, so that the switches lose carrier. Lab.Close does it for all.
func (h *Host) Close() error { return h.item.Close() }

func (h *Host) end() error {
	var errs []error
	if h.holder != nil {
		errs = append(errs, h.holder.kill())
	}
	for _, p := range h.programs() {
		errs = append(errs, p.end())
	}
	return errors.Join(append(errs, h.place.close())...)
}

func (h *Host) programs() []*Proc {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.procs)
}

// Do runs f inside the host, on a thread of its own: network, mounts (/run,
// /etc, /sys), host name, and the processes it starts. Sockets that f opens stay
// in the host; goroutines that f starts are not in it. /proc is the host's,
// where the lab's own process does not exist: what reads /proc/self belongs
// into DoNet. A panic or FailNow in f is the caller's. On a light host it is
// DoNet.
func (h *Host) Do(f func() error) error {
	return onThread(func() error {
		if err := h.spaces.enter(true); err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		return f()
	})
}

// WriteFile writes a file on the host, in /run, /etc or one of its other
// private directories, and makes the parents.
func (h *Host) WriteFile(path string, file File) error {
	path = filepath.Clean(path)
	inside := slices.ContainsFunc(h.private, func(dir string) bool { return strings.HasPrefix(path, dir+"/") })
	if h.holder == nil || !inside {
		return fmt.Errorf("write %s on %s: not in one of its private directories", path, h.name)
	}
	if file.Mode == 0 {
		file.Mode = 0o644
	}
	return h.Do(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(file.Text), file.Mode); err != nil {
			return err
		}
		return os.Chmod(path, file.Mode) // whatever the umask is
	})
}

// ReadFile reads a file as the host sees it.
func (h *Host) ReadFile(path string) (string, error) {
	var text []byte
	err := h.Do(func() (err error) {
		text, err = os.ReadFile(path)
		return err
	})
	return string(text), err
}

// Sysctl returns a network sysctl, named by its path under /proc/sys, such as
// net/ipv4/ip_forward.
func (h *Host) Sysctl(key string) (string, error) {
	var text []byte
	err := h.DoNet(func() (err error) {
		text, err = os.ReadFile("/proc/sys/" + key)
		return err
	})
	return strings.TrimSpace(string(text)), err
}

// SetSysctl sets a network sysctl of the host.
func (h *Host) SetSysctl(key, value string) error {
	if !strings.HasPrefix(key, "net/") {
		return fmt.Errorf("set sysctl %s on %s: only net/ belongs to a host", key, h.name)
	}
	return h.DoNet(func() error { return writeSysctl(key, value) })
}

// AddAddr gives an interface an address.
func (h *Host) AddAddr(ifname string, addr netip.Prefix) error {
	link, err := h.nl.LinkByName(ifname)
	if err == nil {
		err = h.nl.AddrAdd(link, &netlink.Addr{IPNet: ipNet(addr)})
	}
	if err != nil {
		return fmt.Errorf("add %v to %s of %s: %w", addr, ifname, h.name, err)
	}
	return nil
}

// DelAddr takes an address from an interface.
func (h *Host) DelAddr(ifname string, addr netip.Prefix) error {
	link, err := h.nl.LinkByName(ifname)
	if err == nil {
		err = h.nl.AddrDel(link, &netlink.Addr{IPNet: ipNet(addr)})
	}
	if err != nil {
		return fmt.Errorf("delete %v from %s of %s: %w", addr, ifname, h.name, err)
	}
	return nil
}

// AddRoute adds a route to dst by way of a router.
func (h *Host) AddRoute(dst netip.Prefix, via netip.Addr) error {
	route := &netlink.Route{Dst: ipNet(dst), Gw: via.AsSlice()}
	if err := h.nl.RouteAdd(route); err != nil {
		return fmt.Errorf("add route to %v via %v on %s: %w", dst, via, h.name, err)
	}
	return nil
}

// FlushNeighbours forgets what the host has learnt by ARP and neighbour
// discovery, so that its next packet has to ask again.
func (h *Host) FlushNeighbours() error {
	list, err := h.nl.NeighList(0, 0)
	if err != nil {
		return fmt.Errorf("list neighbours of %s: %w", h.name, err)
	}
	for _, n := range list {
		if n.State&(unix.NUD_PERMANENT|unix.NUD_NOARP) != 0 {
			continue
		}
		if err := h.nl.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("forget %v on %s: %w", n.IP, h.name, err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
