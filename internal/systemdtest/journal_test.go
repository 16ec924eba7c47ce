package systemdtest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"vrrpd/control"
)

// entry is a journal entry with its fields.
type entry map[string]string

// journal returns the entries that journalctl finds with these arguments.
func (m *machine) journal(args string) []entry {
	m.t.Helper()
	var list []entry
	for line := range strings.Lines(m.sh("journalctl --sync; journalctl --no-pager -o json " + args)) {
		e := entry{}
		var raw map[string]any
		if err := json.Unmarshal([]byte(line), &raw); err != nil {
			m.t.Fatalf("%s: journal: %v in %q", m.name, err, line)
		}
		for key, value := range raw {
			// A field that comes twice is an array, and none of ours may.
			e[key] = fmt.Sprint(value)
		}
		list = append(list, e)
	}
	return list
}

// transitions are the entries of a virtual router that tell of a transition.
func (m *machine) transitions(l lan) []entry {
	m.t.Helper()
	var list []entry
	for _, e := range m.journal(fmt.Sprintf("VRRP_VRID=%d", l.vrid)) {
		if e["VRRP_OLD_STATE"] != "" {
			list = append(list, e)
		}
	}
	return list
}

// quiet checks that the services have logged nothing that calls for an
// administrator. Nothing is lost by a crash that the journal does not tell of.
func (m *machine) quiet(t *testing.T, since time.Time) {
	t.Helper()
	for _, e := range m.journal(fmt.Sprintf("SYSLOG_IDENTIFIER=vrrpd -p err --since=@%d", since.Unix())) {
		t.Errorf("%s says: %s", m.name, e["MESSAGE"])
	}
}

// view is what atropos says of the machine.
func (m *machine) view() control.View {
	m.t.Helper()
	// It fails when a process does not answer, and says so in the view too.
	out, _ := m.try("atropos --state --json 2>/dev/null")
	var v control.View
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		m.t.Fatalf("%s: atropos: %v in %s", m.name, err, out)
	}
	return v
}

// messageID are those of the documentation; they never change.
var messageID = map[string]string{
	"MASTER": "d878058e34824189bed19b2156ebc43b",
	"BACKUP": "0c5c2ce041df4b76bf7aa656dbe8ed15",
	"HELD":   "4d4afb264d1b40e2b7490454f0912d7e",
}

// Every transition is one journal entry with all of its fields, found by them.
func lifeJournal(t *testing.T, m *machine) {
	m.t = t
	v := m.view()
	if len(v.Groups) != 1 || len(v.Groups[0].Transitions) < 3 {
		t.Fatalf("atropos tells of %+v", v.Groups)
	}
	history := v.Groups[0].Transitions
	entries := m.transitions(lanA)
	if len(entries) != len(history) {
		t.Fatalf("%d entries for %d transitions:\n%v\n%+v", len(entries), len(history), entries, history)
	}
	pid := fmt.Sprint(m.mainPID("vrrpd@lan"))
	for i, e := range entries {
		h := history[i]
		for key, want := range map[string]string{
			"MESSAGE_ID": messageID[h.To], "PRIORITY": "6", "SYSLOG_IDENTIFIER": "vrrpd",
			"VRRP_STATE": h.To, "VRRP_OLD_STATE": h.From, "VRRP_REASON": h.Reason, "VRRP_PEER": h.Peer,
			"VRRP_VRID": "51", "VRRP_INTERFACE": "vrrp51", "VRRP_PARENT": "host0", "VRRP_PRIORITY": "150",
			// What the journal itself knows of the sender.
			"_SYSTEMD_UNIT": "vrrpd@lan.service", "_PID": pid, "_TRANSPORT": "journal",
		} {
			if got, there := e[key]; got != want || !there {
				t.Errorf("entry %d: %s is %q, want %q: %v", i+1, key, got, want, e)
			}
		}
		if sentence := fmt.Sprintf("vrrp51: %s -> %s: %s", h.From, h.To, h.Reason); !strings.HasPrefix(e["MESSAGE"], sentence) {
			t.Errorf("entry %d: %q, want %q", i+1, e["MESSAGE"], sentence)
		}
	}
	for args, want := range map[string]string{
		"MESSAGE_ID=" + messageID["MASTER"]:                         "MASTER",
		"VRRP_VRID=51 VRRP_STATE=MASTER":                            "MASTER",
		"VRRP_REASON=" + history[0].Reason:                          history[0].To,
		"-u vrrpd@lan VRRP_OLD_STATE=INIT":                          history[0].To,
		"VRRP_PARENT=host0 VRRP_INTERFACE=vrrp51 VRRP_STATE=BACKUP": "BACKUP",
	} {
		if found := m.journal(args); len(found) != 1 || found[0]["VRRP_STATE"] != want {
			t.Errorf("journalctl %s finds %v", args, found)
		}
	}
}
