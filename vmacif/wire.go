package vmacif

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

var (
	errGone        = errors.New("no such interface")
	errInterrupted = errors.New("the table changed during the dump")
	errTruncated   = errors.New("netlink message cut short")
)

// dumpTries is how often a dump that was interrupted by changes is repeated.
const dumpTries = 8

// wire is a raw route netlink connection for what must be fast: several
// changes in one system call, and dumps of one interface, read into one buffer
// that is never kept. The lock makes a request and its answers one; the loop
// and its worker both come here.
type wire struct {
	mu   sync.Mutex
	conn *netlink.Conn
	raw  syscall.RawConn
	buf  []byte

	quick glance
}

func dialWire() (*wire, error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	// Comfort (4.20): dumps are filtered in the kernel, not only here.
	_ = conn.SetOption(netlink.GetStrictCheck, true)
	// A machine may have a smaller default than a batch of answers needs.
	_ = conn.SetReadBuffer(receiveBuffer)
	w := &wire{conn: conn, raw: raw, buf: make([]byte, 64<<10)}
	w.quick.control = w.ask
	return w, nil
}

func (w *wire) Close() error { return w.conn.Close() }

// request builds a message that the kernel acknowledges.
func request(typ uint16, flags netlink.HeaderFlags, body []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(typ),
			Flags: netlink.Request | netlink.Acknowledge | flags,
		},
		Data: body,
	}
}

// batch is how many requests one system call carries out. The kernel does not change threads
// in the middle of one (PREEMPT_NONE, what servers run): what is to be spoken meanwhile on
// that processor waits until it has carried out all of them, and to make or delete an
// interface takes 100 to 300 us. Their answers are in the receive queue before any of them
// is read, that of a creation counted with some 4 KiB; its default size is 208 KiB.
const batch = 8

// receiveBuffer is twice what the kernel gives by default, bytes.
const receiveBuffer = 416 << 10

// exchange sends all requests, in as few system calls as their answers allow, and
// waits until the kernel has finished with each of them. It carries them out in
// order, each on its own, whatever becomes of the others. each, which may be nil,
// sees the body of every answer, valid during the call only. The results are in the
// order of the requests; err is a failure of the connection, after which nothing is
// known of the requests.
func (w *wire) exchange(ctx context.Context, reqs []netlink.Message, each func(body []byte) error) (results []error, err error) {
	if len(reqs) == 0 {
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	end := time.Now().Add(kernelLimit)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	if err := w.conn.SetDeadline(end); err != nil {
		return nil, err
	}
	results = make([]error, 0, len(reqs))
	for some := range slices.Chunk(reqs, batch) {
		done, err := w.send(some, each)
		if err != nil {
			return nil, err
		}
		results = append(results, done...)
	}
	return results, nil
}

// send carries out requests in one system call. Only the last one is acknowledged: the kernel
// answers those that fail in any case, and in order, so what it has said nothing of by then is
// done; to be told so of each would take a system call for each. The caller holds mu and has
// set the deadline.
func (w *wire) send(reqs []netlink.Message, each func(body []byte) error) ([]error, error) {
	reqs = slices.Clone(reqs)
	for i := range reqs[:len(reqs)-1] {
		reqs[i].Header.Flags &^= netlink.Acknowledge
	}
	sent, err := w.conn.SendMessages(reqs)
	if err != nil {
		return nil, err
	}
	t := tally{results: make([]error, len(sent)), open: make(map[uint32]int, len(sent)), each: each}
	for i, m := range sent {
		t.open[m.Header.Sequence] = i
	}
	for last := sent[len(sent)-1].Header.Sequence; t.waits(last); {
		b, err := w.read()
		if err == nil {
			err = t.take(b)
		}
		if err != nil {
			w.drain()
			return nil, err
		}
	}
	return t.results, nil
}

// drain reads what nobody waits for any more. After answers were lost (ENOBUFS) the
// kernel puts no further one into the queue before it is empty: whoever asked next
// would wait in vain.
func (w *wire) drain() {
	_ = w.raw.Read(func(fd uintptr) bool {
		for {
			if _, err := unix.Read(int(fd), w.buf); err == unix.EAGAIN || err != nil && err != unix.EINTR && err != unix.ENOBUFS {
				return true
			}
		}
	})
}

// tally is the state of an exchange while the answers come in.
type tally struct {
	results []error
	open    map[uint32]int // requests that the kernel has not said to have finished with, by sequence
	each    func(body []byte) error
}

// waits reports whether the kernel has not finished with a request yet.
func (t *tally) waits(sequence uint32) bool {
	_, open := t.open[sequence]
	return open
}

// take reads the messages of one datagram.
func (t *tally) take(b []byte) error {
	for len(b) >= unix.NLMSG_HDRLEN {
		length := aligned(int(binary.NativeEndian.Uint32(b)))
		if length < unix.NLMSG_HDRLEN || length > len(b) {
			return errTruncated
		}
		var m netlink.Message
		if err := m.UnmarshalBinary(b[:length]); err != nil {
			return err
		}
		b = b[length:]
		i, ours := t.open[m.Header.Sequence]
		if !ours {
			continue // an answer to something given up earlier
		}
		if m.Header.Flags&netlink.DumpInterrupted != 0 && t.results[i] == nil {
			t.results[i] = errInterrupted
		}
		switch m.Header.Type {
		case netlink.Done, netlink.Error:
			delete(t.open, m.Header.Sequence)
			if len(m.Data) < 4 {
				continue
			}
			if errno := -int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
				t.results[i] = unix.Errno(errno)
			}
		default:
			if t.each == nil {
				continue
			}
			if err := t.each(m.Data); err != nil && t.results[i] == nil {
				t.results[i] = err
			}
		}
	}
	return nil
}

