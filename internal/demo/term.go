package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// style is an SGR code of a terminal (ECMA-48), or nothing.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	blue   style = "36"
)

// paint colours text, or does not.
type paint bool

// colours tells whether the output wants colours: only a terminal does, and not
// if the user has said no (no-color.org).
func colours(terminal bool, env func(string) string) paint {
	return paint(terminal && env("NO_COLOR") == "" && env("TERM") != "dumb")
}

// isTerminal tells whether the file is a terminal.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (p paint) do(s style, text string) string {
	if !p || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// colourOf is the colour of who did something.
func colourOf(where string) style {
	switch where {
	case "r1":
		return blue
	case "r2":
		return yellow
	}
	return plain
}

// cells colours the characters of a lane.
func (p paint) cells(lane string) string {
	of := func(c byte) style {
		switch c {
		case '1':
			return blue
		case '2':
			return yellow
		case '#', '+', '*':
			return red
		case '.':
			return green
		}
		return plain
	}
	var b strings.Builder
	for start := 0; start < len(lane); {
		end := start + 1
		for end < len(lane) && of(lane[end]) == of(lane[start]) {
			end++
		}
		b.WriteString(p.do(of(lane[start]), lane[start:end]))
		start = end
	}
	return b.String()
}

// screen is where the demo speaks to the person who watches.
type screen struct {
	w io.Writer
	paint
}

// say prints one paragraph or line; what cannot be written is nobody's loss.
func (s screen) say(format string, args ...any) { fmt.Fprintf(s.w, format+"\n", args...) }

const ruler = 78

// head begins a part.
func (s screen) head(text string) {
	s.say("\n%s\n", s.do(bold, text+" "+strings.Repeat("-", max(3, ruler-len(text)-1))))
}

// prompt shows a command line of a router, folded at words to the width of a
// small terminal the way a shell would accept it.
func (s screen) prompt(router, line string) {
	for i, part := range fold(line, ruler-10) {
		lead := "        "
		if i == 0 {
			lead = s.do(colourOf(router), router+"#") + " "
		}
		s.say("%s%s", lead, s.do(bold, part))
	}
}

// fold breaks a command line between words; all parts but the last end with
// the backslash that joins them again. A word that begins with a dash does not
// lose its value.
func fold(line string, width int) []string {
	words := strings.Fields(line)
	var parts []string
	now := ""
	for i := 0; i < len(words); i++ {
		next := words[i]
		if strings.HasPrefix(next, "-") && i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") {
			i++
			next += " " + words[i]
		}
		switch {
		case now == "":
			now = next
		case len(now)+1+len(next)+2 > width:
			parts = append(parts, now+` \`)
			now = next
		default:
			now += " " + next
		}
	}
	return append(parts, now)
}

// wrap breaks a line that is too long between words.
func wrap(line string, width int) []string {
	var parts []string
	for len(line) > width {
		at := strings.LastIndexByte(line[:width+1], ' ')
		if at <= 0 {
			break
		}
		parts = append(parts, line[:at])
		line = line[at+1:]
	}
	return append(parts, line)
}
