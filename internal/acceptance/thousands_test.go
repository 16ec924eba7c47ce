package acceptance

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

var thousands = flag.Int("thousands", 0, "virtual routers of each machine in TestThousands, 4000 at most; 0: it is skipped (make thousands)")

// eachLAN is how many virtual routers a LAN of the thousands has, half of them IPv6.
const eachLAN = 500

// throng is a file with n virtual routers, one of which has another virtual address.
func throng(number, n int, first string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "interval = 1\npriority = %d\n", 250-50*number)
	for i := range n {
		lan, vrid := i/eachLAN, 1+i%eachLAN/2
		address := fmt.Sprintf("198.18.%d.%d", lan, vrid)
		if i == 0 {
			address = first
		}
		if i%2 == 1 {
			address = fmt.Sprintf("fe80::5652:5250:%x:%x\", \"2001:db8:%x::%x", lan, vrid, lan, vrid)
		}
		fmt.Fprintf(&b, "[[router]]\ninterface = \"eth%d\"\nvrid = %d\nname = \"many%d\"\naddresses = [\"%s\"]\n", lan, vrid, i, address)
	}
	return b.String()
}

// Thousands of virtual routers in one process: they serve, tell how they are, are
// reloaded and change sides, all together, and nothing remains of them.
func TestThousands(t *testing.T) {
	n := *thousands
	if n == 0 {
		t.Skip("it takes the machine for itself for a minute: make thousands")
	}
	const long = 2 * time.Minute
	lab := netlab.ForTest(t)
	var r [2]*netlab.Host
	var procs [2]*netlab.Proc
	for i := range r {
		var err error
		r[i], err = lab.Host(fmt.Sprint("r", i+1), netlab.HostOptions{})
		check(t, err)
	}
	for lan := range (n + eachLAN - 1) / eachLAN {
		s, err := lab.Switch(fmt.Sprint("lan", lan), netlab.SwitchOptions{})
		check(t, err)
		for i, h := range r {
			_, err := lab.Connect(h, fmt.Sprint("eth", lan), s, netlab.CableOptions{Addrs: []netip.Prefix{
				netip.MustParsePrefix(fmt.Sprintf("198.18.%d.%d/24", lan, 254-i)), netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::fff%d/64", lan, i)),
			}})
			check(t, err)
		}
	}
	links := func(h *netlab.Host) int {
		t.Helper()
		all, err := whole(h.Netlink().LinkList)
		check(t, err)
		return len(all)
	}
	cards := links(r[0])
	status := func(h *netlab.Host) (control.Status, error) {
		path := fmt.Sprintf("/proc/%d/root%s", h.PID(), control.SocketPath(runDir, machineGroup))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return control.NewClient(path).Status(ctx)
	}
	// wait is for all virtual routers of a machine to be in a state.
	wait := func(h *netlab.Host, state string) control.Status {
		t.Helper()
		var st control.Status
		netlab.Eventually(t, long, func() (bool, string) {
			var err error
			st, err = status(h)
			return err == nil && st.Machine.State == state && len(st.Routers) == n,
				fmt.Sprintf("%s: %s with %d virtual routers (%v), want %s with %d", h.Name(), st.Machine.State, len(st.Routers), err, state, n)
		})
		return st
	}
	since := time.Now()
	took := func(what string) {
		t.Logf("%s: %s", what, ms(time.Since(since)))
		since = time.Now()
	}
	for i, h := range r {
		check(t, h.WriteFile(confFile, netlab.File{Text: throng(i+1, n, "198.18.0.1")}))
		var err error
		since = time.Now()
		procs[i], err = h.Start(netlab.Command{Path: "vrrpd", Args: []string{"-F", "-c", confFile}})
		check(t, err)
		if i == 0 {
			wait(h, "MASTER")
			took("from the start until MASTER")
		}
	}
	wait(r[1], "BACKUP")
	netlab.Eventually(t, long, func() (bool, string) {
		got := links(r[1])
		return got == cards+n, fmt.Sprintf("%d interfaces, want %d", got, cards+n)
	})

	// What it holds, and says.
	all, err := r[0].Find("vrrpd")
	check(t, err)
	m, err := all[0].Memory()
	check(t, err)
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", all[0].PID))
	check(t, err)
	t.Logf("%d MB resident, %d descriptors", m.RSS>>20, len(fds))
	since = time.Now()
	said, err := r[0].Run(within(t, patience), netlab.Command{Path: "atropos", Args: []string{"--state"}})
	check(t, err)
	took("atropos --state")
	if said.Code != 0 || !strings.Contains(said.Stdout, fmt.Sprint("many", n-1)) {
		t.Fatalf("atropos --state: exit %d: %.300s%s", said.Code, said.Stdout, said.Stderr)
	}

	// One of them gets another address. Nobody moves.
	before := wait(r[0], "MASTER").Machine
	for i, h := range r {
		check(t, h.WriteFile(confFile, netlab.File{Text: throng(i+1, n, "198.18.0.251")}))
		since = time.Now()
		done, err := h.Run(within(t, long), netlab.Command{Path: "atropos", Args: []string{"--reload"}})
		check(t, err)
		if done.Code != 0 {
			t.Fatalf("reload: %+v", done)
		}
		took("a reload with one that has changed")
	}
	if after := wait(r[0], "MASTER").Machine; after.Epoch != before.Epoch {
		t.Errorf("the reload has moved the machine: %+v, then %+v", before, after)
	}
	wait(r[1], "BACKUP")

	// All change sides, and nothing of them remains.
	since = time.Now()
	check(t, procs[0].Signal(syscall.SIGTERM))
	wait(r[1], "MASTER")
	took("from the planned stop until the other is MASTER")
	state, err := procs[0].Wait(within(t, long))
	check(t, err)
	took("until the stopped process had ended")
	if !state.Success() {
		t.Errorf("it ended with %v", state)
	}
	if got := links(r[0]); got != cards {
		t.Errorf("%d interfaces are left, of %d", got, cards)
	}
	check(t, procs[1].Signal(syscall.SIGTERM))
	if _, err := procs[1].Wait(within(t, long)); err != nil {
		t.Error(err)
	}
	for i, p := range procs {
		for _, l := range p.Lines() {
			if strings.Contains(l.Text, "repairing") || strings.Contains(l.Text, "level=ERROR") {
				t.Errorf("%s: %s", r[i].Name(), l.Text)
			}
		}
	}
}
