package siblings

import (
	"testing"

	"vrrpd/election"
)

func TestBegin(t *testing.T) {
	old := election.MakeWord(7, election.Master, election.MasterTimeout).WithSlot(3)
	word, wishes := Begin(old, election.Wishes{Soft: true, Hold: true, Priority: 90})
	if word != election.MakeWord(8, election.Held, election.Startup) {
		t.Errorf("the first word is %v in epoch %d (%v)", word.State(), word.Epoch(), word.Reason())
	}
	if wishes != (election.Wishes{Soft: true, Hold: true}) {
		t.Errorf("the operator's wishes are %+v: only the priority ends with those who had it", wishes)
	}
}

func TestMissing(t *testing.T) {
	for _, c := range []struct{ wanted, siblings, missing int }{{1, 0, 0}, {3, 0, 2}, {3, 2, 0}, {2, 2, -1}} {
		if got := Missing(c.wanted, c.siblings); got != c.missing {
			t.Errorf("of %d with %d others %d are missing, want %d", c.wanted, c.siblings, got, c.missing)
		}
	}
}

func TestRoll(t *testing.T) {
	var r Roll
	if e, ok := r.Left("a"); !ok || e.Reason != election.MemberLeft {
		t.Errorf("who leaves in order: %+v, %v", e, ok)
	}
	if e := r.Died("a"); e.Kind != election.EvMemberGone || e.Reason != election.MemberDead {
		t.Errorf("who dies: %+v", e)
	}
	if _, ok := r.Left("a"); ok {
		t.Error("the record of a dead one that was buried is news again")
	}
	if _, ok := r.Left("a"); !ok {
		t.Error("its second incarnation leaves in order, and that is no news")
	}
	r.Died("a")
	r.Joined("a")
	if _, ok := r.Left("a"); !ok {
		t.Error("who came back is still taken for dead")
	}
}
