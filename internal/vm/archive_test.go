package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// read takes an archive apart: the content by the name, directories end with a slash.
func read(t *testing.T, b []byte) map[string]string {
	t.Helper()
	files := map[string]string{}
	var order []string
	for {
		if len(b) < 110 || string(b[:6]) != "070701" {
			t.Fatalf("no header after %v: %.20q", order, b)
		}
		field := func(n int) int {
			v, err := strconv.ParseUint(string(b[6+8*n:14+8*n]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return int(v)
		}
		mode, size, length := field(1), field(6), field(11)
		name := string(b[110 : 110+length-1])
		if name == "TRAILER!!!" {
			return files
		}
		start := (110 + length + 3) &^ 3
		if mode&0o170000 == 0o040000 {
			name += "/"
		}
		dir := name[:strings.LastIndex(strings.TrimSuffix(name, "/"), "/")+1]
		if _, made := files[dir]; dir != "" && !made {
			t.Errorf("%s comes before its directory", name)
		}
		files[name], order = string(b[start:start+size]), append(order, name)
		b = b[(start+size+3)&^3:]
	}
}

func TestArchive(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "program")
	if err := os.WriteFile(from, bytes.Repeat([]byte{7}, 1001), 0o600); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "initrd")
	if err := writeArchive(to, []file{{name: "init", from: from}, {name: "a/b/c", text: "text"}, {name: "a/b/d", text: ""}}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	files := read(t, b)
	for name, want := range map[string]string{
		"init": strings.Repeat("\a", 1001), "a/": "", "a/b/": "", "a/b/c": "text", "a/b/d": "", "proc/": "", "bin/sh": "busybox",
	} {
		if got, ok := files[name]; !ok || got != want {
			t.Errorf("%s: %v, %.20q, want %.20q", name, ok, got, want)
		}
	}
	if err := writeArchive(to, []file{{name: "x", from: filepath.Join(dir, "missing")}}); err == nil {
		t.Error("a file that is not there is no error")
	}
}

func TestLastWord(t *testing.T) {
	for _, c := range []struct {
		console string
		code    int
		said    bool
	}{
		{"vm: kernel 6\r\nPASS\r\n" + lastWord + "0\r\nreboot\r\n", 0, true},
		{"FAIL\r\n" + lastWord + "2\r\n", 2, true},
		{"Kernel panic\r\n", 0, false},
		{"what " + lastWord + "0\r\n", 0, false},
		{lastWord + "x\r\n", 0, false},
	} {
		var shown strings.Builder
		code, said, _ := follow(strings.NewReader(c.console), &shown)
		if said != c.said || said && code != c.code || strings.Contains(shown.String(), "\r") {
			t.Errorf("%q: code %d, said %v, shown %q", c.console, code, said, shown.String())
		}
	}
}
