package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// AskerOptions say how an Asker works.
type AskerOptions struct {
	Interval time.Duration // 0: 50 ms
	// Count ends the run after so many questions, at most 65535. 0: 60,000.
	Count int
	// Cables are those of the machines that are to be told apart: what comes in
	// by a cable comes from its host, even if all use the same virtual MAC.
	// Without any, answers are told apart by their MAC.
	Cables []*Cable
	// NoEcho leaves out the ICMP echo to the MAC of the first answer.
	NoEcho bool
	// Through is whom the echo is for, by way of the MAC of the first answer: a host
	// behind the router that has the address. The zero value is the address itself.
	// Its answer comes from whatever router that host uses.
	Through netip.Addr
}

// Asker is a host that resolves an address afresh again and again, by raw ARP or
// neighbour solicitation past any cache, sends an ICMP echo to the MAC it learnt, and records which
// machines answer. It tells that two machines serve at the same time, and that
// none does.
type Asker struct {
	name string
	ip   netip.Addr
	opts AskerOptions
	from station
	id   uint16
	in   *Injector
	own  *Sniffer
	all  []*Sniffer // own, and those at the cables
	item *item
	stop chan struct{}
	sent chan struct{} // closed when nothing more will be sent

	mu      sync.Mutex
	asked   []time.Time // guarded by mu
	echoed  int         // questions up to this one had their echo; guarded by mu
	answers []rawAnswer // in no order; guarded by mu
	halted  bool        // guarded by mu
}

// rawAnswer is an answer that has not been brought together with its question.
type rawAnswer struct {
	Answer
	seq int // of an echo
}

// Answer is one answer to a question.
type Answer struct {
	From string // name of the answering host, or its MAC if there were no cables
	MAC  MAC    // ARP, neighbour: the MAC that was told; echo: the source MAC
	Echo bool   // an ICMP echo reply rather than an ARP reply or an advertisement
	At   time.Time
}

// StartAsker starts to ask for ip from an interface of the host, which must
// have an IPv4 address if echoes are to come back; to ask for an IPv6 address it
// needs a link-local one.
func (h *Host) StartAsker(ifname string, ip netip.Addr, opts AskerOptions) (*Asker, error) {
	if opts.Interval == 0 {
		opts.Interval = 50 * time.Millisecond
	}
	if opts.Count == 0 {
		opts.Count = 60_000
	}
	if !opts.Through.IsValid() {
		opts.Through = ip
	}
	if opts.Interval < 0 || opts.Count < 0 || opts.Count > 1<<16-1 || !ip.IsValid() || opts.Through.Is4() != ip.Is4() {
		return nil, fmt.Errorf("ask for %v from %s: bad address or options %+v", ip, h.name, opts)
	}
	from, err := h.source(ifname)
	if err != nil {
		return nil, fmt.Errorf("ask for %v: %w", ip, err)
	}
	if ip.Is6() && !from.ip6.IsValid() {
		return nil, fmt.Errorf("ask for %v from %s: %s has no link-local address", ip, h.name, ifname)
	}
	a := &Asker{
		name: h.name, ip: ip, opts: opts, from: from, id: uint16(h.lab.runs.Add(1)),
		stop: make(chan struct{}), sent: make(chan struct{}), echoed: -1,
	}
	if err := a.open(h, ifname); err != nil {
		return nil, errors.Join(fmt.Errorf("ask for %v from %s: %w", ip, h.name, err), a.close())
	}
	a.item = h.inside.push(a.end)
	go func() {
		defer close(a.sent)
		var question []byte
		if ip.Is6() {
			question = Neighbour{Src: from.ip6, Target: ip, MAC: from.mac}.Frame()
		} else {
			question = ARP{SenderMAC: from.mac, SenderIP: from.ip, TargetIP: ip}.Frame(from.mac, Broadcast())
		}
		onSchedule(opts.Interval, a.stop, func(n int) bool {
			a.mu.Lock()
			a.asked = append(a.asked, now())
			a.mu.Unlock()
			_ = a.in.Send(question) // an interface that is down is a question without answer
			return n+1 < opts.Count
		})
	}()
	return a, nil
}

