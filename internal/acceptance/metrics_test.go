package acceptance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/control"
	"vrrpd/internal/netlab"
	"vrrpd/internal/promtext"
)

// get asks over a connection and returns what it was answered.
func get(t *testing.T, conn net.Conn, path string) string {
	t.Helper()
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: vrrpd\r\nConnection: close\r\n\r\n", path)
	check(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	check(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %s", path, resp.Status, text)
	}
	return string(text)
}

// metrics scrapes the process of a group by its socket.
func (r *router) metrics(instance string) map[string]*promtext.Family {
	r.site.t.Helper()
	conn, err := net.Dial("unix", r.socket(instance))
	check(r.site.t, err)
	all, err := promtext.Parse(get(r.site.t, conn, "/metrics"))
	check(r.site.t, err)
	return all
}

func (r *router) socket(instance string) string {
	return fmt.Sprintf("/proc/%d/root%s", r.PID(), control.SocketPath(runDir, instance))
}

// What Prometheus is told: of a machine that serves and of one that is held, by the
// socket and by the loopback address of the file.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	s.r1.conf("metrics = \"192.0.2.1:9112\"\n" + s.r1.opts.config(1, ""))
	if got := s.r1.typed("vrrpd -c " + confFile); got.Code != 2 || !strings.Contains(got.Stderr, confFile+":1: metrics 192.0.2.1:9112: only a loopback address is possible") {
		t.Errorf("code %d, %s", got.Code, got.Stderr)
	}
	s.r1.conf("metrics = \"127.0.0.1:9112\"\n" + s.r1.opts.config(1, ""))
	s.r1.startLine("vrrpd -c " + confFile)
	s.r1.waitGroup(machineGroup, "it is MASTER", inPhase("MASTER"))
	value := func(all map[string]*promtext.Family, name string, labels ...string) float64 {
		t.Helper()
		v, err := all[name].Value(append([]string{"group", machineGroup}, labels...)...)
		check(t, err)
		return v
	}
	var first map[string]*promtext.Family
	netlab.Eventually(t, patience, func() (bool, string) {
		first = s.r1.metrics(machineGroup)
		left := value(first, "vrrpd_lease_remaining_seconds", "vrid", "51")
		return left > 0 && left <= 0.2 && value(first, "vrrpd_adverts_sent_total", "vrid", "51") > 0, fmt.Sprintf("the lease lasts for %v", left)
	})
	if value(first, "vrrpd_state", "state", "MASTER") != 1 || value(first, "vrrpd_master") != 1 || value(first, "vrrpd_held") != 0 ||
		value(first, "vrrpd_transitions_total", "reason", "startup") != 1 || value(first, "vrrpd_promotions_total", "vrid", "52", "family", "ipv4") != 1 {
		t.Errorf("%+v", first["vrrpd_state"])
	}

	check(t, s.r1.cable(lanB).Cut())
	s.r1.waitGroup(machineGroup, "it is held", inPhase("HELD"))
	// By the address that is for Prometheus; only from the machine itself.
	var conn net.Conn
	check(t, s.r1.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", "127.0.0.1:9112", patience)
		return err
	}))
	all, err := promtext.Parse(get(t, conn, "/metrics"))
	check(t, err)
	if value(all, "vrrpd_held") != 1 || value(all, "vrrpd_hold_reason", "reason", "link-down") != 1 || value(all, "vrrpd_master") != 0 ||
		value(all, "vrrpd_lease_remaining_seconds", "vrid", "51") != 0 || value(all, "vrrpd_transitions_total", "reason", "link-down") != 1 {
		t.Errorf("%+v, %+v", all["vrrpd_held"], all["vrrpd_hold_reason"])
	}
	if a, b := value(first, "vrrpd_adverts_sent_total", "vrid", "51"), value(all, "vrrpd_adverts_sent_total", "vrid", "51"); b < a {
		t.Errorf("a counter went from %v to %v", a, b)
	}
	// And for people: which cable it was.
	if got := s.r1.typed("atropos --why"); !strings.Contains(got.Stdout, "MASTER -> HELD: link-down on eth1") {
		t.Errorf("why:\n%s%s", got.Stdout, got.Stderr)
	}
	s.r1.conf("metrics = \"127.0.0.1:9113\"\n" + s.r1.opts.config(1, ""))
	s.r1.reload(1, "metrics")
}

// decoy says what vrrpd would, and is none.
type decoy struct {
	control.Source
	status control.Status
}

func (d decoy) Status() control.Status { return d.status }

