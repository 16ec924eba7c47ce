package daemon

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/sysd"
	"vrrpd/vrrp"
)

// note is something odd about a peer's adverts. Most of these end with two
// masters, or with a master of the wrong addresses, so people are told of each
// once per peer and state, and it stands in the status as long as it lasts.
type note struct {
	what oddity
	vrid uint8
	src  netip.Addr
}

// oddity is a vrrp.Drop, or one of these about adverts that are not dropped.
type oddity uint16

const (
	addressesDiffer oddity = 0x100 + iota // version 3 goes by the VRID alone
	intervalDiffers                       // version 3 learns it
	ownAddress                            // our own source address
	ownerConflict                         // priority 255, which is ours
	clockDiffers                          // a trailer nearly too old or too new
	version2Missing                       // only version 3 is heard, and we speak both
)

func (o oddity) String() string {
	switch o {
	case addressesDiffer:
		return "addresses-differ"
	case intervalDiffers:
		return "peer-interval-differs"
	case ownAddress:
		return election.OwnAddressHeard.String()
	case ownerConflict:
		return "owner-conflict"
	case clockDiffers:
		return "clock-differs"
	case version2Missing:
		return "version-2-missing"
	}
	return vrrp.Drop(o).String()
}

func (n note) kind() kind { return kind{n.what, n.vrid} }

// sighting is what became of a note. Under parent.mu.
type sighting struct {
	router *router
	active bool // it lasts
	told   bool // people know of it, in this state of the machine
	named  bool // told by itself, not with others of its kind
	begun  bool // told that it lasts, and not yet that it is over
	// pending: it is not known yet whether there is anything to tell (noteVersion).
	pending bool
	since   time.Time
	seen    int64 // boottime ns, the last time
	quiet   int64 // ns without it, after which it is over
	count   uint64
	words   words
}

const (
	// oddityQuiet is how long, at least, an oddity must not be seen any more
	// before it is over. Four intervals of the slower router, if that is longer.
	oddityQuiet = 3 * time.Second
	// oddityLook is how often that is looked at, while there is one.
	oddityLook = time.Second
)

// oddities notes what is strange about an advert that was accepted. Called under
// mu.
func (p *parent) oddities(r *router, a *vrrp.Advert, vrid uint8, src netip.Addr) {
	if a.IntervalDiffers {
		r.received.intervalDiffers++
		p.note(note{intervalDiffers, vrid, src}, r)
	}
	if a.AddressesDiffer {
		r.received.addressesDiffer++
		p.note(note{addressesDiffer, vrid, src}, r)
	}
	if src == p.sources[familyIndex(r.rules.Family)] || p.own[src] {
		r.received.ownAddress++
		p.note(note{ownAddress, vrid, src}, r)
	} else if a.Priority == vrrp.PriorityOwner && r.cfg.Priority == vrrp.PriorityOwner {
		r.received.ownerConflict++
		p.note(note{ownerConflict, vrid, src}, r)
	}
}

// note counts an oddity, and has people told when it begins. Called under mu.
func (p *parent) note(n note, r *router) {
	now := boottime()
	version := n.what == oddity(vrrp.DropVersion)
	if version && r.heard.recently(n.src, now) {
		return // it speaks both
	}
	c := p.crowd(n.kind())
	s := p.noted[n]
	if s == nil {
		if c.sources >= sourcesLimit {
			c.more = true
			return
		}
		s = &sighting{router: r}
		p.noted[n] = s
		c.sources++
	}
	s.count++
	s.seen = now
	if version && !s.active {
		p.noteVersion(n, s, r)
		return
	}
	p.begin(n, s, r)
}

// begin has people told of an oddity, if they do not know. Called under mu.
func (p *parent) begin(n note, s *sighting, r *router) {
	if s.active && s.told {
		return
	}
	if !s.active {
		s.active, s.since = true, time.Now()
		p.crowd(n.kind()).begins(s)
	}
	tell := !s.told
	s.told = true
	s.words = oddityWords(*r.cfg, n, &r.advert)
	s.quiet = int64(max(oddityQuiet, 4*r.cfg.Interval))
	if d := vrrp.Drop(n.what); n.what >= addressesDiffer || d == vrrp.DropInterval || d == vrrp.DropAddressList {
		s.quiet = max(s.quiet, int64(4*r.advert.Interval)) // else it was not read
	}
	tell = tell && s.named
	s.begun = s.begun || tell
	words := s.words
	p.d.inbox.call(func() {
		if tell {
			p.d.tellOddity(r, n, words, true)
		}
		p.d.watchOddities()
	})
}

