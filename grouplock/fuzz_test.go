package grouplock

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// FuzzRunDirectory takes any bytes as the files that a dead process has left, and
// reads them as a new one, a survivor and vrrpd --release do: an error or a
// result within the limits, never a panic, and never a directory that nobody can
// start in any more.
func FuzzRunDirectory(f *testing.F) {
	raw := func(c *cells) (b []byte) {
		for _, w := range c.words {
			b = binary.NativeEndian.AppendUint64(b, w)
		}
		return b
	}
	member := heapRecord(1)
	writeIdentity(member, 1, 0, testIdentity("x"))
	member.store(recPublished, 2)
	group := &cells{words: make([]uint64, groupWords)}
	clearGroup(group, [2]uint64{3, 4})
	f.Add(raw(member), raw(group))
	f.Add(raw(member)[:100], raw(group)[:100])
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, member, group []byte) {
		dir := t.TempDir()
		if os.Chmod(dir, 0o755) != nil ||
			os.WriteFile(filepath.Join(dir, "dead"+memberSuffix), member, 0o640) != nil ||
			os.WriteFile(filepath.Join(dir, "g"+groupSuffix), group, 0o640) != nil {
			t.Skip("the directory cannot be made")
		}
		list, _ := List(dir)
		for _, m := range list {
			if m.Status == Alive {
				t.Fatalf("a file that nobody holds is alive: %+v", m)
			}
		}
		if corpse, err := TakeOver(dir, "dead"); err == nil {
			for _, id := range corpse.Member.Routers {
				if id.VRID != 0 && id.check() != nil {
					t.Fatalf("to be cleaned up: %+v", id)
				}
			}
			corpse.GiveBack()
		}
		g, err := Join(Config{Dir: dir, Group: "g", Instance: "new", Wanted: 2, Routers: []Identity{testIdentity("x")}})
		if err != nil {
			return // it says which file is to be removed
		}
		g.Members()
		g.Load()
		if err := g.Leave(); err != nil {
			t.Fatal(err)
		}
	})
}
