package vrrp

import (
	"iter"
	"net/netip"
)

// MaxMarks is how many senders of one virtual router are told apart. Only who knows
// the key makes a mark, so that more than two or three are rare.
const MaxMarks = 16

// Marks are the last numbers accepted, by source address: what is not above its
// mark was recorded and sent again. They are a value: who wants them to survive a
// restart stores a copy (All) and puts it back (Restore). The zero value knows
// nobody, and accepts whatever number a sender begins with.
//
// A number is only ever compared with its own sender's mark. keepalived has one
// counter for its Authentication Header that sending and receiving share; a sender's
// own numbers rise there too.
type Marks struct {
	list [MaxMarks]mark // the one touched last comes first
	n    int
}

type mark struct {
	src      netip.Addr
	sequence uint64
}

func (m *Marks) of(src netip.Addr) (sequence uint64, known bool) {
	for i := range m.list[:m.n] {
		if m.list[i].src == src {
			return m.list[i].sequence, true
		}
	}
	return 0, false
}

// set makes src the sender touched last; when there are too many, the one that has
// been silent for longest is forgotten.
func (m *Marks) set(src netip.Addr, sequence uint64) {
	i := 0
	for i < m.n && m.list[i].src != src {
		i++
	}
	if i == m.n {
		m.n = min(m.n+1, MaxMarks)
		i = m.n - 1
	}
	copy(m.list[1:i+1], m.list[:i])
	m.list[0] = mark{src, sequence}
}

// All yields the marks, the one touched last first.
func (m *Marks) All() iter.Seq2[netip.Addr, uint64] {
	return func(yield func(netip.Addr, uint64) bool) {
		for i := range m.list[:m.n] {
			if !yield(m.list[i].src, m.list[i].sequence) {
				return
			}
		}
	}
}

// Restore adds a stored mark behind those that are there; what is already known, or
// one too many, is left out.
func (m *Marks) Restore(src netip.Addr, sequence uint64) {
	if _, known := m.of(src); known || m.n == MaxMarks || !src.IsValid() {
		return
	}
	m.list[m.n] = mark{src, sequence}
	m.n++
}
