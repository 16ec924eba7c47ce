package lease

import (
	"errors"
	"fmt"
	"net"
	"strings"
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

// Of linux/netfilter.h and linux/netfilter/nf_tables.h, not in package unix.
const (
	nfDrop       = 0
	nfAccept     = 1
	tableDormant = 1 // NFT_TABLE_F_DORMANT
)

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
	_, err := n.tables()
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
				nftables.Num(unix.NFTA_CHAIN_POLICY, nfDrop),
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
	expr := func(name string, data ...nftables.Attr) nftables.Attr {
		return nftables.Nest(unix.NFTA_LIST_ELEM, nftables.Str(unix.NFTA_EXPR_NAME, name), nftables.Nest(unix.NFTA_EXPR_DATA, data...))
	}
	return []nftables.Attr{
		expr("immediate", nftables.Num(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_1),
			nftables.Nest(unix.NFTA_IMMEDIATE_DATA, nftables.Num(unix.NFTA_DATA_VALUE, openKey))),
		expr("lookup", nftables.Str(unix.NFTA_LOOKUP_SET, openSet), nftables.Num(unix.NFTA_LOOKUP_SET_ID, openSetID),
			nftables.Num(unix.NFTA_LOOKUP_SREG, unix.NFT_REG_1)),
		expr("immediate", nftables.Num(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
			nftables.Nest(unix.NFTA_IMMEDIATE_DATA, nftables.Nest(unix.NFTA_DATA_VERDICT, nftables.Num(unix.NFTA_VERDICT_CODE, nfAccept)))),
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
				nftables.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, nftables.Nest(unix.NFTA_LIST_ELEM,
					nftables.Nest(unix.NFTA_SET_ELEM_KEY, nftables.Num(unix.NFTA_DATA_VALUE, openKey)),
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
	dormant := false
	err := n.look(unix.NFT_MSG_GETTABLE, 0, []nftables.Attr{nftables.Str(unix.NFTA_TABLE_NAME, table)}, func(m netlink.Message) error {
		return nftables.Decode(m, func(typ uint16, value []byte) {
			if typ == unix.NFTA_TABLE_FLAGS {
				dormant = nftables.Number(value)&tableDormant != 0
			}
		})
	})
	if err == nil && dormant {
		err = errors.New("has been switched off")
	}
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
	policy, on := uint32(nfAccept), ""
	err := n.look(unix.NFT_MSG_GETCHAIN, 0, []nftables.Attr{nftables.Str(unix.NFTA_CHAIN_TABLE, table), nftables.Str(unix.NFTA_CHAIN_NAME, chain)}, func(m netlink.Message) error {
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
	rules := 0
	err = n.look(unix.NFT_MSG_GETRULE, netlink.Dump, []nftables.Attr{nftables.Str(unix.NFTA_RULE_TABLE, table), nftables.Str(unix.NFTA_RULE_CHAIN, chain)}, func(netlink.Message) error {
		rules++
		return nil
	})
	if err != nil {
		return err
	}
	if policy != nfDrop || on != device || rules != 1 {
		return errForeign
	}
	return nil
}

// look asks and hands out the answers; what does not exist is errMissing.
func (n *nft) look(typ uint16, flags netlink.HeaderFlags, attrs []nftables.Attr, each func(netlink.Message) error) error {
	got, err := n.wire.Ask(message(typ, flags, attrs...))
	if errors.Is(err, unix.ENOENT) {
		return errMissing
	}
	if err != nil {
		return err
	}
	for _, m := range got {
		if err := each(m); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the table of an interface, which may have gone. A kernel or a
// process that cannot do it could not have made it either. It looks first: the
// kernel takes a grace period of RCU (14 ms) to say that a table to be deleted
// does not exist.
func (n *nft) remove(t target) error {
	n.mu.Lock()
	err := n.look(unix.NFT_MSG_GETTABLE, 0, []nftables.Attr{nftables.Str(unix.NFTA_TABLE_NAME, tablePrefix+t.name)}, func(netlink.Message) error { return nil })
	n.mu.Unlock()
	switch {
	case errors.Is(err, errMissing) || unavailable(err):
		return nil
	case err != nil:
		return fmt.Errorf("look for the nftables table %s%s: %w", tablePrefix, t.name, err)
	}
	return n.delete(tablePrefix + t.name)
}

func (n *nft) delete(table string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.wire.Commit(message(unix.NFT_MSG_DELTABLE, 0, nftables.Str(unix.NFTA_TABLE_NAME, table)))
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("delete the nftables table %s: %w", table, err)
}

// unavailable tells that this process has no nftables.
func unavailable(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) ||
		errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EINVAL)
}

// sweep deletes the tables of interfaces that do not exist.
func (n *nft) sweep() error {
	tables, err := n.tables()
	if err != nil {
		if unavailable(err) {
			return nil
		}
		return err
	}
	var errs []error
	for _, table := range tables {
		name, ours := strings.CutPrefix(table, tablePrefix)
		if !ours {
			continue
		}
		// The table was made after its interface, so an interface that is
		// missing now has gone since.
		if _, err := net.InterfaceByName(name); err != nil {
			errs = append(errs, n.delete(table))
		}
	}
	return errors.Join(errs...)
}

// tables lists the tables of the netdev family.
func (n *nft) tables() ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	err := n.look(unix.NFT_MSG_GETTABLE, netlink.Dump, nil, func(m netlink.Message) error {
		return nftables.Decode(m, func(typ uint16, value []byte) {
			if typ == unix.NFTA_TABLE_NAME {
				names = append(names, nftables.Text(value))
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list the nftables tables: %w", err)
	}
	return names, nil
}
