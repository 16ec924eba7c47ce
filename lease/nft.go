package lease

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/nftables"
)

// The guard of one interface is a table of the netdev family:
//
//	table netdev vrrpd-lease-vrrp51 {
//		set open { type 0x0; flags timeout; elements = { 1 timeout 2s } }
//		chain ingress { type filter hook ingress device vrrp51 priority -500; policy drop; (1) in @open accept }
//		chain egress  { type filter hook egress  device vrrp51 priority -500; policy drop; (1) in @open accept }
//	}
//
// It is named after the interface because recent kernels bind its hooks to
// whatever interface comes to have that name.
const (
	tablePrefix = "vrrpd-lease-"
	openSet     = "open"
	openSetID   = 1 // within the transaction that makes it
	openKey     = 1 // the one element
	// earlyPriority is before the chains of a firewall; the kernel puts these
	// first that have the least.
	earlyPriority = -500
)

// nftHooks are the chains, in the order in which they are made.
var nftHooks = [...]struct {
	chain string
	hook  uint32
}{
	{"ingress", 0}, // NF_NETDEV_INGRESS
	{"egress", 1},  // NF_NETDEV_EGRESS
}

// stalled is how long a renewal may take before its timeout, which the kernel
// counts from the end, is taken to be too long.
const stalled = 20 * time.Millisecond

// nft guards interfaces by nftables. The lock makes a request and its answers
// one: the loop renews while a worker attaches.
type nft struct {
	mu   sync.Mutex
	wire nftables.Conn
}

// message is one about the netdev family.
func message(typ uint16, flags netlink.HeaderFlags, attrs ...nftables.Attr) netlink.Message {
	return nftables.Message(unix.NFPROTO_NETDEV, typ, flags, attrs...)
}

func (n *nft) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wire.Close()
}

// trial asks for something that any kernel with nftables can answer.
func (n *nft) trial() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, err := n.wire.Tables(unix.NFPROTO_NETDEV)
	return err
}

// install makes the table, closed; one that exists is replaced in the same
// transaction. The new chains drop from before the old ones go.
func (n *nft) install(t target) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	table := tablePrefix + t.name
	add := message(unix.NFT_MSG_NEWTABLE, netlink.Create, nftables.Str(unix.NFTA_TABLE_NAME, table))
	msgs := []netlink.Message{
		add, // so that it can be deleted in any case
		message(unix.NFT_MSG_DELTABLE, 0, nftables.Str(unix.NFTA_TABLE_NAME, table)),
		add,
		message(unix.NFT_MSG_NEWSET, netlink.Create,
			nftables.Str(unix.NFTA_SET_TABLE, table), nftables.Str(unix.NFTA_SET_NAME, openSet),
			nftables.Num(unix.NFTA_SET_FLAGS, unix.NFT_SET_TIMEOUT),
			nftables.Num(unix.NFTA_SET_KEY_TYPE, 0), nftables.Num(unix.NFTA_SET_KEY_LEN, 4),
			nftables.Num(unix.NFTA_SET_ID, openSetID)),
	}
	for _, h := range nftHooks {
		msgs = append(msgs,
			message(unix.NFT_MSG_NEWCHAIN, netlink.Create,
				nftables.Str(unix.NFTA_CHAIN_TABLE, table), nftables.Str(unix.NFTA_CHAIN_NAME, h.chain),
				nftables.Nest(unix.NFTA_CHAIN_HOOK,
					nftables.Num(unix.NFTA_HOOK_HOOKNUM, h.hook),
					nftables.Num(unix.NFTA_HOOK_PRIORITY, uint32(0xffffffff&(1<<32+earlyPriority))),
					nftables.Str(unix.NFTA_HOOK_DEV, t.name)),
				nftables.Num(unix.NFTA_CHAIN_POLICY, nftables.Drop),
				nftables.Str(unix.NFTA_CHAIN_TYPE, "filter")),
			message(unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append,
				nftables.Str(unix.NFTA_RULE_TABLE, table), nftables.Str(unix.NFTA_RULE_CHAIN, h.chain),
				nftables.Nest(unix.NFTA_RULE_EXPRESSIONS, acceptIfOpen()...)))
	}
	if err := n.wire.Commit(msgs...); err != nil {
		return fmt.Errorf("make the nftables table %s: %w", table, err)
	}
	return nil
}

