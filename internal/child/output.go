package child

import (
	"bytes"
	"strings"
)

// Bounds of what is taken from one program's output.
const (
	MaxLine  = 1024 // bytes; the rest of a longer line is dropped
	MaxLines = 256  // lines; one more says that the rest is dropped
)

const (
	cutMark = " [...]"
	// LastLine takes the place of what is dropped.
	LastLine = "[more output is dropped]"
)

// lines is an io.Writer that hands on whole lines, within the bounds. It always
// takes everything, so that a program never stops on a full pipe. One goroutine
// at a time may use it.
type lines struct {
	emit  func(line string)
	line  []byte // the unfinished line, at most MaxLine bytes
	cut   bool   // the unfinished line was longer
	count int
}

func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		text, rest, ended := bytes.Cut(p, []byte{'\n'})
		room := MaxLine - len(l.line)
		if len(text) > room {
			text = text[:room]
			l.cut = true
		}
		l.line = append(l.line, text...)
		if !ended {
			return n, nil
		}
		l.end()
		p = rest
	}
}

// flush hands on a last line without line end.
func (l *lines) flush() {
	if len(l.line) > 0 {
		l.end()
	}
}

func (l *lines) end() {
	text := strings.ToValidUTF8(strings.TrimSuffix(string(l.line), "\r"), "\ufffd")
	if l.cut {
		text += cutMark
	}
	l.line, l.cut = l.line[:0], false
	l.count++
	switch {
	case l.emit == nil || l.count > MaxLines+1:
	case l.count == MaxLines+1:
		l.emit(LastLine)
	default:
		l.emit(text)
	}
}
