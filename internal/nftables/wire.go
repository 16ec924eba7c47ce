package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// limit bounds the wait for an answer that the kernel has ready when the
// request has been sent.
const limit = 5 * time.Second

// Conn speaks to nftables, in the network namespace of the thread that first uses it.
// A connection on which anything went wrong is thrown away, so that no late answer is
// taken for another's. The zero value is ready; it is not for concurrent use.
type Conn struct{ conn *netlink.Conn }

func (c *Conn) dial() (*netlink.Conn, error) {
	if c.conn == nil {
		conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return nil, fmt.Errorf("connect to nftables: %w", err)
		}
		c.conn = conn
	}
	return c.conn, c.conn.SetDeadline(time.Now().Add(limit))
}

// Close ends it; it may be used again afterwards.
func (c *Conn) Close() error {
	if c.conn == nil {
		return nil
	}
	conn := c.conn
	c.conn = nil
	return conn.Close()
}

// broken is err, and the end of the connection.
func (c *Conn) broken(err error) error { return errors.Join(err, c.Close()) }

// Commit carries out the messages as one transaction: all or nothing.
func (c *Conn) Commit(msgs ...netlink.Message) error {
	conn, err := c.dial()
	if err != nil {
		return c.broken(err)
	}
	batch := make([]netlink.Message, 0, len(msgs)+2)
	batch = append(batch, bracket(unix.NFNL_MSG_BATCH_BEGIN))
	batch = append(batch, msgs...)
	batch = append(batch, bracket(unix.NFNL_MSG_BATCH_END))
	// The kernel tells every error, and success once, for the last message.
	last := len(batch) - 2
	batch[last].Header.Flags |= netlink.Acknowledge
	sent, err := conn.SendMessages(batch)
	if err != nil {
		return c.broken(err)
	}
	for {
		got, err := conn.Receive()
		if err != nil {
			return c.broken(err)
		}
		for _, m := range got {
			if m.Header.Sequence == sent[last].Header.Sequence {
				return nil
			}
		}
	}
}

// Ask sends one question and returns the answers.
func (c *Conn) Ask(m netlink.Message) ([]netlink.Message, error) {
	conn, err := c.dial()
	if err != nil {
		return nil, c.broken(err)
	}
	got, err := conn.Execute(m)
	if errors.Is(err, unix.ENOENT) {
		return nil, err // an answer like any other, and the only one
	}
	if err != nil {
		return nil, c.broken(err)
	}
	return got, nil
}

// nfgenmsg is the header under the header: family, version 0, resource.
func nfgenmsg(family uint8, resource uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{family, 0}, resource)
}

func bracket(typ uint16) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request},
		Data:   nfgenmsg(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES),
	}
}

// Message is a message about one family of tables (unix.NFPROTO_...).
func Message(family uint8, typ uint16, flags netlink.HeaderFlags, attrs ...Attr) netlink.Message {
	body := nfgenmsg(family, 0)
	for _, a := range attrs {
		body = a.append(body)
	}
	return netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | typ),
			Flags: netlink.Request | flags,
		},
		Data: body,
	}
}

// Attr is one netlink attribute: bytes, or other attributes.
type Attr struct {
	typ   uint16
	value []byte
	nest  []Attr
}

// Str is a string, with its end.
func Str(typ uint16, s string) Attr { return Attr{typ: typ, value: append([]byte(s), 0)} }

// Num is a number of 32 bits.
func Num(typ uint16, v uint32) Attr {
	return Attr{typ: typ, value: binary.BigEndian.AppendUint32(nil, v)}
}

// Num64 is a number of 64 bits.
func Num64(typ uint16, v uint64) Attr {
	return Attr{typ: typ, value: binary.BigEndian.AppendUint64(nil, v)}
}

// Bytes is whatever else there is.
func Bytes(typ uint16, b []byte) Attr { return Attr{typ: typ, value: b} }

// Nest is made of attributes.
func Nest(typ uint16, attrs ...Attr) Attr {
	return Attr{typ: typ | unix.NLA_F_NESTED, nest: attrs}
}

func (a Attr) append(b []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	if a.nest != nil {
		for _, n := range a.nest {
			b = n.append(b)
		}
	} else {
		b = append(b, a.value...)
	}
	binary.NativeEndian.PutUint16(b[start:], uint16(len(b)-start))
	binary.NativeEndian.PutUint16(b[start+2:], a.typ)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// TypeOf is what a message is about (unix.NFT_MSG_...).
func TypeOf(m netlink.Message) uint16 { return uint16(m.Header.Type) & 0xff }

// TableOf is the table that a message of the kernel's is about, whose name is the first
// attribute of every message about a table and what is in it; "" for all others.
func TableOf(m netlink.Message) (family uint8, table string) {
	if TypeOf(m) == unix.NFT_MSG_NEWGEN {
		return 0, ""
	}
	// A message that cannot be decoded leads nowhere.
	_ = Decode(m, func(typ uint16, value []byte) {
		if typ == unix.NFTA_TABLE_NAME && table == "" {
			family, table = m.Data[0], Text(value)
		}
	})
	return family, table
}

// Decode calls each for every attribute of an answer.
func Decode(m netlink.Message, each func(typ uint16, value []byte)) error {
	const header = 4 // nfgenmsg
	if len(m.Data) < header {
		return errors.New("answer of nftables cut short")
	}
	return DecodeNest(m.Data[header:], each)
}

// DecodeNest is Decode for the value of an attribute.
func DecodeNest(b []byte, each func(typ uint16, value []byte)) error {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return err
	}
	for d.Next() {
		each(d.Type(), d.Bytes())
	}
	return d.Err()
}

// Text is a string attribute without its end.
func Text(value []byte) string {
	for i, c := range value {
		if c == 0 {
			return string(value[:i])
		}
	}
	return string(value)
}

// Number is a 32-bit attribute, 0 if it is none.
func Number(value []byte) uint32 {
	if len(value) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(value)
}
