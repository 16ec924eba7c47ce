// Package compliance tests that docs/compliance.md says what is so: the tests that it
// names exist, no demand is missing, and each has a test or a reason why not.
package compliance

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	root = "../.."
	page = "docs/compliance.md"
	// demands are how many RFC 9568 makes, as they are numbered there.
	demands = 69
)

// row is one of a table: its section, its first cell, its last one, and where it is.
type row struct {
	heading, first, proof string
	line                  int
}

// rows are those of all tables of a page, without their headers.
func rows(text string) (all []row) {
	heading, n, header := "", 0, true
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			heading = title
		}
		if !strings.HasPrefix(line, "|") {
			header = true
			continue
		}
		if header { // and the line under it
			header = strings.Trim(line, "|-") != ""
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		all = append(all, row{heading, strings.TrimSpace(cells[0]), strings.TrimSpace(cells[len(cells)-1]), n})
	}
	return all
}

var named = regexp.MustCompile("`([a-z0-9/_-]+)\\.((?:Test|Fuzz)[A-Za-z0-9_]*(?:/[A-Za-z0-9_]+)?)`")

// functions are the tests and fuzzers of a package, and those of a table that names
// functions: {"Name", function}.
func functions(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]*)\(`)
	listed := regexp.MustCompile(`(?m)^\t\t\{"([A-Za-z0-9_]+)", [a-z][A-Za-z0-9]*\},$`)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		function := ""
		for line := range strings.Lines(string(text)) {
			if m := declared.FindStringSubmatch(line); m != nil {
				function = m[1]
				all = append(all, function)
			} else if m := listed.FindStringSubmatch(line); m != nil {
				all = append(all, function+"/"+m[1])
			}
		}
	}
	return all
}

// problems is everything that is wrong with a page.
func problems(t *testing.T, text string) (all []string) {
	t.Helper()
	known := map[string][]string{}
	next := 1
	for _, r := range rows(text) {
		if r.heading == "RFC 9568" {
			if r.first != fmt.Sprint(next) {
				all = append(all, fmt.Sprintf("line %d: row %s, want %d", r.line, r.first, next))
			}
			next++
		}
		tests := named.FindAllStringSubmatch(r.proof, -1)
		reason := strings.Trim(named.ReplaceAllString(r.proof, ""), " ,.")
		if len(tests) == 0 && len(strings.Fields(reason)) < 3 {
			all = append(all, fmt.Sprintf("line %d: neither a test nor a reason: %q", r.line, r.proof))
		}
		for _, m := range tests {
			dir, name := m[1], m[2]
			if known[dir] == nil {
				known[dir] = append(functions(t, dir), "")
			}
			if !slices.Contains(known[dir], name) {
				all = append(all, fmt.Sprintf("line %d: there is no %s in %s", r.line, name, dir))
			}
		}
	}
	if next-1 != demands {
		all = append(all, fmt.Sprintf("%d rows of RFC 9568, want %d", next-1, demands))
	}
	return all
}

func read(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryDemandHasATestOrAReason(t *testing.T) {
	for _, p := range problems(t, read(t)) {
		t.Errorf("%s, %s", page, p)
	}
}

// Each test that is called after a section of an RFC stands in the page.
func TestNoTestIsForgotten(t *testing.T) {
	text := read(t)
	found := 0
	for _, dir := range []string{"vrrp", "daemon", "internal/acceptance"} {
		for _, name := range functions(t, dir) {
			if !strings.HasPrefix(name, "TestRFC") {
				continue
			}
			found++
			older := strings.HasPrefix(name, "TestRFC5798") // what RFC 9568 has replaced
			if !older && !strings.Contains(text, "`"+dir+"."+name+"`") {
				t.Errorf("%s does not name %s.%s", page, dir, name)
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d tests are called after an RFC", found)
	}
}

// What is wrong is noticed.
func TestProblemsAreFound(t *testing.T) {
	good := read(t)
	if len(problems(t, good)) != 0 {
		t.Skip("the page itself has problems")
	}
	for what, bad := range map[string]string{
		"there is no TestAcceptModes in internal/acceptance": strings.ReplaceAll(good, "TestAcceptMode`", "TestAcceptModes`"),
		"row 8, want 7":               regexp.MustCompile(`(?m)^\| 7 \|.*\n`).ReplaceAllString(good, ""),
		"neither a test nor a reason": regexp.MustCompile(`(?m)^(\| 11 \|.*\|).*\|$`).ReplaceAllString(good, "$1 |"),
		"68 rows of RFC 9568":         regexp.MustCompile(`(?m)^\| 69 \|.*\n`).ReplaceAllString(good, ""),
	} {
		if bad == good {
			t.Errorf("%s: nothing was changed", what)
		}
		if got := problems(t, bad); len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), what) {
			t.Errorf("%s is not noticed: %q", what, got)
		}
	}
}
