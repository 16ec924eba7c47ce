package acceptance

import (
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// A wrong command line or a machine on which it cannot work: one line on stderr
// that names the culprit, exit 2, and nothing on the machine has changed.
func TestBadInput_CommandLines(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	r := s.r1
	// A machine with some things that vrrpd must not touch.
	nl := r.Netlink()
	add := func(l netlink.Link) {
		t.Helper()
		check(t, nl.LinkAdd(l))
	}
	named := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	add(&netlink.Bridge{LinkAttrs: named("br0")})
	br, err := nl.LinkByName("br0")
	check(t, err)
	port := named("port0")
	port.MasterIndex = br.Attrs().Index
	add(&netlink.Veth{LinkAttrs: port, PeerName: "far0"})
	add(&netlink.Bridge{LinkAttrs: named("vrrp60")})
	before := r.snapshot()

	const ok = "-i eth0 -v 51 10.16.1.200"
	for _, c := range []struct{ args, says string }{
		// The command line.
		{"", "-i"},
		{"-i eth0 -v 51", "address"},
		{"-i eth0 10.16.1.200", "VRID"},
		{"-v 51 10.16.1.200", "-i"},
		{"-i eth0 -v 0 10.16.1.200", "-v 0"},
		{"-i eth0 -v 256 10.16.1.200", "-v 256"},
		{"-i eth0 -v x 10.16.1.200", "-v x"},
		{ok + " -p 0", "-p 0"},
		{ok + " -p 256", "-p 256"},
		{ok + " -d 0", "0"},
		{ok + " -d -1", "-d"},
		{ok + " -d 0.001", "0.001"},
		{ok + " -d 41.5", "41.5"},
		{ok + " -d 0.5 --vrrp-version 2", "0.5"},
		{ok + " -d 1s", "-d 1s"},
		{ok + " -M 0", "-M 0"},
		{ok + " -M 10", "-M 10"},
		{ok + " -z 0", "-z 0"},
		{ok + " -x 300", "-x 300"},
		{ok + " -q", "-q"},
		{ok + " --quick", "--quick"},
		{ok + " -a secret/0x12", "-a"},
		{ok + " -a pass/123456789", "-a pass"},
		{ok + " -a ah/@/etc/no-such-key", "-a ah @/etc/no-such-key"},
		{ok + " -a pass/@/etc/passwd", "-a pass @/etc/passwd"},
		{ok + " -a hmac/1:short", "-a hmac/1"},
		{ok + " -d 0.1 -a ah/key", "-a ah"},
		{ok + " -f run", "run"},
		{ok + " -U 'a;b'", "-U"},
		{ok + " -U ./MASTER.sh", "./MASTER.sh"},
		{ok + " -p", "-p"},
		{ok + " --vrrp-version 4", "4"},
		{ok + " 10.16.1.200", "10.16.1.200"},
		{"-i eth0 -v 51 10.16.1.300", "10.16.1.300"},
		{"-i eth0 -v 51 10.16.1.200/33", "10.16.1.200/33"},
		{"-i eth0 -v 51 0.0.0.0", "0.0.0.0"},
		{"-i eth0 -v 51 127.0.0.1", "127.0.0.1"},
		{"-i eth0 -v 51 224.0.0.18", "224.0.0.18"},
		{"-i eth0 -v 51 10.16.1.200 fe80::1", "fe80::1"},
		{"-i eth/0 -v 51 10.16.1.200", "eth/0"},
		{"-i averyverylongname0 -v 51 10.16.1.200", "averyverylongname0"},
		{ok + " --name eth0", "eth0"},
		{ok + " --name vrrp.51", "vrrp.51"},
		// The machine.
		{"-i eth9 -v 51 10.16.1.200", "eth9"},
		{"-i lo -v 51 10.16.1.200", "lo"},
		{"-i port0 -v 51 10.16.1.200", "br0"},
		{"-i eth0 -v 51 10.16.1.1", "10.16.1.1"},
		{"-i eth0 -v 51 10.17.1.1", "10.17.1.1"},
		{"-i eth0 -v 51 10.16.1.0", "10.16.1.0"},
		{"-i eth0 -v 51 10.16.1.255", "10.16.1.255"},
		{"-i eth0 -v 60 10.16.1.200", "vrrp60"},
		{ok + " --name eth1", "eth1"},
	} {
		for _, mode := range []string{"", "-F ", "--check "} {
			got := r.typed("vrrpd " + mode + c.args)
			if got.Code != 2 || got.Stdout != "" || strings.Count(got.Stderr, "\n") != 1 || !strings.HasPrefix(got.Stderr, "vrrpd: ") || !strings.Contains(got.Stderr, c.says) {
				t.Errorf("vrrpd %s%s: exit %d, want 2 and one line about %s:\n%s%s", mode, c.args, got.Code, c.says, got.Stdout, got.Stderr)
			}
		}
	}
	r.waitProcesses(0)
	before.same(t, "nothing of all that could work", r.snapshot())
	if got := r.typed("vrrpd --check " + ok); got.Code != 0 || got.Stderr != "" {
		t.Errorf("what is right is refused: %+v", got)
	}
	before.same(t, "after --check", r.snapshot())
}

// What a running machine refuses: a second instance, a member with another
// interval, a virtual router that another instance serves. It goes on as before.
func TestBadInput_RunningMachine(t *testing.T) {
	t.Parallel()
	s := pair(t, calm)
	r := s.r1
	epoch := r.status(lanA).Machine.Epoch
	mark := r.fence()
	before := r.snapshot("link ", "addr ", "route ", "sysctl ")
	for _, c := range []struct{ line, says string }{
		{r.opts.line(1, lanA), "eth0-51"},
		{"vrrpd -i eth1 -v 53 10.17.1.203 -M 2 -d 1", "-d 1"},
		{"vrrpd -i eth0 -v 54 10.16.1.200 -d 0.1", "10.16.1.200"},
		{"vrrpd -i eth0 -v 57 -p 255 10.16.1.1 -d 0.1", "10.16.1.1 is the own address of eth0: a virtual address must belong to no machine, so choose a free one"},
		{"vrrpd -i vrrp51 -v 55 10.16.1.205 -d 0.1", "vrrp51"},
		{"vrrpd -i eth0 -v 51 10.16.1.206 -d 0.1 -f /run/elsewhere --name vrrp56", "51"},
	} {
		for _, mode := range []string{"", " -F"} {
			got := r.typed(c.line + mode)
			if got.Code != 1 && got.Code != 2 || got.Stdout != "" || strings.Count(got.Stderr, "\n") != 1 || !strings.Contains(got.Stderr, c.says) {
				t.Errorf("%s%s: exit %d, want one line about %s:\n%s%s", c.line, mode, got.Code, c.says, got.Stdout, got.Stderr)
			}
			if mode == "" {
				t.Logf("exit %d: %s", got.Code, strings.TrimSpace(got.Stderr))
			}
		}
	}
	r.waitProcesses(2)
	r.waitAdverts(r.sniff(lanA, allAdverts), 5)
	if now := r.status(lanA).Machine.Epoch; now != epoch || len(r.since(mark)) > 0 {
		t.Errorf("the machine has moved: epoch %d -> %d, %v", epoch, now, r.since(mark))
	}
	before.same(t, "all of that was refused", r.snapshot("link ", "addr ", "route ", "sysctl "))
}

// Without the capabilities it says so.
func TestBadInput_NoCapabilities(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	before := s.r1.snapshot()
	for _, mode := range []string{"", "-F ", "--check ", "--release "} {
		got := s.r1.typed(toolLine(toolDropCap, "vrrpd", mode+"-i eth0 -v 51 10.16.1.200"))
		if got.Code != 1 || strings.Count(got.Stderr, "\n") != 1 || !strings.Contains(got.Stderr, "CAP_NET_ADMIN") {
			t.Errorf("vrrpd %s without CAP_NET_ADMIN: %+v", mode, got)
		}
	}
	before.same(t, "without capabilities", s.r1.snapshot())
}
