package lease

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This is the package's only use of unsafe. The kernel's array of deadlines
// comes as bytes and must be stored to as 64-bit words, because only those are
// seen whole by a program that reads them at the same time.

// cells are deadlines: boottime ns, signed, 0 or less for closed.
type cells struct{ words []int64 }

func (c *cells) load(i int) int64 {
	v := atomic.LoadInt64(&c.words[i])
	runtime.KeepAlive(c) // mapped words are not Go memory and do not keep c
	return v
}

func (c *cells) store(i int, v int64) {
	atomic.StoreInt64(&c.words[i], v)
	runtime.KeepAlive(c)
}

// mapCells maps the first n words of a BPF array. The mapping lives until the
// garbage collector finds it unused, so that a guard that outlives its Guards
// still has memory to store to.
func mapCells(fd, n int) (*cells, error) {
	b, err := unix.Mmap(fd, 0, 8*n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the deadlines: %w", err)
	}
	c := &cells{words: unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(b))), n)}
	runtime.AddCleanup(c, func(b []byte) { _ = unix.Munmap(b) }, b)
	return c, nil
}
