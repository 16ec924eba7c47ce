package interop

// peering is what the two sides of a case are configured to speak: more of our command
// line, and what makes a machine the peer.
type peering struct {
	name     string
	ours     string
	peer     func(*machine)
	authType string // as our status calls it; "": none
	six      bool   // the addresses are of IPv6
}

const (
	everySecond = "    advert_int 1\n"
	version2    = "    version 2\n" + everySecond
	version3    = "    version 3\n" + everySecond
)

func keepalivedAuth(kind, password string) string {
	return version2 + "    authentication {\n        auth_type " + kind + "\n        auth_pass " + password + "\n    }\n"
}

// peerings are the cases against keepalived 2.2.7.
var peerings = []peering{
	{name: "v2", peer: keepalived(version2)},
	{name: "v2-pass", ours: "-a pass/s3cr3t51", peer: keepalived(keepalivedAuth("PASS", "s3cr3t51")), authType: "pass"},
	{name: "v2-pass-short", ours: "-a pw/0x6162", peer: keepalived(keepalivedAuth("PASS", "ab")), authType: "pass"},
	{name: "v3", ours: "--vrrp-version 3", peer: keepalived(version3)},
	{name: "v3-ipv6", six: true, peer: keepalived(version3)},
	{name: "v2-ah", ours: "-a ah/s3cr3t51", peer: keepalived(keepalivedAuth("AH", "s3cr3t51")), authType: "ah"},
}
