package sim

import (
	"encoding/json"
	"slices"
	"testing"

	"vrrpd/election"
)

// A machine whose program is replaced whenever it is at rest (atropos reexec) does to
// the moment what one does that runs on: nothing that it knows is lost on the way.
func TestReplacedProgram(t *testing.T) {
	replaced := 0
	for seed := uint64(1); seed <= 300; seed++ {
		want, v := trace(Generate(seed))
		var got []string
		w := New(Generate(seed))
		w.trace = func(line string) { got = append(got, line) }
		w.replaced = func(p *proc) *election.Machine {
			if !p.machine.Settled() {
				return p.machine
			}
			replaced++
			text, err := json.Marshal(p.machine.Save())
			if err != nil {
				t.Fatal(err)
			}
			var saved election.Saved
			if err := json.Unmarshal(text, &saved); err != nil {
				t.Fatal(err)
			}
			return election.Resume(election.Config{Guard: w.Guard, Without: w.Without}, p, saved, func(m election.SavedMember) (int, election.Router) {
				return m.VR, p.routers[m.VR]
			})
		}
		u := w.Play()
		if !slices.Equal(got, want) || (u == nil) != (v == nil) {
			i := 0
			for i < min(len(got), len(want)) && got[i] == want[i] {
				i++
			}
			t.Fatalf("seed %d: %v, without replacing %v; from line %d on:\n%v\nwant:\n%v", seed, u, v, i, got[i:min(i+5, len(got))], want[i:min(i+5, len(want))])
		}
	}
	t.Logf("%d times replaced", replaced)
	if replaced < 1000 {
		t.Errorf("only %d times replaced", replaced)
	}
}
