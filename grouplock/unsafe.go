package grouplock

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"vrrpd/election"
)

// This is the package's only use of unsafe. A mapped file comes as bytes and
// must be accessed as 64-bit words, because only those can be loaded and stored
// atomically; and Facts must be seen as words to be copied one by one. Both are
// plain memory without pointers.

// factsWords is the size of election.Facts in words.
const factsWords = int(unsafe.Sizeof(election.Facts{}) / 8)

// A size that is not a multiple of 8 would lose its tail: do not compile.
var _ [0]struct{} = [unsafe.Sizeof(election.Facts{}) % 8]struct{}{}

type factsBlock = [factsWords]uint64

// blockOf is f as words.
func blockOf(f *election.Facts) *factsBlock { return (*factsBlock)(unsafe.Pointer(f)) }

// mapFile maps the first size bytes of an open file, shared. The mapping lives
// until unmap, or until the garbage collector finds it unused: a neighbour's
// record may go while the loop is reading it, and nobody should have to wait.
func mapFile(fd, size int, writable bool) (*cells, error) {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	b, err := unix.Mmap(fd, 0, size, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	c := &cells{words: unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), size/8)}
	undo := runtime.AddCleanup(c, func(b []byte) { unix.Munmap(b) }, b)
	c.unmap = func() {
		undo.Stop()
		unix.Munmap(b)
	}
	return c, nil
}
