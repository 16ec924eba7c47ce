package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func letters() Grammar {
	return Grammar{Options: []Option{
		{'n', "no-vmac", ""},
		{'s', "no-preempt", ""},
		{'v', "vrid", "VRID"},
		{'i', "interface", "IFNAME"},
		{0, "version", ""},
		{0, "vrrp-version", "2|3"},
		{'z', "", "PRIO"},
		{'é', "", ""},
		{0, "no", ""},
	}}
}

// said writes what was found as "-n -v=51 | operand operand".
func said(given []Given, operands []string) string {
	var words []string
	for _, g := range given {
		word := g.As
		if g.Value != "" {
			word += "=" + g.Value
		}
		words = append(words, word)
	}
	return strings.Join(append(append(words, "|"), operands...), " ")
}

func TestGrammarAccepts(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "|"},
		{"-n", "-n |"},
		{"-ns", "-n -s |"},
		{"-sn", "-s -n |"},
		{"-v51", "-v=51 |"},
		{"-v 51", "-v=51 |"},
		{"-nv51", "-n -v=51 |"},
		{"-nsv 51 -i eth0", "-n -s -v=51 -i=eth0 |"},
		{"-v=51", "-v==51 |"},
		{"-v -n", "-v=-n |"},
		{"-v -- -n", "-v=-- -n |"},
		{"a -n b -s c", "-n -s | a b c"},
		{"-n -- -s --vrid", "-n | -s --vrid"},
		{"a -- b -- c", "| a b -- c"},
		{"- -n", "-n | -"},
		{"--vrid 51", "--vrid=51 |"},
		{"--vrid=51", "--vrid=51 |"},
		{"--vrid=a=b", "--vrid=a=b |"},
		{"--vrid -n", "--vrid=-n |"},
		{"--vri 51", "--vrid=51 |"},
		{"--in=eth0", "--interface=eth0 |"},
		{"--ver", "--version |"},
		{"--vrr 3", "--vrrp-version=3 |"},
		{"--no", "--no |"}, // exact, although two others begin so
		{"--no-p", "--no-preempt |"},
		{"-v 1 -v 2", "-v=1 -v=2 |"},
		{"-nén", "-n -é -n |"},
	} {
		given, operands, err := letters().Parse(strings.Fields(c.args))
		if err != nil {
			t.Errorf("%q: %v", c.args, err)
		} else if got := said(given, operands); got != c.want {
			t.Errorf("%q: got %s, want %s", c.args, got, c.want)
		}
	}
}

func TestGrammarEmptyArguments(t *testing.T) {
	given, operands, err := letters().Parse([]string{"", "-v", "", "--vrid="})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{""}; !reflect.DeepEqual(operands, want) {
		t.Errorf("operands %q, want %q", operands, want)
	}
	if want := []Given{{2, "-v", ""}, {2, "--vrid", ""}}; !reflect.DeepEqual(given, want) {
		t.Errorf("options %v, want %v", given, want)
	}
}

func TestGrammarRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-q"}, `-q: unknown option`},
		{[]string{"-nsq"}, `-q: unknown option (in -nsq)`},
		{[]string{"-qn"}, `-q: unknown option (in -qn)`},
		{[]string{"-n-"}, `--: unknown option (in -n-)`},
		{[]string{"-\n"}, `"-\n": unknown option`},
		{[]string{"-\xff"}, `"-\xff": unknown option`},
		{[]string{"-v"}, `-v: needs a value: -v VRID`},
		{[]string{"-nv"}, `-v: needs a value: -v VRID`},
		{[]string{"--vrid"}, `--vrid: needs a value: --vrid VRID`},
		{[]string{"--vri"}, `--vrid: needs a value: --vrid VRID`},
		{[]string{"--no-vmac=1"}, `--no-vmac: takes no value, but was given 1`},
		{[]string{"--no-vmac="}, `--no-vmac: takes no value, but was given ""`},
		{[]string{"--no-"}, `--no-: ambiguous: --no-vmac or --no-preempt`},
		{[]string{"--v=1"}, `--v: ambiguous: --vrid or --version or --vrrp-version`},
		{[]string{"--vridd=1"}, `--vridd: unknown option`},
		{[]string{"--=1"}, `--: unknown option`},
		{[]string{"---vrid"}, `---vrid: unknown option`},
		{[]string{"--a b\nc"}, `"--a b\nc": unknown option`},
		{[]string{"-vrid", "51", "-vversion", "-version"}, `-e: unknown option (in -version)`},
	} {
		g := letters()
		if strings.HasPrefix(c.args[0], "-vrid") {
			g.Options[2].Arg = "" // so that the bundle is read on
			c.args = c.args[3:]
		}
		given, operands, err := g.Parse(c.args)
		if err == nil {
			t.Errorf("%q: accepted as %s", c.args, said(given, operands))
		} else if err.Error() != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.args, err, c.want)
		}
		if usage := UsageError(""); err != nil && !errors.As(err, &usage) {
			t.Errorf("%q: %T is not a UsageError", c.args, err)
		}
	}
}

func TestGrammarSingleDash(t *testing.T) {
	g := Grammar{SingleDash: true, Options: []Option{
		{0, "state", ""}, {0, "backup", ""}, {'f', "run-dir", "DIR"}, {'s', "", ""}, {'t', "", ""},
	}}
	for _, c := range []struct{ args, want string }{
		{"-state", "--state |"},
		{"--state", "--state |"},
		{"--st", "--state |"},
		{"state", "| state"},
		{"-backup -f /run/x", "--backup -f=/run/x |"},
		{"-run-dir /run/x", "--run-dir=/run/x |"},
		{"-run-dir=/run/x", "--run-dir=/run/x |"},
		{"-fstate", "-f=state |"},
		{"-st", "-s -t |"}, // only a full name is a name after one dash
	} {
		given, operands, err := g.Parse(strings.Fields(c.args))
		if err != nil {
			t.Errorf("%q: %v", c.args, err)
		} else if got := said(given, operands); got != c.want {
			t.Errorf("%q: got %s, want %s", c.args, got, c.want)
		}
	}
	if _, _, err := g.Parse([]string{"-stat"}); err == nil || err.Error() != "-a: unknown option (in -stat)" {
		t.Errorf("-stat: got %v", err)
	}
	g.SingleDash = false
	if _, _, err := g.Parse([]string{"-backup"}); err == nil {
		t.Error("-backup was accepted without SingleDash")
	}
}
