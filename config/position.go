package config

import (
	"strconv"
	"strings"
)

// positions are the lines of a TOML text on which its tables and keys stand: by
// "router[0]", "router[0].vrid", "group.dmz" and so on. The text has been parsed
// before: what is not TOML gives nonsense, but comes to an end. Keys within inline
// tables are not listed.
type positions map[string]int

// line is that of a key, or of the nearest thing around it; 0: unknown.
func (p positions) line(path string) int {
	for path != "" {
		if n, ok := p[path]; ok {
			return n
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return 0
		}
		path = path[:cut]
	}
	return 0
}

// scanner goes through a TOML text.
type scanner struct {
	text  string
	at    int
	lines int // begun so far
}

// locate finds the positions.
func locate(text string) positions {
	p := positions{}
	count := map[string]int{} // tables of an array
	s := scanner{text: text, lines: 1}
	prefix := ""
	for s.blank(true) {
		line := s.lines
		if s.peek() != '[' {
			path := prefix + join(s.keys('='))
			if _, known := p[path]; !known {
				p[path] = line
			}
			s.value()
			continue
		}
		s.next()
		array := s.peek() == '['
		if array {
			s.next()
		}
		// Of an array of tables within another the last one is meant.
		path := ""
		keys := s.keys(']')
		for i, k := range keys {
			path = join([]string{path, k})
			if n := count[path]; n > 0 && (i < len(keys)-1 || !array) {
				path += "[" + strconv.Itoa(n-1) + "]"
			}
		}
		if array {
			count[path]++
			path += "[" + strconv.Itoa(count[path]-1) + "]"
		}
		p[path] = line
		prefix = path + "."
		s.rest()
	}
	return p
}

func join(keys []string) string {
	return strings.TrimPrefix(strings.Join(keys, "."), ".")
}

func (s *scanner) peek() byte {
	if s.at >= len(s.text) {
		return 0
	}
	return s.text[s.at]
}

func (s *scanner) next() byte {
	c := s.peek()
	if s.at < len(s.text) {
		s.at++
	}
	if c == '\n' {
		s.lines++
	}
	return c
}

// blank skips what means nothing, and reports whether anything is left.
func (s *scanner) blank(lines bool) bool {
	for s.at < len(s.text) {
		switch c := s.peek(); {
		case c == ' ' || c == '\t' || c == '\r', lines && c == '\n':
			s.next()
		case c == '#':
			for s.at < len(s.text) && s.peek() != '\n' {
				s.next()
			}
		default:
			return true
		}
	}
	return false
}

// keys reads a dotted key and what ends it.
func (s *scanner) keys(end byte) (keys []string) {
	word := ""
	for s.at < len(s.text) {
		switch c := s.next(); c {
		case end, '\n':
			return append(keys, word)
		case '.':
			keys, word = append(keys, word), ""
		case '"', '\'':
			s.at--
			word += s.quoted()
		case ' ', '\t', '\r':
		default:
			word += string(c)
		}
	}
	return append(keys, word)
}

// quoted reads a string of any kind; escapes stay as they are.
func (s *scanner) quoted() string {
	quote := s.text[s.at : s.at+1]
	long := strings.HasPrefix(s.text[s.at:], strings.Repeat(quote, 3))
	if long {
		quote = strings.Repeat(quote, 3)
	}
	s.at += len(quote)
	start := s.at
	for s.at < len(s.text) {
		switch {
		case strings.HasPrefix(s.text[s.at:], quote):
			end := s.at
			s.at += len(quote)
			return s.text[start:end]
		case s.peek() == '\\' && quote[0] == '"':
			s.next()
			s.next()
		default:
			s.next()
		}
	}
	return s.text[start:]
}

// value skips a value and the rest of its line.
func (s *scanner) value() {
	depth := 0
	for s.blank(depth > 0) {
		switch c := s.peek(); c {
		case '"', '\'':
			s.quoted()
			continue
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case '\n':
			s.next()
			return
		}
		s.next()
	}
}

// rest skips the rest of a line.
func (s *scanner) rest() {
	for s.at < len(s.text) && s.next() != '\n' {
	}
}
