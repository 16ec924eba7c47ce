package nftables

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ErrMissing: what was asked for does not exist.
var ErrMissing = errors.New("is missing")

// Look asks and hands out the answers; what does not exist is ErrMissing.
func (c *Conn) Look(question netlink.Message, each func(netlink.Message) error) error {
	got, err := c.Ask(question)
	if errors.Is(err, unix.ENOENT) {
		return ErrMissing
	}
	if err != nil {
		return err
	}
	for _, m := range got {
		if err := each(m); err != nil {
			return err
		}
	}
	return nil
}

// tableDormant is NFT_TABLE_F_DORMANT of linux/netfilter/nf_tables.h.
const tableDormant = 1

// CheckTable tells whether a table is missing, or does nothing because somebody has
// switched it off.
func (c *Conn) CheckTable(family uint8, table string) error {
	dormant := false
	err := c.Look(Message(family, unix.NFT_MSG_GETTABLE, 0, Str(unix.NFTA_TABLE_NAME, table)), func(m netlink.Message) error {
		return Decode(m, func(typ uint16, value []byte) {
			if typ == unix.NFTA_TABLE_FLAGS {
				dormant = Number(value)&tableDormant != 0
			}
		})
	})
	if err == nil && dormant {
		err = errors.New("has been switched off")
	}
	return err
}

// Count is the number of answers to a question; what does not exist is ErrMissing.
func (c *Conn) Count(question netlink.Message) (n int, err error) {
	err = c.Look(question, func(netlink.Message) error { n++; return nil })
	return n, err
}

// Tables lists the tables of a family.
func (c *Conn) Tables(family uint8) ([]string, error) {
	var names []string
	err := c.Look(Message(family, unix.NFT_MSG_GETTABLE, netlink.Dump), func(m netlink.Message) error {
		return Decode(m, func(typ uint16, value []byte) {
			if typ == unix.NFTA_TABLE_NAME {
				names = append(names, Text(value))
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list the nftables tables: %w", err)
	}
	return names, nil
}

// Remove deletes a table, which may have gone. A kernel or a process that cannot do it
// could not have made it either. It looks first: the kernel takes a grace period of RCU
// (14 ms) to say that a table to be deleted does not exist.
func (c *Conn) Remove(family uint8, table string) error {
	err := c.Look(Message(family, unix.NFT_MSG_GETTABLE, 0, Str(unix.NFTA_TABLE_NAME, table)), func(netlink.Message) error { return nil })
	switch {
	case errors.Is(err, ErrMissing) || Unavailable(err):
		return nil
	case err != nil:
		return fmt.Errorf("look for the nftables table %s: %w", table, err)
	}
	err = c.Commit(Message(family, unix.NFT_MSG_DELTABLE, 0, Str(unix.NFTA_TABLE_NAME, table)))
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("delete the nftables table %s: %w", table, err)
}

// Sweep deletes the tables of a family that are called prefix and the name of an
// interface that does not exist. They were made after their interface, so one that is
// missing now has gone since.
func (c *Conn) Sweep(family uint8, prefix string) error {
	tables, err := c.Tables(family)
	if Unavailable(err) {
		return nil
	}
	errs := []error{err}
	for _, table := range tables {
		if name, ours := strings.CutPrefix(table, prefix); ours {
			if _, err := net.InterfaceByName(name); err != nil {
				errs = append(errs, c.Remove(family, table))
			}
		}
	}
	return errors.Join(errs...)
}

// Unavailable tells that this process has no nftables.
func Unavailable(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) ||
		errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EINVAL)
}

// Elements calls each with the key of every element that an answer lists.
func Elements(m netlink.Message, each func(key []byte)) error {
	var errs []error
	nested := func(b []byte, want uint16, then func([]byte)) {
		errs = append(errs, DecodeNest(b, func(typ uint16, value []byte) {
			if typ == want {
				then(value)
			}
		}))
	}
	errs = append(errs, Decode(m, func(typ uint16, value []byte) {
		if typ != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			return
		}
		nested(value, unix.NFTA_LIST_ELEM, func(element []byte) {
			nested(element, unix.NFTA_SET_ELEM_KEY, func(key []byte) {
				nested(key, unix.NFTA_DATA_VALUE, each)
			})
		})
	}))
	return errors.Join(errs...)
}