// drop forgets a note. Called under mu.
func (p *parent) drop(n note) {
	delete(p.noted, n)
	p.crowd(n.kind()).sources--
}

// forget makes every oddity news again: the machine has changed its state.
func (p *parent) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, s := range p.noted {
		s.told = false
		if !s.active && !s.pending {
			p.drop(n)
		}
	}
	for k, c := range p.crowds {
		c.told = false
		if c.sources == 0 {
			delete(p.crowds, k)
		}
	}
}

// oddityNote is a sighting as it was when a status was asked for.
type oddityNote struct {
	note
	sighting
	parent *parent
	name   string // of the router's interface
	more   bool   // there were others of its kind
}

// appendOddities notes those that last, and those whose name others go by.
func (p *parent) appendOddities(all []oddityNote) []oddityNote {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, s := range p.noted {
		if s.active || s.named {
			all = append(all, oddityNote{n, *s, p, s.router.cfg.Name, p.crowd(n.kind()).more})
		}
	}
	return all
}

// oddityAlarms are what people are to know of the oddities.
func oddityAlarms(noted []oddityNote) (all []control.Alarm) {
	alarm := func(name string, what oddity, peer string, since time.Time, count uint64, w words) {
		all = append(all, control.Alarm{
			Interface: name, Reason: what.String(), Peer: peer, Since: since, Count: count, Message: w.what, Do: w.do,
		})
	}
	type crowded struct {
		parent *parent
		kind   kind
	}
	crowds := map[crowded]bool{}
	names := map[*router]string{} // what the router itself says is the loop's
	for i := range noted {
		o := &noted[i]
		names[o.router] = o.name
		switch {
		case o.active && o.named:
			alarm(o.name, o.what, peerText(o.src), o.since, o.count, o.words)
		case o.active:
			crowds[crowded{o.parent, o.kind()}] = o.more
		}
	}
	for c, more := range crowds {
		o := collect(c.kind, func(yield func(note, *sighting) bool) {
			for i := range noted {
				if noted[i].parent == c.parent && !yield(noted[i].note, &noted[i].sighting) {
					return
				}
			}
		})
		o.more = more
		alarm(names[o.router], c.kind.what, "", o.since, o.count, o.words())
	}
	return all
}

// watchOddities looks, as long as there are any, whether one is over.
func (d *Daemon) watchOddities() {
	if d.watchingOddities {
		return
	}
	d.watchingOddities = true
	d.agenda.idly(boottime()+int64(oddityLook), func() {
		d.watchingOddities = false
		more := false
		for _, p := range d.parents {
			more = d.endOddities(p) || more
		}
		if more {
			d.watchOddities()
		}
	})
}

// endOddities ends those that are over, tells of those that come in crowds, and
// reports whether some last.
func (d *Daemon) endOddities(p *parent) (more bool) {
	now := boottime()
	var tell []func()
	say := func(r *router, n note, w words, on bool) {
		tell = append(tell, func() { d.tellOddity(r, n, w, on) })
	}
	p.mu.Lock()
	for n, s := range p.noted {
		switch {
		case !s.active:
		case now-s.seen <= s.quiet:
			more = true
		default:
			s.active = false
			p.crowd(n.kind()).ends(s)
			if s.begun {
				s.begun = false
				say(s.router, n, s.words, false)
			}
		}
	}
	for k, c := range p.crowds {
		n, o := note{what: k.what, vrid: k.vrid}, p.others(k)
		if len(o.sources) == 0 {
			if c.begun {
				c.begun, c.more = false, false
				say(c.last.router, n, c.last.words(), false)
			}
			continue
		}
		c.last = o
		if !c.told {
			c.told, c.begun = true, true
			say(o.router, n, o.words(), true)
		}
	}
	p.mu.Unlock()
	for _, f := range tell {
		f()
	}
	return more
}

