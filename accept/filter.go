package accept

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/nftables"
)

// The filter of one interface is a table:
//
//	table ip6 vrrpd-accept-vrrp51v6 {
//		set addresses { type ipv6_addr; elements = { fe80::5652:5250:51, 2001:db8::200 } }
//		chain input {
//			type filter hook input priority -500; policy accept;
//			meta l4proto ipv6-icmp @th,0,8 135-136 accept
//			ip6 daddr @addresses drop
//		}
//	}
//
// and for IPv4 (ip) the same without the first rule.
const (
	tablePrefix = "vrrpd-accept-"
	chainName   = "input"
	setName     = "addresses"
	setID       = 1 // within the transaction
	localIn     = 1 // NF_INET_LOCAL_IN
	// early is before the chains of a firewall, so that they do not log or count what
	// nobody takes.
	early = uint32(0xffffffff - 499) // -500

	typeIPv4, typeIPv6 = 7, 8 // of nft, for whoever lists the table
)

var errForeign = errors.New("is not as this process made it")

// layout is what differs between the families.
type layout struct {
	family uint8  // unix.NFPROTO_...
	key    uint32 // type of the set
	offset uint32 // of the destination in the IP header
	rules  int
}

func layoutOf(a netip.Addr) layout {
	if a.Is4() {
		return layout{unix.NFPROTO_IPV4, typeIPv4, 16, 1}
	}
	return layout{unix.NFPROTO_IPV6, typeIPv6, 24, 2}
}

// Filter drops what is addressed to the virtual addresses of one interface. Its methods
// may be called from several goroutines.
type Filter struct {
	name  string
	addrs []netip.Addr
	layout

	mu   sync.Mutex
	conn nftables.Conn
}

// Needs says what a kernel or a process without nftables lacks.
const Needs = "CAP_NET_ADMIN and a kernel with CONFIG_NF_TABLES_IPV4 and CONFIG_NF_TABLES_IPV6"

// Available tells why no filter can be made here.
func Available() error {
	var c nftables.Conn
	_, err := c.Tables(unix.NFPROTO_IPV4)
	if err == nil {
		_, err = c.Tables(unix.NFPROTO_IPV6)
	}
	if err != nil {
		err = fmt.Errorf("%w (needs %s)", err, Needs)
	}
	return errors.Join(err, c.Close())
}

// New makes the filter of an interface with these addresses, of one family. It does
// nothing yet.
func New(name string, addrs []netip.Addr) *Filter {
	return &Filter{name: name, addrs: addrs, layout: layoutOf(addrs[0])}
}

func (f *Filter) table() string { return tablePrefix + f.name }

func (f *Filter) message(typ uint16, flags netlink.HeaderFlags, attrs ...nftables.Attr) netlink.Message {
	return nftables.Message(f.family, typ, flags, attrs...)
}

// Install puts the filter in force. One that is there, whoever has left or changed it, is
// replaced in the same step of the kernel.
func (f *Filter) Install() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	size := uint32(f.addrs[0].BitLen() / 8)
	table := f.table()
	var elements []nftables.Attr
	for _, a := range f.addrs {
		elements = append(elements, nftables.Element(a.AsSlice()))
	}
	add := f.message(unix.NFT_MSG_NEWTABLE, netlink.Create, nftables.Str(unix.NFTA_TABLE_NAME, table))
	msgs := []netlink.Message{
		add, // so that it can be deleted in any case
		f.message(unix.NFT_MSG_DELTABLE, 0, nftables.Str(unix.NFTA_TABLE_NAME, table)),
		add,
		f.message(unix.NFT_MSG_NEWSET, netlink.Create,
			nftables.Str(unix.NFTA_SET_TABLE, table), nftables.Str(unix.NFTA_SET_NAME, setName),
			nftables.Num(unix.NFTA_SET_KEY_TYPE, f.key), nftables.Num(unix.NFTA_SET_KEY_LEN, size),
			nftables.Num(unix.NFTA_SET_ID, setID)),
		f.message(unix.NFT_MSG_NEWSETELEM, netlink.Create,
			nftables.Str(unix.NFTA_SET_ELEM_LIST_TABLE, table), nftables.Str(unix.NFTA_SET_ELEM_LIST_SET, setName),
			nftables.Num(unix.NFTA_SET_ELEM_LIST_SET_ID, setID),
			nftables.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, elements...)),
		f.message(unix.NFT_MSG_NEWCHAIN, netlink.Create,
			nftables.Str(unix.NFTA_CHAIN_TABLE, table), nftables.Str(unix.NFTA_CHAIN_NAME, chainName),
			nftables.Nest(unix.NFTA_CHAIN_HOOK,
				nftables.Num(unix.NFTA_HOOK_HOOKNUM, localIn), nftables.Num(unix.NFTA_HOOK_PRIORITY, early)),
			nftables.Num(unix.NFTA_CHAIN_POLICY, nftables.Accept),
			nftables.Str(unix.NFTA_CHAIN_TYPE, "filter")),
	}
	rule := func(expressions ...nftables.Attr) {
		msgs = append(msgs, f.message(unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append,
			nftables.Str(unix.NFTA_RULE_TABLE, table), nftables.Str(unix.NFTA_RULE_CHAIN, chainName),
			nftables.Nest(unix.NFTA_RULE_EXPRESSIONS, expressions...)))
	}
	if f.family == unix.NFPROTO_IPV6 {
		const solicitation, advertisement = 135, 136
		rule(nftables.Protocol(), nftables.Compare(unix.NFT_CMP_EQ, unix.IPPROTO_ICMPV6),
			nftables.Payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1),
			nftables.Compare(unix.NFT_CMP_GTE, solicitation), nftables.Compare(unix.NFT_CMP_LTE, advertisement),
			nftables.Verdict(nftables.Accept))
	}
	rule(nftables.Payload(unix.NFT_PAYLOAD_NETWORK_HEADER, f.offset, size), nftables.InSet(setName, setID),
		nftables.Verdict(nftables.Drop))
	if err := f.conn.Commit(msgs...); err != nil {
		return fmt.Errorf("make the nftables table %s: %w", table, err)
	}
	return nil
}

