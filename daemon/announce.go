package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/election"
	"vrrpd/vrrp"
)

// announceRounds are when addresses are announced after a promotion or a heal:
// the first frame may be lost, or come while a switch port is still learning.
var announceRounds = [...]time.Duration{0, time.Second, 5 * time.Second}

// directRounds are the same without a virtual MAC. In a planned hand-over the other
// machine answers until it has heard us, with a MAC of its own: what it said last has
// to be contradicted before anybody misses an answer.
var directRounds = [...]time.Duration{0, 200 * time.Millisecond, time.Second, 5 * time.Second}

func (r *router) announceRounds() []time.Duration {
	if r.cfg.NoVMAC {
		return directRounds[:]
	}
	return announceRounds[:]
}

const (
	// announceOther is when the replies of the first round follow its requests, which
	// every host must heed that has the address in its table (RFC 826): a thousand
	// addresses are known in half of the time.
	announceOther = 20 * time.Millisecond
	// announceFrames is how many frames are sent between two turns of the loop, in
	// 200 us. No advert waits longer than that, or than 1 + announceCatchUp times that
	// on a machine that is late anyway.
	announceFrames = 32
	// announcePause is the least time from one batch to the next. A thousand
	// addresses take 8 ms like this, 16 in both forms, and no queue of a NIC, of a
	// switch or of a host with many interfaces is hit by all of them at once.
	announcePause = 250 * time.Microsecond
	// A batch that comes late brings those that it has missed along, up to
	// announceCatchUp; one that is later than announceBusy pauses follows nothing.
	announceCatchUp = 15
	announceBusy    = 80
	// announceGap is the least time from one complete announcement of a router
	// to the next: heals may follow each other at every advert.
	announceGap = 100 * time.Millisecond
	// A send queue that is full is tried again a few times, for as long as all
	// the addresses of a machine may take.
	announceRetry      = 5 * time.Millisecond
	announceRetryLimit = 20
)

// announcement is something to be told to a LAN by gratuitous ARP or unsolicited
// neighbour advertisements.
type announcement struct {
	at    int64      // boottime ns: when the round is due
	began int64      // when the first round was due
	round int        // index in the router's announceRounds
	forms telling    // of this round; asRequest: replies follow
	r     *router    // nil: the parent's own addresses
	p     *parent    // where it is sent
	ip    netip.Addr // this address of r only; invalid: all of them
	gen   int        // of r; another one makes it void
}

// announcer says where addresses live: virtual ones at the virtual MAC (with -n at the parent's), the
// machine's own at the parent's. What is due goes out in small batches between
// the turns of the loop, which owns it; steady state allocates nothing.
type announcer struct {
	send    func(p *parent, frames [][]byte) (sent int, err error)
	own     func(p *parent, to []netip.Addr) []netip.Addr // the machine's own addresses, appended
	refresh int64                                         // ns after which everything is announced again; 0: never

	due       []announcement // by time, from head on
	head      int
	now       announcement // under way if active
	active    bool
	addrs     []netip.Addr // of it
	next      int          // index of the first one that is not sent
	router    bool         // of it: neighbour advertisements say that this is one
	tries     int          // how often it was refused
	notBefore int64        // boottime ns of the next batch

	woke   bool // nobody knows where the addresses were meanwhile
	first  int  // routers that are unknown
	frames [announceFrames][]byte
	buf    [announceFrames * tellingSize]byte
}

// add puts x among what is due.
func (a *announcer) add(x announcement) {
	if a.head > 0 && len(a.due) == cap(a.due) {
		n := copy(a.due, a.due[a.head:])
		a.due, a.head = a.due[:n], 0
	}
	i, _ := slices.BinarySearchFunc(a.due[a.head:], x.at, func(y announcement, t int64) int {
		if y.at <= t {
			return -1 // equal times keep their order
		}
		return 1
	})
	a.due = slices.Insert(a.due, a.head+i, x)
}

// shrink lets go of room that was needed for many and is not now.
func (a *announcer) shrink() {
	if a.head == len(a.due) {
		a.due, a.head = nil, 0
	}
}

// all announces every address of the router from now on, in rounds. One that is
// still under way for the first time is completed first.
func (a *announcer) all(r *router, now int64) {
	if r.announcing {
		r.announceAgain = true
		return
	}
	a.restart(r, now, false)
}

// restart begins the rounds anew. again: one has just ended, and its replies are void.
func (a *announcer) restart(r *router, now int64, again bool) {
	r.announceGen++
	r.announcing = true
	if r.announcedAt == 0 && !r.unknown {
		r.unknown = true
		a.first++
	}
	at, forms := now, firstForms(r.rules.Family == vrrp.IPv6)
	if r.announcedAt != 0 {
		at = max(now, r.announcedAt+int64(announceGap))
	}
	if again || at > now {
		forms = asBoth // or replies would never come while another one keeps being heard
	}
	a.add(announcement{at: at, began: at, forms: forms, r: r, p: r.parent, gen: r.announceGen})
}

