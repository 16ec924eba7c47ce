package grouplock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"

	"vrrpd/election"
)

// heapRecord is a record in Go memory, where the race detector watches it.
func heapRecord(capacity int) *cells {
	c := &cells{words: make([]uint64, recordBytes(capacity)/8)}
	writeHeader(c, header{capacity: capacity, start: 1, pid: 2, boot: [2]uint64{3, 4}, wanted: 2, slot: 1, groupIno: 5, group: "g"})
	return c
}

// TestLatchIsNeverTorn lets one goroutine write and others read the same record.
// Under the race detector it also proves that every access is atomic.
func TestLatchIsNeverTorn(t *testing.T) {
	c := heapRecord(1)
	const writes = 50000
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var f election.Facts
			for last := uint64(0); last < writes; {
				if !factsLatch(0).read(c, blockOf(&f)[:]) {
					continue
				}
				n, whole := patternOf(&f)
				if !whole || n < last {
					t.Errorf("torn or old: %v after %d", *blockOf(&f), last)
					return
				}
				last = n
			}
		})
	}
	for n := uint64(1); n <= writes; n++ {
		f := pattern(n)
		factsLatch(0).writeFacts(c, blockOf(&f))
	}
	readers.Wait()
}

// TestInterruptedWriteLeavesTheLastFacts stops a writer between any two stores.
func TestInterruptedWriteLeavesTheLastFacts(t *testing.T) {
	c := heapRecord(1)
	for n := uint64(1); n <= 3; n++ {
		f := pattern(n)
		factsLatch(0).writeFacts(c, blockOf(&f))
	}
	l := factsLatch(0)
	invalid := l.at + 1 + int((c.load(l.at)+1)&1)*l.n
	for i := range l.n {
		c.store(invalid+i, 4) // as the next write would
		var f election.Facts
		if !l.read(c, blockOf(&f)[:]) || f != pattern(3) {
			t.Fatalf("after %d words: %v", i+1, f)
		}
	}
}

func TestPublishStoresOnlyWhatChanged(t *testing.T) {
	c := heapRecord(1)
	l := factsLatch(0)
	f := pattern(1)
	l.writeFacts(c, blockOf(&f))
	seq := c.load(l.at)
	if l.writeFacts(c, blockOf(&f)); c.load(l.at) != seq {
		t.Error("the same facts were written twice")
	}
	for n := range int64(100) {
		f.BeatAt = 100 + n
		if n%7 == 0 {
			f.DownAt = n
		}
		l.writeFacts(c, blockOf(&f))
		var got election.Facts
		if !l.read(c, blockOf(&got)[:]) || got != f {
			t.Fatalf("read %+v, want %+v", got, f)
		}
	}
}

func TestIdentityRoundTrip(t *testing.T) {
	full := Identity{Parent: strings.Repeat("p", 15), VMAC: strings.Repeat("v", 15), Family: 6, VRID: 255, Frame: bytes.Repeat([]byte{0xa5}, MaxFrame)}
	both := testIdentity("x")
	both.Frame, both.Beside = full.Frame[:MaxFrame-100], bytes.Repeat([]byte{0x5a}, 100)
	for _, id := range []Identity{full, both, {Parent: "eth0", Family: 4, VRID: 1}, testIdentity("x")} {
		c := heapRecord(2)
		writeIdentity(c, 2, 1, full)
		writeIdentity(c, 2, 1, id)
		got, known, err := readIdentity(c, 2, 1)
		if err != nil || !known || !equalIdentity(got, id) {
			t.Errorf("%+v came back as %+v, %v, %v", id, got, known, err)
		}
		if _, known, err := readIdentity(c, 2, 0); known || err != nil {
			t.Errorf("an identity out of nothing: %v, %v", known, err)
		}
	}
}

