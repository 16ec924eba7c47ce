package acceptance

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"vrrpd/internal/netlab"
)

// The end of light guards, and guards that give way to others.

// As a user of its own it has light guards, too. What a crash leaves it cannot identify,
// and makes the interface anew.
func TestGuard_LightOwnUser(t *testing.T) {
	// Not parallel: it speaks every 10 ms.
	s := newSite(t, options{})
	r := s.r1
	r.did(fmt.Sprintf("mkdir -m 755 %[1]s && chown %[2]d:%[2]d %[1]s", runDir, nobody))
	self, err := os.Executable()
	check(t, err)
	args := strings.Fields(fmt.Sprintf("vrrpd -F -i eth0 -v 51 -d %s %s", paces[2].interval, lanA.vip))
	index := 0
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		_, err = r.Start(netlab.Command{Path: self, Args: args, Env: []string{toolEnv + "=" + toolOwnUser}})
		check(t, err)
		r.waitServing(lanA)
		r.waitLight(lanA)
		if _, err := s.client.Resolve(within(t, patience), "eth0", lanA.vip); err != nil {
			t.Error(err)
		}
		k, err := r.Netlink().LinkByName(lanA.vrrp())
		check(t, err)
		if k.Attrs().Index == index {
			t.Error("the interface is the one that the dead one has left")
		}
		index = k.Attrs().Index
		r.signal(lanA, sig)
		r.waitProcesses(0)
	}
	if k, err := r.Link(lanA.vrrp()); err != nil || k.Exists() {
		t.Errorf("left %+v, %v", k, err)
	}
}