// acceptIfOpen is the rule: load the key, look it up, accept.
func acceptIfOpen() []nftables.Attr {
	return []nftables.Attr{
		nftables.Expr("immediate", nftables.Num(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_1),
			nftables.Nest(unix.NFTA_IMMEDIATE_DATA, nftables.Num(unix.NFTA_DATA_VALUE, openKey))),
		nftables.InSet(openSet, openSetID),
		nftables.Verdict(nftables.Accept),
	}
}

// set opens the guard until a deadline, or closes it. The kernel wants a
// duration and counts it from the moment in which it carries out the request;
// if that was long after the clock was read (a stop of the process in between),
// the element would outlive the deadline, and is set again.
func (n *nft) set(name string, until int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	table := tablePrefix + name
	for {
		before := boottime()
		msgs := []netlink.Message{message(unix.NFT_MSG_DELSETELEM, 0, // all of them
			nftables.Str(unix.NFTA_SET_ELEM_LIST_TABLE, table), nftables.Str(unix.NFTA_SET_ELEM_LIST_SET, openSet))}
		left := (until - before) / int64(time.Millisecond)
		if until > 0 && left > 0 {
			msgs = append(msgs, message(unix.NFT_MSG_NEWSETELEM, netlink.Create,
				nftables.Str(unix.NFTA_SET_ELEM_LIST_TABLE, table), nftables.Str(unix.NFTA_SET_ELEM_LIST_SET, openSet),
				nftables.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, nftables.Element(binary.BigEndian.AppendUint32(nil, openKey),
					nftables.Num64(unix.NFTA_SET_ELEM_TIMEOUT, uint64(left))))))
		}
		if err := n.wire.Commit(msgs...); err != nil {
			return fmt.Errorf("set the timeout in the nftables table %s: %w", table, err)
		}
		if len(msgs) == 1 || boottime()-before < int64(stalled) {
			return nil
		}
	}
}

func (n *nft) check(t target) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	table := tablePrefix + t.name
	err := n.wire.CheckTable(unix.NFPROTO_NETDEV, table)
	for _, h := range nftHooks {
		if err == nil {
			if err = n.checkChain(table, h.chain, t.name); err != nil {
				err = fmt.Errorf("(chain %s) %w", h.chain, err)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("the nftables table %s %w", table, err)
	}
	return nil
}

// checkChain wants the hook, the policy and the one rule.
func (n *nft) checkChain(table, chain, device string) error {
	policy, on := uint32(nftables.Accept), ""
	err := n.wire.Look(message(unix.NFT_MSG_GETCHAIN, 0, nftables.Str(unix.NFTA_CHAIN_TABLE, table), nftables.Str(unix.NFTA_CHAIN_NAME, chain)), func(m netlink.Message) error {
		var hook []byte
		err := nftables.Decode(m, func(typ uint16, value []byte) {
			switch typ {
			case unix.NFTA_CHAIN_POLICY:
				policy = nftables.Number(value)
			case unix.NFTA_CHAIN_HOOK:
				hook = value
			}
		})
		if err != nil {
			return err
		}
		return nftables.DecodeNest(hook, func(typ uint16, value []byte) {
			if typ == unix.NFTA_HOOK_DEV {
				on = nftables.Text(value)
			}
		})
	})
	if err != nil {
		return err
	}
	rules, err := n.wire.Count(message(unix.NFT_MSG_GETRULE, netlink.Dump, nftables.Str(unix.NFTA_RULE_TABLE, table), nftables.Str(unix.NFTA_RULE_CHAIN, chain)))
	if err != nil {
		return err
	}
	if policy != nftables.Drop || on != device || rules != 1 {
		return errForeign
	}
	return nil
}

// remove deletes the table of an interface, which may have gone.
func (n *nft) remove(t target) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wire.Remove(unix.NFPROTO_NETDEV, tablePrefix+t.name)
}

// sweep deletes the tables of interfaces that do not exist.
func (n *nft) sweep() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wire.Sweep(unix.NFPROTO_NETDEV, tablePrefix)
}
