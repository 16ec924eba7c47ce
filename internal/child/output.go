package child

import (
	"bytes"
	"io"
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

// lines is an io.Writer and io.ReaderFrom that hands on whole lines, within the bounds. It always
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

// ReadFrom takes what there is to read with the little room that a line needs: io.Copy
// would take 32 KiB for each program.
func (l *lines) ReadFrom(r io.Reader) (n int64, err error) {
	room := make([]byte, MaxLine)
	for {
		got, err := r.Read(room)
		n += int64(got)
		_, _ = l.Write(room[:got])
		switch {
		case err == io.EOF:
			return n, nil
		case err != nil:
			return n, err
		}
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
