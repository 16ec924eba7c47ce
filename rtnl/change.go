package rtnl

import "fmt"

// ChangeKind says what a Change is about.
type ChangeKind uint8

const (
	// LinkChanged: a link is new (Old is the zero Link) or differs (Old, New).
	LinkChanged ChangeKind = iota + 1
	// LinkGone: the link Old does not exist any more. Every address that it
	// had was reported gone before.
	LinkGone
	// AddrAdded: Addr is new, or one of its flags has changed.
	AddrAdded
	// AddrGone: Addr is no longer on its interface.
	AddrGone
)

func (k ChangeKind) String() string {
	switch k {
	case LinkChanged:
		return "link-changed"
	case LinkGone:
		return "link-gone"
	case AddrAdded:
		return "addr-added"
	case AddrGone:
		return "addr-gone"
	}
	return "unknown"
}

// Change is one difference between what was known and what is. Fields that its
// kind does not name are zero.
type Change struct {
	Kind     ChangeKind
	Old, New Link
	Addr     Addr
}

// Index is the interface that the change is about.
func (c Change) Index() int {
	switch c.Kind {
	case LinkChanged:
		return c.New.Index
	case LinkGone:
		return c.Old.Index
	default:
		return c.Addr.Index
	}
}

func (c Change) String() string {
	switch c.Kind {
	case LinkChanged:
		return fmt.Sprintf("%v %d %s carrier=%t", c.Kind, c.New.Index, c.New.Name, c.New.Carrier())
	case LinkGone:
		return fmt.Sprintf("%v %d %s", c.Kind, c.Old.Index, c.Old.Name)
	default:
		return fmt.Sprintf("%v %d %v", c.Kind, c.Addr.Index, c.Addr.Prefix)
	}
}
