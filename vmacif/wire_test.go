package vmacif

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func message(typ netlink.HeaderType, flags netlink.HeaderFlags, seq uint32, body []byte) []byte {
	m := netlink.Message{Header: netlink.Header{Length: uint32(16 + len(body)), Type: typ, Flags: flags, Sequence: seq}, Data: body}
	b, err := m.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return b
}

func TestTally(t *testing.T) {
	code := func(e unix.Errno) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(-int32(e))) }
	ack := func(seq uint32, e unix.Errno) []byte { return message(netlink.Error, 0, seq, code(e)) }
	data := []byte("data")
	odd := errors.New("odd")
	for _, c := range []struct {
		name      string
		datagrams [][]byte
		want      [2]error // of the requests 7 and 8
		open      int
		bodies    int
		err       error
	}{
		{"two acknowledgements", [][]byte{ack(7, 0), ack(8, 0)}, [2]error{}, 0, 0, nil},
		{"the first fails", [][]byte{ack(7, unix.EEXIST), ack(8, 0)}, [2]error{unix.EEXIST}, 0, 0, nil},
		{"the second fails", [][]byte{ack(7, 0), ack(8, unix.EBUSY)}, [2]error{nil, unix.EBUSY}, 0, 0, nil},
		{"one is missing", [][]byte{ack(8, 0)}, [2]error{}, 1, 0, nil},
		{"strangers", [][]byte{ack(6, unix.EPERM), message(16, 0, 9, data), ack(7, 0), ack(8, 0)}, [2]error{}, 0, 0, nil},
		{"data, then the acknowledgement", [][]byte{message(16, 0, 7, data), ack(7, 0), ack(8, 0)}, [2]error{}, 0, 1, nil},
		{"dump", [][]byte{message(16, netlink.Multi, 7, data), message(netlink.Done, netlink.Multi, 7, code(0)), ack(8, 0)}, [2]error{}, 0, 1, nil},
		{"interrupted in the middle", [][]byte{message(16, netlink.Multi|netlink.DumpInterrupted, 7, data), message(netlink.Done, netlink.Multi, 7, code(0)), ack(8, 0)}, [2]error{errInterrupted}, 0, 1, nil},
		{"interrupted at the end", [][]byte{message(netlink.Done, netlink.Multi|netlink.DumpInterrupted, 7, code(0)), ack(8, 0)}, [2]error{errInterrupted}, 0, 0, nil},
		{"bad data", [][]byte{message(16, 0, 7, []byte("odd!")), ack(7, 0), ack(8, 0)}, [2]error{odd}, 0, 1, nil},
		{"cut short", [][]byte{ack(7, 0)[:18]}, [2]error{}, 2, 0, errTruncated},
	} {
		bodies := 0
		y := tally{results: make([]error, 2), open: map[uint32]int{7: 0, 8: 1}, each: func(b []byte) error {
			bodies++
			if string(b) != "data" {
				return odd
			}
			return nil
		}}
		err := y.take(bytes.Join(c.datagrams, nil))
		if !errors.Is(err, c.err) || len(y.open) != c.open || bodies != c.bodies {
			t.Errorf("%s: error %v, %d open, %d bodies", c.name, err, len(y.open), bodies)
		}
		for i, want := range c.want {
			if !errors.Is(y.results[i], want) || (want == nil) != (y.results[i] == nil) {
				t.Errorf("%s: result %d is %v, want %v", c.name, i, y.results[i], want)
			}
		}
	}
}

// A bridge tells of its ports in messages that look like those about links.
func TestDecodeDeviceOfABridge(t *testing.T) {
	body, err := linkBody(5, 0, 0, func(ae *netlink.AttributeEncoder) { ae.String(unix.IFLA_IFNAME, "port0") })
	if err != nil {
		t.Fatal(err)
	}
	if d, ok, err := decodeDevice(body); err != nil || !ok || d.Name != "port0" || d.Index != 5 {
		t.Errorf("link: %+v %t %v", d, ok, err)
	}
	body[0] = unix.AF_BRIDGE
	if d, ok, err := decodeDevice(body); err != nil || ok {
		t.Errorf("port: %+v %t %v", d, ok, err)
	}
}

// A kernel that does not filter dumps by interface.
func TestHeldWithoutStrictChecking(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	l.must(h.wire.conn.SetOption(netlink.GetStrictCheck, false))
	i := l.ensure(h, spec51())
	l.up(i)
	l.wantState("addresses of vrrp51 only", i, true, "192.0.2.200/32")
	l.must(i.RemoveAddrs())
	if addrs, err := h.wire.held(l.link("eth0").Attrs().Index); err != nil || len(addrs) != 1 {
		t.Errorf("addresses of eth0 after RemoveAddrs of vrrp51: %v %v", addrs, err)
	}
}

// More addresses than the answers of one system call have room for are removed, and
// what is asked next is answered.
func TestRemoveAThousandAddresses(t *testing.T) {
	l := newLab(t)
	i := l.ensure(l.hands(), spec51())
	l.up(i)
	for n := range 1000 {
		l.addr("vrrp51", fmt.Sprintf("198.51.%d.%d/32", 100+n/250, n%250+1))
	}
	l.must(i.RemoveAddrs())
	l.wantState("without addresses", i, true)
	l.up(i)
}

// When answers are lost it is said, and the next exchange has its own.
func TestLostAnswers(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	i := l.ensure(h, spec51())
	w := h.wire
	l.must(w.conn.SetReadBuffer(1)) // the least that the kernel allows: a few answers
	var reqs []netlink.Message
	for n := range batch {
		req, err := removeRequest(held{Index: i.Index(), Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), 32)})
		l.must(err)
		reqs = append(reqs, req)
	}
	if _, err := w.exchange(context.Background(), reqs, nil); !errors.Is(err, unix.ENOBUFS) {
		t.Fatalf("%v, want that answers were lost", err)
	}
	began := time.Now()
	l.up(i)
	if took := time.Since(began); took > kernelLimit/2 {
		t.Errorf("the next request took %v", took)
	}
}

// Of many requests it is told which have failed, and with what, although the kernel is asked
// to acknowledge the last one of a system call only.
func TestExchangeTellsWhichFail(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	i := l.ensure(h, spec51())
	var reqs []netlink.Message
	var want []error
	for n := range 3*batch + 2 {
		a := held{Index: i.Index(), Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), 32)}
		req, err := addRequest(a)
		outcome := error(nil)
		if n%5 == 2 {
			req, err = removeRequest(a)
			outcome = unix.EADDRNOTAVAIL
		}
		l.must(err)
		reqs, want = append(reqs, req), append(want, outcome)
	}
	reqs, want = append(reqs, reqs[0]), append(want, unix.EEXIST) // the last one of all
	results, err := h.wire.exchange(t.Context(), reqs, nil)
	l.must(err)
	if !slices.Equal(results, want) {
		t.Errorf("%v, want %v", results, want)
	}
}
