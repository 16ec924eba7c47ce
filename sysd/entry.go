package sysd

import (
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// LevelNotice is between Info and Warn, as in syslog: normal, but worth seeing.
const LevelNotice = slog.Level(2)

// entry is one log record with everything resolved to text, so that it can
// wait in a queue while what it speaks of changes.
type entry struct {
	time    time.Time
	level   slog.Level
	message string
	fields  []field

	// flushed is set in an entry that carries no record: it is closed when
	// everything before it has been written.
	flushed chan struct{}
}

type field struct{ key, value string }

// priority is the level as syslog(3) knows it, 0 (worst) to 7.
func priority(l slog.Level) int {
	switch {
	case l < slog.LevelInfo:
		return 7
	case l < LevelNotice:
		return 6
	case l < slog.LevelWarn:
		return 5
	case l < slog.LevelError:
		return 4
	case l < slog.LevelError+4:
		return 3
	default:
		return 2
	}
}

// levelWord is what a line says about its level where nothing else does.
func levelWord(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "debug: "
	case l < slog.LevelWarn:
		return ""
	case l < slog.LevelError:
		return "warning: "
	default:
		return "error: "
	}
}

// Limits of a line. A value or message beyond them ends in "..."; the journal
// has it in full. maxLine keeps a write to a pipe in one piece (PIPE_BUF).
const (
	maxValue   = 256
	maxMessage = 2048
	maxLine    = 4000
)

// line is the entry for people, without line break: interface, message, and as
// key=value what the message does not say.
func (e *entry) line(withLevel bool) string {
	var b strings.Builder
	iface := e.get(KeyInterface)
	if iface != "" && !strings.HasPrefix(e.message, iface+":") {
		b.WriteString(printable(iface, maxValue) + ": ")
	}
	if withLevel {
		b.WriteString(levelWord(e.level))
	}
	b.WriteString(printable(e.message, maxMessage))
	for _, f := range e.fields {
		switch f.key {
		case KeyMessageID, KeyInterface:
			continue
		case KeyState, KeyOldState, KeyReason, KeyPeer, KeyGroup:
			if f.value == "" || says(e.message, f.value) {
				continue
			}
		}
		pair := " " + printable(strings.TrimPrefix(f.key, "vrrp_"), maxValue) + "=" + quoted(f.value)
		if b.Len()+len(pair) > maxLine-len(" ...") {
			b.WriteString(" ...")
			break
		}
		b.WriteString(pair)
	}
	return b.String()
}

func (e *entry) get(key string) string {
	for _, f := range e.fields {
		if f.key == key {
			return f.value
		}
	}
	return ""
}

// says reports whether the message contains the value as a word of its own.
func says(message, value string) bool {
	return slices.Contains(strings.FieldsFunc(message, func(r rune) bool {
		return r == ' ' || r == '(' || r == ')' || r == ',' || r == ';'
	}), value) || strings.Contains(" "+message+" ", " "+value+": ")
}

// printable is s on one line, cut at limit bytes, with a ? for what a terminal
// would obey.
func printable(s string, limit int) string {
	cut := ""
	if len(s) > limit {
		s, cut = strings.ToValidUTF8(s[:limit], ""), "..."
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r == '\r' {
			return ' '
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s) + cut
}

func quoted(s string) string {
	cut := ""
	if len(s) > maxValue {
		s, cut = strings.ToValidUTF8(s[:maxValue], ""), "..."
	}
	if s == "" || strings.ContainsFunc(s, func(r rune) bool {
		return r == ' ' || r == '"' || r == '=' || !unicode.IsPrint(r)
	}) {
		s = strconv.Quote(s)
	}
	return s + cut
}
