package rtnl

import "slices"

// Links are links by their index, in its order: for a thousand half of what a map needs, and
// nearly all that is asked of them is to be gone through.
type Links []Link

// Get is the link with an index.
func (s Links) Get(index int) (l Link, known bool) {
	if i, known := s.find(index); known {
		return s[i], true
	}
	return Link{}, false
}

// Set puts l in the place of the one with its index, or adds it.
func (s *Links) Set(l Link) {
	i, known := s.find(l.Index)
	if known {
		(*s)[i] = l
		return
	}
	*s = slices.Insert(*s, i, l)
}

// Delete removes the link with an index, if there is one.
func (s *Links) Delete(index int) {
	if i, known := s.find(index); known {
		*s = slices.Delete(*s, i, i+1)
	}
}

func (s Links) find(index int) (at int, known bool) {
	return slices.BinarySearchFunc(s, index, func(l Link, index int) int { return l.Index - index })
}
