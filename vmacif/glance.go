package vmacif

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// Nearly every look at an interface finds what the one before has found. So each keeps a
// sum of all that the kernel told it, if that was as it should be, and the next one asks
// for the same and compares sums: a tenth of the code, whose pages can then stay out of
// memory. Only where they differ somebody looks closely.

// right is what was told when an interface was last found to be as it should be.
type right struct {
	sum    sum
	parent int32 // index; 0: it was not
	will   will
}

// will is what an interface is to be, besides its spec.
type will struct{ up, risen bool }

func (i *Iface) will() will { return will{i.up.Load(), i.risen.Load()} }

// asItWas reports that nothing has changed since the interface was as it should be. The
// caller holds mu.
func (i *Iface) asItWas() bool {
	if r := i.right; r.parent != 0 && r.will == i.will() {
		s, ok := i.h.wire.glance(i.Index(), int(r.parent))
		return ok && s == r.sum
	}
	return false
}

// glance is what that needs, made once.
type glance struct {
	request [3 * linkQuery]byte // the longest there is: two links, addresses of one family
	control func(fd uintptr)    // ask, as a value that need not be made each time

	// Of one glance, in and out.
	index, parent int
	sum           sum
	ok            bool
}

// linkQuery is the size of a question for a link: header, ifinfomsg, IFLA_EXT_MASK. That
// for addresses is shorter.
const linkQuery = unix.NLMSG_HDRLEN + unix.SizeofIfInfomsg + unix.SizeofRtAttr + 4

// glance is the sum of an interface, its parent and its addresses (see sum). ok is false
// if something is not as simple as it is as a rule, and says nothing else.
func (w *wire) glance(index, parent int) (s sum, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.quick.index, w.quick.parent, w.quick.ok = index, parent, false
	if w.raw.Control(w.quick.control) != nil {
		return 0, false
	}
	if !w.quick.ok && w.conn.SetDeadline(time.Now().Add(kernelLimit)) == nil { // the last one is over
		w.drain() // some of what was asked may have been answered
	}
	return w.quick.sum, w.quick.ok
}

// ask does it. The kernel answers before the system call that asks is over, and goes on
// with a list while its beginning is read: nothing has to be waited for.
func (w *wire) ask(fd uintptr) {
	q := &w.quick
	q.sum = emptySum
	b := q.request[:0]
	b = appendLinkQuery(b, q.index)
	b = appendLinkQuery(b, q.parent)
	b = appendAddressQuery(b, unix.AF_INET, q.index)
	if !w.told(int(fd), b, 2, 1) {
		return
	}
	b = appendAddressQuery(q.request[:0], unix.AF_INET6, q.index)
	q.ok = w.told(int(fd), b, 0, 1)
}

// told asks, and adds the answers to the sum: links single ones, and lists of addresses
// with their ends.
func (w *wire) told(fd int, request []byte, links, lists int) bool {
	if n, err := unix.Write(fd, request); err != nil || n != len(request) {
		return false
	}
	for links+lists > 0 {
		n, err := unix.Read(fd, w.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return false
		}
		for b := w.buf[:n]; len(b) >= unix.NLMSG_HDRLEN; {
			length := int(binary.NativeEndian.Uint32(b))
			if length < unix.NLMSG_HDRLEN || length > len(b) {
				return false
			}
			m := b[:length]
			b = b[min(aligned(length), len(b)):]
			flags := binary.NativeEndian.Uint16(m[6:])
			if binary.NativeEndian.Uint32(m[8:]) != glanceSequence || flags&unix.NLM_F_DUMP_INTR != 0 {
				return false
			}
			switch body := m[unix.NLMSG_HDRLEN:]; binary.NativeEndian.Uint16(m[4:]) {
			case unix.RTM_NEWLINK:
				w.quick.sum = w.quick.sum.number(uint64(linkSum(body)))
				links--
			case unix.RTM_NEWADDR:
				w.quick.sum = w.quick.sum.number(uint64(addressSum(body)))
			case unix.NLMSG_DONE:
				if len(body) < 4 || binary.NativeEndian.Uint32(body) != 0 {
					return false
				}
				lists--
			default:
				return false
			}
		}
	}
	return links == 0 && lists == 0
}

// glanceSequence tells these messages from the library's, which begins somewhere and
// counts. An answer that is late after an error has been drained.
const glanceSequence = 0x676c616e

func appendHeader(b []byte, length int, typ, flags uint16) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(length))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|flags)
	b = binary.NativeEndian.AppendUint32(b, glanceSequence)
	return binary.NativeEndian.AppendUint32(b, 0)
}

