package vmacif

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// journal is that of eth0.
func (l *lab) journal(h *Hands) *journal {
	l.Helper()
	b, err := os.ReadFile(l.journalFile(h))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	l.must(err)
	return parseJournal(filepath.Base(l.journalFile(h)), b)
}

func (l *lab) journalFile(h *Hands) string {
	l.Helper()
	_, netns, err := here()
	l.must(err)
	return filepath.Join(h.journals().path, journalName(netns, l.link("eth0").Attrs().Index))
}

// store writes a journal as another process would.
func (l *lab) store(h *Hands, n *journal) {
	l.Helper()
	j, err := h.journals().lock()
	l.must(err)
	defer j.unlock()
	l.must(j.store(n))
}

func (l *lab) wantParent(ignore, announce string) {
	l.Helper()
	l.wantSysctl("ipv4", "eth0", "arp_ignore", ignore)
	l.wantSysctl("ipv4", "eth0", "arp_announce", announce)
}

// Two processes on one parent: the last one to leave restores.
func TestJournalOfTwo(t *testing.T) {
	l := newLab(t)
	l.sysctl("ipv4", "eth0", "arp_announce", "1")
	a, b := l.hands(), l.hands()
	one, two := spec(51, "eth0", "192.0.2.200"), spec(52, "eth0", "192.0.2.201")
	l.alive[one.Owner], l.alive[two.Owner] = true, true
	for _, first := range []bool{true, false} {
		i, k := l.ensure(a, one), l.ensure(b, two)
		if j := l.journal(a); !slices.Equal(j.Users, []string{one.Owner, two.Owner}) || j.Values["ipv4/arp_announce"] != (change{"1", "2"}) {
			t.Errorf("journal %+v", j)
		}
		if !first {
			i, k = k, i
		}
		l.must(i.Delete())
		l.wantParent("1", "2")
		l.must(k.Delete())
		l.wantParent("0", "1")
		if l.journal(a) != nil {
			t.Error("the journal is still there")
		}
	}
}

// One of two dies. It must not keep the parent for ever, nor lose what was.
func TestJournalWithADeadUser(t *testing.T) {
	l := newLab(t)
	one, two := spec(51, "eth0", "192.0.2.200"), spec(52, "eth0", "192.0.2.201")
	l.alive[one.Owner], l.alive[two.Owner] = true, true
	i := l.ensure(l.hands(), one)
	l.ensure(l.hands(), two)
	l.alive[two.Owner] = false
	l.must(i.Delete())
	l.wantParent("0", "0")

	// Both die; a third one comes and goes.
	l.must(l.hands().Release("vrrp52", "eth0-52"))
	l.ensure(l.hands(), one)
	l.alive[one.Owner] = false
	three := spec(53, "eth0", "192.0.2.203")
	k := l.ensure(l.hands(), three)
	if j := l.journal(l.hands()); !slices.Equal(j.Users, []string{three.Owner}) {
		t.Errorf("users %v", j.Users)
	}
	l.wantParent("1", "2")
	l.must(k.Delete())
	l.wantParent("0", "0")
}

// What somebody else has set meanwhile stays.
func TestJournalAndSomebodyElse(t *testing.T) {
	l := newLab(t)
	i := l.ensure(l.hands(), spec51())
	l.sysctl("ipv4", "eth0", "arp_ignore", "2")
	l.must(i.Delete())
	l.wantParent("2", "0")

	// The same across a crash: the next instance takes what it finds for what
	// is to be restored.
	l.sysctl("ipv4", "eth0", "arp_ignore", "0")
	l.ensure(l.hands(), spec51())
	l.sysctl("ipv4", "eth0", "arp_announce", "1")
	i = l.ensure(l.hands(), spec51())
	l.wantParent("1", "2")
	l.must(i.Delete())
	l.wantParent("0", "1")
}

func TestJournalSurvivesRenaming(t *testing.T) {
	l := newLab(t)
	i := l.ensure(l.hands(), spec51())
	l.must(l.nl.LinkSetName(l.link("eth0"), "lan0"))
	l.must(i.Delete())
	l.wantSysctl("ipv4", "lan0", "arp_ignore", "0")
	l.wantSysctl("ipv4", "lan0", "arp_announce", "0")
}

// A journal from before a reboot, of another namespace, or one that somebody
// has edited, is not believed.
func TestJournalOfAnotherWorld(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	edit := func(change func(*journal)) {
		t.Helper()
		j := l.journal(h)
		change(j)
		l.store(h, j)
	}
	lies := func(j *journal) { j.Values["ipv4/arp_ignore"] = entry("7", "1") }

	l.ensure(h, spec51())
	edit(func(j *journal) { j.Boot = "another"; lies(j) })
	l.must(l.hands().Release("vrrp51", "eth0-51"))
	l.wantParent("1", "2") // nothing is known of before, so nothing is touched
	if l.journal(h) != nil {
		t.Error("a journal from before the reboot is kept")
	}
	l.sysctl("ipv4", "eth0", "arp_ignore", "0")
	l.sysctl("ipv4", "eth0", "arp_announce", "0")

	l.ensure(h, spec51())
	edit(func(j *journal) { j.Boot = "another"; lies(j) })
	i := l.ensure(h, spec51())
	l.must(i.Delete())
	l.wantParent("1", "2") // as it was found
	l.sysctl("ipv4", "eth0", "arp_ignore", "0")
	l.sysctl("ipv4", "eth0", "arp_announce", "0")

	i = l.ensure(h, spec51())
	other := l.journal(h)
	other.NetNS++
	lies(other)
	l.store(h, other)
	l.must(i.Delete())
	l.wantParent("0", "0")
	file := filepath.Join(h.journals().path, journalName(other.NetNS, other.Index))
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a journal of another namespace is gone: %v", err)
	}

	file = l.journalFile(h)
	_, netns, err := here()
	l.must(err)
	half := fmt.Sprintf(`{"version":1,"ifindex":%d,"netns":%d,"values":null}`, l.link("eth0").Attrs().Index, netns)
	l.must(os.MkdirAll(filepath.Dir(file), 0o700))
	for _, text := range []string{"", "{", `{"version":99}`, "null", half} {
		l.must(os.MkdirAll(filepath.Dir(file), 0o700))
		l.must(os.WriteFile(file, []byte(text), 0o644))
		i := l.ensure(h, spec51())
		l.wantParent("1", "2")
		l.must(i.Delete())
		l.wantParent("0", "0")
	}
	// Keys that are no keys write nowhere.
	i = l.ensure(h, spec51())
	edit(func(j *journal) {
		j.Values["ipv4/../default/arp_ignore"] = entry("1", "0")
		j.Values["core/somaxconn"] = entry("1", "4096")
	})
	before := l.sysctls("default")
	l.must(i.Delete())
	l.same("default", before, l.sysctls("default"))
}

