package lan

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This is the one file with unsafe in it: sendmmsg and recvmmsg have no
// wrapper in x/sys/unix, and the ones of x/net allocate per message. Neither waits, so
// the runtime need not know of them; see internal/realtime, raw.go.

const (
	// maxSend is how many frames one sendmmsg takes. The runtime is not told of it and
	// cannot stop that thread meanwhile, and a frame costs up to 5 us; on the other hand a call that is
	// told of wakes the runtime's monitor, which costs a tenth of what a batch of 250 does.
	maxSend = 32

	// batchSize is how many frames one recvmmsg takes: the call itself is a
	// few per cent of the batch from here on.
	batchSize = 64

	// frameSize holds a whole Ethernet frame of 1500 bytes. An advert is never
	// longer: 255 IPv4 addresses need 1054 bytes with every header there is.
	frameSize = 1536
)

// mmsghdr is struct mmsghdr: a message and the bytes received or sent.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// outgoing is the argument of sendmmsg, kept to be filled again. It grows to
// the largest batch seen.
type outgoing struct {
	iov  []unix.Iovec
	msgs []mmsghdr
}

// fill points at the first frames, at most maxSend, and returns how many. They have no
// address: they go where the socket is bound to.
func (o *outgoing) fill(frames [][]byte) int {
	n := min(len(frames), maxSend)
	if n > len(o.msgs) {
		size := min(max(2*len(o.msgs), n), maxSend)
		o.iov = make([]unix.Iovec, size)
		o.msgs = make([]mmsghdr, size)
		for i := range o.msgs {
			o.msgs[i].hdr.Iov = &o.iov[i]
			o.msgs[i].hdr.SetIovlen(1)
		}
	}
	for i, f := range frames[:n] {
		o.iov[i].Base = unsafe.SliceData(f)
		o.iov[i].SetLen(len(f))
	}
	return n
}

// release forgets the first n frames, so that they can be collected.
func (o *outgoing) release(n int) { clear(o.iov[:n]) }

// send hands the first n messages to the kernel without waiting. It returns
// how many the kernel took, or 0 and why it refused the first; why it refused
// a later one is told only by a call that starts with that one.
func (o *outgoing) send(fd uintptr, n int) (int, unix.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&o.msgs[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

// headSize is how much of a frame goes into a small buffer: all of an advert of twenty
// IPv4 addresses. The rest goes where a long frame has place, in memory that is not there
// before it is used: 96 KB for each parent.
const headSize = 128

// incoming is the argument of recvmmsg with its buffers.
type incoming struct {
	heads []byte // headSize for each frame
	slots []byte // frameSize for each; the beginning is copied there when a frame is long
	iov   []unix.Iovec
	msgs  []mmsghdr
}

func newIncoming() *incoming {
	in := &incoming{
		heads: make([]byte, batchSize*headSize),
		iov:   make([]unix.Iovec, 2*batchSize),
		msgs:  make([]mmsghdr, batchSize),
	}
	const size = batchSize * frameSize
	if slots, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err == nil {
		in.slots = slots
		runtime.AddCleanup(in, func(b []byte) { _ = unix.Munmap(b) }, slots)
	} else {
		in.slots = make([]byte, size)
	}
	for i := range in.msgs {
		iov := in.iov[2*i:][:2]
		iov[0].Base = &in.heads[i*headSize]
		iov[0].SetLen(headSize)
		iov[1].Base = &in.slots[i*frameSize+headSize]
		iov[1].SetLen(frameSize - headSize)
		in.msgs[i].hdr.Iov = &iov[0]
		in.msgs[i].hdr.SetIovlen(2)
	}
	return in
}

// receive takes what waits in the socket, at most batchSize frames.
func (in *incoming) receive(fd uintptr) (int, unix.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd,
		uintptr(unsafe.Pointer(&in.msgs[0])), uintptr(len(in.msgs)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

// frame is the i-th frame received, from its Ethernet header on; a frame that
// is too long for the buffer is cut.
func (in *incoming) frame(i int) []byte {
	n := int(in.msgs[i].n)
	head := in.heads[i*headSize:][:headSize:headSize]
	if n <= headSize {
		return head[:n]
	}
	slot := in.slots[i*frameSize:][:frameSize:frameSize]
	copy(slot, head)
	return slot[:n]
}
