package election

// Who ceases to serve says farewell of each virtual address (DoAnnounceOwn), when its
// guard is closed. Whoever has preempted that machine need not find out whether it hangs
// (see open).

// inferiorMaster is one that we would preempt.
type inferiorMaster struct {
	src Addr16
	at  Time // its last advert; 0: it has said farewell since
}

// inferiors are those that a member has heard: the last one, and others before it.
type inferiors struct {
	heard [3]inferiorMaster
	more  Time // last advert of one for whom there was no place
}

// advert notes one of src.
func (v *inferiors) advert(src Addr16, now Time) {
	h := &v.heard
	at := 0
	for at < len(h) && h[at].src != src {
		at++
	}
	if at == len(h) {
		at--
		v.more = max(v.more, h[at].at)
	}
	copy(h[1:at+1], h[:at])
	h[0] = inferiorMaster{src, now}
}

// gone reports that nobody of them can serve any more: each has said farewell, or was
// heard longer ago than a lease lasts.
func (v *inferiors) gone(now Time, lease int64) bool {
	for _, i := range v.heard {
		if i.at != 0 && now < i.at+lease {
			return false
		}
	}
	return v.more == 0 || now >= v.more+lease
}

// inferior: a master that we would preempt was heard.
func (m *Machine) inferior(i int, src Addr16) {
	m.own[i].InferiorAt = m.now
	m.vr[i].inferiors.advert(src, m.now)
}

// farewell: a router has said that it no longer serves.
func (m *Machine) farewell(i int, src Addr16) {
	v := &m.vr[i].inferiors
	for j := range v.heard {
		if v.heard[j].src == src {
			v.heard[j].at = 0
		}
	}
	m.bidden(i)
}

// bidden opens the guard of a member whose old masters have all said farewell.
func (m *Machine) bidden(i int) {
	f, v := &m.own[i], &m.vr[i]
	if m.shutEpoch == 0 || m.seen.State() != Master || f.Quiet == m.shutEpoch || !v.inferiors.gone(m.now, m.leaseSpan()) {
		return
	}
	f.Quiet = m.shutEpoch // of this member alone: the process of another one may hang
	m.ring = true
}
