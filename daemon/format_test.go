package daemon

import (
	"fmt"
	"strings"
	"testing"

	"vrrpd/election"
	"vrrpd/health"
	"vrrpd/internal/reexec"
	"vrrpd/lease"
	"vrrpd/vrrp"
)

// listed are the words of a list by their numbers, from a first one on.
func listed[T interface {
	~uint8 | ~uint16 | ~uint32
	fmt.Stringer
}](first, last T) string {
	var words []string
	for v := first; v <= last; v++ {
		words = append(words, fmt.Sprintf("%d %v", uint64(v), v))
	}
	return strings.Join(words, ", ")
}

// What a state says by number means the same to every program that knows its format.
func TestNumbersOfTheFormat(t *testing.T) {
	const format = 2 // that these lists are of
	if reexec.Format != format {
		t.Fatalf("the numbers of format %d are not written down here", reexec.Format)
	}
	faults := []string{}
	for f := election.Fault(1); f.Reason() != election.NoReason; f <<= 1 {
		faults = append(faults, fmt.Sprintf("%d %v", f, f.Reason()))
	}
	for _, c := range []struct{ name, got, want string }{
		{"reasons", listed(election.NoReason, election.StaysOut+1), "" +
			"0 none, 1 startup, 2 link-down, 3 parent-gone, 4 no-address, 5 send-failed, 6 interface-fault, 7 check-failed, " +
			"8 member-missing, 9 member-dead, 10 member-stuck, 11 member-left, 12 operator-hold, 13 interval-differs, 14 " +
			"recovered, 15 master-timeout, 16 master-resigned, 17 unanswered, 18 preempted, 19 vetoed, 20 superior-advert, " +
			"21 tie-lost, 22 operator-backup, 23 stop, 24 successor, 25 no-successor, 26 lease-expired, 27 suspended, 28 " +
			"master-heard, 29 peer-deaf, 30 own-address-heard, 31 priority-differs, 32 preempt-differs, 33 too-many-" +
			"members, 34 partition, 35 mixed-view, 36 partition-over, 37 same-priority-peer, 38 stays-out, 39 unknown"},
		{"faults", strings.Join(faults, ", "), "1 link-down, 2 parent-gone, 4 no-address, 8 send-failed, 16 interface-fault, 32 check-failed"},
		{"states", listed(election.Init, election.Listen+1), "0 INIT, 1 HELD, 2 BACKUP, 3 PREPARE, 4 MASTER, 5 LINGER, 6 LISTEN, 7 UNKNOWN"},
		{"verdicts", listed(health.Pending, health.Failing+1), "0 pending, 1 passing, 2 failing, 3 unknown"},
		{"rungs", listed(lease.Clsact, lease.None+1), "1 clsact, 2 tcx, 3 nftables, 4 none, 5 Rung(5)"},
		{"authentication", listed(vrrp.NoAuth, vrrp.TrailerAuth+1), "0 none, 1 pass, 2 ah, 3 hmac, 4 unknown"},
		{"modes", listed(vrrp.Enforce, vrrp.ReceiveOnly+1), "0 enforce, 1 permissive, 2 receive-only, 3 unknown"},
		{"replay", listed(vrrp.ByTime, vrrp.Monotonic+1), "0 time, 1 monotonic, 2 unknown"},
		{"ICV", listed(vrrp.ICVKeepalived, vrrp.ICVRFC2402+1), "0 keepalived, 1 rfc2402, 2 unknown"},
		{"check sums", listed(vrrp.RFC9568, vrrp.RFC5798+1), "0 rfc9568, 1 rfc5798, 2 unknown"},
		{"drops", listed(vrrp.DropNone, vrrp.DropFlood+1), "" +
			"0 none, 1 ip-header, 2 fragment, 3 destination, 4 length, 5 version, 6 type, 7 foreign-carp, 8 vrid, 9 not-a-" +
			"peer, 10 ttl, 11 checksum, 12 count, 13 auth-type, 14 auth, 15 interval-zero, 16 family, 17 link-local, 18 " +
			"interval, 19 address-list, 20 auth-missing, 21 auth-malformed, 22 auth-stale, 23 auth-unknown-key, 24 auth-" +
			"replay, 25 flood, 26 unknown"},
		{"oddities", listed(addressesDiffer, version2Missing+1), "" +
			"256 addresses-differ, 257 peer-interval-differs, 258 own-address-heard, 259 owner-conflict, 260 clock-differs, " +
			"261 version-2-missing, 262 type"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s\nwant %s\nwhat was added at the end is to be written down here; where a number has another meaning reexec.Format is to be counted up",
				c.name, c.got, c.want)
		}
	}
}