// Verify tells what is wrong if the filter in the kernel is not, or no longer, the one
// that Install has made.
func (f *Filter) Verify() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	table := f.table()
	err := f.conn.CheckTable(f.family, table)
	if err == nil {
		err = f.checkChain(table)
	}
	if err == nil {
		err = f.checkSet(table)
	}
	if err != nil {
		return fmt.Errorf("the nftables table %s %w", table, err)
	}
	return nil
}

func (f *Filter) checkChain(table string) error {
	var policy, hook, priority uint32 = nftables.Drop, 0, 0
	err := f.conn.Look(f.message(unix.NFT_MSG_GETCHAIN, 0, nftables.Str(unix.NFTA_CHAIN_TABLE, table), nftables.Str(unix.NFTA_CHAIN_NAME, chainName)),
		func(m netlink.Message) error {
			var where []byte
			err := nftables.Decode(m, func(typ uint16, value []byte) {
				switch typ {
				case unix.NFTA_CHAIN_POLICY:
					policy = nftables.Number(value)
				case unix.NFTA_CHAIN_HOOK:
					where = value
				}
			})
			if err != nil {
				return err
			}
			return nftables.DecodeNest(where, func(typ uint16, value []byte) {
				switch typ {
				case unix.NFTA_HOOK_HOOKNUM:
					hook = nftables.Number(value)
				case unix.NFTA_HOOK_PRIORITY:
					priority = nftables.Number(value)
				}
			})
		})
	if err != nil {
		return err
	}
	rules, err := f.conn.Count(f.message(unix.NFT_MSG_GETRULE, netlink.Dump, nftables.Str(unix.NFTA_RULE_TABLE, table), nftables.Str(unix.NFTA_RULE_CHAIN, chainName)))
	if err == nil && (policy != nftables.Accept || hook != localIn || priority != early || rules != f.rules) {
		err = errForeign
	}
	return err
}

// The kernel makes a set larger some time after it was filled, and who lists it just then
// is told of elements twice, or not of all. So what is found wrong is looked at again, 15 ms
// long, each time after twice the pause.
const (
	looks = 5
	pause = time.Millisecond
)

// checkSet wants our addresses and no others.
func (f *Filter) checkSet(table string) error {
	err := f.lookAtSet(table)
	for look := 1; errors.Is(err, errForeign) && look < looks; look++ {
		time.Sleep(pause << (look - 1))
		err = f.lookAtSet(table)
	}
	return err
}

func (f *Filter) lookAtSet(table string) error {
	found := make(map[netip.Addr]bool, len(f.addrs))
	for _, a := range f.addrs {
		found[a] = false
	}
	missing, foreign := len(found), false
	question := f.message(unix.NFT_MSG_GETSETELEM, netlink.Dump, nftables.Str(unix.NFTA_SET_ELEM_LIST_TABLE, table), nftables.Str(unix.NFTA_SET_ELEM_LIST_SET, setName))
	err := f.conn.Look(question, func(m netlink.Message) error {
		return nftables.Elements(m, func(key []byte) {
			a, _ := netip.AddrFromSlice(key)
			switch seen, ours := found[a]; {
			case !ours:
				foreign = true
			case !seen:
				found[a] = true
				missing--
			}
		})
	})
	if err == nil && (foreign || missing > 0) {
		err = errForeign
	}
	return err
}

// Remove takes the filter away.
func (f *Filter) Remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.conn.Remove(f.family, f.table()), f.conn.Close())
}

// Sweep removes the filters of interfaces that do not exist (any more).
func Sweep() error {
	var c nftables.Conn
	return errors.Join(c.Sweep(unix.NFPROTO_IPV4, tablePrefix), c.Sweep(unix.NFPROTO_IPV6, tablePrefix), c.Close())
}

// Leftovers are the filters that there were at one moment, whosever.
type Leftovers struct {
	names   map[uint8][]string // of tables, by family
	unknown map[uint8]bool     // they could not be listed
}

// Left looks for filters. A kernel or a process that cannot make any has none.
func Left() Leftovers {
	var c nftables.Conn
	defer c.Close()
	l := Leftovers{make(map[uint8][]string), make(map[uint8]bool)}
	for _, family := range [...]uint8{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		names, err := c.Tables(family)
		l.names[family], l.unknown[family] = names, err != nil && !nftables.Unavailable(err)
	}
	return l
}

// Has reports whether a filter of the same interface may be among them.
func (l Leftovers) Has(f *Filter) bool {
	return l.unknown[f.family] || slices.Contains(l.names[f.family], f.table())
}