// read receives one datagram into the buffer.
func (w *wire) read() ([]byte, error) {
	var n int
	var rerr error
	err := w.raw.Read(func(fd uintptr) bool {
		for {
			n, rerr = unix.Read(int(fd), w.buf)
			if rerr != unix.EINTR {
				return rerr != unix.EAGAIN
			}
		}
	})
	if err == nil {
		err = rerr
	}
	if err != nil {
		return nil, err
	}
	return w.buf[:n], nil
}

// one sends a single request.
func (w *wire) one(ctx context.Context, req netlink.Message, each func([]byte) error) error {
	results, err := w.exchange(ctx, []netlink.Message{req}, each)
	if err != nil {
		return err
	}
	return results[0]
}

// device reads one interface, by name or, with an empty name, by index. It
// returns errGone when there is none.
func (w *wire) device(name string, index int) (d device, err error) {
	body, err := linkBody(index, 0, 0, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.IFLA_EXT_MASK, skipStats)
		if name != "" {
			ae.String(unix.IFLA_IFNAME, name)
		}
	})
	if err != nil {
		return device{}, err
	}
	found := false
	err = w.one(context.Background(), request(unix.RTM_GETLINK, 0, body), func(b []byte) (err error) {
		d, found, err = decodeDevice(b)
		d.sum = linkSum(b)
		return err
	})
	switch {
	case errors.Is(err, unix.ENODEV):
		return device{}, errGone
	case err != nil:
		return device{}, err
	case !found || (name != "" && d.Name != name): // found by an alternative name
		return device{}, errGone
	}
	return d, nil
}

// devices dumps all interfaces.
func (w *wire) devices() ([]device, error) {
	body, err := linkBody(0, 0, 0, func(ae *netlink.AttributeEncoder) { ae.Uint32(unix.IFLA_EXT_MASK, skipStats) })
	if err != nil {
		return nil, err
	}
	return dump(w, unix.RTM_GETLINK, body, withoutConf)
}

// tuned dumps the interfaces of a link group, with their settings.
func (w *wire) tuned(group uint32) ([]device, error) {
	body, err := linkBody(0, 0, 0, func(ae *netlink.AttributeEncoder) { ae.Uint32(unix.IFLA_EXT_MASK, skipStats) })
	if err != nil {
		return nil, err
	}
	return dump(w, unix.RTM_GETLINK, body, func(b []byte) (device, bool, error) {
		d, ok, err := decodeDevice(b)
		return d, ok && d.Group == group, err
	})
}

// held dumps the IPv4 and IPv6 addresses of one interface, or of all when index
// is zero. An interface that does not exist has none.
func (w *wire) held(index int) ([]held, error) { return w.eachHeld(index, func([]byte) {}) }

// eachHeld is held for who wants to see what the kernel has told of them, too.
func (w *wire) eachHeld(index int, each func(body []byte)) ([]held, error) {
	var all []held
	for _, family := range [...]uint8{unix.AF_INET, unix.AF_INET6} {
		body := make([]byte, unix.SizeofIfAddrmsg)
		body[0] = family
		binary.NativeEndian.PutUint32(body[4:], uint32(index))
		list, err := dump(w, unix.RTM_GETADDR, body, func(b []byte) (held, bool, error) {
			each(b)
			return decodeHeld(b)
		})
		switch {
		case errors.Is(err, unix.ENODEV):
			return nil, nil
		case family == unix.AF_INET6 && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)):
			continue // a kernel without IPv6
		case err != nil:
			return nil, err
		}
		for _, a := range list {
			if index == 0 || a.Index == index {
				all = append(all, a)
			}
		}
	}
	return all, nil
}

