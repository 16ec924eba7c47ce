package daemon

import (
	"log/slog"
	"time"

	"vrrpd/sysd"
)

// The virtual routers of a process, which a reload may change. VR is a router's number
// in events and actions: it stays as long as the router does, and rests for a while
// before another one gets it, so that nothing that is still under way meets a stranger.

// vrRests is how long a number rests.
const vrRests = time.Second

func (d *Daemon) freeVR() int {
	if n := len(d.freeVRs); n > 0 {
		vr := d.freeVRs[n-1]
		d.freeVRs = d.freeVRs[:n-1]
		return vr
	}
	d.byVR, d.lanOf = append(d.byVR, nil), append(d.lanOf, 0)
	return len(d.byVR) - 1
}

// parentNamed is the parent with a configured name, which is made if it is missing.
func (d *Daemon) parentNamed(name string) *parent {
	for _, p := range d.parents {
		if p.configured == name {
			return p
		}
	}
	d.lans++
	p := &parent{d: d, lan: d.lans, name: name, configured: name, noted: map[note]*sighting{}, crowds: map[kind]*crowd{}}
	d.parents = append(d.parents, p)
	return p
}

// enlist makes a router one of ours.
func (d *Daemon) enlist(r *router) {
	d.byVR[r.vr], d.lanOf[r.vr] = r, int32(r.parent.lan)
	d.roster++
	r.at = len(d.routers)
	d.routers = append(d.routers, r)
	d.enlisted.Store(int32(len(d.routers)))
	p := r.parent
	p.mu.Lock()
	p.routers = append(p.routers, r)
	p.byVRID[familyIndex(r.rules.Family)][r.cfg.VRID] = r
	p.mu.Unlock()
}

// delist makes a router none of ours; nothing is heard for it from here on.
func (d *Daemon) delist(r *router) {
	p := r.parent
	p.mu.Lock()
	p.byVRID[familyIndex(r.rules.Family)][r.cfg.VRID] = nil
	p.routers = without(p.routers, r)
	for n, s := range p.noted {
		if s.router == r {
			if s.active {
				p.crowd(n.kind()).ends(s)
			}
			p.drop(n)
		}
	}
	for _, c := range p.crowds {
		if c.last.router == r {
			c.begun, c.last = false, others{}
		}
	}
	p.mu.Unlock()
	if len(d.routers) == 1 {
		d.faceless = r
	}
	d.routers = without(d.routers, r)
	d.enlisted.Store(int32(len(d.routers)))
	d.roster++
	d.byVR[r.vr] = nil
	d.agenda.idly(boottime()+int64(vrRests), func() { d.freeVRs = append(d.freeVRs, r.vr) })
}

// isOurs reports whether a router has not been removed meanwhile; another one may have its
// number by now.
func (d *Daemon) isOurs(r *router) bool { return d.byVR[r.vr] == r }

// without is a copy of a list without one: who makes a status may be looking at the old
// one.
func without(list []*router, r *router) []*router {
	left := make([]*router, 0, len(list))
	for _, other := range list {
		if other != r {
			left = append(left, other)
		}
	}
	return left
}

// first is the router that stands for all where one is needed.
func (d *Daemon) first() *router {
	if len(d.routers) == 0 {
		return d.faceless
	}
	return d.routers[0]
}

// aboutMachine are the attributes of a record about the whole process.
func (d *Daemon) aboutMachine(more ...any) []any {
	if d.cfg.Group == "" {
		return d.about(d.first(), more...)
	}
	return append([]any{slog.String(sysd.KeyGroup, d.groupName)}, more...)
}
