package args

import (
	"slices"
	"strings"
	"testing"

	"vrrpd/control"
)

func parse(line string) (Request, error) {
	env := ""
	if e, rest, ok := strings.Cut(line, " | "); ok {
		env, line = e, rest
	}
	return Parse(strings.Fields(line), func(name string) string {
		if name == "VRRPD_RUN_DIR" {
			return env
		}
		return ""
	})
}

func TestThreeSpellings(t *testing.T) {
	for _, c := range commands() {
		for _, dashes := range []string{"", "-", "--"} {
			if r, err := parse(dashes + string(c)); err != nil || r != (Request{c, false, DefaultRunDir}) {
				t.Errorf("%s%s: %+v, %v", dashes, c, r, err)
			}
		}
	}
	for _, v := range control.Verbs() {
		if !slices.Contains(commands(), Command(v)) {
			t.Errorf("%s is no command", v)
		}
	}
}

func TestParse(t *testing.T) {
	for line, want := range map[string]Request{
		"-h":                           {Help, false, DefaultRunDir},
		"-V":                           {Version, false, DefaultRunDir},
		"--state --json":               {State, true, DefaultRunDir},
		"-json -state":                 {State, true, DefaultRunDir},
		"-f /tmp/x backup":             {Command(control.Backup), false, "/tmp/x"},
		"backup -f /tmp/x":             {Command(control.Backup), false, "/tmp/x"},
		"-f/tmp/x state":               {State, false, "/tmp/x"},
		"-f./x state":                  {State, false, "./x"},
		"--run-dir /tmp/x state":       {State, false, "/tmp/x"},
		"--run-dir=/tmp/x state":       {State, false, "/tmp/x"},
		"/srv/run | why":               {Why, false, "/srv/run"},
		"/srv/run | why -f /tmp/x":     {Why, false, "/tmp/x"},
		"-f state state":               {State, false, "state"},
		"--state -state state --state": {State, false, DefaultRunDir},
	} {
		if r, err := parse(line); err != nil || r != want {
			t.Errorf("%q: %+v, %v; want %+v", line, r, err, want)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	for line, want := range map[string]string{
		"":                  "no command: try atropos --state",
		"--json":            "no command",
		"stat":              `unknown command "stat": the commands are state, backup,`,
		"---state":          `unknown command or option "---state"`,
		"--State":           `unknown command or option "--State"`,
		"state backup":      "state and backup: one command at a time",
		"state -f":          "-f needs a directory",
		"state --run-dir=":  "--run-dir needs a directory",
		"state --verbose":   `unknown command or option "--verbose"`,
		"json state":        `unknown command "json"`,
		"state -fast":       `unknown command or option "-fast"`,
		"state extra words": `unknown command "extra"`,
	} {
		if r, err := parse(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %q", line, r, err, want)
		}
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	for _, c := range commands() {
		if !strings.Contains(Text, string(c)) {
			t.Errorf("--help does not mention %s", c)
		}
	}
}
