package config

import (
	"slices"
	"testing"
)

func TestParseCommand(t *testing.T) {
	for _, c := range []struct {
		line string
		argv []string
	}{
		{"/etc/scripts/MASTER.sh", []string{"/etc/scripts/MASTER.sh"}},
		{"  /bin/a  b\tc\n", []string{"/bin/a", "b", "c"}},
		{"logger -t vrrp master", []string{"logger", "-t", "vrrp", "master"}},
		{`/a 'b  c' "d  e" f\ g`, []string{"/a", "b  c", "d  e", "f g"}},
		{`/a "" ''`, []string{"/a", "", ""}},
		{`/a 'b'"c"d`, []string{"/a", "bcd"}},
		{`/a '\n' "\"" \'`, []string{"/a", `\n`, `"`, `'`}},
		{`/a "it's" 'say "x"'`, []string{"/a", "it's", `say "x"`}},
		{`/a ';|&<>()' \; "|"`, []string{"/a", ";|&<>()", ";", "|"}},
		{"/a $HOME ${X} * ? ~ # !x %d", []string{"/a", "$HOME", "${X}", "*", "?", "~", "#", "!x", "%d"}},
		{`"/opt/my scripts/up"`, []string{"/opt/my scripts/up"}},
		{"/é/ü", []string{"/é/ü"}},
	} {
		got, err := ParseCommand("-U", c.line)
		if err != nil {
			t.Errorf("%q: %v", c.line, err)
		} else if got.Line != c.line || !slices.Equal(got.Argv, c.argv) || !got.Given() {
			t.Errorf("%q: got %q", c.line, got)
		}
	}
	if (Command{}).Given() {
		t.Error("the zero Command counts as given")
	}
}

func TestParseCommandRefuses(t *testing.T) {
	const (
		shell    = ": ; & | < > outside quotes would need a shell, and none runs this: put it into a script"
		unended  = `: a quote or \ has no end, or ( ) stands outside quotes; no shell runs this, put shell syntax into a script`
		nothing  = ": no command; give the path of a script, like -U /etc/scripts/vrrp.sh"
		relative = ": commands run in /, so give the whole path, like -U /etc/scripts/vrrp.sh"
		garbage  = ": a command is printable UTF-8 text"
	)
	for _, c := range []struct{ line, want string }{
		{"", `-U ""` + nothing},
		{"  ", `-U "  "` + nothing},
		{`""`, `-U "\"\""` + nothing},
		{"'' a", `-U "'' a"` + nothing},
		{"/a; /b", `-U "/a; /b"` + shell},
		{"; /b", `-U "; /b"` + shell},
		{"/a | /b", `-U "/a | /b"` + shell},
		{"/a>/b", `-U /a>/b` + shell},
		{"/a 2>&1", `-U "/a 2>&1"` + shell},
		{"2>/a", `-U 2>/a` + shell},
		{"/a &", `-U "/a &"` + shell},
		{"/a < /b", `-U "/a < /b"` + shell},
		{"/a 'b", `-U "/a 'b"` + unended},
		{`/a "b`, `-U "/a \"b"` + unended},
		{`/a \`, `-U "/a \\"` + unended},
		{"/a `b", "-U \"/a `b\"" + unended},
		{"/a $(b", `-U "/a $(b"` + unended},
		{"(/a)", `-U (/a)` + unended},
		{"./up.sh", `-U ./up.sh` + relative},
		{"scripts/up.sh now", `-U "scripts/up.sh now"` + relative},
		{"/a \x00", `-U "/a \x00"` + garbage},
		{"/a \x1b", `-U "/a \x1b"` + garbage},
		{"/a \xff", `-U "/a \xff"` + garbage},
	} {
		if got, err := ParseCommand("-U", c.line); err == nil {
			t.Errorf("%q: accepted as %q", c.line, got.Argv)
		} else if err.Error() != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.line, err, c.want)
		}
	}
}
