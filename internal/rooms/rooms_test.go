// Package rooms tests that the rooms of the house keep their doors: imports point
// downwards, nothing of the product knows what is for tests, and the core is pure.
package rooms

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors are the packages from the ground up: each imports only from floors below.
var floors = [][]string{
	{"election", "vrrp", "rtnl", "internal/footprint", "internal/realtime", "internal/rundir", "internal/trusted", "internal/nftables", "internal/nlwatch", "internal/pidfd"},
	{"lan", "internal/child"},
	{"lease", "accept", "internal/reexec"},
	{"grouplock/siblings", "vmacif", "control", "health", "hooks", "sysd", "config"},
	{"grouplock"},
	{"daemon", "cmd/atropos/internal/args", "cmd/atropos/internal/show", "cmd/atropos/internal/screen"},
	{"cmd/vrrpd", "cmd/atropos/internal/act"},
	{"cmd/atropos"},
}

// scaffold is for tests and demonstrations; none of the floors may lean on it.
var scaffold = []string{
	"control/controltest",
	"internal/acceptance", "internal/bench", "internal/compliance", "internal/demo", "internal/heapsites", "internal/interleave", "internal/interop",
	"internal/manpage", "internal/netlab", "internal/peers", "internal/promtext", "internal/rooms", "internal/sim", "internal/systemdtest", "internal/vm",
	"internal/vm/guest",
}

// pure are the packages without a clock, a file or a goroutine, and what else they
// may import.
var pure = map[string][]string{
	"election": {"bytes", "math", "net/netip", "slices", "time"},
	"vrrp": {"crypto/hmac", "crypto/md5", "crypto/sha256", "crypto/subtle", "encoding/binary", "errors", "fmt",
		"hash", "iter", "net/netip", "slices", "time"},
	"grouplock/siblings": {"time"},
}

// imports are those of each package of ours, without its tests.
func imports(t *testing.T) map[string][]string {
	all := map[string][]string{}
	const root = "../.."
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != root && (base == "tools" || base == "contrib" || base == "testdata" || base[0] == '.') {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		room := filepath.ToSlash(rel)
		all[room] = append(all[room], []string{}...)
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			what, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			all[room] = append(all[room], what)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d packages were found", len(all))
	}
	return all
}

func TestImportsPointDownwards(t *testing.T) {
	floor := map[string]int{}
	for n, rooms := range floors {
		for _, room := range rooms {
			floor[room] = n + 1
		}
	}
	for room, list := range imports(t) {
		n := floor[room]
		if n == 0 && !slices.Contains(scaffold, room) {
			t.Errorf("%s has no place: give it a floor here and a line in docs/architecture.md", room)
			continue
		}
		for _, i := range list {
			other, ours := strings.CutPrefix(i, "vrrpd/")
			switch {
			case !ours || n == 0:
			case slices.Contains(scaffold, other):
				t.Errorf("%s imports %s, which is for tests", room, other)
			case floor[other] >= n:
				t.Errorf("%s imports %s, which is not below it", room, other)
			}
		}
	}
}

func TestPurity(t *testing.T) {
	all := imports(t)
	for room, allowed := range pure {
		if len(all[room]) == 0 {
			t.Errorf("%s imports nothing: was it looked at?", room)
		}
		for _, i := range all[room] {
			if !slices.Contains(allowed, i) && i != path.Join("vrrpd", "election") {
				t.Errorf("%s imports %s", room, i)
			}
		}
	}
}

// Programs of the user are run by one room, which knows how to end them.
func TestProgramsAreRunByOneRoom(t *testing.T) {
	const runner = "internal/child"
	all := imports(t)
	if !slices.Contains(all[runner], "os/exec") {
		t.Errorf("%s runs nothing: who does?", runner)
	}
	for room, list := range all {
		if room != runner && !slices.Contains(scaffold, room) && slices.Contains(list, "os/exec") {
			t.Errorf("%s imports os/exec: programs are run by %s", room, runner)
		}
	}
}

// Who opens the repository finds every room in the table.
func TestEveryRoomIsInTheTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for room := range imports(t) {
		if !strings.HasPrefix(room, "cmd/") && !strings.Contains(string(text), "`"+room+"`") {
			t.Errorf("docs/architecture.md has no line for %s", room)
		}
	}
}