func entry(was, ours string) change { return change{Was: was, Ours: ours} }

// The journal is on the disk before anything is changed.
func TestJournalComesFirst(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	// A directory in the way of the file makes writing it fail.
	l.must(os.MkdirAll(l.journalFile(h)+"/x", 0o755))
	before := l.snapshot()
	if _, err := h.Ensure(spec51()); err == nil {
		t.Fatal("Ensure without a journal succeeds")
	}
	l.same("after a journal that could not be written", before, l.snapshot())
}

// Root restores from the journal: what others could have written is not read, and
// nothing is written where a link leads.
func TestJournalOfOthers(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	before := l.snapshot()
	victim := t.TempDir() + "/victim"
	l.must(os.WriteFile(victim, []byte("secret"), 0o600))
	name := l.journalFile(h)
	run, sub := h.notes, h.journals().path
	for _, c := range []struct {
		want     string
		do, undo func() error
	}{
		{"writable by others: chmod 755", func() error { return os.Chmod(run, 0o777) }, func() error { return os.Chmod(run, 0o755) }},
		{"writable by others: chmod 755", func() error { return os.Chmod(sub, 0o775) }, func() error { return os.Chmod(sub, 0o755) }},
		{"belongs to user 12345", func() error { return os.Chown(sub, 12345, 12345) }, func() error { return os.Chown(sub, 0, 0) }},
		{"is a symbolic link: remove it", func() error { return os.Symlink(victim, name) }, func() error { return os.RemoveAll(name) }},
	} {
		l.must(os.MkdirAll(sub, 0o700))
		l.must(c.do())
		_, err := h.Ensure(spec51())
		if err == nil {
			t.Fatalf("Ensure succeeds, want ... %s", c.want)
		}
		contains(t, "error", err.Error(), c.want)
		l.must(c.undo())
	}
	l.same("after what was refused", before, l.snapshot())
	l.must(os.MkdirAll(sub, 0o700))
	l.must(os.Symlink(victim, name+".new"))
	l.must(l.ensure(h, spec51()).Delete())
	if b, _ := os.ReadFile(victim); string(b) != "secret" {
		t.Errorf("a link was followed: %q", b)
	}
}

// An Ensure that fails leaves neither interface nor settings.
func TestEnsureFails(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	h := l.hands()
	s := spec51()
	// Valid as a name, taken as an alternative one: the kernel says EEXIST.
	l.must(l.nl.LinkAddAltName(l.link("eth0"), s.Name))
	_, err := h.Ensure(s)
	if err == nil {
		t.Fatal("Ensure under a name that is taken succeeds")
	}
	contains(t, "error", err.Error(), "create vrrp51 on eth0")
	l.must(l.nl.LinkDelAltName(l.link("eth0"), s.Name))
	l.same("after a creation that failed", before, l.snapshot())
	if l.journal(h) != nil {
		t.Error("a journal is left")
	}
}

func TestJournalIsReadable(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	l.ensure(h, spec51())
	b, err := os.ReadFile(l.journalFile(h))
	l.must(err)
	if !json.Valid(b) {
		t.Fatalf("not JSON: %s", b)
	}
	contains(t, "journal", string(b), `"parent": "eth0"`, `"ipv4/arp_ignore"`, `"eth0-51"`)
	entries, err := os.ReadDir(h.journals().path)
	l.must(err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".new") {
			t.Errorf("%s is left", e.Name())
		}
	}
}

// Several processes at once: none of them may lose another's entry.
func TestJournalConcurrently(t *testing.T) {
	l := newLab(t)
	const n = 4
	for k := range n {
		l.alive[spec(uint8(50+k), "eth0").Owner] = true
	}
	parent, err := l.hands().wire.device("eth0", 0)
	l.must(err)
	j := l.hands().journals()
	done := make(chan error)
	for k := range n {
		go func() {
			done <- inNamespace(int(l.here), func() error {
				for range 20 {
					owner := spec(uint8(50+k), "eth0").Owner
					if _, err := j.acquire(parent, Spec{Family: 4, Owner: owner}, map[int]bool{parent.Index: true}); err != nil {
						return err
					}
					if k == 0 {
						continue // stays to the end
					}
					if err := j.release(func(_ int, u string) bool { return u == owner }); err != nil {
						return err
					}
				}
				return nil
			})
		}()
	}
	for range n {
		l.must(<-done)
	}
	if got := l.journal(l.hands()); got == nil || !slices.Equal(got.Users, []string{"eth0-50"}) {
		t.Errorf("journal %+v", got)
	}
	l.wantParent("1", "2")
	l.must(j.release(func(_ int, u string) bool { return u == "eth0-50" }))
	l.wantParent("0", "0")
}
