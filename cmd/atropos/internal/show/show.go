package show

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"vrrpd/control"
)

// Clean is text from a socket on one line, without anything that a terminal
// would obey.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

// clock is a time of day, with the date if that is not today's.
func clock(t, now time.Time) string {
	t = t.In(now.Location())
	if y, m, d := t.Date(); y == now.Year() && m == now.Month() && d == now.Day() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

// ago is how long something has lasted, in its two largest units.
func ago(d time.Duration) string {
	s := int64(d / time.Second)
	switch {
	case d < 0:
		return "0s"
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh %dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd %dh", s/86400, s/3600%24)
}

// by names a reason, and the router it is about.
func by(reason, peer string) string {
	s := Clean(reason)
	if peer != "" {
		s += ", peer " + Clean(peer)
	}
	return s
}

// Troubles are lines about processes that say nothing, or something else than
// their group.
func Troubles(v control.View) []string {
	var out []string
	for _, g := range v.Groups {
		for _, m := range g.Members {
			if !m.Agrees {
				out = append(out, fmt.Sprintf("DISAGREEMENT: %s (pid %d) still says %s (epoch %d) while the machine is %s (epoch %d): it may be stuck; see its journal, and restart it",
					Clean(m.Instance), m.PID, Clean(m.Phase), m.Epoch, Clean(g.Phase), g.Epoch))
			}
		}
	}
	for _, p := range v.Silent {
		out = append(out, fmt.Sprintf("NO ANSWER from %s: %s", Clean(p.Instance), Clean(p.Message)))
	}
	for _, p := range v.Dead {
		out = append(out, fmt.Sprintf("%s is dead and has left its socket behind: start it again, or clean up with vrrpd --release", Clean(p.Instance)))
	}
	return out
}
