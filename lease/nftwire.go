package lease

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nftLimit bounds the wait for an answer that the kernel has ready when the
// request has been sent.
const nftLimit = 5 * time.Second

// nftWire speaks to nftables. A connection on which anything went wrong is
// thrown away, so that no late answer is taken for another's.
type nftWire struct{ conn *netlink.Conn }

func (w *nftWire) dial() (*netlink.Conn, error) {
	if w.conn == nil {
		conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return nil, fmt.Errorf("connect to nftables: %w", err)
		}
		w.conn = conn
	}
	return w.conn, w.conn.SetDeadline(time.Now().Add(nftLimit))
}

func (w *nftWire) close() error {
	if w.conn == nil {
		return nil
	}
	conn := w.conn
	w.conn = nil
	return conn.Close()
}

// broken is err, and the end of the connection.
func (w *nftWire) broken(err error) error { return errors.Join(err, w.close()) }

// commit carries out the messages as one transaction: all or nothing.
func (w *nftWire) commit(msgs ...netlink.Message) error {
	conn, err := w.dial()
	if err != nil {
		return w.broken(err)
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
		return w.broken(err)
	}
	for {
		got, err := conn.Receive()
		if err != nil {
			return w.broken(err)
		}
		for _, m := range got {
			if m.Header.Sequence == sent[last].Header.Sequence {
				return nil
			}
		}
	}
}

// ask sends one question and returns the answers.
func (w *nftWire) ask(m netlink.Message) ([]netlink.Message, error) {
	conn, err := w.dial()
	if err != nil {
		return nil, w.broken(err)
	}
	got, err := conn.Execute(m)
	if errors.Is(err, unix.ENOENT) {
		return nil, err // an answer like any other, and the only one
	}
	if err != nil {
		return nil, w.broken(err)
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

// nftMessage is a message about the netdev family.
func nftMessage(typ uint16, flags netlink.HeaderFlags, attrs ...attr) netlink.Message {
	body := nfgenmsg(unix.NFPROTO_NETDEV, 0)
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

// attr is one netlink attribute: bytes, or other attributes.
type attr struct {
	typ   uint16
	value []byte
	nest  []attr
}

func str(typ uint16, s string) attr { return attr{typ: typ, value: append([]byte(s), 0)} }

func num(typ uint16, v uint32) attr {
	return attr{typ: typ, value: binary.BigEndian.AppendUint32(nil, v)}
}

func num64(typ uint16, v uint64) attr {
	return attr{typ: typ, value: binary.BigEndian.AppendUint64(nil, v)}
}

func nest(typ uint16, attrs ...attr) attr {
	return attr{typ: typ | unix.NLA_F_NESTED, nest: attrs}
}

func (a attr) append(b []byte) []byte {
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

// decode calls each for every attribute of an answer.
func decode(m netlink.Message, each func(typ uint16, value []byte)) error {
	const header = 4 // nfgenmsg
	if len(m.Data) < header {
		return errors.New("answer of nftables cut short")
	}
	return decodeNest(m.Data[header:], each)
}

func decodeNest(b []byte, each func(typ uint16, value []byte)) error {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return err
	}
	for d.Next() {
		each(d.Type(), d.Bytes())
	}
	return d.Err()
}

// text is a string attribute without its end.
func text(value []byte) string {
	for i, c := range value {
		if c == 0 {
			return string(value[:i])
		}
	}
	return string(value)
}

// number is a 32-bit attribute, 0 if it is none.
func number(value []byte) uint32 {
	if len(value) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(value)
}
