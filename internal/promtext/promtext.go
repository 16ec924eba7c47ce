// Package promtext is a strict reader of the text format of Prometheus, for tests: it
// refuses what a scrape would refuse, and what the conventions of its names advise
// against. It must never be imported by the product.
package promtext

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Family is one metric.
type Family struct {
	Name, Type, Help string
	Samples          []Sample
}

// Sample is one value; Labels are names and values in the order of the text.
type Sample struct {
	Labels map[string]string
	Value  float64
}

var (
	metricName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	sampleLine = regexp.MustCompile(`^([a-z][a-z0-9_]*)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`^([a-z][a-z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)`)
	unescape   = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n")
)

// Parse reads a whole scrape. Every family needs its HELP and TYPE before its samples,
// which stand together; no series may stand twice.
func Parse(text string) (map[string]*Family, error) {
	if !strings.HasSuffix(text, "\n") {
		return nil, errors.New("the last line has no end")
	}
	all := map[string]*Family{}
	seen := map[string]bool{}
	var f *Family
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		fail := func(format string, args ...any) (map[string]*Family, error) {
			return nil, fmt.Errorf("line %d %q: %s", n+1, line, fmt.Sprintf(format, args...))
		}
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, ok := strings.Cut(rest, " ")
			switch {
			case !ok || help == "":
				return fail("no help")
			case !metricName.MatchString(name):
				return fail("bad name")
			case all[name] != nil:
				return fail("a second family of this name")
			}
			f = &Family{Name: name, Help: help}
			all[name] = f
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			switch {
			case f == nil || f.Name != name || f.Type != "" || len(f.Samples) > 0:
				return fail("TYPE belongs between HELP and the samples")
			case kind != "counter" && kind != "gauge":
				return fail("unknown type")
			case (kind == "counter") != strings.HasSuffix(name, "_total"):
				return fail("counters, and nothing else, end in _total")
			}
			f.Type = kind
			continue
		}
		part := sampleLine.FindStringSubmatch(line)
		switch {
		case part == nil:
			return fail("neither a comment nor a sample")
		case f == nil || f.Type == "" || f.Name != part[1]:
			return fail("a sample outside of its family")
		}
		s := Sample{Labels: map[string]string{}}
		for rest := part[2]; rest != ""; {
			pair := labelPair.FindStringSubmatch(rest)
			if pair == nil {
				return fail("bad label at %q", rest)
			}
			if _, twice := s.Labels[pair[1]]; twice {
				return fail("label %s stands twice", pair[1])
			}
			s.Labels[pair[1]] = unescape.Replace(pair[2])
			if rest = rest[len(pair[0]):]; rest == "" && pair[3] == "," {
				return fail("a comma too many")
			}
		}
		var err error
		if s.Value, err = strconv.ParseFloat(part[3], 64); err != nil {
			return fail("bad value")
		}
		if f.Type == "counter" && s.Value < 0 {
			return fail("a counter below zero")
		}
		if key := f.Name + Key(s.Labels); seen[key] {
			return fail("a series that was there before")
		} else {
			seen[key] = true
		}
		f.Samples = append(f.Samples, s)
	}
	return all, nil
}

// Key is the labels as one text, in a fixed order.
func Key(labels map[string]string) string {
	var all []string
	for k, v := range labels {
		all = append(all, fmt.Sprintf("%s=%q", k, v))
	}
	slices.Sort(all)
	return "{" + strings.Join(all, ",") + "}"
}

// Value finds the one sample that has at least these labels, names and values in turn.
func (f *Family) Value(labels ...string) (float64, error) {
	if f == nil {
		return 0, errors.New("there is no such metric")
	}
	var found []Sample
	for _, s := range f.Samples {
		match := true
		for i := 0; i < len(labels); i += 2 {
			match = match && s.Labels[labels[i]] == labels[i+1]
		}
		if match {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("%s has %d samples with %q", f.Name, len(found), labels)
	}
	return found[0].Value, nil
}