// besiege asks so many times, four at a time, for the status and the metrics in turn.
func besiege(t *testing.T, socket string, n int) span {
	t.Helper()
	var wg sync.WaitGroup
	at := time.Now()
	failed := make(chan error, 4)
	for k := range 4 {
		wg.Go(func() {
			for i := range n / 4 {
				conn, err := net.Dial("unix", socket)
				if err == nil {
					_ = conn.SetDeadline(time.Now().Add(patience))
					_, err = io.WriteString(conn, "GET "+[...]string{"/metrics", "/v1/state"}[(i+k)%2]+" HTTP/1.1\r\nHost: x\r\n\r\n")
				}
				var answer []byte
				if err == nil {
					answer, err = io.ReadAll(conn)
					conn.Close()
				}
				if err == nil && !strings.HasPrefix(string(answer), "HTTP/1.1 200 OK\r\n") {
					err = fmt.Errorf("answered %.100q", answer)
				}
				if err != nil {
					select {
					case failed <- err:
					default:
					}
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	return span{at, time.Now()}
}

// 10,000 status requests add less than 1 ms to any advert. What the machine that the test
// runs on adds by itself while somebody answers as many questions, is measured in the same
// run, with a server in this process that says the same.
func statusStorm(t *testing.T) { besieged(t, "", 0) }

// A real-time thread waits for nobody either: not for who asks, not for who answers and not
// for the collector of what they leave behind.
func statusStormInRealTime(t *testing.T) { besieged(t, "realtime = 5\n", 5) }

func besieged(t *testing.T, conf string, priority int) {
	onStage(t)
	s := newSite(t, options{})
	heard := s.r1.sniff(lanA, allAdverts)
	s.r1.conf(conf + s.r1.opts.config(1, "") + moreRouters(8))
	s.r1.startLine("vrrpd -c " + confFile)
	st := s.r1.waitGroup(machineGroup, "it is MASTER", inPhase("MASTER"))
	server := &control.Server{Source: decoy{status: st}, Feed: &control.Feed{}}
	socket := t.TempDir() + "/decoy.sock"
	check(t, server.Listen(socket))
	done := make(chan error, 1)
	go func() { done <- server.Run(t.Context()) }()
	t.Cleanup(func() { check(t, <-done) })

	const requests, interval = 10000, 100 * time.Millisecond
	allowed := time.Millisecond
	if a, err := unix.SchedGetAttr(0, 0); priority == 0 && (err != nil || a.Runtime == 0) {
		allowed += 3 * time.Millisecond // before Linux 6.12 who runs is not interrupted so soon
	}
	quietly(t, func() {
		var faults []string
		for range 3 { // a stall of the machine that the test runs on is nobody's fault
			mark := heard.Mark()
			var storms, decoys []span
			var busy, noise []time.Duration
			for len(storms) < 4 || len(busy) < 12 || len(noise) < 12 { // a fast machine answers sooner
				storms = append(storms, besiege(t, s.r1.socket(machineGroup), requests/4))
				// As many adverts, for the worst of more is worse: the decoy answers at once.
				for lasting(decoys) < lasting(storms) {
					decoys = append(decoys, besiege(t, socket, requests/4))
				}
				pause(2 * interval)
				frames := heard.Frames(mark)
				busy, noise = latenessWithin(frames, interval, storms), latenessWithin(frames, interval, decoys)
				if len(storms) == 40 {
					t.Fatalf("%d adverts during %v, %d during %v", len(busy), storms, len(noise), decoys)
				}
			}
			median := func(all []time.Duration) time.Duration { return all[len(all)/2] }
			worst := func(all []time.Duration) time.Duration { return all[len(all)-1] }
			t.Logf("adverts late by (median, worst): %s, %s while %d questions are asked (%d adverts); %s, %s while they are asked elsewhere (%d)",
				ms(median(busy)), ms(worst(busy)), len(storms)*requests/4, len(busy), ms(median(noise)), ms(worst(noise)), len(noise))
			faults = nil
			if m := median(busy); m > median(noise)+time.Millisecond {
				faults = append(faults, fmt.Sprintf("questions make adverts late by %v, otherwise it is %v", m, median(noise)))
			}
			if w := worst(busy); w > worst(noise)+allowed {
				faults = append(faults, fmt.Sprintf("an advert was late by %v, otherwise by no more than %v", w, worst(noise)))
			}
			if len(faults) == 0 {
				return
			}
		}
		for _, f := range faults {
			t.Error(f)
		}
	})
	if is := s.r1.waitGroup(machineGroup, "it is MASTER", inPhase("MASTER")).Realtime; is != priority {
		t.Errorf("real-time priority %d, want %d", is, priority)
	}
}

// lasting is how long all of them are together.
func lasting(spans []span) (sum time.Duration) {
	for _, s := range spans {
		sum += s.end.Sub(s.begin)
	}
	return sum
}

// moreRouters are n more virtual routers on eth0.
func moreRouters(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[[router]]\ninterface = \"eth0\"\nvrid = %d\naddresses = [\"10.16.1.%d\"]\n", 100+i, 100+i)
	}
	return b.String()
}

// latenessWithin sorts by how much more than an interval each advert that came within the
// spans came after the one before.
func latenessWithin(frames []netlab.Frame, interval time.Duration, spans []span) (late []time.Duration) {
	var last time.Time
	for _, f := range frames {
		a, ok := f.Advert()
		if !ok || f.Out || a.VRID != lanA.vrid {
			continue
		}
		if !last.IsZero() && slices.ContainsFunc(spans, func(s span) bool { return f.At.After(s.begin) && f.At.Before(s.end) }) {
			late = append(late, max(f.At.Sub(last)-interval, 0))
		}
		last = f.At
	}
	slices.Sort(late)
	return late
}