func appendLinkQuery(b []byte, index int) []byte {
	b = appendHeader(b, linkQuery, unix.RTM_GETLINK, 0)
	b = append(b, unix.AF_UNSPEC, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // flags, change
	b = binary.NativeEndian.AppendUint16(b, unix.SizeofRtAttr+4)
	b = binary.NativeEndian.AppendUint16(b, unix.IFLA_EXT_MASK)
	return binary.NativeEndian.AppendUint32(b, skipStats)
}

func appendAddressQuery(b []byte, family uint8, index int) []byte {
	b = appendHeader(b, unix.NLMSG_HDRLEN+unix.SizeofIfAddrmsg, unix.RTM_GETADDR, unix.NLM_F_DUMP)
	b = append(b, family, 0, 0, 0)
	return binary.NativeEndian.AppendUint32(b, uint32(index))
}

// sum is one of FNV-1a over what the kernel has told, but for what changes by itself. Two
// states have the same by accident in one of 10^19 cases.
type sum uint64

const (
	emptySum sum = 14695981039346656037
	fnvPrime sum = 1099511628211
)

func (s sum) bytes(b []byte) sum {
	for _, x := range b {
		s = (s ^ sum(x)) * fnvPrime
	}
	return s
}

func (s sum) number(x uint64) sum {
	for range 8 {
		s = (s ^ sum(x&0xff)) * fnvPrime
		x >>= 8
	}
	return s
}

// Attributes of linux/if_link.h and if_addr.h that change although nobody changes the
// interface, and that decodeDevice and decodeHeld leave alone.
const (
	inet6Stats     = 3 // IFLA_INET6_STATS
	inet6CacheInfo = 5 // IFLA_INET6_CACHEINFO
	inet6ICMPStats = 6 // IFLA_INET6_ICMP6STATS
)

// linkSum is that of the body of an RTM_NEWLINK.
func linkSum(b []byte) sum {
	s := emptySum
	if len(b) < unix.SizeofIfInfomsg {
		return s
	}
	// Of the flags the one that is somebody's will.
	s = s.bytes(b[:8]).number(uint64(binary.NativeEndian.Uint32(b[8:]) & unix.IFF_UP))
	return s.attributes(b[unix.SizeofIfInfomsg:], inLink)
}

// addressSum is that of the body of an RTM_NEWADDR.
func addressSum(b []byte) sum {
	if len(b) < unix.SizeofIfAddrmsg {
		return emptySum
	}
	return emptySum.bytes(b[:unix.SizeofIfAddrmsg]).attributes(b[unix.SizeofIfAddrmsg:], inAddress)
}

// level is where attributes are.
type level int

const (
	inLink     level = iota
	inInfo           // IFLA_LINKINFO
	inFamilies       // IFLA_AF_SPEC
	inInet6          // AF_INET6 there
	inAddress
)

// attributes adds those of a level, with what is in them.
func (s sum) attributes(b []byte, in level) sum {
	bridge := false
	for len(b) >= unix.SizeofRtAttr {
		length, typ := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)
		if length < unix.SizeofRtAttr || length > len(b) {
			break
		}
		value := b[unix.SizeofRtAttr:length]
		b = b[min(aligned(length), len(b)):]
		switch {
		case byItself(typ, in), bridge && typ == unix.IFLA_INFO_DATA: // a bridge's has timers
		case in == inLink && typ == unix.IFLA_LINKINFO:
			s = s.number(uint64(typ)).attributes(value, inInfo)
		case in == inLink && typ == unix.IFLA_AF_SPEC:
			s = s.number(uint64(typ)).attributes(value, inFamilies)
		case in == inFamilies && typ == unix.AF_INET6:
			s = s.number(uint64(typ)).attributes(value, inInet6)
		default:
			// The kernel puts the kind first.
			bridge = bridge || in == inInfo && typ == unix.IFLA_INFO_KIND && string(value) == "bridge\x00"
			s = s.number(uint64(typ)<<32 | uint64(len(value))).bytes(value)
		}
	}
	return s.bytes(b)
}

// byItself: the attribute changes by itself.
func byItself(typ uint16, in level) bool {
	switch in {
	case inLink:
		switch typ {
		case unix.IFLA_STATS, unix.IFLA_STATS64, unix.IFLA_OPERSTATE, unix.IFLA_CARRIER,
			unix.IFLA_CARRIER_CHANGES, unix.IFLA_CARRIER_UP_COUNT, unix.IFLA_CARRIER_DOWN_COUNT:
			return true
		}
	case inInfo:
		return typ == unix.IFLA_INFO_XSTATS || typ == unix.IFLA_INFO_SLAVE_DATA
	case inInet6:
		return typ == inet6Stats || typ == inet6CacheInfo || typ == inet6ICMPStats
	case inAddress:
		return typ == unix.IFA_CACHEINFO
	}
	return false
}

// aligned is where what comes behind something of a length begins, in netlink.
func aligned(length int) int { return (length + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }
