package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	vrrpdcontrol "vrrpd/control"
	"vrrpd/internal/netlab"
	"vrrpd/internal/peers"
)

// How late adverts are is measured with one process that has two groups: a crowd, which is
// promoted when the other machine dies, with a command for each of its virtual routers,
// and one virtual router that is MASTER all the time, whose adverts, every 10 ms, are looked
// at: each point of their grid tells how late somebody would have been who had to speak
// there. Beside it, in each window, is how late a metronome was.

const (
	steadyInterval = 10 * time.Millisecond
	crowdInterval  = 100 * time.Millisecond
	// questions is how often the status of the crowd is asked for.
	questions = 10 * time.Millisecond
	// asking is how many may wait for an answer at the same time.
	asking = 12
	// lateRealtime is the priority of the second of the two measurements.
	lateRealtime = 5
	// promotionTime is how long after the other machine's stop is looked at.
	promotionTime = 5 * time.Second
)

// Moments at which lateness is measured.
const (
	lateQuiet     = "nothing happens"
	lateAsked     = "the status of the crowd is asked for 100 times a second"
	latePromotion = "the same, and the crowd is promoted, with a command for each of its virtual routers"
)

// lateness is how late the steady router's adverts were in one kind of moment, and the
// thread.
type lateness struct {
	Moment   string
	Routers  int // of the crowd
	Realtime int // priority of --realtime; 0: none
	Windows  int
	Asked    int    // questions that were answered
	Adverts  delays // by point of the grid
	Floor    delays
	Crowd    delays // adverts of the crowd but for each one's first; empty: it did not serve

	adverts, floor, crowd sample // while it is measured
}

// delays are what remains of a sample.
type delays struct {
	Count                  int
	P50, P99, P999, Latest time.Duration
}

func delaysOf(s sample) delays {
	if len(s) == 0 {
		return delays{}
	}
	s = s.sorted()
	at := func(q float64) time.Duration { return s[min(int(math.Ceil(q*float64(len(s))))-1, len(s)-1)] }
	return delays{len(s), at(0.5), at(0.99), at(0.999), s[len(s)-1]}
}

// lateFile is the configuration of a machine: the crowd, and on the first one the steady
// router behind it.
func lateFile(crowd []peers.Router, steady *peers.Router, realtime int) string {
	var b strings.Builder
	if realtime > 0 {
		fmt.Fprintf(&b, "realtime = %d\n", realtime)
	}
	fmt.Fprintf(&b, "version = 3\n[group.crowd]\npriority = %d\ninterval = %v\n", crowd[0].Priority, crowd[0].Interval.Seconds())
	table := func(r peers.Router, group, more string) {
		fmt.Fprintf(&b, "\n[[router]]\ngroup = %q\ninterface = %q\nvrid = %d\nname = %q\naddresses = [%q]\n%s", group, r.Parent, r.VRID, r.VMAC, r.VIPs[0], more)
	}
	if steady != nil {
		fmt.Fprintf(&b, "[group.steady]\npriority = %d\ninterval = %v\n", steady.Priority, steady.Interval.Seconds())
		table(*steady, "steady", "")
	}
	for _, r := range crowd {
		more := ""
		if steady != nil {
			more = "on_master = \"/bin/true\"\n"
		}
		table(r, "crowd", more)
	}
	return b.String()
}

// lateLab is the two machines.
type lateLab struct {
	*crowd
	path   string
	steady *netlab.Cable // of the first machine, to the steady router's LAN
}

func newLateLab(lab *netlab.Lab, c contender, routers, realtime int) (*lateLab, error) {
	// The second machine is the better one of the crowd.
	w, err := newCrowd(lab, c, routers, crowdInterval, false)
	if err != nil {
		return nil, err
	}
	l := &lateLab{crowd: w, path: c.path}
	s, err := lab.Switch("steady", netlab.SwitchOptions{})
	if err != nil {
		return nil, err
	}
	const lan = 200
	l.steady, err = lab.Connect(w.machines[0].Host, "steady0", s, netlab.CableOptions{Addrs: []netip.Prefix{netip.PrefixFrom(crowdAddr(lan, 254), 24)}})
	if err != nil {
		return nil, err
	}
	steady := peers.Router{Parent: "steady0", VRID: 1, Priority: 200, Interval: steadyInterval, VIPs: []netip.Addr{crowdAddr(lan, 1)}, VMAC: "steady1"}
	for i, m := range w.machines {
		list := slices.Clone(m.routers)
		for k := range list {
			list[k].Priority = priorities[1-i]
		}
		file := lateFile(list, nil, 0)
		if i == 0 {
			file = lateFile(list, &steady, realtime)
		}
		if err := m.WriteFile(ourFile, netlab.File{Text: file}); err != nil {
			return nil, err
		}
		m.contender.commands = func(*netlab.Host, []peers.Router, bool) ([]netlab.Command, error) {
			return []netlab.Command{{Path: l.path, Args: []string{"-F", "-c", ourFile}}}, nil
		}
	}
	return l, nil
}

// measureLateness measures ours in all moments.
func measureLateness(ctx context.Context, c contender, routers, realtime, promotions int, quiet time.Duration) (rows []lateness, err error) {
	lab, err := netlab.New()
	if err != nil {
		return nil, err
	}
	var l *lateLab
	defer func() {
		if err != nil && l != nil {
			for _, m := range l.machines {
				for _, line := range m.lastWords() {
					tell("    %s: %s", m.Name(), line)
				}
			}
		}
		err = errors.Join(err, lab.Close())
	}()
	if l, err = newLateLab(lab, c, routers, realtime); err != nil {
		return nil, err
	}
	if _, err := l.machines[1].start(); err != nil {
		return nil, err
	}
	if err := l.phase(ctx, 1, "MASTER"); err != nil {
		return nil, err
	}
	if _, err := l.machines[0].start(); err != nil {
		return nil, err
	}
	if err := l.phase(ctx, 0, "BACKUP"); err != nil {
		return nil, err
	}
	if err := l.standBy(ctx, 0, routers+1); err != nil {
		return nil, err
	}
	if err := pass(ctx, settled); err != nil {
		return nil, err
	}
	for _, moment := range []string{lateQuiet, lateAsked} {
		row := lateness{Moment: moment, Routers: routers, Realtime: realtime}
		err := l.window(ctx, &row, moment != lateQuiet, func() error { return pass(ctx, quiet) })
		if err != nil {
			return rows, err
		}
		rows = append(rows, row.done())
	}
	row := lateness{Moment: latePromotion, Routers: routers, Realtime: realtime}
	for n := range promotions {
		if n > 0 {
			if err := l.again(ctx); err != nil {
				return rows, err
			}
		}
		// It dies, because what it would do to a thousand interfaces of its own as it stops
		// is work for the kernel that here is the first one's, too.
		die, err := l.machines[1].dieAtOnce()
		if err != nil {
			return rows, err
		}
		if err := l.window(ctx, &row, true, func() error {
			if err := die(); err != nil {
				return err
			}
			return pass(ctx, promotionTime)
		}); err != nil {
			return rows, err
		}
		if err := l.phase(ctx, 0, "MASTER"); err != nil {
			return rows, err
		}
	}
	return append(rows, row.done()), nil
}

func (l lateness) done() lateness {
	l.Adverts, l.Floor, l.Crowd = delaysOf(l.adverts), delaysOf(l.floor), delaysOf(l.crowd)
	return l
}

// again has the second machine take the crowd back.
func (l *lateLab) again(ctx context.Context) error {
	if _, err := l.machines[1].start(); err != nil {
		return err
	}
	if err := l.phase(ctx, 1, "MASTER"); err != nil {
		return err
	}
	if err := l.phase(ctx, 0, "BACKUP"); err != nil {
		return err
	}
	// The interfaces of the first one go down one by one.
	ok, err := until(ctx, 2*time.Minute, func() bool {
		links, err := l.machines[0].Netlink().LinkList()
		up := 0
		for _, k := range links {
			if k.Type() == "macvlan" && k.Attrs().Flags&net.FlagUp != 0 {
				up++
			}
		}
		return err == nil && up == 1 // the steady one
	})
	if err == nil && !ok {
		err = errors.New("the first machine still has interfaces up after two minutes")
	}
	return errors.Join(err, pass(ctx, standsBy))
}

func (l *lateLab) socket(machine int) string {
	return fmt.Sprintf("/proc/%d/root%s", l.machines[machine].PID(), vrrpdcontrol.SocketPath("/run/vrrpd", "crowd"))
}

// phase waits until the crowd of a machine is in a phase.
func (l *lateLab) phase(ctx context.Context, machine int, phase string) error {
	var last string
	ok, err := until(ctx, time.Minute, func() bool {
		var answer bytes.Buffer
		err := ask(l.socket(machine), &answer)
		last = fmt.Sprintf("%.400s, %v", answer.Bytes(), err)
		return err == nil && strings.Contains(answer.String(), fmt.Sprintf("%q:%q", "phase", phase))
	})
	if err == nil && !ok {
		err = fmt.Errorf("the crowd of %s is not %s within a minute: %s", l.machines[machine].Name(), phase, last)
	}
	return err
}

// ask asks for the status once, as atropos does. The answer is put into a buffer, which is
// better used again: collecting the garbage of a hundred answers a second, half a megabyte
// each, is work for processors that the daemon shares.
func ask(socket string, answer *bytes.Buffer) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "GET /v1/state HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	answer.Reset()
	_, err = answer.ReadFrom(conn)
	if err == nil && !bytes.HasPrefix(answer.Bytes(), []byte("HTTP/1.1 200 ")) {
		err = fmt.Errorf("answered %.100q", answer.Bytes())
	}
	return err
}

