package election

import (
	"bytes"
	"net/netip"
	"time"
)

// Fault is a set of reasons why one member cannot serve. The bits are facts,
// set and cleared by events; group-wide faults (a missing or stuck member, the
// operator's hold) are derived and have no bit.
type Fault uint32

const (
	FaultLinkDown Fault = 1 << iota
	FaultParentGone
	FaultNoAddress
	FaultSend
	FaultInterface
	FaultCheck
)

var faultReasons = [...]Reason{LinkDown, ParentGone, NoAddress, SendFailed, InterfaceFault, CheckFailed}

// Reason is the word for the most basic fault of the set: a parent that is gone
// is not reported as one without address.
func (f Fault) Reason() Reason {
	switch {
	case f&FaultParentGone != 0:
		return ParentGone
	case f == 0:
		return NoReason
	}
	for i, r := range faultReasons {
		if f&(1<<i) != 0 {
			return r
		}
	}
	return NoReason
}

// Addr16 is an IP address as 16 bytes in network order, IPv4 mapped into IPv6:
// comparable across processes and free of pointers. The zero value is "none".
type Addr16 [16]byte

// AddrFrom converts; an invalid address becomes the zero value.
func AddrFrom(a netip.Addr) Addr16 {
	if !a.IsValid() {
		return Addr16{}
	}
	return a.As16()
}

// Addr converts back; the zero value becomes the invalid address.
func (a Addr16) Addr() netip.Addr {
	if a == (Addr16{}) {
		return netip.Addr{}
	}
	return netip.AddrFrom16(a).Unmap()
}

// Compare orders addresses as unsigned numbers in network order (RFC 9568
// section 6.4.3).
func (a Addr16) Compare(b Addr16) int { return bytes.Compare(a[:], b[:]) }

// MAC is an Ethernet address; the zero value is "unknown".
type MAC [6]byte

// Facts is what one member knows: a fixed-size record without pointers, which
// its own process writes and every process of the machine reads. Deadlines are
// absolute, so that a reader needs no message to know that one has passed.
// The layout is part of the run directory's format (see grouplock).
type Facts struct {
	// Identity, fixed for the life of the record.
	VIP      Addr16 // first virtual address
	Interval int64  // own advertisement interval, ns
	Family   uint8  // 4 or 6
	VRID     uint8  // 1..255
	Version  uint8  // VRRP version spoken, 2 or 3
	Priority uint8  // configured priority, 1..255 (the group's is the minimum)
	Preempt  uint8  // 1: preemption wanted
	Joining  uint8  // 1: added while the group runs, no vote yet
	Stopping uint8  // 1: the process wants to leave
	_        uint8
	Faults   Fault
	Weight   int32 // what the checks of its process add to the group's priority; one member says it

	// What was heard.
	DownAt     Time   // master-down timer: silence is complete from here on
	P0At       Time   // priority 0 of the accepted master was heard; 0: none
	HeardAt    Time   // last advert of any priority > 0
	InferiorAt Time   // last advert of a master that we would preempt
	AccAt      Time   // last accepted advert (it vetoes a promotion)
	AccSrc     Addr16 // its source address
	AccMAC     MAC    // its source MAC
	_          [2]uint8
	Learned    int64 // v3: the master's interval, ns; v2: the own interval

	// Asking (ask before take).
	AskFrom Time  // the question (its t0) that the three fields below belong to
	Probes  int64 // probes sent since AskFrom, or since the last answer
	AnsAt   Time  // last answer that counts
	NoAsk   int64 // 1: this member cannot be asked (unicast peers)

	// What was done.
	SentAt   Time   // clock read before the last advert that was really sent
	LeaseAt  Time   // end of the lease that it renewed, or by when the first one is due; 0: none
	HoldAt   Time   // hold-down: not electable before
	BeatAt   Time   // the owner's loop was alive here
	Prepared uint64 // epoch whose PREPARE this member has completed
	Seen     uint64 // epoch that the owner has obeyed
	Quiet    uint64 // epoch in which the master that we preempt was found silent here
}

// SkewTime is how much later than a perfect peer a router of priority p gives
// up on its master: exact, never rounded (RFC 3768 and RFC 9568 section 6.1).
// In v2 it does not depend on the interval; in v3 it scales with the master's.
func SkewTime(version, p uint8, masterInterval time.Duration) time.Duration {
	if version == 2 {
		masterInterval = time.Second
	}
	return time.Duration(256-int64(p)) * masterInterval / 256
}

// MasterDownInterval is three of the master's intervals plus the skew time
// (RFC 3768 and RFC 9568 section 6.1).
func MasterDownInterval(version, p uint8, masterInterval time.Duration) time.Duration {
	return 3*masterInterval + SkewTime(version, p, masterInterval)
}

func (f *Facts) master() time.Duration {
	if f.Version == 3 && f.Learned > 0 {
		return time.Duration(f.Learned)
	}
	return time.Duration(f.Interval)
}

func (f *Facts) skew(p uint8) int64 { return int64(SkewTime(f.Version, p, f.master())) }
func (f *Facts) down(p uint8) int64 { return int64(MasterDownInterval(f.Version, p, f.master())) }

// silent reports that no master is heard on the member's LAN any more.
func (f *Facts) silent(now Time) bool { return now >= f.DownAt }

// Deaf reports that nobody, of whatever priority, has been heard for the
// master-down interval of the most patient router.
func (f *Facts) Deaf(now Time) bool { return f.HeardAt == 0 || now-f.HeardAt > f.down(1) }

// underdog reports that a master of lower priority than ours is heard, which has
// not resigned.
func (f *Facts) underdog(now Time) bool {
	return f.P0At == 0 && f.InferiorAt != 0 && now-f.InferiorAt <= f.down(1)
}

// listened reports that the owner has looked since the master-down timer fired.
// After the whole machine has been stopped every timer has; the process that
// wakes first must not take for silence what its siblings have not read yet.
func (f *Facts) listened() bool { return f.BeatAt >= f.DownAt }

// before orders members; the lowest is the group's reference member, on which
// ties are decided. Every machine of the group finds the same one.
func (f *Facts) before(g *Facts) bool {
	if f.Family != g.Family {
		return f.Family < g.Family
	}
	if f.VRID != g.VRID {
		return f.VRID < g.VRID
	}
	return f.VIP.Compare(g.VIP) < 0
}
