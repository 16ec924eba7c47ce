package nftables

import "golang.org/x/sys/unix"

// Rules are lists of expressions, which load values into registers and judge them.

// Verdicts (linux/netfilter.h).
const (
	Drop   = 0
	Accept = 1
)

// Expr is one expression of a rule.
func Expr(name string, data ...Attr) Attr {
	return Nest(unix.NFTA_LIST_ELEM, Str(unix.NFTA_EXPR_NAME, name), Nest(unix.NFTA_EXPR_DATA, data...))
}

// Verdict ends a rule.
func Verdict(code uint32) Attr {
	return Expr("immediate", Num(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
		Nest(unix.NFTA_IMMEDIATE_DATA, Nest(unix.NFTA_DATA_VERDICT, Num(unix.NFTA_VERDICT_CODE, code))))
}

// Payload loads length bytes of a header (unix.NFT_PAYLOAD_...) into register 1.
func Payload(base, offset, length uint32) Attr {
	return Expr("payload", Num(unix.NFTA_PAYLOAD_DREG, unix.NFT_REG_1), Num(unix.NFTA_PAYLOAD_BASE, base),
		Num(unix.NFTA_PAYLOAD_OFFSET, offset), Num(unix.NFTA_PAYLOAD_LEN, length))
}

// InSet goes on if register 1 is in a set of the table, which has an id within the
// transaction that makes it.
func InSet(name string, id uint32) Attr {
	return Expr("lookup", Str(unix.NFTA_LOOKUP_SET, name), Num(unix.NFTA_LOOKUP_SET_ID, id),
		Num(unix.NFTA_LOOKUP_SREG, unix.NFT_REG_1))
}

// Compare goes on if register 1 compares so (unix.NFT_CMP_...) with a value.
func Compare(op uint32, value ...byte) Attr {
	return Expr("cmp", Num(unix.NFTA_CMP_SREG, unix.NFT_REG_1), Num(unix.NFTA_CMP_OP, op),
		Nest(unix.NFTA_CMP_DATA, Bytes(unix.NFTA_DATA_VALUE, value)))
}

// Protocol loads the protocol of the transport header into register 1.
func Protocol() Attr {
	return Expr("meta", Num(unix.NFTA_META_DREG, unix.NFT_REG_1), Num(unix.NFTA_META_KEY, unix.NFT_META_L4PROTO))
}

// Element is an element of a set.
func Element(key []byte, more ...Attr) Attr {
	return Nest(unix.NFTA_LIST_ELEM, append([]Attr{Nest(unix.NFTA_SET_ELEM_KEY, Bytes(unix.NFTA_DATA_VALUE, key))}, more...)...)
}
