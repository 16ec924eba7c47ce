package vmacif

import (
	"encoding/binary"
	"strconv"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The kernel tells all settings of an interface with the interface itself, and takes
// those of IPv4 in the same way: one message, where /proc needs three system calls for
// each. What it does not tell, or an older kernel does not take, goes by way of /proc.

// Attributes of linux/if_link.h that golang.org/x/sys/unix lacks.
const (
	inetConf  = 1 // IFLA_INET_CONF
	inet6Conf = 2 // IFLA_INET6_CONF
)

// conf4 and conf6 are where a setting is in what the kernel tells: IPV4_DEVCONF_* of
// linux/ip.h less one, DEVCONF_* of linux/ipv6.h.
var (
	conf4 = map[string]int{
		"forwarding": 0, "proxy_arp": 2, "accept_redirects": 3, "secure_redirects": 4, "send_redirects": 5,
		"shared_media": 6, "rp_filter": 7, "accept_source_route": 8, "log_martians": 10, "arp_filter": 12,
		"disable_policy": 15, "arp_announce": 17, "arp_ignore": 18, "accept_local": 22, "src_valid_mark": 23,
		"route_localnet": 25, "drop_unicast_in_l2_multicast": 29, "bc_forwarding": 31,
	}
	conf6 = map[string]int{
		"forwarding": 0, "accept_ra": 3, "accept_redirects": 4, "autoconf": 5, "dad_transmits": 6,
		"proxy_ndp": 22, "accept_source_route": 24, "disable_ipv6": 26, "accept_dad": 27, "ndisc_notify": 29,
	}
)

// conf is what the kernel has told of the settings of an interface; the zero value is
// nothing.
type conf struct{ v4, v6 []byte }

// get is the value of a setting, as /proc has it.
func (c conf) get(family, key string) (value string, told bool) {
	table, at := c.v4, -1
	if i, known := conf4[key]; known && family == "ipv4" {
		at = i
	}
	if family == "ipv6" {
		table = c.v6
		if i, known := conf6[key]; known {
			at = i
		}
	}
	if at < 0 || 4*at+4 > len(table) {
		return "", false
	}
	return strconv.Itoa(int(int32(binary.NativeEndian.Uint32(table[4*at:])))), true
}

// take notes the settings of IPv4 that a message has set.
func (c conf) take(set []setting) {
	eachConf4(set, func(at int, value uint32) {
		if 4*at+4 <= len(c.v4) {
			binary.NativeEndian.PutUint32(c.v4[4*at:], value)
		}
	})
}

// tells reports that nothing of these has to be read from /proc.
func (c conf) tells(settings []setting) bool {
	for _, s := range settings {
		if _, told := c.get(s.family, s.key); !told {
			return false
		}
	}
	return true
}

// sysctls reads settings of one interface: what the kernel has told of it, and for the
// rest /proc.
func (d device) sysctls(family, key string) (string, error) {
	if v, told := d.conf.get(family, key); told {
		return v, nil
	}
	return readSysctl(family, d.Name, key)
}

// encodeConf4 adds the settings of IPv4 among those wanted to a message about an
// interface, within IFLA_AF_SPEC.
func encodeConf4(families *netlink.AttributeEncoder, wanted []setting) {
	families.Nested(unix.AF_INET, func(inet *netlink.AttributeEncoder) error {
		inet.Nested(inetConf, func(values *netlink.AttributeEncoder) error {
			eachConf4(wanted, func(at int, value uint32) { values.Uint32(uint16(at+1), value) })
			return nil
		})
		return nil
	})
}

// eachConf4 calls f for those settings that travel in such a message.
func eachConf4(list []setting, f func(at int, value uint32)) {
	for _, s := range list {
		at, known := conf4[s.key]
		value, err := strconv.Atoi(s.value)
		if s.family == "ipv4" && known && err == nil {
			f(at, uint32(value))
		}
	}
}
