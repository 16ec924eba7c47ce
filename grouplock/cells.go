package grouplock

import (
	"errors"
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// cells is memory that several processes share: 64-bit words, each loaded and
// stored atomically. An index is always computed from a size that was checked
// against the length before.
type cells struct {
	words []uint64
	// unmap gives the memory back at once; nil where the memory is not a file.
	// Nobody may use the cells afterwards.
	unmap func()
}

func (c *cells) load(i int) uint64 {
	v := atomic.LoadUint64(&c.words[i])
	runtime.KeepAlive(c) // the words are not Go memory and do not keep c
	return v
}

func (c *cells) store(i int, v uint64) {
	atomic.StoreUint64(&c.words[i], v)
	runtime.KeepAlive(c)
}

func (c *cells) swap(i int, old, new uint64) bool {
	done := atomic.CompareAndSwapUint64(&c.words[i], old, new)
	runtime.KeepAlive(c)
	return done
}

func (c *cells) close() {
	if c.unmap != nil {
		c.unmap()
		c.unmap = nil
	}
}

// A latch is a block of n words that is kept twice behind a sequence number:
//
//	at         sequence number; its lowest bit names the valid copy
//	at+1       copy 0
//	at+1+n     copy 1
//
// One process writes, any number read, nobody waits.
type latch struct{ at, n int }

func (l latch) size() int { return 1 + 2*l.n }

// latchTries bounds a read. A read fails only if the writer completed a change
// meanwhile, which takes it about as long as the read.
const latchTries = 64

// read copies the block into dst, or reports false if the writer was faster
// every time.
func (l latch) read(c *cells, dst []uint64) bool {
	for range latchTries {
		seq := atomic.LoadUint64(&c.words[l.at])
		src := c.words[l.at+1+int(seq&1)*l.n:][:len(dst)]
		for i := range dst {
			dst[i] = atomic.LoadUint64(&src[i])
		}
		if atomic.LoadUint64(&c.words[l.at]) == seq {
			runtime.KeepAlive(c)
			return true
		}
	}
	runtime.KeepAlive(c)
	return false
}

// writeFacts makes src the valid block. Only words that differ are stored, because an atomic
// store costs as much as comparing twenty words. Nobody else writes, so what is there is
// what was stored.
func (l latch) writeFacts(c *cells, src *factsBlock) {
	seq := c.load(l.at)
	there, last := l.copy(c, seq), len(src)-1
	for last >= 0 && src[last] == there[last] { // the heartbeat is behind most of the others
		last--
	}
	if last < 0 {
		return
	}
	seq++
	dst := l.copy(c, seq)
	for i, v := range src {
		if dst[i] != v {
			atomic.StoreUint64(&dst[i], v)
		}
	}
	c.store(l.at, seq)
}

// copy is the one that a sequence number names, of facts, for who writes them.
func (l latch) copy(c *cells, seq uint64) *factsBlock {
	return (*factsBlock)(c.words[l.at+1+int(seq&1)*l.n:])
}

// guard runs read and reports false if the memory was not there: the file has
// been truncated under the mapping.
func guard(read func()) (ok bool) {
	defer armFault().disarm(&ok)
	ok = true
	read()
	return ok
}

// errCut: the file is shorter than the mapping.
var errCut = errors.New("the file has been cut off while it was in use")

// guarded is guard for a read that can fail by itself.
func guarded(read func() error) (err error) {
	if !guard(func() { err = read() }) {
		return errCut
	}
	return err
}

// fault is what debug.SetPanicOnFault returned before armFault.
type fault bool

func armFault() fault { return fault(debug.SetPanicOnFault(true)) }

// disarm must be deferred. It turns a memory fault into *ok == false; every
// other panic goes on.
func (f fault) disarm(ok *bool) {
	debug.SetPanicOnFault(bool(f))
	switch r := recover().(type) {
	case nil:
	case interface{ Addr() uintptr }:
		*ok = false
	default:
		panic(r)
	}
}
