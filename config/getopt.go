package config

import (
	"strings"
	"unicode/utf8"
)

// Option is one row of a program's option table.
type Option struct {
	// Short is the letter after a single dash; 0: there is no short form.
	Short rune
	// Long is the name after two dashes; "": there is no long form.
	Long string
	// Arg is what messages call the option's value; "": it takes none.
	Arg string
}

// Given is one option found on a command line.
type Given struct {
	// Option is the index of its row in Grammar.Options.
	Option int
	// As is how messages should call it: "-v" or "--vrid", the long name in
	// full even if it was abbreviated.
	As string
	// Value is its value, "" for an option without one.
	Value string
}

// Grammar reads command lines the way getopt_long of the C library does:
//
//   - short options may be bundled (-ns) and their value glued (-v51, -nv51)
//     or separate (-v 51); the value is the next argument whatever it looks like;
//   - long options take --vrid 51 or --vrid=51, and any unambiguous beginning
//     of their name will do (an exact name always wins);
//   - options and operands mix freely; -- ends the options; a single - is an
//     operand.
//
// An option given twice is reported twice: as in C, the caller's last one wins.
// The zero value knows no options.
type Grammar struct {
	Options []Option
	// SingleDash also accepts a long option's full name after a single dash
	// (atropos -state). Short options that spell such a name are not seen.
	SingleDash bool
}

// Parse returns the options in the order given, and the operands. A non-nil
// error is a UsageError that names the option.
func (g Grammar) Parse(args []string) (given []Given, operands []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var found []Given
		switch {
		case arg == "--":
			return given, append(operands, args...), nil
		case strings.HasPrefix(arg, "--"):
			found, args, err = g.long(arg[2:], args)
		case len(arg) < 2 || arg[0] != '-':
			operands = append(operands, arg)
			continue
		case g.SingleDash && g.exact(longName(arg[1:])) >= 0:
			found, args, err = g.long(arg[1:], args)
		default:
			found, args, err = g.short(arg, args)
		}
		if err != nil {
			return nil, nil, err
		}
		given = append(given, found...)
	}
	return given, operands, nil
}

// short reads a bundle such as -ns or -nv51; rest is what follows it.
func (g Grammar) short(arg string, rest []string) ([]Given, []string, error) {
	var given []Given
	for letters := arg[1:]; letters != ""; {
		letter, size := utf8.DecodeRuneInString(letters)
		as := "-" + letters[:size]
		letters = letters[size:]
		row := g.letter(letter)
		switch {
		case row < 0 && len(as)+len(letters) == len(arg) && letters == "":
			return nil, nil, usagef("%s: unknown option", show(as))
		case row < 0:
			return nil, nil, usagef("%s: unknown option (in %s)", show(as), show(arg))
		case g.Options[row].Arg == "":
			given = append(given, Given{Option: row, As: as})
			continue
		case letters != "":
			return append(given, Given{row, as, letters}), rest, nil
		case len(rest) == 0:
			return nil, nil, usagef("%s: needs a value: %s %s", as, as, g.Options[row].Arg)
		}
		return append(given, Given{row, as, rest[0]}), rest[1:], nil
	}
	return given, rest, nil
}

// long reads one long option, given without its dashes; rest is what follows it.
func (g Grammar) long(arg string, rest []string) ([]Given, []string, error) {
	_, value, glued := strings.Cut(arg, "=")
	row, err := g.name(longName(arg))
	if err != nil {
		return nil, nil, err
	}
	option := g.Options[row]
	as := "--" + option.Long
	switch {
	case option.Arg == "" && glued:
		return nil, nil, usagef("%s: takes no value, but was given %s", as, show(value))
	case option.Arg == "" || glued:
		return []Given{{row, as, value}}, rest, nil
	case len(rest) == 0:
		return nil, nil, usagef("%s: needs a value: %s %s", as, as, option.Arg)
	}
	return []Given{{row, as, rest[0]}}, rest[1:], nil
}

func longName(arg string) string {
	name, _, _ := strings.Cut(arg, "=")
	return name
}

// name finds the row of a long option by its name or the beginning of it.
func (g Grammar) name(name string) (int, error) {
	if row := g.exact(name); row >= 0 {
		return row, nil
	}
	row := -1
	var candidates []string
	for i, o := range g.Options {
		if name != "" && strings.HasPrefix(o.Long, name) {
			row = i
			candidates = append(candidates, "--"+o.Long)
		}
	}
	switch len(candidates) {
	case 0:
		return -1, usagef("%s: unknown option", show("--"+name))
	case 1:
		return row, nil
	}
	return -1, usagef("--%s: ambiguous: %s", name, strings.Join(candidates, " or "))
}

func (g Grammar) exact(name string) int {
	for i, o := range g.Options {
		if name != "" && o.Long == name {
			return i
		}
	}
	return -1
}

func (g Grammar) letter(letter rune) int {
	for i, o := range g.Options {
		if o.Short != 0 && o.Short == letter {
			return i
		}
	}
	return -1
}
