package interop

import (
	"slices"
	"strings"
	"time"
)

// peering is what the two sides of a case are configured to speak: more of our command
// line, and what makes a machine the peer.
type peering struct {
	name     string
	program  string // the implementation that the peer runs; "": keepalived
	ours     string
	peer     func(*machine)
	authType string        // as our status calls it; "": none
	six      bool          // the addresses are of IPv6
	every    time.Duration // interval of the adverts; 0: 1 s
	swapped  bool          // the peer has the lower address
	direct   bool          // our addresses are on the interface itself
}

const (
	nameKeepalived = "keepalived"
	nameFRR        = "FRR"

	everySecond = "    advert_int 1\n"
	everyTenth  = "    advert_int 0.1\n"
	version2    = "    version 2\n" + everySecond
	version3    = "    version 3\n" + everySecond
	fast3       = "    version 3\n" + everyTenth

	tenth = 100 * time.Millisecond
)

// unicast4 and unicast6 have keepalived speak to us alone, and have nobody else heard.
const (
	unicast4 = "    unicast_src_ip 198.51.100.2\n    unicast_peer {\n        198.51.100.1\n    }\n"
	unicast6 = "    unicast_src_ip 2001:db8::2\n    unicast_peer {\n        2001:db8::1\n    }\n"
	ours4    = " --peer 198.51.100.2"
	ours6    = " --peer 2001:db8::2"
)

func keepalivedAuth(kind, password string) string {
	return version2 + "    authentication {\n        auth_type " + kind + "\n        auth_pass " + password + "\n    }\n"
}

// peerings are the cases, each of which goes through all elections.
var peerings = []peering{
	{name: "v2", peer: keepalived(version2)},
	{name: "v2-pass", ours: "-a pass/s3cr3t51", peer: keepalived(keepalivedAuth("PASS", "s3cr3t51")), authType: "pass"},
	{name: "v2-ah", ours: "-a ah/s3cr3t51", peer: keepalived(keepalivedAuth("AH", "s3cr3t51")), authType: "ah"},
	{name: "v3", ours: "--vrrp-version 3", peer: keepalived(version3)},
	{name: "v3-100ms", ours: "-d 0.1", peer: keepalived(fast3), every: tenth},
	{name: "v3-ipv6", six: true, peer: keepalived(version3)},
	{name: "v3-ipv6-100ms", ours: "-d 0.1", six: true, peer: keepalived(fast3), every: tenth},
	{name: "v2-unicast", ours: ours4, peer: keepalived(version2 + unicast4)},
	{name: "v2-unicast-no-vmac", ours: "-n" + ours4, direct: true, peer: keepalived(version2 + unicast4)},
	{name: "v2-ah-unicast", ours: "-a ah/s3cr3t51" + ours4, peer: keepalived(keepalivedAuth("AH", "s3cr3t51") + unicast4), authType: "ah"},
	{name: "v3-unicast", ours: "--vrrp-version 3" + ours4, peer: keepalived(version3 + unicast4)},
	{name: "v3-ipv6-unicast", ours: ours6, six: true, peer: keepalived(version3 + unicast6)},
	{name: "v2-no-vmac", ours: "-n", direct: true, peer: keepalived(version2)},
	{name: "v3-ipv6-no-vmac", ours: "-n", direct: true, six: true, peer: keepalived(version3)},
	{name: "v2", program: nameFRR, peer: frr(2, time.Second)},
	{name: "v3", program: nameFRR, ours: "--vrrp-version 3", peer: frr(3, time.Second)},
	{name: "v3-100ms", program: nameFRR, ours: "-d 0.1", peer: frr(3, tenth), every: tenth},
	{name: "v3-ipv6", program: nameFRR, six: true, peer: frr(3, time.Second)},
	{name: "v3-ipv6-100ms", program: nameFRR, ours: "-d 0.1", six: true, peer: frr(3, tenth), every: tenth},
}

// someForms are those in which ties and the absence of preemption are tried: what
// decides there is the same in every form, and each takes half a minute of CI. make
// interop tries all.
func someForms() []peering {
	if *everyForm || *writeDoc {
		return peerings
	}
	return slices.DeleteFunc(slices.Clone(peerings), func(c peering) bool {
		return c.authType != "" || c.direct || c.every != 0 || c.program != "" && !c.six || c.name == "v3-unicast"
	})
}

// spellings are other ways to say what a case says: a hand-over is enough for them.
var spellings = []peering{
	{name: "v2-pass-short", ours: "-a pw/0x6162", peer: keepalived(keepalivedAuth("PASS", "ab")), authType: "pass"},
}

// mirrored exchanges the addresses of the two machines in a text.
func mirrored(text string) string {
	return strings.NewReplacer("198.51.100.1\n", "198.51.100.2\n", "198.51.100.2\n", "198.51.100.1\n",
		"2001:db8::1\n", "2001:db8::2\n", "2001:db8::2\n", "2001:db8::1\n", ours4, " --peer 198.51.100.1", ours6, " --peer 2001:db8::1").Replace(text)
}

// implementation is the name of what the peer runs.
func (c peering) implementation() string {
	if c.program == "" {
		return nameKeepalived
	}
	return c.program
}

// title names the case among those of all implementations.
func (c peering) title() string { return strings.ToLower(c.implementation()) + "-" + c.name }

// interval is that of the adverts.
func (c peering) interval() time.Duration {
	if c.every == 0 {
		return time.Second
	}
	return c.every
}

// busy is room for a machine that has other things to do.
const busy = 1500 * time.Millisecond

// skewTime is what a machine of this priority waits before it serves when it has heard
// priority 0 (RFC 9568 section 6.1).
func (c peering) skewTime(priority int) time.Duration {
	return c.interval() * time.Duration(256-priority) / 256
}

// masterDown is what it waits when it hears nothing any more.
func (c peering) masterDown(priority int) time.Duration {
	return 3*c.interval() + c.skewTime(priority)
}
