package daemon

import (
	"net/netip"
	"time"

	"vrrpd/control"
	"vrrpd/vrrp"
)

// Version 3 with version 2 beside it, while the routers of a LAN are changed one by one
// (RFC 9568 section 8.4.2). A MASTER sends both at its interval. Version 2 counts for as
// much as version 3, but for one thing: of a router that is heard in both, version 3 is
// believed, because version 2 cannot state an interval below a second.

// heard is the router whose advert was accepted last.
type heard struct {
	src   netip.Addr
	at    int64 // boottime ns
	every int64 // its interval, ns
}

// recently reports whether it was this one, and not long ago.
func (h heard) recently(src netip.Addr, now int64) bool {
	return h.src == src && now-h.at <= 4*h.every
}

// beside is what was heard in both versions. Guarded by the mu of the parent.
type beside struct {
	three   heard  // the last in version 3
	alone   int    // how often since its last in version 2
	rcvd    uint64 // in version 2
	ignored uint64 // of them
}

// threeAlone is after how many adverts in version 3 a router is taken to send no others.
const threeAlone = 4

// hearBoth reports whether an advert that was accepted counts. Called under mu.
//
// A router that sends no version 3 any more has to be believed again before we take it
// for dead, after three intervals and a skew time that may be some milliseconds: so its
// version 2 counts when one advert in version 3 is missing. To resign, either will do:
// the other one may be lost, and twice is as good as once.
func (p *parent) hearBoth(r *router, a *vrrp.Advert, vrid uint8, src netip.Addr, at int64) bool {
	b := &r.beside
	if a.Version == 3 {
		if b.three.src != src {
			b.alone = 0
		}
		b.three = heard{src, at, int64(a.Interval)}
		if b.alone++; b.alone > threeAlone {
			p.note(note{version2Missing, vrid, src}, r)
		}
		return true
	}
	b.rcvd++
	if src != b.three.src {
		return true
	}
	b.alone = 0
	if a.Priority == 0 || at-b.three.at > b.three.every*3/2 {
		return true
	}
	b.ignored++
	return false
}

// versionPatience is how long a router that was heard in another version has to be heard
// in ours: who speaks both sends both at once.
const versionPatience = 50 * time.Millisecond

// noteVersion has a router that does not speak our version noted, unless it does so as
// well. Called under mu.
func (p *parent) noteVersion(n note, s *sighting, r *router) {
	if s.pending {
		return
	}
	s.pending = true
	p.d.inbox.call(func() {
		p.d.agenda.add(boottime()+int64(versionPatience), func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			s := p.noted[n]
			switch {
			case s == nil || s.active:
			case r.heard.recently(n.src, s.seen):
				p.drop(n)
			default:
				s.pending = false
				p.begin(n, s, r)
			}
		})
	})
}

// status is for routers with version 2 beside version 3.
func (b *beside) status() *control.Interoperation {
	return &control.Interoperation{AdvertisementRcvd: b.rcvd, Ignored: b.ignored}
}