// firstForms are those of a first round: neighbour advertisements have only one.
func firstForms(six bool) telling {
	if six {
		return asBoth
	}
	return asRequest
}

// one announces one more address of the router, as long as it stays.
func (a *announcer) one(r *router, ip netip.Addr, now int64) {
	a.add(announcement{at: now, began: now, forms: firstForms(ip.Is6()), r: r, p: r.parent, ip: ip, gen: r.announceGen})
}

// home announces the machine's own addresses on the parent, once.
func (a *announcer) home(p *parent, now int64) {
	if !p.announcing { // for whichever of its routers it was asked
		p.announcing = true
		a.add(announcement{at: now, forms: asBoth, p: p})
	}
}

// stop makes everything void that is scheduled for the router.
func (a *announcer) stop(r *router) {
	r.announceGen++
	r.announcing, r.announceAgain, r.announcedAt = false, false, 0
	a.known(r)
}

// known: the LAN has been told of the router since its promotion, or there is nothing to
// tell it.
func (a *announcer) known(r *router) {
	if r.unknown {
		r.unknown = false
		a.first--
	}
}

// slept is told how late a turn was. After three intervals another machine may
// have served, and may have gone again before it was heard.
func (a *announcer) slept(late int64, interval time.Duration) {
	a.woke = a.woke || late >= 3*int64(interval)
}

// urgent reports whether there are addresses that the LAN has not been told of since the
// promotion.
func (a *announcer) urgent() bool { return a.first > 0 }

// resume says that it has waited for others until now: nothing has been missed.
func (a *announcer) resume(now int64) { a.notBefore = max(a.notBefore, now) }

// wakeAt is when run has something to do.
func (a *announcer) wakeAt() int64 {
	switch {
	case a.active:
		return a.notBefore
	case a.head < len(a.due):
		return max(a.due[a.head].at, a.notBefore)
	}
	return maxTime
}

// run announces what is due, as far as one batch goes.
func (a *announcer) run(now int64) {
	due := a.wakeAt()
	if now < due {
		return
	}
	left := announceFrames
	if late := (now - due) / int64(announcePause); late < announceBusy {
		left *= 1 + int(min(late, announceCatchUp))
	}
	a.notBefore = now + int64(announcePause)
	for left > 0 && (a.active || a.begin(now)) {
		if !a.valid(&a.now) {
			a.active = false
			continue
		}
		n, frames := a.fits(min(left, announceFrames))
		if left -= frames; n == 0 && a.next < len(a.addrs) {
			break // there is no room for both forms
		}
		sent, err := a.sendSome(a.addrs[a.next:][:n])
		a.next += sent
		if (errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EAGAIN)) && a.tries < announceRetryLimit {
			a.tries++
			a.notBefore = now + int64(announceRetry)
			return
		}
		// Any other error says that nothing can be sent now; there is a round to
		// come, or a heal.
		if err != nil || a.next == len(a.addrs) {
			a.active = false
			a.over(now)
		}
	}
}

// fits is how many of the addresses under way are told in at most so many frames, and in
// how many.
func (a *announcer) fits(most int) (n, frames int) {
	for _, ip := range a.addrs[a.next:] {
		k := a.now.forms.frames(ip)
		if frames+k > most {
			break
		}
		n, frames = n+1, frames+k
	}
	return n, frames
}

// begin takes the next announcement that is due.
func (a *announcer) begin(now int64) bool {
	if a.head == len(a.due) || a.due[a.head].at > now {
		return false
	}
	a.now, a.active, a.next, a.tries = a.due[a.head], true, 0, 0
	a.due[a.head] = announcement{} // it points to a router
	if a.head++; a.head == len(a.due) {
		a.due, a.head = a.due[:0], 0
	}
	switch x := &a.now; {
	case x.r == nil:
		a.addrs, a.router = a.own(x.p, a.addrs[:0]), x.p.routes()
		return true
	case x.ip.IsValid():
		a.addrs = append(a.addrs[:0], x.ip)
	default:
		a.addrs = x.r.appendAnnounced(a.addrs[:0])
		if x.round == 0 {
			x.r.announcedAt = now
		}
	}
	a.router = a.now.r.routes()
	return true
}

// valid reports whether what is announced is still true.
func (a *announcer) valid(x *announcement) bool {
	if x.r == nil {
		return true
	}
	return x.r.announceGen == x.gen && x.r.announced && (!x.ip.IsValid() || x.r.present.has(x.ip))
}

