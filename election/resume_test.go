package election

import (
	"encoding/json"
	"reflect"
	"testing"
)

// What becomes of each field when the program is replaced. One that is new belongs here,
// and into Saved unless something else is said of it.
const (
	saved    = "saved"
	anew     = "the next program has its own"
	computed = "follows from the rest"
	atRest   = "nothing, in a moment of rest"
)

var fates = map[reflect.Type]map[string]string{
	reflect.TypeFor[Machine](): {
		"cfg": anew, "board": anew, "slots": computed, "others": computed, "now": computed, "acts": anew, "first": anew,
		"own": saved, "vr": saved, "seen": saved, "since": saved, "lastStep": saved, "before": saved, "beforeSince": saved,
		"wishes": computed, "base": computed, "preempt": computed, "weight": saved, "weighed": saved, "unfit": saved,
		"priority": saved, "preemptFrom": saved, "expelled": saved, "lastInterval": saved, "nextAdvert": saved,
		"resign": atRest, "linger": atRest, "askNext": saved, "rivalAt": saved, "gone": saved, "expired": atRest,
		"suspended": atRest, "superior": atRest, "successor": atRest, "shutEpoch": saved, "heard": atRest, "hold": saved,
		"mixedAt": saved, "partedAt": saved, "parted": saved, "partedVR": saved, "conditions": saved, "graceAt": saved,
		"wokeAt": saved, "alarmed": saved, "lastPromoted": saved, "beatNext": saved, "stopping": atRest, "exited": atRest, "ring": atRest,
		"started": computed, "some": computed, "want": computed, "differ": computed, "leased": computed,
	},
	reflect.TypeFor[member](): {
		"id": anew, "failSince": saved, "serving": saved, "prepared": atRest, "overdue": saved, "resigned": atRest,
		"reply": atRest, "rest": "see there",
	},
	reflect.TypeFor[rest](): {
		"lan": anew, "lanHead": computed, "added": saved, "retiring": atRest, "source": saved, "probeAt": saved,
		"openBy": saved, "asked": saved, "found": saved, "replied": saved, "replies": saved, "lastHeal": saved,
		"superior": atRest, "tieSince": saved, "tieHeard": saved, "inferior": saved, "inferiors": saved, "retryAt": saved,
		"sendFree": saved, "peerAlarms": saved,
	},
	reflect.TypeFor[holdDown]():  {"now": saved, "recent": saved, "served": saved},
	reflect.TypeFor[inferiors](): {"heard": saved, "more": saved},
	reflect.TypeFor[peerAlarm](): {"why": saved, "on": saved, "peer": saved, "at": saved, "epoch": saved},
}

func TestEveryFieldIsAccountedFor(t *testing.T) {
	for of, fates := range fates {
		for i := range of.NumField() {
			if name := of.Field(i).Name; fates[name] == "" {
				t.Errorf("%v.%s is new: what becomes of it when the program is replaced (Save, Resume)?", of, name)
			}
		}
		if n := of.NumField(); n < len(fates) {
			t.Errorf("%v has %d fields, and %d are known", of, n, len(fates))
		}
	}
}

// What is saved is what is resumed, whatever it contains.
func TestSavedAgain(t *testing.T) {
	var s Saved
	n := 0
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		n++
		switch v.Kind() {
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int, reflect.Int32, reflect.Int64:
			v.SetInt(int64(n%50 + 1))
		case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			v.SetUint(uint64(n%50 + 1))
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Field(i).CanSet() {
					fill(v.Field(i))
				}
			}
		case reflect.Array:
			for i := range v.Len() {
				fill(v.Index(i))
			}
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 3, 3))
			for i := range v.Len() {
				fill(v.Index(i))
			}
		default:
			t.Fatalf("a %v cannot be filled", v.Kind())
		}
	}
	fill(reflect.ValueOf(&s).Elem())
	s.PartedMember, s.Conditions = 1, []Reason{PriorityDiffers, TooManyMembers}
	r := Router{Family: 4, VRID: 51, Version: 2, Priority: 100, Interval: 7}
	for i := range s.Own {
		learned := s.Own[i].Learned
		s.Own[i].configure(r)
		s.Own[i].Learned = learned
	}
	m := Resume(Config{}, &LocalBoard{}, s, func(m SavedMember) (int, Router) { return m.VR, r })
	if what := m.overlooked(); len(what) > 0 {
		t.Errorf("some does not tell of members that are %v", what)
	}
	// The effective priority, and who says the weight, is worked out again, and timers
	// follow that.
	got := m.Save()
	got.Priority, got.Weighed = s.Priority, s.Weighed
	for i := range got.Own {
		got.Own[i].DownAt, got.Own[i].Weight = s.Own[i].DownAt, s.Own[i].Weight
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != string(want) {
		t.Errorf("%s\nwant\n%s", text, want)
	}
}
