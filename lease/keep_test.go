package lease

import (
	"encoding/json"
	"testing"

	"golang.org/x/sys/unix"
)

// kept is what the next program reads, with descriptors of its own.
func (l *lab) kept(g *Guards) Kept {
	l.Helper()
	text, err := json.Marshal(g.Keep())
	l.must(err)
	var k Kept
	l.must(json.Unmarshal(text, &k))
	same := map[int]int{}
	for i := range k.Blocks {
		b := &k.Blocks[i]
		for _, fd := range []*int{&b.Array, &b.Ingress, &b.Egress} {
			if same[*fd] == 0 {
				same[*fd], err = unix.FcntlInt(uintptr(*fd), unix.F_DUPFD_CLOEXEC, 100)
				l.must(err)
			}
			*fd = same[*fd]
		}
	}
	if got := len(k.Descriptors()); got != len(same) {
		l.Errorf("%d descriptors, want %d", got, len(same))
	}
	return k
}

// A guard that another program goes on with lets pass and stops as that one says; it is
// the same in the kernel, and at no time another one.
func TestAdopt(t *testing.T) {
	eachRung(t, func(l *lab, r Rung) {
		old := l.attach(r)
		until := boottime() + hour
		l.renew(old, until)
		l.want("open", true)
		next, err := Adopt(l.kept(old.g))
		l.must(err)
		defer next.Close()
		text, err := json.Marshal(old.Keep())
		l.must(err)
		var k KeptGuard
		l.must(json.Unmarshal(text, &k))
		g, err := next.Resume(k)
		l.must(err)
		if g.Deadline() != until || g.Rung() != r || g.Index() != old.Index() {
			l.Errorf("deadline %d, rung %v", g.Deadline(), g.Rung())
		}
		l.must(g.Verify())
		l.want("adopted", true)
		l.must(g.Close())
		l.want("closed by the next program", false)
		l.renew(g, boottime()+hour)
		l.want("opened by the next program", true)
		// What the last program has is of no use any more, and is let go.
		l.must(old.g.Close())
		l.must(g.Repair())
		l.must(g.Verify())
		l.want("repaired", true)
		l.must(g.Detach())
	})
}

// Numbers that belong to nothing are errors.
func TestAdoptRefuses(t *testing.T) {
	l := newLab(t)
	l.kernelHas(Clsact)
	old := l.attach(Clsact)
	k := l.kept(old.g)
	g := old.Keep()
	next, err := Adopt(k)
	l.must(err)
	defer next.Close()
	g.Index += blockSize
	if _, err := next.Resume(g); err == nil {
		t.Error("a guard without an array")
	}
	k = l.kept(old.g)
	k.Blocks[0].Entries++
	if _, err := Adopt(k); err == nil {
		t.Error("an array of another size")
	}
	k = l.kept(old.g)
	k.Blocks[0].Array, k.Blocks[0].Ingress = k.Blocks[0].Ingress, k.Blocks[0].Array
	k.Blocks[0].Egress = k.Blocks[0].Ingress
	if _, err := Adopt(k); err == nil {
		t.Error("a program for an array")
	}
}
