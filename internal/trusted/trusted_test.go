package trusted

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("content"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		path   string
		secret bool
		limit  int64
		want   string // of the error; "": none
	}{
		{file("a", 0o600), true, 10, ""},
		{file("b", 0o644), false, 10, ""},
		{file("c", 0o644), true, 10, "others may read it or write to it (mode 0644); chmod it to 0600"},
		{file("d", 0o664), false, 10, "others may write to it (mode 0664); chmod it to 0644"},
		{file("e", 0o602), false, 10, "others may write to it (mode 0602); chmod it to 0644"},
		{file("f", 0o600), true, 3, "7 bytes are too many"},
		{filepath.Join(dir, "none"), true, 10, "no such file or directory"},
		{dir, false, 10, "not a regular file"},
	} {
		text, err := Read(c.path, c.secret, c.limit)
		switch {
		case c.want == "" && (err != nil || string(text) != "content"):
			t.Errorf("%s: %q, %v", c.path, text, err)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%s: %v, want %s", c.path, err, c.want)
		}
	}
	if os.Geteuid() == 0 {
		path := file("g", 0o600)
		if err := os.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path, true, 10); err == nil || !strings.Contains(err.Error(), "user 12345") {
			t.Errorf("a stranger's file: %v", err)
		}
	}
}