func (a *Asker) open(h *Host, ifname string) error {
	var err error
	if a.in, err = h.OpenInjector(ifname); err != nil {
		return err
	}
	match := Or(MatchARP(), MatchICMP())
	if a.ip.Is6() {
		match = Or(MatchNeighbours(), MatchEcho6())
	}
	const forever = 1 << 30 // the asker keeps what it needs itself
	a.own, err = h.StartSniffer(ifname, SnifferOptions{Match: match, Limit: forever, OnFrame: func(f Frame) {
		a.learn(f)
		if len(a.opts.Cables) == 0 {
			a.record(f, f.Src().String())
		}
	}})
	if err != nil {
		return err
	}
	a.all = append(a.all, a.own)
	for _, c := range a.opts.Cables {
		name := c.Host.name
		s, err := c.StartSniffer(SnifferOptions{Match: match, Limit: forever, OnFrame: func(f Frame) { a.record(f, name) }})
		if err != nil {
			return err
		}
		a.all = append(a.all, s)
	}
	return nil
}

// answer decodes an ARP reply or a neighbour advertisement to us: the MAC that is
// told.
func (a *Asker) answer(f Frame) (MAC, bool) {
	if a.ip.Is6() {
		n, ok := f.Neighbour()
		return n.MAC, ok && !f.Out && n.Advertisement && n.Solicited && n.Target == a.ip && n.Dst == a.from.ip6
	}
	reply, ok := f.ARP()
	return reply.SenderMAC, ok && !f.Out && reply.Reply && reply.SenderIP == a.ip && reply.TargetMAC == a.from.mac
}

// learn sends the echo to the MAC of the first answer.
func (a *Asker) learn(f Frame) {
	mac, ok := a.answer(f)
	if !ok || a.opts.NoEcho {
		return
	}
	a.mu.Lock()
	// Not the newest question: who is late to learn is late with the echo, and leaves
	// none out.
	number := before(a.asked, f.At)
	first := number > a.echoed
	if first {
		a.echoed = number
	}
	a.mu.Unlock()
	if first {
		echo := Echo{Src: a.from.ip, Dst: a.opts.Through, ID: a.id, Seq: uint16(number)}
		if a.ip.Is6() {
			echo.Src = a.from.ip6
		}
		_ = a.in.Send(echo.Frame(a.from.mac, mac)) // as for the question
	}
}

func (a *Asker) record(f Frame, from string) {
	raw := rawAnswer{Answer: Answer{From: from, At: f.At}}
	if mac, ok := a.answer(f); ok {
		raw.MAC = mac
	} else if e, ok := f.Echo(); ok && !f.Out && e.Reply && e.Src == a.opts.Through && e.ID == a.id {
		raw.MAC, raw.Echo, raw.seq = f.Src(), true, int(e.Seq)
	} else {
		return
	}
	a.mu.Lock()
	a.answers = append(a.answers, raw)
	a.mu.Unlock()
}

// before is the number of the last question that was not asked after a time, -1: none.
func before(asked []time.Time, at time.Time) int {
	n, _ := slices.BinarySearchFunc(asked, at, func(q, at time.Time) int {
		if q.After(at) {
			return 1
		}
		return -1
	})
	return n - 1
}

// Question is one question and who answered it.
type Question struct {
	Sent    time.Time
	Answers []Answer // in order of arrival
}

