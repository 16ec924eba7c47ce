package interop

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const documentPath = "../../docs/interop.md"

// tables are those of each implementation.
var tables = []struct {
	title, text string
	columns     []column
}{
	{"vrrpd has the higher priority", "How long nobody answered:", []column{oursPreempts, oursStops, oursFails}},
	{"PEER has the higher priority", "How long nobody answered:", []column{theirsPreempts, theirsStops, theirsFails}},
	{"Equal priorities", "Both serve, because the LAN between them was cut. When it is whole again, the one with the lower address leaves:",
		[]column{tieOurs, tieTheirs}},
	{"No preemption", "The better machine comes back and finds that the worse one serves. When that one stops it serves again:", []column{oursWaits, theirsWaits}},
}

// document writes docs/interop.md; value tells what was found out, version which one of
// a program was met.
func document(value func(result) string, version func(program string) string) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("# Beside other implementations\n")
	say("Written by `make interop-doc` from a run of `internal/interop`; do not edit.\n")
	say("Two machines and a client on a LAN, in network namespaces; one machine runs vrrpd, the")
	say("other one the program of the distribution. The client asks for the virtual address a")
	say("hundred times a second, by ARP or neighbour discovery and an echo to the answer. The")
	say("figures are the longest time for which it had no answer in one run, on a machine that")
	say("had other things to do; `make interop` holds them against the bounds of the protocol, but")
	say("for what a peer takes from its first advert until it answers.\n")
	say("| program | version |\n|---|---|")
	for _, p := range []string{"Linux", nameKeepalived, nameFRR} {
		say("| %s | %s |", p, version(p))
	}
	say("\nThe forms: `v2` and `v3` are the versions of VRRP over IPv4 with adverts of a second,")
	say("`-100ms` with ten a second; `-ipv6` over IPv6; `-pass` and `-ah` with a password or an")
	say("Authentication Header. Where a priority matters, the better machine has 150, the other")
	say("one 100.\n")
	say("A machine that stops says so (priority 0). vrrpd serves until its successor is heard;")
	say("the others leave at once, and the successor waits its skew time. After a power failure")
	say("the other machine waits three intervals and its skew time.")
	for _, program := range []string{nameKeepalived, nameFRR} {
		for _, t := range tables {
			say("\n## %s: %s\n\n%s\n", program, named(t.title, program), t.text)
			head, line := "| form |", "|---|"
			for _, c := range t.columns {
				head, line = head+" "+named(string(c), program)+" |", line+"---|"
			}
			say("%s\n%s", head, line)
			for _, c := range peerings {
				if c.implementation() != program {
					continue
				}
				row := "| " + c.name + " |"
				for _, column := range t.columns {
					row += " " + value(result{program, c.name, column}) + " |"
				}
				say("%s", row)
			}
		}
	}
	say("\n## keepalived is started again, with an Authentication Header\n")
	say("Its sequence numbers begin anew, so vrrpd refuses its adverts as replays until keepalived")
	say("has heard an advert of vrrpd and goes on from that number:\n")
	say("| | |\n|---|---|")
	for _, c := range []column{ahRefused, ahBoth} {
		say("| %s | %s |", c, value(result{nameKeepalived, ahForm, c}))
	}
	say("\n## What is not met here\n")
	say("- FRR has no authentication, and no VRRP by unicast.")
	say("- The HMAC trailer is in no keepalived of a distribution yet: published vectors judge it")
	say("  (`vrrp/trailer_test.go`).")
	return b.String()
}

func named(text, program string) string { return strings.ReplaceAll(text, "PEER", program) }

// writeDocument writes down what this run has found out. All of it has to be there.
func writeDocument(path string) error {
	var missing []string
	text := document(func(r result) string {
		v := results.found[r]
		if v == "" {
			missing = append(missing, fmt.Sprintf("%s, %s: %s", r.implementation, r.form, r.what))
		}
		return v
	}, version)
	if len(missing) > 0 {
		return fmt.Errorf("write %s: no result of %s", path, strings.Join(missing, "; "))
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

var versionNumber = regexp.MustCompile(`[0-9]+(\.[0-9]+)+`)

// version asks a program.
func version(program string) string {
	if program == "Linux" {
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return err.Error()
		}
		return versionNumber.FindString(unix.ByteSliceToString(u.Release[:]))
	}
	paths := programs[program]
	out, err := exec.Command(paths[len(paths)-1], "--version").CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return versionNumber.FindString(string(out))
}

// docs/interop.md has the tables of the cases that there are: who changes these runs
// make interop-doc.
func TestDocumentIsOfTheseCases(t *testing.T) {
	got, err := os.ReadFile(documentPath)
	check(t, err)
	want := document(func(r result) string {
		switch r.what {
		case oursWaits, theirsWaits:
			return "stays BACKUP"
		case tieOurs, tieTheirs:
			return "after 1 ms"
		case ahRefused:
			return "1"
		}
		return "1 ms"
	}, func(string) string { return "1.1" })
	if shape(string(got)) != shape(want) {
		t.Errorf("docs/interop.md is of other cases than internal/interop: make interop-doc; it should look like this:\n%s", want)
	}
}

// shape is the document without its figures: numbers in the cells of tables.
func shape(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			for i := 2; i < len(cells); i++ {
				cells[i] = figure.ReplaceAllString(cells[i], "N")
			}
			line = strings.Join(cells, "|")
		}
		b.WriteString(line)
	}
	return b.String()
}

var figure = regexp.MustCompile(`[0-9]+(\.[0-9]+)*`)
