package config

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-shellwords"
)

// Command is a command of the user's (-U, -D). The zero value is "none".
type Command struct {
	// Line is the command as the user gave it.
	Line string
	// Argv is the program and its arguments; the program is an absolute path
	// or a bare name to be looked up in PATH.
	Argv []string
}

// Given reports whether there is a command.
func (c Command) Given() bool { return len(c.Argv) > 0 }

// ParseCommand splits a command into words. No shell is involved:
//
//   - words are separated by spaces, tabs and line ends;
//   - '...' keeps everything in between as it is;
//   - "..." keeps everything but \ in between as it is;
//   - \ makes the next character an ordinary one, except inside '...';
//   - $ * ? ~ # and backquotes are ordinary characters: nothing is expanded;
//   - ; & | < > ( ) outside quotes would need a shell and are refused.
//
// as is how errors call the option.
func ParseCommand(as, line string) (Command, error) {
	culprit := as + " " + show(line)
	if !utf8.ValidString(line) || strings.ContainsFunc(line, unprintable) {
		return Command{}, usagef("%s: a command is printable UTF-8 text", culprit)
	}
	parser := shellwords.Parser{}
	argv, err := parser.Parse(line)
	switch {
	case err != nil:
		return Command{}, usagef(`%s: a quote or \ has no end, or ( ) stands outside quotes; no shell runs this, put shell syntax into a script`, culprit)
	case parser.Position >= 0:
		// The library stops at such a character and forgets the rest.
		return Command{}, usagef("%s: ; & | < > outside quotes would need a shell, and none runs this: put it into a script", culprit)
	case len(argv) == 0 || argv[0] == "":
		return Command{}, usagef("%s: no command; give the path of a script, like %s /etc/scripts/vrrp.sh", culprit, as)
	case strings.Contains(argv[0], "/") && argv[0][0] != '/':
		return Command{}, usagef("%s: commands run in /, so give the whole path, like %s /etc/scripts/vrrp.sh", culprit, as)
	}
	return Command{Line: line, Argv: argv}, nil
}

func unprintable(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' }