// Machines returns who answered by ARP or ICMP, each once, in alphabetical order.
func (q Question) Machines() []string {
	var list []string
	for _, a := range q.Answers {
		list = append(list, a.From)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Answers is what an Asker recorded.
type Answers struct {
	Interval time.Duration
	List     []Question
	End      time.Time
	// Dropped is how many frames the capture lost; if it is not 0, the absence
	// of an answer proves nothing.
	Dropped int

	echo, through bool
}

// Snapshot returns the record so far; the newest question may still be open.
func (a *Asker) Snapshot() (Answers, error) {
	a.mu.Lock()
	asked, raw := slices.Clone(a.asked), slices.Clone(a.answers)
	a.mu.Unlock()
	r := Answers{
		Interval: a.opts.Interval, List: make([]Question, len(asked)),
		echo: !a.opts.NoEcho, through: a.opts.Through != a.ip,
	}
	for i, at := range asked {
		r.List[i].Sent = at
		r.End = at.Add(a.opts.Interval)
	}
	slices.SortFunc(raw, func(x, y rawAnswer) int { return x.At.Compare(y.At) })
	for _, x := range raw {
		// An ARP reply does not say which question it answers: the last before it.
		n := before(asked, x.At)
		if x.Echo {
			n = x.seq
		}
		if n >= 0 && n < len(asked) {
			r.List[n].Answers = append(r.List[n].Answers, x.Answer)
		}
	}
	for _, s := range a.all {
		lost, err := s.Dropped()
		if err != nil {
			return r, err
		}
		r.Dropped += lost
	}
	return r, nil
}

// Double returns the stretches during which a question was answered by more
// than one machine. Empty is what a lease promises. An echo from behind the
// routers does not tell who has the address, and does not count.
func (r Answers) Double() []Outage {
	return r.stretches(func(q Question) bool {
		if r.through {
			q.Answers = slices.DeleteFunc(slices.Clone(q.Answers), func(a Answer) bool { return a.Echo })
		}
		return len(q.Machines()) > 1
	})
}

// Stall returns by how much the asker itself was late at worst: the longest gap
// between two questions beyond the interval.
func (r Answers) Stall() time.Duration {
	return stall(len(r.List), func(i int) time.Time { return r.List[i].Sent }, r.Interval)
}

// Outages returns the stretches during which a question was not answered, by
// ARP or (unless NoEcho) by ICMP, or not within patience (0: at all).
func (r Answers) Outages(patience time.Duration) []Outage {
	return r.stretches(func(q Question) bool {
		arp, echo := false, !r.echo
		for _, a := range q.Answers {
			if patience > 0 && a.At.Sub(q.Sent) > patience {
				continue
			}
			if a.Echo {
				echo = true
			} else {
				arp = true
			}
		}
		return !arp || !echo
	})
}

// Between returns the questions sent from one time to another.
func (r Answers) Between(from, to time.Time) Answers {
	inside := slices.DeleteFunc(slices.Clone(r.List), func(q Question) bool { return q.Sent.Before(from) || !q.Sent.Before(to) })
	if to.Before(r.End) {
		r.End = to
	}
	r.List = inside
	return r
}

// Longest returns the longest of Outages.
func (r Answers) Longest(patience time.Duration) Outage { return longest(r.Outages(patience)) }

func (r Answers) stretches(cond func(Question) bool) []Outage {
	return outages(len(r.List), func(i int) time.Time { return r.List[i].Sent }, r.End,
		func(i int) bool { return cond(r.List[i]) })
}

// Done is closed when the last question has been asked.
func (a *Asker) Done() <-chan struct{} { return a.sent }

// Stop asks no more, gives the last answers one more interval, or as long as captured
// frames wait to be read, and returns the record.
func (a *Asker) Stop() (Answers, error) {
	a.halt()
	// What was answered may still wait to be read: for as long as this process is late.
	// There may be no end of frames that are no answers.
	const idle, rounds = 10 * time.Millisecond, 5
	wait := max(a.opts.Interval, idle)
	var before, seen int
	for inTime, deadline := 0, now().Add(patience); ; before = seen {
		began := now()
		timer := time.NewTimer(wait)
		<-timer.C // that nobody else answers is seen by waiting only
		if now().Sub(began) < 2*wait {
			inTime++
		}
		seen = 0
		for _, s := range a.all {
			seen += s.Mark()
		}
		if seen == before || inTime == rounds || now().After(deadline) {
			break
		}
	}
	r, err := a.Snapshot()
	return r, errors.Join(err, a.item.Close())
}

func (a *Asker) halt() {
	a.mu.Lock()
	if !a.halted {
		a.halted = true
		close(a.stop)
	}
	a.mu.Unlock()
	<-a.sent
}

func (a *Asker) end() error {
	a.halt()
	return a.close()
}

func (a *Asker) close() error {
	var errs []error
	for _, s := range a.all {
		errs = append(errs, s.Close())
	}
	if a.in != nil {
		errs = append(errs, a.in.Close())
	}
	return errors.Join(errs...)
}
