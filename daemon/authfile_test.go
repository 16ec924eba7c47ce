package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"vrrpd/vrrp"
)

func someState() authState {
	s := authState{scheme: vrrp.TrailerAuth, tag: [8]byte{1, 2, 3}, reserve: 1<<63 + 7}
	for i := range byte(vrrp.MaxMarks) {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, i + 1})
		if i%2 == 1 {
			addr = netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: i})
		}
		s.marks.Restore(addr, uint64(i)<<32+5)
	}
	return s
}

// reopen opens the file as the next process does.
func reopen(t *testing.T, path string) (*authFile, authState, string) {
	t.Helper()
	f, s, damage, err := openAuthFile(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return f, s, damage
}

func store(t *testing.T, path string, states ...authState) {
	t.Helper()
	f, _, _ := reopen(t, path)
	go f.run()
	for _, s := range states {
		f.keep(func(kept *authState) { *kept = s })
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
}

func TestAuthFileRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "eth0-51.auth")
	f, s, damage := reopen(t, path)
	if s != (authState{}) || damage != "" {
		t.Errorf("a new file remembers %+v, %q", s, damage)
	}
	f.file.Close()
	for i := range 5 {
		want := someState()
		want.reserve += uint64(i)
		store(t, path, want)
		f, s, damage := reopen(t, path)
		f.file.Close()
		if s != want || damage != "" {
			t.Errorf("remembers %+v, %q\nwant %+v", s, damage, want)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 || st.Size() != 2*authRecord {
		t.Errorf("%v, %v", st, err)
	}
}

// Whatever a crash or somebody's hand makes of one record, the other one counts; of
// both, nothing does and it is said.
func TestAuthFileDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth")
	old, last := someState(), someState()
	last.reserve++
	var records [2][authRecord]byte
	encodeAuth(&records[0], &last, 8)
	encodeAuth(&records[1], &old, 7)
	good := slices.Concat(records[0][:], records[1][:])
	for at := range authRecord {
		b := append([]byte(nil), good...)
		b[at] ^= 0x10
		check := func(what string, want authState, hurt bool) {
			t.Helper()
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			f, s, damage := reopen(t, path)
			f.file.Close()
			if s != want || (damage != "") != hurt {
				t.Errorf("byte %d, %s: %+v, %q", at, what, s, damage)
			}
		}
		check("newest changed", old, false)
		b[authRecord+at] ^= 0x10
		check("both changed", authState{}, true)
		b = slices.Clone(good[:min(at, authMarksAt+authMark)]) // the rest of a record may be zeros anyway
		check("cut off", authState{}, at > 0)
	}
}

func TestAuthFileHostile(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	for name, prepare := range map[string]func(path string) error{
		"symlink":   func(path string) error { return os.Symlink(victim, path) },
		"hard link": func(path string) error { return os.Link(victim, path) },
		"fifo":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"readable":  func(path string) error { return os.WriteFile(path, nil, 0o644) },
		"socket": func(path string) error {
			return unix.Mknod(path, unix.S_IFSOCK|0o600, 0)
		},
		"empty directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		store(t, path, someState())
		f, s, _ := reopen(t, path)
		f.file.Close()
		if s != someState() {
			t.Errorf("%s: remembers %+v", name, s)
		}
		if st, err := os.Lstat(path); err != nil || st.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
		if text, err := os.ReadFile(victim); err != nil || string(text) != "precious" {
			t.Errorf("%s: the other file has %q, %v", name, text, err)
		}
	}
	// What cannot be replaced is an error, and nothing starts.
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := openAuthFile(full, nil); err == nil {
		t.Error("a directory with something in it was opened")
	}
}

func TestAuthFileDoesNotAllocate(t *testing.T) {
	f, _, _ := reopen(t, filepath.Join(t.TempDir(), "auth"))
	go f.run()
	s := someState()
	if n := testing.AllocsPerRun(100, func() { f.keepMarks(&s.marks) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
}

// What is put down is under way until it is in the file.
func TestAuthFileIdle(t *testing.T) {
	f, _, _ := reopen(t, filepath.Join(t.TempDir(), "auth"))
	if !f.idle() {
		t.Error("nothing was put down, and it is not idle")
	}
	f.keep(func(s *authState) { s.reserve++ })
	if f.idle() {
		t.Error("idle, and nothing is written")
	}
	go f.run()
	if err := f.close(); err != nil || !f.idle() {
		t.Errorf("%v; written: %v", err, f.idle())
	}
}

// A disk that is full is said once, not per advert.
func TestAuthFileFails(t *testing.T) {
	told := make(chan error, 10)
	f, _, _, err := openAuthFile(filepath.Join(t.TempDir(), "auth"), func(err error) { told <- err })
	if err != nil {
		t.Fatal(err)
	}
	f.file.Close()
	if f.file, err = os.OpenFile("/dev/full", os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	go f.run()
	f.keep(func(s *authState) { s.reserve++ })
	if err := <-told; err == nil {
		t.Error("no error")
	}
	f.keep(func(s *authState) { s.reserve++ })
	if err := f.close(); err != nil || len(told) != 0 {
		t.Errorf("%v, told %d times more", err, len(told))
	}
}

func FuzzDecodeAuth(f *testing.F) {
	var b [authRecord]byte
	s := someState()
	encodeAuth(&b, &s, 3)
	f.Add(b[:])
	f.Fuzz(func(t *testing.T, record []byte) {
		if len(record) != authRecord {
			return
		}
		s, generation, ok := decodeAuth(record)
		if !ok {
			// With the sum made right, anything may come, but not a panic.
			copy(record, authMagic)
			sum := authSum(record)
			record[authSumAt], record[authSumAt+1], record[authSumAt+2], record[authSumAt+3] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
			s, generation, ok = decodeAuth(record)
		}
		if !ok {
			return
		}
		var again [authRecord]byte
		encodeAuth(&again, &s, generation)
		if s2, g2, ok := decodeAuth(again[:]); !ok || s2 != s || g2 != generation {
			t.Errorf("%+v\n%+v", s, s2)
		}
	})
}

func TestReadKeyFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o400: "", 0o700: "",
		0o640: "others may read it or write to it (mode 0640); chmod it to 0600",
		0o604: "others may read it or write to it (mode 0604); chmod it to 0600",
		0o620: "others may read it or write to it (mode 0620); chmod it to 0600",
	} {
		path := filepath.Join(dir, fmt.Sprintf("%o", mode))
		if err := os.WriteFile(path, []byte("hunter2\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		text, err := readKeyFile(path)
		if want == "" && (err != nil || string(text) != "hunter2\n") || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%o: %q, %v; want %q", mode, text, err, want)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("600", link); err != nil {
		t.Fatal(err)
	}
	if _, err := readKeyFile(link); err != nil {
		t.Errorf("by a symbolic link: %v", err)
	}
	fifo, big := filepath.Join(dir, "fifo"), filepath.Join(dir, "big")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(big, make([]byte, maxKeyFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir: "not a regular file", fifo: "not a regular file", "/dev/null": "not a regular file",
		big: "65537 bytes are too many", filepath.Join(dir, "none"): "no such file or directory",
	} {
		if _, err := readKeyFile(path); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if os.Geteuid() == 0 {
		foreign := filepath.Join(dir, "600")
		if err := os.Chown(foreign, 12345, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := readKeyFile(foreign); err == nil || err.Error() != "it belongs to user 12345, who can change it; chown it to root" {
			t.Errorf("somebody else's: %v", err)
		}
	}
}
