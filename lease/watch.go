package lease

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/nftables"
	"vrrpd/internal/nlwatch"
)

// Watcher hears what the kernel tells of the things that guards consist of. It
// gives hints: whether a guard is still as it should be is seen by Verify.
type Watcher struct {
	listener *nlwatch.Listener
	hint     func(netlink.Message) (hint, bool)
}

// hint is what a message is about: an interface by index or by name, or, with
// neither, any of them.
type hint struct {
	index int
	name  string
}

// Watch subscribes to what the kernel tells of one rung, in the network
// namespace of the calling thread. It is nil, without an error, for TCX and None,
// of which nothing is told: there only Verify helps.
func Watch(r Rung) (*Watcher, error) {
	w := &Watcher{}
	family, group := unix.NETLINK_ROUTE, uint32(unix.RTNLGRP_TC)
	switch r {
	case Clsact:
		w.hint = tcHint
	case Nftables:
		family, group = unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES
		w.hint = nftHint
	default:
		return nil, nil
	}
	var err error
	if w.listener, err = nlwatch.Listen(family, group); err != nil {
		return nil, fmt.Errorf("watch the guards: %w", err)
	}
	return w, nil
}

// Run calls changed for whatever may concern the guard of an interface, until
// ctx is done, and then closes the Watcher. index or name says which interface;
// 0 and "" mean any, because messages were lost. changed must not block.
func (w *Watcher) Run(ctx context.Context, changed func(index int, name string)) error {
	err := w.listener.Run(ctx, func(messages []netlink.Message) {
		var last hint
		for _, m := range messages {
			// Deleting a queueing discipline tells of each of its filters, too.
			if h, ok := w.hint(m); ok && h != last {
				last = h
				changed(h.index, h.name)
			}
		}
	}, func() { changed(0, "") })
	if err != nil {
		return fmt.Errorf("watch the guards: %w", err)
	}
	return nil
}

// tcmsgLen is the size of struct tcmsg of linux/rtnetlink.h.
const tcmsgLen = 20

// tcHint reads struct tcmsg, with which messages about queueing disciplines,
// filters and chains begin. Those about actions are shorter.
func tcHint(m netlink.Message) (hint, bool) {
	if len(m.Data) < tcmsgLen {
		return hint{}, false
	}
	return hint{index: int(int32(binary.NativeEndian.Uint32(m.Data[4:])))}, true
}

// nftHint looks for tables of ours. Elements come and go with every renewal and every
// lease that ends, and say nothing.
func nftHint(m netlink.Message) (hint, bool) {
	switch nftables.TypeOf(m) {
	case unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_DELSETELEM:
		return hint{}, false
	}
	family, table := nftables.TableOf(m)
	name, ours := strings.CutPrefix(table, tablePrefix)
	return hint{name: name}, ours && name != "" && family == unix.NFPROTO_NETDEV
}
