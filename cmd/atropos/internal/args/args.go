// Package args understands atropos's command line: one command in any of three
// spellings, and two options. Three spellings make C getopt, or anything built
// like it, unhelpful: -state would be five options.
package args

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"vrrpd/control"
)

// Command is what to do: one of the constants, or a control.Verb.
type Command string

// The commands besides the verbs.
const (
	State    Command = "state"
	Why      Command = "why"
	Watch    Command = "watch"
	IsMaster Command = "is-master"
	Help     Command = "help"
	Version  Command = "version"
)

// DefaultRunDir is where vrrpd meets unless -f or VRRPD_RUN_DIR says otherwise.
const DefaultRunDir = "/run/vrrpd"

// Request is a command line that was understood.
type Request struct {
	Command Command
	JSON    bool
	RunDir  string
}

func commands() []Command {
	all := []Command{State}
	for _, v := range control.Verbs() {
		all = append(all, Command(v))
	}
	return append(all, Watch, Why, IsMaster, Help, Version)
}

// Parse reads the arguments after the program's name. An error is wrong usage,
// and says what would be right.
func Parse(argv []string, getenv func(string) string) (Request, error) {
	r := Request{RunDir: getenv("VRRPD_RUN_DIR")}
	if r.RunDir == "" {
		r.RunDir = DefaultRunDir
	}
	for len(argv) > 0 {
		arg := argv[0]
		argv = argv[1:]
		if c, ok := command(arg); ok {
			if r.Command != "" && r.Command != c {
				return Request{}, fmt.Errorf("%s and %s: one command at a time", r.Command, c)
			}
			r.Command = c
			continue
		}
		if arg == "--json" || arg == "-json" {
			r.JSON = true
			continue
		}
		dir, isDir, err := runDir(arg, &argv)
		switch {
		case err != nil:
			return Request{}, err
		case !isDir:
			return Request{}, unknown(arg)
		}
		r.RunDir = dir
	}
	if r.Command == "" {
		return Request{}, errors.New("no command: try atropos --state, or atropos --help")
	}
	return r, nil
}

// command recognises --state, -state and state, and the short -h and -V.
func command(arg string) (Command, bool) {
	switch arg {
	case "-h":
		return Help, true
	case "-V":
		return Version, true
	}
	word := strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
	c := Command(word)
	return c, slices.Contains(commands(), c)
}

// runDir recognises -f dir, -fdir, --run-dir dir and --run-dir=dir.
func runDir(arg string, rest *[]string) (dir string, ok bool, err error) {
	switch {
	case arg == "-f" || arg == "--run-dir":
		if len(*rest) == 0 {
			return "", true, fmt.Errorf("%s needs a directory", arg)
		}
		dir, *rest = (*rest)[0], (*rest)[1:]
	case strings.HasPrefix(arg, "--run-dir="):
		dir = strings.TrimPrefix(arg, "--run-dir=")
	case strings.HasPrefix(arg, "-f/") || strings.HasPrefix(arg, "-f."):
		dir = arg[len("-f"):]
	default:
		return "", false, nil
	}
	if dir == "" {
		return "", true, fmt.Errorf("%s needs a directory", strings.TrimSuffix(arg, "="))
	}
	return dir, true, nil
}

func unknown(arg string) error {
	words := make([]string, 0, len(commands()))
	for _, c := range commands() {
		words = append(words, string(c))
	}
	what := "command"
	if strings.HasPrefix(arg, "-") {
		what = "command or option"
	}
	return fmt.Errorf("unknown %s %q: the commands are %s; the options -f DIR and --json", what, arg, strings.Join(words, ", "))
}