// tellOddity tells people of a peer whose adverts are dropped, or accepted
// although they are not as they should be, or that this is over.
func (d *Daemon) tellOddity(r *router, n note, w words, on bool) {
	level, text, prefix := slog.LevelWarn, w.String(), ""
	if !on {
		level, text, prefix = slog.LevelInfo, w.what, "over: "
	}
	d.log.Log(d.readers, level, prefix+text, d.about(r,
		slog.String(sysd.KeyMessageID, sysd.MessageAlarm),
		slog.String(sysd.KeyReason, n.what.String()),
		slog.String(sysd.KeyPeer, peerText(n.src)),
	)...)
	d.feed.Publish(control.Event{
		At: time.Now(), Kind: control.KindAlarm, Group: d.groupName, Interface: r.cfg.Name, Parent: r.cfg.Interface,
		VRID: r.cfg.VRID, Reason: n.what.String(), Peer: peerText(n.src), Active: on, Message: text,
	})
}

// oddityWords say what is odd about a peer, and what to do about it. seen is its
// advert, as far as it was read.
func oddityWords(ours config.Router, n note, seen *vrrp.Advert) words {
	src := n.src.String()
	switch n.what {
	case addressesDiffer:
		return words{fmt.Sprintf("%s uses our VRID %d with other addresses (%s)", src, n.vrid, joinAddrs(seen.Addrs)),
			"give both machines the same addresses, or another router another VRID"}
	case intervalDiffers:
		return words{fmt.Sprintf("%s sends every %v, we every %v", src, seen.Interval, ours.Interval), "give both machines the same -d"}
	case ownAddress:
		return words{fmt.Sprintf("adverts with our own source address %s arrive from elsewhere", src),
			"give one of the two machines another address, or look for a loop in the network"}
	case ownerConflict:
		return words{fmt.Sprintf("%s says that it owns the addresses of VRID %d (priority 255), and so do we", src, n.vrid),
			"only one machine can: give the other one a -p from 1 to 254"}
	case version2Missing:
		return words{fmt.Sprintf("%s sends VRRPv3 only, so VRRPv2 routers do not hear it", src),
			"give it --vrrp-version 2+3, too; or, if no VRRPv2 router is left, give both machines --vrrp-version 3"}
	case clockDiffers:
		return words{fmt.Sprintf("the clock of %s differs from ours by more than half of the window", src),
			"set both clocks (NTP) before its adverts are refused"}
	}
	capture := "tcpdump -e -i " + ours.Interface + " ip proto 112"
	if n.src.Is6() {
		capture = "tcpdump -e -i " + ours.Interface + " ip6 host ff02::12"
	}
	ignored := "adverts from " + src + " are ignored, "
	if w, ok := authWords(ours, vrrp.Drop(n.what), seen); ok {
		return words{ignored + "because " + w.what, w.do}
	}
	switch vrrp.Drop(n.what) {
	case vrrp.DropVersion:
		return words{ignored + fmt.Sprintf("because it does not speak VRRP version %d", ours.Version), "give both machines the same --vrrp-version; 2+3 speaks both, while they are changed one by one"}
	case vrrp.DropInterval:
		return words{ignored + fmt.Sprintf("because its interval is %v and ours %v, which version 2 does not allow", seen.Interval, ours.Interval),
			"give both machines the same -d"}
	case vrrp.DropAddressList:
		return words{ignored + fmt.Sprintf("because its virtual addresses (%s) are not ours", joinAddrs(seen.Addrs)),
			"give both machines the same addresses, or another router another VRID"}
	case vrrp.DropPeer:
		return words{ignored + "because it is none of our peers", "if it is meant to be one, add --peer " + src}
	case vrrp.DropDestination:
		if len(ours.Peers) > 0 {
			return words{ignored + "because they are not sent to an address of this machine alone, as those of peers are",
				"give that machine --peer with an address of this one, too"}
		}
		return words{ignored + "because they are sent to this machine alone, and we speak to the group",
			"take --peer away there, or give this machine --peer " + src}
	case vrrp.DropTTL:
		if len(ours.Peers) > 0 {
			return words{ignored + fmt.Sprintf("because their TTL (hop limit) is below %d (--peer-ttl): more routers have forwarded them, or somebody forges them", ours.PeerTTL), "find out who sends them: " + capture}
		}
		return words{ignored + "because their TTL (hop limit) is not 255: a router has forwarded them, or somebody forges them", "find out who sends them: " + capture}
	case vrrp.DropChecksum:
		return words{ignored + "because their checksum is wrong", "see whether it is a VRRP router at all: " + capture}
	}
	return words{ignored + "because they are malformed (" + n.what.String() + ")", "see what sends them: " + capture}
}

func joinAddrs(addrs []netip.Addr) string {
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, " ")
}
