package sysd

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/election"
)

type pair struct{ k, v string }

// parse decodes the journal's native protocol, in order.
func parse(t *testing.T, b []byte) (all []pair) {
	t.Helper()
	for len(b) > 0 {
		i := slices.Index(b, '\n')
		if i < 0 {
			t.Fatalf("no line end in %q", b)
		}
		if k, v, ok := strings.Cut(string(b[:i]), "="); ok {
			all, b = append(all, pair{k, v}), b[i+1:]
			continue
		}
		k := string(b[:i])
		if b = b[i+1:]; len(b) < 8 {
			t.Fatalf("no length after %s", k)
		}
		n := binary.LittleEndian.Uint64(b)
		if b = b[8:]; uint64(len(b)) < n+1 || b[n] != '\n' {
			t.Fatalf("%s: length %d does not fit", k, n)
		}
		all, b = append(all, pair{k, string(b[:n])}), b[n+1:]
	}
	return all
}

func journalLog(t *testing.T, o Options) (*Log, *receiver) {
	t.Helper()
	r := listen(t, "")
	o.Dest, o.JournalSocket = Journal, r.path
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l, r
}

func TestJournalTransition(t *testing.T) {
	l, r := journalLog(t, Options{})
	start(t, l.Run)
	peer := netip.MustParseAddr("192.0.2.2")
	slog.New(l.Handler()).With(KeyInterface, "vrrp51", KeyVRID, 51, KeyParent, "eth0").Log(
		t.Context(), LevelNotice,
		TransitionMessage(election.Backup, election.Master, election.MasterTimeout, peer),
		KeyMessageID, TransitionMessageID(election.Master),
		KeyState, election.Master, KeyOldState, election.Backup, KeyReason, election.MasterTimeout,
		KeyPeer, peer, KeyPriority, 100)
	b, _ := r.next()
	want := []pair{
		{"MESSAGE", "vrrp51: BACKUP -> MASTER: master-timeout (peer 192.0.2.2) vrid=51 parent=eth0 priority=100"},
		{"PRIORITY", "5"},
		{"SYSLOG_IDENTIFIER", "vrrpd"},
		{"VRRP_INTERFACE", "vrrp51"},
		{"VRRP_VRID", "51"},
		{"VRRP_PARENT", "eth0"},
		{"MESSAGE_ID", MessageMaster},
		{"VRRP_STATE", "MASTER"},
		{"VRRP_OLD_STATE", "BACKUP"},
		{"VRRP_REASON", "master-timeout"},
		{"VRRP_PEER", "192.0.2.2"},
		{"VRRP_PRIORITY", "100"},
	}
	if got := parse(t, b); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestJournalKeepsOrderAndLineBreaks(t *testing.T) {
	l, r := journalLog(t, Options{})
	start(t, l.Run)
	log := slog.New(l.Handler())
	out := "line 1\nPRIORITY=0\nline 3 = \"end\""
	for i := range 200 {
		log.Info("hook", "n", i, "output", out)
	}
	for i := range 200 {
		b, _ := r.next()
		got := parse(t, b)
		if want := []pair{{"N", strconv.Itoa(i)}, {"OUTPUT", out}}; !slices.Equal(got[3:], want) {
			t.Fatalf("record %d: %q", i, got)
		}
		if got[1].v != "6" || strings.Contains(got[0].v, "\n") {
			t.Fatalf("record %d: %q", i, got)
		}
	}
}

func TestJournalLargeField(t *testing.T) {
	l, r := journalLog(t, Options{})
	start(t, l.Run)
	large := strings.Repeat("0123456789\n", 100_000)
	slog.New(l.Handler()).Error("hook failed", "output", large)
	b, rights := r.next()
	if len(b) != 0 {
		t.Fatalf("%d bytes came as a datagram", len(b))
	}
	msgs, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(msgs) != 1 {
		t.Fatalf("control messages: %v, %v", msgs, err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("rights: %v, %v", fds, err)
	}
	f := os.NewFile(uintptr(fds[0]), "entry")
	defer f.Close()
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if want := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL; err != nil || seals != want {
		t.Errorf("seals %#x, %v; want %#x", seals, err, want)
	}
	all, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, all)
	if got[3] != (pair{"OUTPUT", large}) {
		t.Errorf("the large field came back with %d bytes", len(got[3].v))
	}
	if len(got[0].v) > maxLine {
		t.Errorf("MESSAGE has %d bytes", len(got[0].v))
	}
}

func TestJournalKeys(t *testing.T) {
	for key, want := range map[string]string{
		"vrrp_state": "VRRP_STATE", "message_id": "MESSAGE_ID", "error": "ERROR",
		"message": "VRRP_MESSAGE", "priority": "VRRP_PRIORITY", "syslog_identifier": "VRRP_SYSLOG_IDENTIFIER",
		"_pid": "PID", "9lives": "VRRP_9LIVES", "a.b-c d": "A_B_C_D", "é=\n": "", "": "",
		strings.Repeat("k", 80): strings.Repeat("K", 64),
	} {
		if got := journalKey(key); got != want {
			t.Errorf("%q: %q, want %q", key, got, want)
		}
	}
}

func TestPriorities(t *testing.T) {
	for l, want := range map[slog.Level]int{
		slog.LevelDebug: 7, slog.LevelInfo: 6, LevelNotice: 5, slog.LevelWarn: 4, slog.LevelError: 3, 12: 2,
	} {
		if got := priority(l); got != want {
			t.Errorf("%v: %d, want %d", l, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	for _, c := range []struct {
		level  slog.Level
		msg    string
		fields []field
		want   string
	}{
		{0, "BACKUP -> MASTER: master-timeout (peer 192.0.2.2)", []field{
			{KeyInterface, "vrrp51"}, {KeyState, "MASTER"}, {KeyOldState, "BACKUP"},
			{KeyReason, "master-timeout"}, {KeyPeer, "192.0.2.2"}, {KeyMessageID, MessageMaster}},
			"vrrp51: BACKUP -> MASTER: master-timeout (peer 192.0.2.2)"},
		{0, "BACKUP -> MASTER: master-timeout", []field{{KeyPeer, ""}, {KeyReason, "timeout"}},
			"BACKUP -> MASTER: master-timeout reason=timeout"},
		{0, "peer 192.0.2.22 speaks", []field{{KeyPeer, "192.0.2.2"}}, "peer 192.0.2.22 speaks peer=192.0.2.2"},
		{slog.LevelWarn, "hook failed", []field{{KeyInterface, "vrrp51"}, {"command", "/etc/scripts/MASTER.sh -x"}, {"exit", "1"}},
			`vrrp51: warning: hook failed command="/etc/scripts/MASTER.sh -x" exit=1`},
		{slog.LevelError, "a\x1b[31m\nb", []field{{"e", ""}, {"f", "a\nb"}, {"g", `q"`}, {"h", "x=y"}},
			`error: a?[31m b e="" f="a\nb" g="q\"" h="x=y"`},
		{slog.LevelDebug, "vrrp51: said twice", []field{{KeyInterface, "vrrp51"}}, "debug: vrrp51: said twice"},
		{0, "long", []field{{"v", strings.Repeat("x", 300)}}, "long v=" + strings.Repeat("x", 256) + "..."},
	} {
		e := entry{level: c.level, message: c.msg, fields: c.fields}
		if got := e.line(true); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	e := entry{message: strings.Repeat("m\xff", 5000)}
	for range 100 {
		e.fields = append(e.fields, field{"key", strings.Repeat("\x00", 1000)})
	}
	if got := e.line(true); len(got) > maxLine || !strings.HasSuffix(got, " ...") {
		t.Errorf("a hostile record makes a line of %d bytes that ends in %q", len(got), got[len(got)-10:])
	}
}

// What does not fit into the queue is counted and told, not lost in silence.
func TestLostRecordsAreReported(t *testing.T) {
	l, r := journalLog(t, Options{Queue: 4})
	log := slog.New(l.Handler())
	for i := range 10 {
		log.Info("early", "n", i)
	}
	if l.Lost() != 6 {
		t.Fatalf("lost %d, want 6", l.Lost())
	}
	start(t, l.Run)
	b, _ := r.next()
	got := parse(t, b)
	if got[0] != (pair{"MESSAGE", "6 log records were lost log_records_lost=6"}) || got[1].v != "4" {
		t.Errorf("report: %q", got)
	}
	for i := range 4 {
		b, _ := r.next()
		if got := parse(t, b); got[3] != (pair{"N", strconv.Itoa(i)}) {
			t.Errorf("record %d: %q", i, got)
		}
	}
	if err := l.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	if rest := r.rest(); rest != nil {
		t.Errorf("reported twice: %q", rest)
	}
}

func TestJournalGoneFallsBackToStderr(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, pipe, _ := pipeLog(t, Options{Dest: Journal, JournalSocket: path})
	start(t, l.Run)
	log := slog.New(l.Handler())
	log.Info("no journal")
	line, err := bufio.NewReader(pipe).ReadString('\n')
	if err != nil || !strings.HasSuffix(line, " no journal\n") {
		t.Fatalf("stderr: %q, %v", line, err)
	}
	r := listen(t, path)
	log.Info("there it is")
	if b, _ := r.next(); parse(t, b)[0].v != "there it is" {
		t.Errorf("got %q", b)
	}
	r.conn.Close()
	os.Remove(path)
	r = listen(t, path)
	log.Info("restarted")
	if b, _ := r.next(); parse(t, b)[0].v != "restarted" {
		t.Errorf("got %q", b)
	}
	if l.Lost() != 0 {
		t.Errorf("lost %d", l.Lost())
	}
}

func TestSyslog(t *testing.T) {
	r := listen(t, "")
	l, err := Open(Options{Dest: Syslog, SyslogSocket: r.path})
	if err != nil || l.Dest() != Syslog {
		t.Fatal(l.Dest(), err)
	}
	start(t, l.Run)
	slog.New(l.Handler()).Warn("peer does not hear us", KeyInterface, "vrrp51")
	b, _ := r.next()
	head, text, _ := strings.Cut(string(b), "]: ")
	if text != "vrrp51: warning: peer does not hear us" {
		t.Errorf("text %q", text)
	}
	stamp, ok := strings.CutPrefix(head, "<28>")
	stamp, ok2 := strings.CutSuffix(stamp, " vrrpd["+strconv.Itoa(os.Getpid()))
	if _, err := time.Parse(time.Stamp, stamp); !ok || !ok2 || err != nil {
		t.Errorf("head %q: %v", head, err)
	}
}

func TestSyslogGone(t *testing.T) {
	l, err := Open(Options{Dest: Syslog, SyslogSocket: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	slog.New(l.Handler()).Info("nobody")
	done, cancel := context.WithCancel(t.Context())
	cancel()
	l.Run(done)
	if l.Lost() != 1 {
		t.Errorf("lost %d", l.Lost())
	}
}

func TestOpenChooses(t *testing.T) {
	dir := t.TempDir()
	journal := filepath.Join(dir, "socket")
	devlog := filepath.Join(dir, "dev-log")
	if err := os.WriteFile(devlog, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "log")
	if err := os.Symlink(devlog, link); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.Symlink(link, other); err != nil {
		t.Fatal(err)
	}
	_, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	dest := func(o Options) Dest {
		t.Helper()
		o.Stderr, o.JournalSocket = w, journal
		l, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return l.Dest()
	}
	t.Setenv("JOURNAL_STREAM", "")
	if d := dest(Options{}); d != Stderr {
		t.Errorf("a plain stderr: %d", d)
	}
	t.Setenv("JOURNAL_STREAM", "1:1")
	if d := dest(Options{}); d != Stderr {
		t.Errorf("somebody else's JOURNAL_STREAM: %d", d)
	}
	journalStream(t, w)
	if d := dest(Options{}); d != Journal {
		t.Errorf("stderr in the journal: %d", d)
	}
	if d := dest(Options{Dest: Syslog, SyslogSocket: other}); d != Journal {
		t.Errorf("/dev/log is the journal's: %d", d)
	}
	if d := dest(Options{Dest: Syslog, SyslogSocket: devlog + "2"}); d != Syslog {
		t.Errorf("/dev/log is a syslogd's: %d", d)
	}
	if _, err := Open(Options{Dest: 99}); err == nil {
		t.Error("destination 99 opened")
	}
}

func TestLevel(t *testing.T) {
	l, err := Open(Options{Dest: Stderr, Level: slog.LevelWarn})
	if err != nil {
		t.Fatal(err)
	}
	if log := slog.New(l.Handler()); log.Enabled(t.Context(), slog.LevelInfo) || !log.Enabled(t.Context(), slog.LevelWarn) {
		t.Error("the level is not obeyed")
	}
}

// slogtest's rules for handlers, with our flat keys unfolded again.
func TestHandlerRules(t *testing.T) {
	var got []map[string]any
	l := &Log{level: slog.LevelDebug, queue: make(chan entry, 100)}
	err := slogtest.TestHandler(l.Handler(), func() []map[string]any {
		for len(l.queue) > 0 {
			e := <-l.queue
			m := map[string]any{slog.LevelKey: e.level, slog.MessageKey: e.message}
			if !e.time.IsZero() {
				m[slog.TimeKey] = e.time
			}
			for _, f := range e.fields {
				into, keys := m, strings.Split(f.key, "_")
				for _, k := range keys[:len(keys)-1] {
					if into[k] == nil {
						into[k] = map[string]any{}
					}
					into = into[k].(map[string]any)
				}
				into[keys[len(keys)-1]] = f.value
			}
			got = append(got, m)
		}
		return got
	})
	if err != nil {
		t.Error(err)
	}
}

func TestMessageIDs(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range []string{MessageMaster, MessageBackup, MessageHeld, MessagePhase, MessageFault, MessageCheck,
		MessageAlarm, MessageStarted, MessageStopped, MessageReload, MessageHookFailed} {
		if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || seen[id] {
			t.Errorf("%q is not a 128-bit number of its own", id)
		}
		seen[id] = true
	}
	for to, want := range map[election.State]string{
		election.Master: MessageMaster, election.Backup: MessageBackup, election.Held: MessageHeld,
		election.Prepare: MessagePhase, election.Linger: MessagePhase, election.Listen: MessagePhase,
	} {
		if got := TransitionMessageID(to); got != want {
			t.Errorf("to %s: %s, want %s", to, got, want)
		}
	}
}
