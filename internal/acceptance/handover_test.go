package acceptance

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// holeless is what a planned hand-over may cost a client, beyond the noise of the
// machine that the test runs on.
const holeless = 10 * time.Millisecond

// farewell is a way to hand over on purpose, and what ends it.
type farewell struct {
	name string
	say  func(t *testing.T, r *router)
	back func(t *testing.T, r *router)
}

var farewells = []farewell{
	{
		"SIGTERM",
		func(t *testing.T, r *router) {
			for _, l := range lans {
				r.signal(l, syscall.SIGTERM)
			}
		},
		func(t *testing.T, r *router) {
			r.waitProcesses(0)
			r.startAll()
		},
	},
	{
		"atropos --backup",
		func(t *testing.T, r *router) { r.tells("atropos --backup", 0) },
		func(t *testing.T, r *router) { r.tells("atropos --release", 0) },
	},
	{
		"atropos --hold",
		func(t *testing.T, r *router) { r.tells("atropos --hold", 0) },
		func(t *testing.T, r *router) { r.tells("atropos --release", 0) },
	},
}

// tells types a command and expects its exit code.
func (r *router) tells(line string, code int) netlab.Result {
	r.site.t.Helper()
	got := r.typed(line)
	if got.Code != code {
		r.site.t.Fatalf("%s: %s: exit %d, want %d\n%s%s", r.Name(), line, got.Code, code, got.Stdout, got.Stderr)
	}
	return got
}

// forgetful makes the client resolve its gateway afresh every 50 ms, until the
// result is called.
func (s *site) forgetful() (stop func()) { return forgetful(s.t, s.client) }

func forgetful(t *testing.T, h *netlab.Host) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := h.FlushNeighbours(); err != nil {
					t.Error(err)
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// journey is a crossing of somebody who asks for the MAC of his gateway again and again.
func (s *site) journey(do func(ping *netlab.Pinger)) netlab.Pings {
	s.t.Helper()
	return s.crossing(func(ping *netlab.Pinger) {
		stop := s.forgetful()
		do(ping)
		stop()
	})
}

// crossing sends a datagram every millisecond from the client through the routers to the
// server and back while do runs, and for a while after it. The client knows the MAC of its
// gateway: each question for it is a broadcast, which the kernel hands to one interface
// after the other when it has time, and there may be a thousand.
func (s *site) crossing(do func(ping *netlab.Pinger)) netlab.Pings {
	s.t.Helper()
	echo, err := s.server.StartEcho(netip.AddrPortFrom(s.address(s.server), 7))
	check(s.t, err)
	ping, err := s.client.StartPinger(echo.Addr(), netlab.PingerOptions{Count: 60_000})
	check(s.t, err)
	check(s.t, ping.WaitAnswer(within(s.t, patience), time.Now()))
	do(ping)
	got := ping.Stop()
	check(s.t, echo.Close())
	return got
}

// Make before break: at 1 s adverts, a client that asks
// for its gateway's MAC every 50 ms and sends every millisecond misses nothing
// when the MASTER hands over on purpose, also when the first priority 0 of one
// LAN is lost.
func handOverLeavesNoHole(t *testing.T) {
	t.Parallel()
	for _, lossy := range []bool{false, true} {
		for _, f := range farewells {
			name := f.name
			if lossy {
				name += ", the first priority 0 of LAN A is lost"
			}
			t.Run(strings.NewReplacer(" ", "-", ",", "").Replace(name), func(t *testing.T) {
				onStage(t)
				s := pair(t, options{interval: "1", priority: [2]string{"100", "100"}, flags: "-s"})
				master, backup := s.r1, s.r2
				var holes []time.Duration
				var notes []string
				// Two of three must be without a hole; a hole that a client has seen
				// which itself stood still says nothing.
				clean := func() int {
					n := 0
					for _, h := range holes {
						if h <= holeless {
							n++
						}
					}
					return n
				}
				enough := func() bool { return clean() >= 2 || len(holes)-clean() >= 2 }
				for tries := 0; tries < 8; tries++ {
					var drop *netlab.Drop
					if lossy {
						var err error
						drop, err = master.cable(lanA).Drop(netlab.Loss{Direction: netlab.FromHost, Match: netlab.MatchPriority(0), Count: 1})
						check(t, err)
					}
					var got netlab.Pings
					quietly(t, func() {
						got = s.journey(func(ping *netlab.Pinger) {
							f.say(t, master)
							for _, l := range lans {
								backup.waitServing(l)
							}
							for _, l := range lans {
								master.waitGone(l)
							}
							check(t, ping.WaitAnswer(within(t, patience), time.Now().Add(200*time.Millisecond)))
						})
					})
					if drop != nil {
						if n, err := drop.Lost(); err != nil || n != 1 {
							t.Fatalf("%s: %d priority 0 were lost, %v", name, n, err)
						}
						check(t, drop.Close())
					}
					hole := got.Longest(0).Length()
					if hole <= holeless || got.Stall() <= holeless {
						holes = append(holes, max(0, hole-got.Stall()))
					}
					notes = append(notes, fmt.Sprintf("%s (the client itself was late by %s)", ms(hole), ms(got.Stall())))
					if enough() {
						break
					}
					f.back(t, master)
					for _, l := range lans {
						master.waitStatus(l, "it is BACKUP", func(st control.Status) bool { return st.Machine.Phase == "BACKUP" })
					}
					master, backup = backup, master
				}
				t.Logf("%s: longest time without an answer: %s", name, strings.Join(notes, "; "))
				if clean() < 2 {
					t.Errorf("%s: left holes: %v", name, holes)
				}
				s.neverSplit()
			})
		}
	}
}

// waitGone waits until the machine has no virtual address of the LAN.
func (r *router) waitGone(l lan) {
	r.site.t.Helper()
	_, err := r.WaitAddr(within(r.site.t, patience), l.vrrp(), l.vip, false)
	check(r.site.t, err)
}

// --backup without a successor goes on serving, without a hole, and says so.
func handOverNoSuccessor(t *testing.T) {
	onStage(t)
	s := pair(t, options{})
	for _, l := range lans {
		s.r2.signal(l, syscall.SIGKILL)
	}
	s.r2.waitProcesses(0)
	var holes []time.Duration
	for len(holes) < 1 || len(holes) < 3 && slices.Min(holes) > holeless {
		quietly(t, func() {
			got := s.journey(func(*netlab.Pinger) {
				if r := s.r1.tells("atropos --backup", 1); !strings.Contains(r.Stdout+r.Stderr, "no successor") {
					t.Errorf("atropos --backup says %q %q", r.Stdout, r.Stderr)
				}
			})
			holes = append(holes, got.Longest(0).Length()-got.Stall())
		})
	}
	if slices.Min(holes) > holeless {
		t.Errorf("it left holes of %v", holes)
	}
	for _, l := range lans {
		s.r1.syslog.waitFor(t, 0, "that it serves on", containing(l.vrrp()+": LINGER -> MASTER: no-successor"))
		s.r1.waitAdvert(s.r1.sniff(l, netlab.MatchAdverts()), 0, "speaks again", func(a netlab.Advert) bool { return a.Priority == 150 })
	}
	if st := s.r1.status(lanA); st.Machine.Phase != "MASTER" || st.Machine.Wishes.Soft {
		t.Errorf("after all that it is %+v", st.Machine)
	}
}
