package acceptance

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestSoakOne makes one trouble of the soak again and again, and shows how the heaps
// grow by it and where: what fills levels off, and what leaks does not.
//
//	go test ./internal/acceptance -run TestSoakOne -v -timeout 0 -fault 'atropos --backup' -times 200
var (
	oneFault = flag.String("fault", "", "which of the troubles TestSoakOne makes; \"\": it is skipped")
	oneTimes = flag.Int("times", 100, "how often TestSoakOne makes it")
)

// oneLooks is how many samples are shown.
const oneLooks = 20

func TestSoakOne(t *testing.T) {
	if *oneFault == "" {
		t.Skip("takes minutes: -fault KIND -times N")
	}
	i := slices.IndexFunc(troubles, func(tr trouble) bool { return tr.name == *oneFault })
	if i < 0 {
		t.Fatalf("-fault %q: there is no such trouble, but %q", *oneFault, names(troubles))
	}
	s, attacker := newSoak(t)
	for _, r := range s.routers() {
		r.startAll()
	}
	dice := rand.New(rand.NewPCG(1, 1))
	master := s.restless(nil)
	lives := vitals{}
	lives.look(s)
	for n := 1; n <= *oneTimes && !t.Failed(); n++ {
		x := &scene{site: s, dice: dice, master: master, backup: s.other(master), attacker: attacker}
		troubles[i].cause(x)
		master = s.restless(x)
		lives.look(s)
		if n%max(1, *oneTimes/oneLooks) == 0 {
			t.Logf("after %d: %s", n, strings.Join(lives.heaps(s), ", "))
		}
	}
	lives.judge(t)
}

func names(all []trouble) (list []string) {
	for _, tr := range all {
		list = append(list, tr.name)
	}
	return list
}
