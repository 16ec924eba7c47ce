package child

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	for _, c := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"nothing", nil, nil},
		{"one", []string{"a\n"}, []string{"a"}},
		{"several at once", []string{"a\nb\n\nc"}, []string{"a", "b", "", "c"}},
		{"in pieces", []string{"a", "b", "\nc", "", "\n"}, []string{"ab", "c"}},
		{"no end", []string{"a"}, []string{"a"}},
		{"carriage return", []string{"a\r\nb\rc\r"}, []string{"a", "b\rc"}},
		{"not UTF-8", []string{"\xff é \xff\n"}, []string{"\ufffd é \ufffd"}},
		{"just fits", []string{long + "\n"}, []string{long}},
		{"too long", []string{long + "y\nz\n"}, []string{long + cutMark, "z"}},
		{"too long in pieces", []string{long, "y", "y", "\nz\n"}, []string{long + cutMark, "z"}},
	} {
		var got []string
		l := &lines{emit: func(line string) { got = append(got, line) }}
		for _, w := range c.writes {
			if n, err := l.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("%s: took %d of %d bytes, %v", c.name, n, len(w), err)
			}
		}
		l.flush()
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLinesAreBounded(t *testing.T) {
	var got []string
	l := &lines{emit: func(line string) { got = append(got, line) }}
	for i := range 3 * MaxLines {
		fmt.Fprintf(l, "line %d\n", i)
	}
	for range 1000 {
		l.Write(make([]byte, 1<<10))
	}
	if len(l.line) > MaxLine {
		t.Errorf("%d bytes are kept of an unfinished line", len(l.line))
	}
	l.flush()
	if len(got) != MaxLines+1 || got[MaxLines-1] != fmt.Sprintf("line %d", MaxLines-1) || got[MaxLines] != LastLine {
		t.Errorf("%d lines, the last is %q", len(got), got[len(got)-1])
	}
}

func TestLinesWithoutReader(t *testing.T) {
	l := &lines{}
	if n, err := l.Write([]byte("a\nb")); n != 3 || err != nil {
		t.Errorf("took %d bytes, %v", n, err)
	}
	l.flush()
}
