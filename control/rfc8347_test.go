package control

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vrrpd/election"
)

func TestRouterNames(t *testing.T) {
	r := Router{Version: VersionName(3), LastAdvSource: netip.MustParseAddr("192.0.2.2"), UpDatetime: time.Unix(1, 0),
		VirtualIPv4Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.200")}}
	r.SetTimers(time.Second, election.MasterDownInterval(3, 100, time.Second), election.SkewTime(3, 100, time.Second))
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"vrid", "version", "state", "priority", "preempt", "advertise-interval-centi-sec",
		"virtual-ipv4-addresses", "accept-mode", "is-owner", "last-adv-source", "up-datetime", "master-down-interval", "skew-time",
		"last-event", "new-master-reason", "statistics"} {
		if _, ok := m[key]; !ok {
			t.Errorf("no %s in %s", key, b)
		}
	}
	for _, key := range []string{"master-transitions", "advertisement-rcvd", "advertisement-sent", "interval-errors",
		"priority-zero-pkts-rcvd", "priority-zero-pkts-sent", "invalid-type-pkts-rcvd", "address-list-errors",
		"packet-length-errors", "checksum-errors", "version-errors", "vrid-errors", "ip-ttl-errors"} {
		if _, ok := m["statistics"].(map[string]any)[key]; !ok {
			t.Errorf("no statistics/%s in %s", key, b)
		}
	}
	if got := m["virtual-ipv4-addresses"].([]any)[0]; got != "192.0.2.200" {
		t.Errorf("address %v", got)
	}
}

// The container vrrp of RFC 8347, by process, and by process of a group in what atropos
// makes of it.
func TestGlobalNames(t *testing.T) {
	st := busyStatus("lan")
	st.Global = Global{VirtualRouters: 2, Interfaces: 1, Statistics: GlobalStatistics{Discontinuity: time.Unix(1, 0)}}
	look := func(what string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			VRRP map[string]any `json:"vrrp"`
		}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if m.VRRP["virtual-routers"] != 2.0 || m.VRRP["interfaces"] != 1.0 {
			t.Errorf("%s: %v", what, m.VRRP)
		}
		for _, key := range []string{"discontinuity-datetime", "checksum-errors", "version-errors", "vrid-errors", "ip-ttl-errors"} {
			if s, _ := m.VRRP["statistics"].(map[string]any); s[key] == nil {
				t.Errorf("%s: no vrrp/statistics/%s in %s", what, key, b)
			}
		}
	}
	look("process", st)
	g := Merge([]Process{{Instance: "a", Status: st}}).Groups[0]
	look("member", g.Members[0])
	if !slices.Equal(g.Counts, st.Counts) {
		t.Errorf("%+v", g.Counts)
	}
}

// The figures of the checklist: exact in milliseconds, in RFC 8347's own units
// as far as these go.
func TestSetTimers(t *testing.T) {
	for _, c := range []struct {
		version, priority uint8
		interval          time.Duration
		sec, centi        uint16
		down              uint32
		downMS            float64
		skew              uint32
		skewMS            float64
	}{
		{2, 100, time.Second, 1, 0, 360, 3609.375, 609375, 609.375},
		{2, 254, time.Second, 1, 0, 300, 3007.8125, 7812, 7.8125},
		{3, 100, time.Second, 0, 100, 360, 3609.375, 609375, 609.375},
		{3, 254, 10 * time.Millisecond, 0, 1, 3, 30.078125, 78, 0.078125},
		{3, 1, 40950 * time.Millisecond, 0, 4095, 16364, 163640.039062, 40790039, 40790.039062},
	} {
		r := Router{Version: VersionName(c.version), AdvertiseIntervalSec: 9, AdvertiseIntervalCentiSec: 9}
		r.SetTimers(c.interval, election.MasterDownInterval(c.version, c.priority, c.interval),
			election.SkewTime(c.version, c.priority, c.interval))
		if r.AdvertiseIntervalSec != c.sec || r.AdvertiseIntervalCentiSec != c.centi ||
			r.MasterDownInterval != c.down || r.MasterDownIntervalMS != c.downMS ||
			r.SkewTime != c.skew || r.SkewTimeMS != c.skewMS {
			t.Errorf("v%d priority %d: %+v", c.version, c.priority, r)
		}
	}
}

func allReasons() (all []election.Reason) {
	for r := election.NoReason; r.String() != "unknown"; r++ {
		all = append(all, r)
	}
	return all
}

func TestEveryReasonHasAnEvent(t *testing.T) {
	identities := strings.Fields(`none startup shutdown higher-priority-backup master-timeout interface-up
		interface-down no-primary-ip-address primary-ip-address no-virtual-ip-addresses virtual-ip-addresses
		preempt-hold-timeout lower-priority-master owner-preempt`)
	for _, r := range allReasons() {
		if word := strings.TrimPrefix(LastEvent(r), "vrrp-event-"); !slices.Contains(identities, word) {
			t.Errorf("%s: last-event %s is not in RFC 8347", r, LastEvent(r))
		}
	}
}

func TestNewMasterReason(t *testing.T) {
	for _, c := range []struct {
		s    election.State
		r    election.Reason
		want string
	}{
		{election.Backup, election.MasterTimeout, "not-master"},
		{election.Held, election.LinkDown, "not-master"},
		{election.Master, election.MasterTimeout, "no-response"},
		{election.Master, election.Unanswered, "no-response"},
		{election.Master, election.Preempted, "preempted"},
		{election.Master, election.MasterResigned, "priority"},
		{election.Linger, election.OperatorBackup, "no-response"},
	} {
		if got := NewMasterReason(c.s, c.r); got != c.want {
			t.Errorf("%s, %s: %s, want %s", c.s, c.r, got, c.want)
		}
	}
}

func TestStateName(t *testing.T) {
	want := map[election.State]string{
		election.Init: "initialize", election.Held: "backup", election.Backup: "backup", election.Prepare: "backup",
		election.Master: "master", election.Linger: "master", election.Listen: "backup",
	}
	for s, name := range want {
		if got := StateName(s); got != name {
			t.Errorf("%s: %s, want %s", s, got, name)
		}
		if back, ok := ParseState(s.String()); !ok || back != s {
			t.Errorf("%s is not parsed", s)
		}
	}
	if _, ok := ParseState("UNKNOWN"); ok {
		t.Error("UNKNOWN is a state")
	}
}

func TestParseReason(t *testing.T) {
	all := allReasons()
	if len(all) < 30 {
		t.Fatalf("only %d reasons", len(all))
	}
	for _, r := range all {
		if got, ok := ParseReason(r.String()); !ok || got != r {
			t.Errorf("%s is not parsed", r)
		}
	}
	if _, ok := ParseReason("unknown"); ok {
		t.Error("unknown is a reason")
	}
}