// over schedules the next round of the announcement that has just ended.
func (a *announcer) over(now int64) {
	x := a.now
	if x.r == nil {
		x.p.announcing = false
		return
	}
	whole := !x.ip.IsValid()
	if whole && x.r.announcing {
		x.r.announcing = false
		a.known(x.r)
		if x.r.announceAgain {
			x.r.announceAgain = false
			a.restart(x.r, now, true)
			return
		}
	}
	if x.forms == asRequest {
		x.forms, x.at = asReply, x.began+int64(announceOther)
	} else if rounds := x.r.announceRounds(); x.round+1 < len(rounds) {
		x.round++
		x.forms, x.at = asBoth, x.began+int64(rounds[x.round])
	} else if whole && a.refresh > 0 {
		if x.at += a.refresh; x.at <= now {
			x.at = now + a.refresh // the machine has slept
		}
	} else {
		return
	}
	a.add(x)
}

// sendSome sends what tells of each address; told counts those that are through.
func (a *announcer) sendSome(addrs []netip.Addr) (told int, err error) {
	if len(addrs) == 0 {
		return 0, nil
	}
	x := &a.now
	mac := x.p.link.MAC
	if x.r != nil {
		mac = x.r.mac()
	}
	frames, buf := a.frames[:0], a.buf[:0]
	for _, ip := range addrs {
		frames, buf = appendTelling(frames, buf, mac, ip, x.forms, a.router)
	}
	sent, err := a.send(x.p, frames)
	if x.r != nil {
		x.r.sent.announced += uint64(sent)
	}
	for told < len(addrs) && sent >= x.forms.frames(addrs[told]) {
		sent -= x.forms.frames(addrs[told])
		told++
	}
	return told, err
}

// newAnnouncer gives the announcer its hands.
func (d *Daemon) newAnnouncer() announcer {
	return announcer{
		refresh: int64(d.cfg.AnnounceRefresh),
		own:     d.appendOwn,
		send: func(p *parent, frames [][]byte) (int, error) {
			if p.port == nil {
				return 0, unix.ENODEV
			}
			sent, err := p.port.Send(frames)
			if err != nil {
				d.log.Debug("announcement not sent", "parent", p.name, "err", err)
			}
			return sent, err
		},
	}
}

// announceSome is the announcer's part of a turn. Another process may have left
// while we were not looking, or we have stood still: then that is judged first.
func (d *Daemon) announceSome() {
	if d.announcer.woke {
		d.announcer.woke = false
		for _, r := range d.routers {
			if r.announced {
				d.announceAll(r)
			}
		}
	}
	if now := boottime(); now >= d.announceAt() && !d.overslept() && !d.passed(d.machine.View().Word.Epoch()) {
		d.announcer.run(now)
	}
	d.postHeldHooks()
}

// announceAt is when there is something to announce. What is only said again waits for
// adverts that are under way. Who lingers announces nothing: said after the successor's
// first word, it would lead switches and neighbours back to a machine that is about to be
// silent.
func (d *Daemon) announceAt() int64 {
	if len(d.pieces.left) > 0 && !d.announcer.urgent() || d.board.Load().State() == election.Linger {
		return maxTime
	}
	return d.announcer.wakeAt()
}

// announceAll announces every address of the router: after a promotion, as soon as
// its guard is open, and after a heal.
func (d *Daemon) announceAll(r *router) {
	r.announced = true
	d.announcer.all(r, boottime())
}

// announceLater announces one address, by whatever hand it came.
func (d *Daemon) announceLater(r *router, ip addr) { d.announcer.one(r, ip, boottime()) }

// announceOwn tells the LAN that the machine's own addresses are where they
// were: the manual's gratuitous ARP on every change of sides.
func (d *Daemon) announceOwn(p *parent) {
	if p.link.Carrier() {
		d.announcer.home(p, boottime())
	}
}

// appendOwn appends the machine's own addresses on the parent, of the families of its
// virtual routers. One that is tentative may be somebody else's.
func (d *Daemon) appendOwn(p *parent, to []netip.Addr) []netip.Addr {
	for _, a := range d.addrs[p.link.Index] {
		if ip := a.Prefix.Addr(); p.speaks(vrrp.FamilyOf(ip)) && !a.Tentative && !d.isVirtual(ip) {
			to = append(to, ip)
		}
	}
	return to
}

// appendAnnounced appends the addresses that live at the virtual MAC now: the
// configured ones, and what scripts have added to the interface.
func (r *router) appendAnnounced(to []netip.Addr) []netip.Addr {
	to = append(to, r.vips...)
	extra := len(to)
	if len(r.present) > len(r.vips) {
		for _, a := range r.present {
			if !slices.Contains(r.vips, a) {
				to = append(to, a)
			}
		}
	}
	slices.SortFunc(to[extra:], netip.Addr.Compare)
	return to
}

// isVirtual reports whether ip is an address of one of our virtual routers.
func (d *Daemon) isVirtual(ip netip.Addr) bool {
	for _, r := range d.routers {
		if slices.Contains(r.vips, ip) {
			return true
		}
	}
	return false
}
