package vmacif

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// The directory of the journals comes with the first and goes with the last, even
// if several processes come and go in the same moment.
func TestJournalDirComesAndGoes(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	parent, err := h.wire.device("eth0", 0)
	l.must(err)
	j := h.journals()
	const n = 4
	for k := range n {
		l.alive[spec(uint8(50+k), "eth0").Owner] = true
	}
	done := make(chan error)
	for k := range n {
		go func() {
			done <- inNamespace(int(l.here), func() error {
				for range 50 {
					owner := spec(uint8(50+k), "eth0").Owner
					if _, err := j.acquire(parent, Spec{Family: 4, Owner: owner}, map[int]bool{parent.Index: true}); err != nil {
						return err
					}
					for _, s := range parentSettings {
						if now, err := readSysctl(s.family, "eth0", s.key); err != nil || now != s.value {
							return errors.Join(errors.New(s.key+" is "+now+" while it is used"), err)
						}
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
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	l.wantParent("0", "0")
	if _, err := os.Lstat(j.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", j.path, err)
	}
}

// Whatever lies among the journals: nothing is refused because of it, nothing
// outside is read or written, and only the parents' own settings change.
func TestJournalDirWithForeignThings(t *testing.T) {
	l := newLab(t)
	h := l.hands()
	i := l.ensure(h, spec51())
	dir := h.journals().path
	target := filepath.Join(l.dir, "elsewhere")
	l.must(os.WriteFile(target, []byte("untouched"), 0o600))
	_, netns, err := here()
	l.must(err)
	lo := journalName(netns, l.link("lo").Attrs().Index)
	l.must(os.Symlink(target, filepath.Join(dir, journalName(netns, 9001))))
	l.must(os.Symlink(target, filepath.Join(dir, journalName(netns, 9002)+newSuffix)))
	l.must(unix.Mkfifo(filepath.Join(dir, journalName(netns, 9003)), 0o600))
	l.must(os.WriteFile(filepath.Join(dir, journalName(netns, 9004)), bytes.Repeat([]byte("{"), 1<<17), 0o600))
	l.must(os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600))
	l.must(os.Mkdir(filepath.Join(dir, journalName(netns, 9005)), 0o700))
	boot, _, err := here()
	l.must(err)
	lies := journal{Version: journalVersion, Index: l.link("lo").Attrs().Index, Boot: boot, NetNS: netns, Values: map[string]change{
		"ipv4/forwarding":                {l.read("lo", "forwarding"), "1"},
		"ipv4/../../../kernel/panic":     {"0", "1"},
		"ipv4/arp_ignore":                {"3\n", "0"},
		"ipv4/arp_announce":              {"1", "0"},
		"ipv4/conf/all/arp_announce":     {"1", "0"},
		"ipv6/disable_ipv6":              {"1", "0"},
		"ipv4/conf/default/arp_announce": {"1", "0"},
	}}
	b, err := json.Marshal(lies)
	l.must(err)
	l.must(os.WriteFile(filepath.Join(dir, lo), b, 0o600))

	was := l.worlds()
	l.must(i.Delete())
	i = l.ensure(h, spec51())
	l.must(i.Delete())
	l.wantParent("0", "0")
	for name, s := range l.worlds() {
		l.same(name, was[name], s)
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "untouched" {
		t.Errorf("the target of a link is %q, %v", b, err)
	}
	left, err := os.ReadDir(dir)
	l.must(err)
	if len(left) != 2 { // what is no file, and what has no name of ours
		t.Errorf("left: %v", left)
	}
}

func (l *lab) read(name, key string) string {
	l.Helper()
	v, err := readSysctl("ipv4", name, key)
	l.must(err)
	return v
}

// worlds are the settings that nobody may change.
func (l *lab) worlds() map[string]map[string]string {
	l.Helper()
	w := map[string]map[string]string{}
	for _, name := range []string{"all", "default", "lo"} {
		w[name] = maps.Clone(l.sysctls(name))
	}
	return w
}

// An instance whose notes are elsewhere must not share a parent with this one.
func TestJournalsApart(t *testing.T) {
	l := newLab(t)
	theirs := spec(52, "eth0", "192.0.2.201")
	l.alive[theirs.Owner] = true
	l.ensure(l.hands(), theirs)
	h, err := Open(Config{
		Notes: filepath.Join(l.dir, "other"),
		Alive: func(o string) bool { return l.alive[o] },
		Apart: func(o string) bool { return o == theirs.Owner },
	})
	l.must(err)
	defer h.Close()
	_, err = h.Check(spec51())
	var refused Refused
	if !errors.As(err, &refused) {
		t.Fatalf("Check: %v", err)
	}
	contains(t, "refusal", err.Error(), "vrrp52 of the running instance eth0-52 stands on eth0, too", "the same run directory (-f)")
	l.alive[theirs.Owner] = false
	if _, err := h.Check(spec51()); err != nil {
		t.Errorf("Check with a dead one: %v", err)
	}
}

// What is taken from a journal concerns the parents' settings, and is a number.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"version":1,"ifindex":3,"boot":"b","netns":7,"values":{"ipv4/arp_ignore":{"was":"0","ours":"1"}},"users":["eth0-51"]}`))
	f.Add([]byte(`{"version":1,"ifindex":3,"netns":7,"values":{"ipv4/../all/x":{"was":"0","ours":"1"}}}`))
	f.Add([]byte(`null`))
	name := journalName(7, 3)
	f.Fuzz(func(t *testing.T, b []byte) {
		j := parseJournal(name, b)
		if j == nil {
			return
		}
		if j.Index != 3 || j.NetNS != 7 || len(j.Values) > len(parentSettings) {
			t.Fatalf("%+v", j)
		}
		for _, s := range parentSettings {
			c, known := j.Values[s.place()]
			if _, err := strconv.Atoi(c.Was); known && (err != nil || len(c.Was) > 3 || c.Ours != s.value) {
				t.Fatalf("%+v", j)
			}
		}
		now := func(setting) (string, error) { return "0", nil }
		if err := j.use("me", now, func(string) bool { return false }); err != nil || len(j.Values) != len(parentSettings) || len(j.Users) == 0 {
			t.Fatalf("%+v, %v", j, err)
		}
	})
}
