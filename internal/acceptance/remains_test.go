package acceptance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	mdnetlink "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// world are the settings all and default of a machine, which nobody may write.
type world struct {
	r     *router
	was   map[string]string // by path
	fd    int               // of inotify
	names map[int32]string  // path by watch
}

// watchWorld has the kernel tell of every write to them, even of the same value.
func (r *router) watchWorld() *world {
	t := r.site.t
	t.Helper()
	w := &world{r: r, names: map[int32]string{}}
	w.was = w.read()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	check(t, err)
	w.fd = fd
	t.Cleanup(func() { _ = unix.Close(fd) })
	check(t, r.Do(func() error { // as the machine's own processes see the files
		for path := range w.was {
			wd, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY)
			if err != nil {
				return fmt.Errorf("watch %s: %w", path, err)
			}
			w.names[int32(wd)] = path
		}
		return nil
	}))
	const probe = "/proc/sys/net/ipv4/conf/default/arp_ignore"
	check(t, r.Do(func() error { return os.WriteFile(probe, []byte(w.was[probe]), 0) }))
	if got := w.written(); len(got) != 1 {
		t.Fatalf("after a write to %s the watch tells of %v", probe, got)
	}
	return w
}

func (w *world) read() map[string]string {
	t := w.r.site.t
	t.Helper()
	all := map[string]string{}
	check(t, w.r.Do(func() error {
		for _, dir := range []string{"ipv4/conf/all", "ipv4/conf/default", "ipv6/conf/all", "ipv6/conf/default", "ipv4/neigh/default", "ipv6/neigh/default"} {
			files, err := filepath.Glob("/proc/sys/net/" + dir + "/*")
			if err != nil {
				return err
			}
			for _, path := range files {
				b, err := os.ReadFile(path)
				switch {
				case err == nil:
					all[path] = string(b)
				case strings.HasSuffix(path, "stable_secret"): // cannot be read before it is set
				case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EISDIR): // write-only
				default:
					return err
				}
			}
		}
		return nil
	}))
	if len(all) < 100 {
		t.Fatalf("there are only %d settings of all and default: this test is blind", len(all))
	}
	return all
}

// written are the files that were written since it was asked last.
func (w *world) written() (paths []string) {
	var buf [1 << 14]byte
	for {
		n, err := unix.Read(w.fd, buf[:])
		if err != nil {
			return paths
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; b = b[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(b[12:]):] {
			paths = append(paths, w.names[int32(binary.NativeEndian.Uint32(b))])
		}
	}
}

// check fails if one of them was written or has changed.
func (w *world) check() {
	w.r.site.t.Helper()
	if paths := w.written(); len(paths) > 0 {
		w.r.site.t.Errorf("written: %v", paths)
	}
	if now := w.read(); !maps.Equal(now, w.was) {
		for path, v := range now {
			if v != w.was[path] {
				w.r.site.t.Errorf("%s: %q, was %q", path, v, w.was[path])
			}
		}
	}
}

// programIDs are programs of BPF, with the maps that they use, by number, which the
// kernel does not use again.
type programIDs map[ebpf.ProgramID][]ebpf.MapID

// checkGuards wants one guard on each interface of a crew, and notes its programs.
func (m *mortal) checkGuards(c crew) {
	t := m.site.t
	t.Helper()
	for _, b := range c.berths() {
		st := m.waitLease(b)
		if st.Rung != c.lease {
			t.Errorf("%s: the lease is %+v", b.name, st)
		}
		if c.lease == "nftables" {
			if !m.table(b.lan) {
				t.Errorf("%s has no table of nftables", b.name)
			}
			continue
		}
		var ids []ebpf.ProgramID
		check(t, m.DoNet(func() (err error) {
			ids, err = guardPrograms(b.name)
			return err
		}))
		if len(ids) != 2 {
			t.Errorf("%s has the guard programs %v, want one in and one out", b.name, ids)
		}
		for _, id := range ids {
			if err := m.bpf.note(id); err != nil {
				t.Error(err)
			}
		}
	}
}

// guardPrograms are the programs that frames of an interface pass, by clsact and TCX.
func guardPrograms(name string) (ids []ebpf.ProgramID, err error) {
	k, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		list, err := netlink.FilterList(k, parent)
		if err != nil {
			return nil, err
		}
		for _, f := range list {
			if b, ok := f.(*netlink.BpfFilter); ok {
				ids = append(ids, ebpf.ProgramID(b.Id))
			}
		}
	}
	for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		res, err := link.QueryPrograms(link.QueryOptions{Target: k.Attrs().Index, Attach: at})
		if err != nil {
			return nil, err
		}
		for _, p := range res.Programs {
			ids = append(ids, p.ID)
		}
	}
	return ids, nil
}

