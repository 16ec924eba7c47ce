// Package nlwatch hears what the kernel tells a multicast group of netlink: hints that
// something has changed, which say less than a look at the thing itself.
package nlwatch

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Listener is a member of one or more groups.
type Listener struct {
	conn *netlink.Conn
	once sync.Once // of the close
}

// Listen joins groups, in the network namespace of the calling thread. What is told
// from then on waits for Run.
func Listen(family int, groups ...uint32) (*Listener, error) {
	conn, err := netlink.Dial(family, nil)
	if err != nil {
		return nil, err
	}
	for _, group := range groups {
		if err := conn.JoinGroup(group); err != nil {
			return nil, errors.Join(fmt.Errorf("join netlink group %d: %w", group, err), conn.Close())
		}
	}
	return &Listener{conn: conn}, nil
}

// Close closes a Listener whose Run is not called; after Run it does nothing.
func (l *Listener) Close() (err error) {
	l.once.Do(func() { err = l.conn.Close() })
	return err
}

// Run calls heard for every batch of messages, and lost when there were more than the
// socket holds, until ctx is done (nil). Then the Listener is closed.
func (l *Listener) Run(ctx context.Context, heard func([]netlink.Message), lost func()) error {
	shut := func() { _ = l.Close() }
	defer context.AfterFunc(ctx, shut)()
	defer shut()
	for {
		messages, err := l.conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			lost()
		case err != nil:
			return err
		default:
			heard(messages)
		}
	}
}