func TestBadIdentityIsRefused(t *testing.T) {
	good := testIdentity("x")
	for name, spoil := range map[string]func(*Identity){
		"no parent":          func(id *Identity) { id.Parent = "" },
		"long parent":        func(id *Identity) { id.Parent = strings.Repeat("e", 16) },
		"slash":              func(id *Identity) { id.Parent = "../all" },
		"dot dot":            func(id *Identity) { id.VMAC = ".." },
		"blank":              func(id *Identity) { id.VMAC = "vrrp 51" },
		"NUL":                func(id *Identity) { id.VMAC = "vrrp\x0051" },
		"family":             func(id *Identity) { id.Family = 5 },
		"VRID 0":             func(id *Identity) { id.VRID = 0 },
		"frame beyond limit": func(id *Identity) { id.Frame = make([]byte, MaxFrame+1) },
		"both beyond limit":  func(id *Identity) { id.Frame, id.Beside = make([]byte, MaxFrame), make([]byte, 1) },
	} {
		id := good
		if spoil(&id); id.check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := good.check(); err != nil {
		t.Error(err)
	}
}

func TestBadHeaderIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(*cells){
		"magic":      func(c *cells) { c.store(recMagic, 1) },
		"unfinished": func(c *cells) { c.store(recMagic, 0) },
		"version":    func(c *cells) { c.store(recVersion, 0) },
		"facts size": func(c *cells) { c.store(recVersion, c.load(recVersion)+8) },
		"capacity":   func(c *cells) { c.store(recCapacity, 2) },
		"overflow":   func(c *cells) { c.store(recCapacity, 1<<62) },
		"size":       func(c *cells) { c.store(recSize, 1<<40) },
		"too short":  func(c *cells) { c.words = c.words[:recHeaderWords] },
		"tiny":       func(c *cells) { c.words = c.words[:3] },
		"pid":        func(c *cells) { c.store(recPid, 1<<40) },
		"start":      func(c *cells) { c.store(recStart, 0) },
		"wanted":     func(c *cells) { c.store(recWanted, MaxProcesses+1) },
		"slot 0":     func(c *cells) { c.store(recSlot, 0) },
		"slot 200":   func(c *cells) { c.store(recSlot, 200) },
		"group end":  func(c *cells) { c.store(recGroupEnd-1, 1<<56-1|0xff<<56) },
		"group path": func(c *cells) { c.store(recGroup, binary.NativeEndian.Uint64([]byte("../../x\x00"))) },
		"no group":   func(c *cells) { c.store(recGroup, 0) },
	} {
		c := heapRecord(1)
		if _, err := readHeader(c); err != nil {
			t.Fatal(err)
		}
		if spoil(c); name == "unfinished" || name == "tiny" {
			if _, err := readHeader(c); !errors.Is(err, errUnfinished) {
				t.Errorf("%s: %v", name, err)
			}
		} else if _, err := readHeader(c); err == nil || errors.Is(err, errUnfinished) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A record has blocks for what is in it, which grow with the longest frame, and the
// successor of a process finds nothing of it.
func TestRecordIsSmall(t *testing.T) {
	cfg := testConfig(runDir(t), "g", "a", 1)
	cfg.Capacity = 1000
	g := mustJoin(t, cfg)
	blocks := func() int64 {
		t.Helper()
		info, err := g.member.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return 512 * info.Sys().(*syscall.Stat_t).Blocks
	}
	short := testIdentity("x")
	for i := range cfg.Capacity {
		if err := g.Describe(i, short); err != nil {
			t.Fatal(err)
		}
	}
	small := blocks()
	if small > int64(recordRoom(cfg.Capacity, usualWords))+4096 {
		t.Errorf("%d bytes of short frames", small)
	}
	long := short
	long.Frame = bytes.Repeat([]byte{0xa5}, MaxFrame)
	if err := g.Describe(999, long); err != nil {
		t.Fatal(err)
	}
	if all := blocks(); all < int64(recordBytes(cfg.Capacity)) || all <= small {
		t.Errorf("%d bytes with a long frame: a hole would kill the process if the file system is full", all)
	}
	for i, want := range map[int]Identity{0: short, 998: short, 999: long} {
		if id, known, err := readIdentity(g.record, cfg.Capacity, i); err != nil || !known || !equalIdentity(id, want) {
			t.Errorf("%d: %+v, %v, %v", i, id, known, err)
		}
	}
	if err := g.Leave(); err != nil {
		t.Fatal(err)
	}
	g = mustJoin(t, cfg)
	if id, known, err := readIdentity(g.record, cfg.Capacity, 999); err != nil || known {
		t.Errorf("a successor finds %+v, %v", id, err)
	}
}

// FuzzRecord reads arbitrary content as a member file and as a group file: an
// error or something within the limits, never a panic.
func FuzzRecord(f *testing.F) {
	raw := func(c *cells) (b []byte) {
		for _, w := range c.words {
			b = binary.NativeEndian.AppendUint64(b, w)
		}
		return b
	}
	c := heapRecord(2)
	writeIdentity(c, 2, 1, testIdentity("x"))
	c.store(recPublished, 2)
	f.Add(raw(c))
	c.store(recPublished, 1<<63)
	c.words[identityLatch(2, 1).word(0, 1)] |= 0xffff << 16
	f.Add(raw(c))
	group := &cells{words: make([]uint64, groupWords)}
	clearGroup(group, [2]uint64{3, 4})
	group.store(grpWord, 1<<40|200<<16)
	f.Add(raw(group))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &cells{}
		for ; len(b) >= 8; b = b[8:] {
			c.words = append(c.words, binary.NativeEndian.Uint64(b))
		}
		if h, err := readHeader(c); err == nil {
			if recordBytes(h.capacity) > 8*len(c.words) || h.capacity > MaxRouters || h.slot == 0 || h.slot > MaxProcesses {
				t.Fatalf("accepted %+v in %d words", h, len(c.words))
			}
			m, err := readMember(c, h, "x")
			if err == nil {
				for _, id := range m.Routers {
					if id.VRID != 0 && id.check() != nil {
						t.Fatalf("accepted %+v", id)
					}
				}
			}
			if len(m.Facts) > h.capacity || len(m.Routers) > h.capacity {
				t.Fatalf("%d facts, %d routers, capacity %d", len(m.Facts), len(m.Routers), h.capacity)
			}
		}
		if checkGroup(c, [2]uint64{3, 4}) == nil {
			sinceWord(c)
			old := election.Word(c.load(grpWord))
			swapWord(c, MaxProcesses, old, old.Next(election.Held, election.Startup), 1)
			if w := unpackWishes(c.load(grpWishes)); unpackWishes(packWishes(w)) != w {
				t.Fatalf("wishes %+v", w)
			}
		}
	})
}
