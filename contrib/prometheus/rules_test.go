// Package prometheus_test looks at the alert rules of this folder without Prometheus:
// their structure, and that they speak of metrics and labels that there are. What the
// expressions mean is promtool's business.
package prometheus_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"vrrpd/control"
	"vrrpd/internal/promtext"
)

// rule is one alert, as far as it is looked at.
type rule struct {
	line   int
	fields map[string]string // alert, expr, for, labels.severity, annotations.summary, ...
}

// parse reads the part of YAML that the file is written in: one list of mappings of plain
// or single-quoted texts, one more level deep, by indentation. Everything else is refused.
func parse(text string) (all []rule, err error) {
	head := []string{"groups:", "  - name: vrrpd", "    rules:"}
	pair := regexp.MustCompile(`^([a-z]+):(?: (.+))?$`)
	within := ""
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		fail := func(why string) ([]rule, error) { return nil, fmt.Errorf("line %d %q: %s", i+1, line, why) }
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if len(head) > 0 {
			if line != head[0] {
				return fail("want " + head[0])
			}
			head = head[1:]
			continue
		}
		body, depth := strings.TrimLeft(line, " "), 0
		depth = len(line) - len(body)
		if rest, begins := strings.CutPrefix(body, "- "); begins && depth == 6 {
			all = append(all, rule{i + 1, map[string]string{}})
			body, depth, within = rest, 8, ""
		}
		part := pair.FindStringSubmatch(body)
		if part == nil || len(all) == 0 {
			return fail("not a key with a value")
		}
		key, value := part[1], part[2]
		switch {
		case depth == 8 && value == "":
			within = key + "."
			continue
		case depth == 8:
			within = ""
		case depth == 10 && within != "":
			key = within + key
		default:
			return fail("wrong indentation")
		}
		if quoted, ok := strings.CutPrefix(value, "'"); ok {
			if value, ok = strings.CutSuffix(quoted, "'"); !ok || strings.Contains(value, "'") {
				return fail("bad quotes")
			}
		} else if strings.Contains(value, ": ") || strings.Contains(value, " #") || strings.ContainsAny(value[:1], "{}[]&*!|>%@`\"") {
			return fail("needs quotes")
		}
		if _, twice := all[len(all)-1].fields[key]; twice {
			return fail("twice")
		}
		all[len(all)-1].fields[key] = value
	}
	return all, nil
}

func TestRules(t *testing.T) {
	text, err := os.ReadFile("vrrpd.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(rules) < 10 {
		t.Fatalf("only %d rules", len(rules))
	}
	var scrape strings.Builder
	if err := control.WriteMetrics(&scrape, []control.Status{{}}); err != nil {
		t.Fatal(err)
	}
	metrics, err := promtext.Parse(scrape.String())
	if err != nil {
		t.Fatal(err)
	}
	name, label := regexp.MustCompile(`\bvrrpd_\w+`), regexp.MustCompile(`\{\{ (\S+)(?: \| humanize)? \}\}`)
	labels := []string{"instance", "group", "interface", "reason", "check", "state"}
	seen := map[string]bool{}
	for _, r := range rules {
		f := r.fields
		who := fmt.Sprintf("line %d, %s", r.line, f["alert"])
		if !regexp.MustCompile(`^Vrrpd[A-Z]\w+$`).MatchString(f["alert"]) || seen[f["alert"]] {
			t.Errorf("%s: its name is odd or stands twice", who)
		}
		seen[f["alert"]] = true
		if s := f["labels.severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: severity %q", who, s)
		}
		if d, given := f["for"]; given && !regexp.MustCompile(`^\d+[smh]$`).MatchString(d) {
			t.Errorf("%s: for %q", who, d)
		}
		used := name.FindAllString(f["expr"], -1)
		if len(used) == 0 && f["expr"] != `up{job="vrrpd"} == 0` {
			t.Errorf("%s: no metric in %q", who, f["expr"])
		}
		for _, m := range used {
			family := metrics[m]
			if family == nil {
				t.Errorf("%s: there is no metric %s", who, m)
				continue
			}
			rated := regexp.MustCompile(`(rate|increase)\(` + m + `(\{[^}]*\})?\[`).MatchString(f["expr"])
			if rated != (family.Type == "counter") {
				t.Errorf("%s: %s is a %s", who, m, family.Type)
			}
		}
		if !balanced(f["expr"]) {
			t.Errorf("%s: brackets of %q", who, f["expr"])
		}
		if f["annotations.summary"] == "" {
			t.Errorf("%s: no summary", who)
		}
		for key, text := range f {
			if strings.Count(text, "{{") != len(label.FindAllString(text, -1)) {
				t.Errorf("%s: %s has a template that is not understood: %s", who, key, text)
			}
			for _, m := range label.FindAllStringSubmatch(text, -1) {
				if l, ok := strings.CutPrefix(m[1], "$labels."); m[1] != "$value" && (!ok || !slices.Contains(labels, l)) {
					t.Errorf("%s: %s in %s", who, m[1], key)
				}
			}
		}
	}
}

// balanced reports that every bracket and quote of an expression is closed.
func balanced(expr string) bool {
	var open []rune
	quoted := false
	for _, c := range expr {
		if c == '"' {
			quoted = !quoted
		}
		if quoted {
			continue
		}
		switch c {
		case '(', '[', '{':
			open = append(open, c)
		case ')', ']', '}':
			if len(open) == 0 || map[rune]rune{')': '(', ']': '[', '}': '{'}[c] != open[len(open)-1] {
				return false
			}
			open = open[:len(open)-1]
		}
	}
	return !quoted && len(open) == 0
}

func TestWhatIsWrongIsSeen(t *testing.T) {
	for _, text := range []string{
		"groups:\n",
		"groups:\n  - name: vrrpd\n    rules:\n      - alert: A\n       expr: b\n",
		"groups:\n  - name: vrrpd\n    rules:\n      - alert: A\n        alert: b\n",
		"groups:\n  - name: vrrpd\n    rules:\n      - alert: 'A\n",
		"groups:\n  - name: vrrpd\n    rules:\n      - alert: {{ x }}\n",
	} {
		if rules, err := parse(text); err == nil && len(rules) > 0 {
			t.Errorf("%q is accepted", text)
		}
	}
	for _, expr := range []string{"(a", "a)", "a[5m)", `a{b="c}`} {
		if balanced(expr) {
			t.Errorf("%q is balanced", expr)
		}
	}
}