// dump repeats a dump until no change interrupted it.
func dump[T any](w *wire, typ uint16, body []byte, decode func([]byte) (T, bool, error)) ([]T, error) {
	for range dumpTries {
		var list []T
		err := w.one(context.Background(), request(typ, netlink.Dump, body), func(b []byte) error {
			v, ok, err := decode(b)
			if ok {
				list = append(list, v)
			}
			return err
		})
		if !errors.Is(err, errInterrupted) {
			return list, err
		}
	}
	return nil, fmt.Errorf("%w, %d times", errInterrupted, dumpTries)
}

// Requests for changes.

func addRequest(a held) (netlink.Message, error) {
	body, err := addrBody(a, addressFlags(a.Prefix))
	return request(unix.RTM_NEWADDR, netlink.Create|netlink.Excl, body), err
}

func removeRequest(a held) (netlink.Message, error) {
	body, err := addrBody(a, 0)
	return request(unix.RTM_DELADDR, 0, body), err
}

func upRequest(index int) (netlink.Message, error) {
	body, err := linkBody(index, unix.IFF_UP, unix.IFF_UP, nil)
	return request(unix.RTM_NEWLINK, 0, body), err
}

// broadcastQueue is how many broadcast frames may wait to be copied to the
// macvlans of one parent. With the kernel's 1,000, bursts were dropped when 250
// of them were up. The largest wish among a parent's macvlans counts.
const broadcastQueue = 4096

// createRequest is the first message of a creation. The kernel tells what comes of it.
func createRequest(spec Spec, parent int, group uint32) (netlink.Message, error) {
	body, err := linkBody(0, 0, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.IFLA_IFNAME, spec.Name)
		ae.Uint32(unix.IFLA_LINK, uint32(parent))
		ae.Uint32(unix.IFLA_GROUP, group)
		ae.Bytes(unix.IFLA_ADDRESS, spec.MAC[:])
		ae.Nested(unix.IFLA_LINKINFO, func(info *netlink.AttributeEncoder) error {
			info.String(unix.IFLA_INFO_KIND, "macvlan")
			info.Nested(unix.IFLA_INFO_DATA, func(data *netlink.AttributeEncoder) error {
				data.Uint32(unix.IFLA_MACVLAN_MODE, modeBridge)
				data.Uint32(unix.IFLA_MACVLAN_BC_QUEUE_LEN, broadcastQueue)
				return nil
			})
			return nil
		})
	})
	return request(unix.RTM_NEWLINK, netlink.Create|netlink.Excl|netlink.Echo, body), err
}

// nameplateRequest is the second message of a creation: alias, link group, and
// no IPv6 address generation, unless the kernel has no IPv6 here.
// settings are those of IPv4 that it is to have.
func nameplateRequest(index int, alias string, group uint32, ipv6 bool, settings []setting) (netlink.Message, error) {
	body, err := linkBody(index, 0, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.IFLA_IFALIAS, alias)
		ae.Uint32(unix.IFLA_GROUP, group)
		if !ipv6 && len(settings) == 0 {
			return
		}
		ae.Nested(unix.IFLA_AF_SPEC, func(families *netlink.AttributeEncoder) error {
			if len(settings) > 0 {
				encodeConf4(families, settings)
			}
			if ipv6 {
				families.Nested(unix.AF_INET6, func(inet6 *netlink.AttributeEncoder) error {
					inet6.Uint8(unix.IFLA_INET6_ADDR_GEN_MODE, genModeNone)
					return nil
				})
			}
			return nil
		})
	})
	return request(unix.RTM_NEWLINK, 0, body), err
}

// modeRequest puts a macvlan into bridge mode.
func modeRequest(index int) (netlink.Message, error) {
	body, err := linkBody(index, 0, 0, func(ae *netlink.AttributeEncoder) {
		ae.Nested(unix.IFLA_LINKINFO, func(info *netlink.AttributeEncoder) error {
			info.String(unix.IFLA_INFO_KIND, "macvlan")
			info.Nested(unix.IFLA_INFO_DATA, func(data *netlink.AttributeEncoder) error {
				data.Uint32(unix.IFLA_MACVLAN_MODE, modeBridge)
				return nil
			})
			return nil
		})
	})
	return request(unix.RTM_NEWLINK, 0, body), err
}

func deleteGroupRequest(group uint32) (netlink.Message, error) {
	body, err := linkBody(0, 0, 0, func(ae *netlink.AttributeEncoder) { ae.Uint32(unix.IFLA_GROUP, group) })
	return request(unix.RTM_DELLINK, 0, body), err
}
