package accept

import (
	"context"
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/nftables"
	"vrrpd/internal/nlwatch"
)

// Watcher hears what the kernel tells of filters. It gives hints: whether a filter is
// still as it should be is seen by Verify.
type Watcher struct{ listener *nlwatch.Listener }

// Watch subscribes, in the network namespace of the calling thread.
func Watch() (*Watcher, error) {
	l, err := nlwatch.Listen(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	if err != nil {
		return nil, fmt.Errorf("watch the filters: %w", err)
	}
	return &Watcher{l}, nil
}

// Run calls changed with the name of the interface for whatever may concern its filter,
// or with "" because messages were lost, until ctx is done; then the Watcher is closed.
// changed must not block.
func (w *Watcher) Run(ctx context.Context, changed func(name string)) error {
	err := w.listener.Run(ctx, func(messages []netlink.Message) {
		last := ""
		for _, m := range messages {
			if name := concerns(m); name != "" && name != last {
				last = name
				changed(name)
			}
		}
	}, func() { changed("") })
	if err != nil {
		return fmt.Errorf("watch the filters: %w", err)
	}
	return nil
}

// concerns is the interface whose filter a message is about; "": none.
func concerns(m netlink.Message) string {
	family, table := nftables.TableOf(m)
	name, ours := strings.CutPrefix(table, tablePrefix)
	if !ours || family != unix.NFPROTO_IPV4 && family != unix.NFPROTO_IPV6 {
		return ""
	}
	return name
}
