package acceptance

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vrrpd/internal/netlab"
)

// inbox is a datagram socket on a host, in the place of syslogd, journald or the
// service manager, and what has arrived there.
type inbox struct {
	conn *net.UnixConn
	// seen, if not nil, is called by the reader when a letter has arrived.
	seen func(text string)
	done chan struct{} // closed when nothing is read any more

	mu      sync.Mutex
	list    []letter
	changed chan struct{} // closed and replaced with every letter
}

// letter is one datagram.
type letter struct {
	at   time.Time
	text string
}

// listen opens the socket at path on the host.
func listen(t *testing.T, h *netlab.Host, path string) *inbox {
	t.Helper()
	return watch(t, h, path, nil)
}

// watch is listen with somebody who is told of every letter at once.
func watch(t *testing.T, h *netlab.Host, path string, seen func(text string)) *inbox {
	t.Helper()
	in := &inbox{seen: seen, changed: make(chan struct{}), done: make(chan struct{})}
	check(t, h.Do(func() (err error) {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			in.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		}
		return err
	}))
	go in.read()
	t.Cleanup(in.close)
	return in
}

// close ends the reception; what has arrived stays.
func (in *inbox) close() {
	in.conn.Close()
	<-in.done
}

func (in *inbox) read() {
	defer close(in.done)
	buf := make([]byte, 1<<16)
	for {
		n, err := in.conn.Read(buf)
		if err != nil {
			return
		}
		l := letter{time.Now(), string(buf[:n])}
		if in.seen != nil {
			in.seen(l.text)
		}
		in.mu.Lock()
		in.list = append(in.list, l)
		close(in.changed)
		in.changed = make(chan struct{})
		in.mu.Unlock()
	}
}

func (in *inbox) mark() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.list)
}

func (in *inbox) letters(mark int) []letter {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.list[mark:])
}

// texts are the letters with the time of their arrival, for people.
func (in *inbox) texts() []string {
	var all []string
	for _, l := range in.letters(0) {
		all = append(all, l.at.Format("05.000 ")+l.text)
	}
	return all
}

// waitFor returns the first letter from mark on that fulfils cond.
func (in *inbox) waitFor(t *testing.T, mark int, what string, cond func(string) bool) letter {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		in.mu.Lock()
		fresh, changed := in.list[mark:], in.changed
		in.mu.Unlock()
		if i := slices.IndexFunc(fresh, func(l letter) bool { return cond(l.text) }); i >= 0 {
			return fresh[i]
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no letter that says %s; there were:\n%s", what, strings.Join(in.texts(), "\n"))
		}
	}
}

func containing(text string) func(string) bool {
	return func(s string) bool { return strings.Contains(s, text) }
}
