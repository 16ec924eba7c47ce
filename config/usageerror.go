package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// UsageError is a wrong command line: one line for the user, exit status 2.
type UsageError string

func (e UsageError) Error() string { return string(e) }

func usagef(format string, args ...any) error {
	return UsageError(fmt.Sprintf(format, args...))
}

// longestShown is how many bytes of an argument an error repeats.
const longestShown = 64

// show prints an argument as typed if it is plain, quoted if it is empty or
// holds anything that could break the line or deceive the eye, and cut when it
// is long.
func show(s string) string {
	cut := len(s) > longestShown
	if cut {
		end := longestShown
		for end > longestShown-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	odd := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }
	if s == "" || strings.ContainsFunc(s, odd) {
		s = strconv.Quote(s)
	}
	if cut {
		s += "..."
	}
	return s
}