func (ids programIDs) note(id ebpf.ProgramID) error {
	if _, known := ids[id]; known {
		return nil
	}
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return err
	}
	ids[id], _ = info.MapIDs()
	return nil
}

// gone wants none of the programs and maps in the kernel any more.
func (ids programIDs) gone(t *testing.T) {
	t.Helper()
	if len(ids) == 0 {
		t.Error("no program was ever seen: this test is blind")
	}
	for id, maps := range ids {
		netlab.Eventually(t, patience, func() (bool, string) {
			p, err := ebpf.NewProgramFromID(id)
			if err == nil {
				_ = p.Close()
			}
			return errors.Is(err, os.ErrNotExist), fmt.Sprintf("program %d is still loaded: %v", id, err)
		})
		for _, id := range maps {
			netlab.Eventually(t, patience, func() (bool, string) {
				a, err := ebpf.NewMapFromID(id)
				if err == nil {
					_ = a.Close()
				}
				return errors.Is(err, os.ErrNotExist), fmt.Sprintf("map %d is still there: %v", id, err)
			})
		}
	}
}

// remains are processes, qdiscs and tables of nftables that are ours.
func (m *mortal) remains() (left []string) {
	t := m.site.t
	t.Helper()
	procs, err := m.Find("vrrpd")
	check(t, err)
	for _, p := range procs {
		left = append(left, fmt.Sprintf("process %v", p.Args))
	}
	links, err := m.Netlink().LinkList()
	check(t, err)
	for _, k := range links {
		qdiscs, err := m.Netlink().QdiscList(k)
		check(t, err)
		for _, q := range qdiscs {
			if q.Type() == "clsact" {
				left = append(left, "clsact on "+k.Attrs().Name)
			}
		}
	}
	check(t, m.DoNet(func() error {
		conn, err := mdnetlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return err
		}
		defer conn.Close()
		tables, err := conn.Execute(mdnetlink.Message{
			Header: mdnetlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETTABLE, Flags: mdnetlink.Request | mdnetlink.Dump},
			Data:   []byte{unix.AF_UNSPEC, 0, 0, 0},
		})
		for _, table := range tables {
			left = append(left, fmt.Sprintf("table of nftables %q", table.Data))
		}
		return err
	}))
	return left
}

// waitLease is the lease of a virtual router whose machine is MASTER.
func (m *mortal) waitLease(b berth) (lease control.Lease) {
	m.site.t.Helper()
	path := fmt.Sprintf("/proc/%d/root%s", m.PID(), control.SocketPath(runDir, b.instance))
	netlab.Eventually(m.site.t, patience, func() (bool, string) {
		st, err := control.NewClient(path).Status(within(m.site.t, patience))
		if err != nil || len(st.Routers) == 0 {
			return false, fmt.Sprint(err)
		}
		lease = st.Routers[0].Lease
		return lease.RemainingMS > 0, fmt.Sprintf("wait until the lease of %s runs: %+v", b.name, st.Machine)
	})
	return lease
}
