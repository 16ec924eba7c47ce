package rundir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want ... %s", what, err, want)
	}
}

func opened(t *testing.T) (*Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run")
	d, err := Open(path, ToMake)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d, path
}

func TestMadeForOneUser(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	d, path := opened(t)
	sub, err := d.Sub("sysctl")
	must(t, err)
	sub.Close()
	must(t, d.Replace("a", []byte("1")))
	for name, want := range map[string]fs.FileMode{"": 0o755, "sysctl": 0o755, "a": 0o644} {
		if st, err := os.Lstat(filepath.Join(path, name)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%q: %v, %v; want %v", name, st.Mode(), err, want)
		}
	}
}

func TestRefusedDirectories(t *testing.T) {
	top := t.TempDir()
	dir := func(name string) string { return filepath.Join(top, name) }
	must(t, os.Mkdir(dir("ours"), 0o755))
	must(t, os.Symlink(dir("ours"), dir("link")))
	must(t, os.WriteFile(dir("file"), nil, 0o644))
	for _, name := range []string{"group", "all"} {
		must(t, os.Mkdir(dir(name), 0o755))
	}
	must(t, os.Chmod(dir("group"), 0o775))
	must(t, os.Chmod(dir("all"), 0o777))
	for name, want := range map[string]string{
		"link":   "is a symbolic link: remove it, or name the directory itself",
		"link/":  "is a symbolic link",
		"file":   "not a directory",
		"group":  "(mode 0775) is writable by others: chmod 755 it",
		"all":    "(mode 0777) is writable by others: chmod 755 it",
		"no/dir": "no such file or directory",
	} {
		_, err := Open(dir(name), ToMake)
		refused(t, name, err, want)
	}
	d, err := Open(dir("ours"), ToMake)
	must(t, err)
	defer d.Close()
	must(t, os.Symlink(top, dir("ours/sysctl")))
	_, err = d.Sub("sysctl")
	refused(t, "ours/sysctl", err, "is a symbolic link")
	for _, what := range []Access{ToLook, ToChange} {
		if _, err := Open(dir("missing"), what); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a missing one: %v", err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("not root: a directory of somebody else is not tested")
	}
	must(t, os.Mkdir(dir("theirs"), 0o755))
	must(t, os.Chown(dir("theirs"), 12345, 12345))
	_, err = Open(dir("theirs"), ToMake)
	refused(t, "theirs", err, "belongs to user 12345, and this is user 0: remove it")
	theirs, err := Open(dir("theirs"), ToLook)
	must(t, err)
	theirs.Close()
}

func TestRefusedFiles(t *testing.T) {
	d, path := opened(t)
	victim := filepath.Join(t.TempDir(), "victim")
	must(t, os.WriteFile(victim, []byte("secret"), 0o600))
	file := func(name string) string { return filepath.Join(path, name) }
	must(t, os.Symlink(victim, file("link")))
	must(t, os.Link(victim, file("second")))
	must(t, unix.Mkfifo(file("fifo"), 0o600))
	must(t, os.WriteFile(file("open"), nil, 0o644))
	must(t, os.Chmod(file("open"), 0o666))
	must(t, os.WriteFile(file("long"), make([]byte, 101), 0o644))
	for name, want := range map[string]string{
		"link":   "is a symbolic link: remove it",
		"second": "has a second name: remove it",
		"fifo":   "is no plain file: remove it",
		"open":   "(mode 0666) is writable by others: chmod go-w it",
		"long":   "longer than 100 bytes",
	} {
		_, err := d.Read(name, 100)
		refused(t, name, err, want)
	}
	if _, err := d.Read("none", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if os.Geteuid() == 0 {
		must(t, os.WriteFile(file("theirs"), nil, 0o644))
		must(t, os.Chown(file("theirs"), 12345, 12345))
		_, err := d.Read("theirs", 100)
		refused(t, "theirs", err, "belongs to user 12345: remove it")
	}

	// Whatever has the name or the name of the next version is replaced, never
	// written through.
	must(t, os.Symlink(victim, file("link.new")))
	for _, name := range []string{"link", "second", "fifo", "open"} {
		must(t, d.Replace(name, []byte("ours")))
		if b, err := d.Read(name, 100); string(b) != "ours" || err != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if b, _ := os.ReadFile(victim); string(b) != "secret" {
		t.Errorf("a link was followed: %q", b)
	}
	must(t, d.Remove("none"))
	must(t, d.Remove("link"))
	names, err := d.Names()
	must(t, err)
	slices.Sort(names)
	if got := strings.Join(names, " "); !strings.HasPrefix(got, "fifo long open second") {
		t.Errorf("left: %s", got)
	}
}

// What is renamed while it is open leads nobody astray.
func TestRenamedDirectory(t *testing.T) {
	d, path := opened(t)
	must(t, os.Rename(path, path+".old"))
	must(t, os.Mkdir(path, 0o755))
	must(t, d.Replace("a", []byte("1")))
	if _, err := os.Lstat(path + ".old/a"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path + "/a"); err == nil {
		t.Error("it was written by name")
	}
}
