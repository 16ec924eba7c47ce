package sysd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Dest is where log records go.
type Dest uint8

const (
	// Auto is the journal if stderr is connected to it, else stderr.
	Auto Dest = iota
	// Journal is systemd's journal in its native protocol, with fields.
	Journal
	// Stderr is one readable line per record.
	Stderr
	// Syslog is /dev/log, for a process in the background. Where that is only
	// a link into the journal's directory, the same daemon is spoken to in its
	// native protocol, so that the fields are kept.
	Syslog
)

// Options of Open; the zero value is the default throughout.
type Options struct {
	Dest       Dest
	Level      slog.Leveler // nil: Info
	Identifier string       // SYSLOG_IDENTIFIER and syslog tag; "": vrrpd
	Queue      int          // records that may wait; 0: 1024

	Stderr        *os.File // nil: os.Stderr
	JournalSocket string   // "": /run/systemd/journal/socket
	SyslogSocket  string   // "": /dev/log
}

// Log is an opened destination with its queue. Its Handler may be used at once;
// records wait until Run writes them.
type Log struct {
	level slog.Leveler
	dest  Dest
	sink  sink
	queue chan entry

	lost     atomic.Uint64 // records that were not written
	reported uint64        // of these, how many a record has told of; belongs to Run
}

// sink writes one entry and gives up at the time by.
type sink interface {
	write(e *entry, by time.Time) error
	close()
}

// writeLimit is how long one record may keep the ones behind it waiting, and
// how long Run may still write after its context has ended.
const writeLimit = time.Second

// Open chooses the destination. Nothing is connected or written before Run, so
// that a machine without journald or syslogd still gets its address: what
// cannot be written is counted by Lost. The only error is an unknown Dest.
func Open(o Options) (*Log, error) {
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	if o.Identifier == "" {
		o.Identifier = "vrrpd"
	}
	if o.Queue <= 0 {
		o.Queue = 1024
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.JournalSocket == "" {
		o.JournalSocket = "/run/systemd/journal/socket"
	}
	if o.SyslogSocket == "" {
		o.SyslogSocket = "/dev/log"
	}
	l := &Log{level: o.Level, dest: o.Dest, queue: make(chan entry, o.Queue)}
	inJournal := IsJournal(o.Stderr)
	switch o.Dest {
	case Auto:
		l.dest = Stderr
		if inJournal {
			l.dest = Journal
		}
	case Syslog:
		if to, err := filepath.EvalSymlinks(o.SyslogSocket); err == nil &&
			to != o.SyslogSocket && filepath.Dir(to) == filepath.Dir(o.JournalSocket) {
			l.dest = Journal
		}
	case Journal, Stderr:
	default:
		return nil, fmt.Errorf("open log: unknown destination %d", o.Dest)
	}
	people := newStderrSink(o.Stderr, inJournal)
	switch l.dest {
	case Journal:
		l.sink = &journalSink{sock: dgram{path: o.JournalSocket}, identifier: o.Identifier, fallback: people}
	case Syslog:
		l.sink = &syslogSink{sock: dgram{path: o.SyslogSocket}, tag: o.Identifier, pid: os.Getpid()}
	default:
		l.sink = people
	}
	return l, nil
}

// Handler is for slog.New. It never blocks.
func (l *Log) Handler() slog.Handler { return &handler{log: l} }

// Dest is the destination that was chosen, never Auto.
func (l *Log) Dest() Dest { return l.dest }

// Lost is how many records have not been written: the queue was full, or the
// destination refused or kept them waiting for more than a second. The next
// record that does get through is preceded by one that says how many.
func (l *Log) Lost() uint64 { return l.lost.Load() }

func (l *Log) post(e entry) {
	select {
	case l.queue <- e:
	default:
		l.lost.Add(1)
	}
}

// Run writes records until ctx ends, then those that are waiting, for a second
// at most. With a context that has ended already it only does the latter, which
// is what a program that fails before its loop starts wants. It returns nil.
func (l *Log) Run(ctx context.Context) error {
	defer l.sink.close()
	for {
		select {
		case e := <-l.queue:
			l.write(&e, time.Now().Add(writeLimit))
			continue
		case <-ctx.Done():
		}
		break
	}
	by := time.Now().Add(writeLimit)
	for {
		select {
		case e := <-l.queue:
			l.write(&e, by)
		default:
			return nil
		}
	}
}

// Flush waits until every record posted before it has been written or counted
// as lost. Run must be running. The error is ctx's.
func (l *Log) Flush(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case l.queue <- entry{flushed: done}:
	case <-ctx.Done():
		return fmt.Errorf("flush log: %w", ctx.Err())
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush log: %w", ctx.Err())
	}
}

func (l *Log) write(e *entry, by time.Time) {
	if lost := l.lost.Load(); lost > l.reported {
		n := strconv.FormatUint(lost-l.reported, 10)
		report := entry{time: time.Now(), level: slog.LevelWarn, message: n + " log records were lost",
			fields: []field{{KeyLost, n}}}
		if l.sink.write(&report, by) == nil {
			l.reported = lost
		}
	}
	if e.flushed != nil {
		close(e.flushed)
		return
	}
	if l.sink.write(e, by) != nil {
		l.lost.Add(1)
	}
}

// IsJournal reports whether the file is connected to the journal: systemd says
// in JOURNAL_STREAM which device and inode its stream has.
func IsJournal(f *os.File) bool {
	dev, ino, ok := strings.Cut(os.Getenv("JOURNAL_STREAM"), ":")
	if !ok {
		return false
	}
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	return strconv.FormatUint(st.Dev, 10) == dev && strconv.FormatUint(st.Ino, 10) == ino
}
