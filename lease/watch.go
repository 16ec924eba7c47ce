package lease

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/nftables"
)

// Watcher hears what the kernel tells of the things that guards consist of. It
// gives hints: whether a guard is still as it should be is seen by Verify.
type Watcher struct {
	conn *netlink.Conn
	hint func(netlink.Message) (hint, bool)
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
	conn, err := netlink.Dial(family, nil)
	if err != nil {
		return nil, fmt.Errorf("watch the guards: %w", err)
	}
	if err := conn.JoinGroup(group); err != nil {
		return nil, errors.Join(fmt.Errorf("watch the guards: join netlink group %d: %w", group, err), conn.Close())
	}
	w.conn = conn
	return w, nil
}

// Run calls changed for whatever may concern the guard of an interface, until
// ctx is done, and then closes the Watcher. index or name says which interface;
// 0 and "" mean any, because messages were lost. changed must not block.
func (w *Watcher) Run(ctx context.Context, changed func(index int, name string)) error {
	var once sync.Once
	shut := func() { once.Do(func() { _ = w.conn.Close() }) }
	defer context.AfterFunc(ctx, shut)()
	defer shut()
	for {
		messages, err := w.conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			changed(0, "")
			continue
		case err != nil:
			return fmt.Errorf("watch the guards: %w", err)
		}
		var last hint
		for _, m := range messages {
			// Deleting a queueing discipline tells of each of its filters, too.
			if h, ok := w.hint(m); ok && h != last {
				last = h
				changed(h.index, h.name)
			}
		}
	}
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

// nftHint looks for the name of a table of ours, which is the first attribute
// of every message about a table and what is in it. Elements come and go with
// every renewal and every lease that ends, and say nothing.
func nftHint(m netlink.Message) (hint, bool) {
	const headerLen = 4 // struct nfgenmsg
	if len(m.Data) < headerLen || m.Data[0] != unix.NFPROTO_NETDEV {
		return hint{}, false
	}
	switch uint16(m.Header.Type) & 0xff {
	case unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_DELSETELEM, unix.NFT_MSG_NEWGEN:
		return hint{}, false
	}
	var h hint
	// A message that cannot be decoded is a hint that leads nowhere.
	_ = nftables.Decode(m, func(typ uint16, value []byte) {
		if name, ours := strings.CutPrefix(nftables.Text(value), tablePrefix); typ == unix.NFTA_TABLE_NAME && ours {
			h.name = name
		}
	})
	return h, h.name != ""
}