// window adds what is seen while something happens to a row.
func (l *lateLab) window(ctx context.Context, row *lateness, asking bool, happen func() error) error {
	sniffers := []*netlab.Sniffer{}
	sniff := func(c *netlab.Cable) error {
		s, err := c.StartSniffer(netlab.SnifferOptions{Match: netlab.MatchAdverts(), Limit: 1 << 20})
		if err == nil {
			sniffers = append(sniffers, s)
		}
		return err
	}
	errs := []error{sniff(l.steady)}
	for _, c := range l.cables[0] {
		errs = append(errs, sniff(c))
	}
	stop := make(chan struct{})
	var beside sync.WaitGroup
	var floor sample
	var untold error
	beside.Go(func() { floor, untold = metronome(steadyInterval, row.Realtime, stop) })
	asked := make(chan int, 1)
	if asking {
		beside.Go(func() { asked <- l.interrogate(questions, stop) })
	} else {
		asked <- 0
	}
	begin := time.Now()
	errs = append(errs, happen())
	end := time.Now()
	close(stop)
	beside.Wait()
	errs = append(errs, untold, pass(ctx, 2*crowdInterval)) // the advert that was due at the end
	for _, s := range sniffers {
		errs = append(errs, s.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	row.Windows++
	row.Asked += <-asked
	row.floor = append(row.floor, floor...)
	row.adverts = append(row.adverts, lateOnGrid(spoken(sniffers[0].Frames(0)), steadyInterval, begin, end)...)
	for _, s := range sniffers[1:] {
		row.crowd = append(row.crowd, lateByRouter(s.Frames(0), crowdInterval, end)...)
	}
	return nil
}

// spoken is when a machine has spoken with a priority.
func spoken(frames []netlab.Frame) (all []time.Time) {
	for _, f := range frames {
		if a, ok := f.Advert(); ok && !f.Out && a.Priority > 0 {
			all = append(all, f.At)
		}
	}
	return all
}

// jitter is by how much adverts that are on time may differ.
const jitter = 100 * time.Microsecond

// phaseOf is where the grid of the adverts lies: where those begin of which most come
// within the jitter.
func phaseOf(at []time.Time, interval time.Duration) (phase time.Duration) {
	var all []time.Duration
	for _, t := range at {
		all = append(all, time.Duration(t.UnixNano())%interval)
	}
	slices.Sort(all)
	n := len(all)
	for _, x := range all[:n] { // the circle of the interval, twice
		all = append(all, x+interval)
	}
	most := 0
	for i, j := 0, 0; i < n; i++ {
		for j < len(all) && all[j] < all[i]+jitter {
			j++
		}
		if j-i > most {
			phase, most = all[i], j-i
		}
	}
	return phase
}

// lateOnGrid is, for each point of the grid within a time, how long after it the next advert
// came.
func lateOnGrid(at []time.Time, interval time.Duration, begin, end time.Time) (late sample) {
	if len(at) == 0 {
		return nil
	}
	phase := phaseOf(at, interval)
	tick := begin.Add(interval - (time.Duration(begin.UnixNano())-phase)%interval)
	for i := 0; tick.Before(end); tick = tick.Add(interval) {
		for i < len(at) && at[i].Before(tick.Add(-jitter)) {
			i++
		}
		if i == len(at) {
			return append(late, never)
		}
		late = append(late, max(at[i].Sub(tick), 0))
	}
	return late
}

// lateByRouter is by how much more than an interval after the last one of the same virtual
// router each advert came.
func lateByRouter(frames []netlab.Frame, interval time.Duration, end time.Time) (late sample) {
	last := map[byte]time.Time{}
	for _, f := range frames {
		a, ok := f.Advert()
		if !ok || f.Out || a.Priority == 0 || f.At.After(end) {
			continue
		}
		if before, known := last[a.VRID]; known {
			late = append(late, max(f.At.Sub(before)-interval, 0))
		}
		last[a.VRID] = f.At
	}
	return late
}

// interrogate asks for the status at every interval, and returns how often that was
// answered. Who is not answered in time does not keep the next one from asking; more than
// one control socket lets a user have at once do not ask.
func (l *lateLab) interrogate(interval time.Duration, stop <-chan struct{}) (answered int) {
	socket := l.socket(0)
	var askers sync.WaitGroup
	due := make(chan struct{})
	var counted atomic.Int64
	for range asking {
		askers.Go(func() {
			var answer bytes.Buffer
			for range due {
				if ask(socket, &answer) == nil {
					counted.Add(1)
				}
			}
		})
	}
	next := time.NewTicker(interval)
	defer next.Stop()
	for going := true; going; {
		select {
		case <-stop:
			going = false
		case <-next.C:
			select {
			case due <- struct{}{}:
			default: // all of them wait for an answer
			}
		}
	}
	close(due)
	askers.Wait()
	return int(counted.Load())
}
