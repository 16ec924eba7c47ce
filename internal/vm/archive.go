package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// file is one of the machine's file system: the copy of another, or a text.
type file struct {
	name string // without a slash in front
	from string // "": text
	text string
}

// Modes of the archive, as in stat(2).
const (
	modeDirectory = 0o040755
	modeFile      = 0o100755
	modeLink      = 0o120777
)

// applets are what the tests need of busybox, besides its shell.
var applets = []string{"sh", "cat", "echo", "env", "sleep", "kill", "true", "false", "ip", "mount", "dmesg"}

// writeArchive writes the files in the form that the kernel unpacks its first file
// system from: cpio, "newc" (Documentation/driver-api/early-userspace/buffer-format.rst
// of the kernel).
func writeArchive(to string, files []file) error {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	a := &archive{w: bufio.NewWriter(f), made: make(map[string]bool)}
	for _, dir := range []string{"bin", "dev", "proc", "sys", "run", "tmp", "root", "var"} {
		a.directory(dir)
	}
	for _, file := range files {
		a.file(file)
	}
	for _, name := range applets {
		a.entry("bin/"+name, modeLink, int64(len("busybox")), strings.NewReader("busybox"))
	}
	a.entry("TRAILER!!!", 0, 0, strings.NewReader(""))
	if a.err == nil {
		a.err = a.w.Flush()
	}
	if a.err != nil {
		return fmt.Errorf("write %s: %w", to, a.err)
	}
	return f.Close()
}

type archive struct {
	w     *bufio.Writer
	at    int64
	inode int
	made  map[string]bool // directories
	err   error           // the first
}

func (a *archive) file(f file) {
	a.directory(path.Dir(f.name))
	if f.from == "" {
		a.entry(f.name, modeFile, int64(len(f.text)), strings.NewReader(f.text))
		return
	}
	src, err := os.Open(f.from)
	if err != nil {
		a.fail(err)
		return
	}
	defer src.Close()
	stat, err := src.Stat()
	if err != nil {
		a.fail(err)
		return
	}
	a.entry(f.name, modeFile, stat.Size(), src)
}

func (a *archive) directory(name string) {
	if name == "." || a.made[name] {
		return
	}
	a.directory(path.Dir(name))
	a.made[name] = true
	a.entry(name, modeDirectory, 0, strings.NewReader(""))
}

// entry writes one header with its name and content, each filled up to four bytes.
func (a *archive) entry(name string, mode int, size int64, content io.Reader) {
	a.inode++
	// inode, mode, uid, gid, links, mtime, size, four device numbers, length of the
	// name with its zero, check sum.
	a.print("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0)
	a.print("%s\x00", name)
	a.fill()
	if a.err == nil {
		n, err := io.Copy(a.w, content)
		a.at += n
		if err == nil && n != size {
			err = fmt.Errorf("%s has %d bytes instead of %d", name, n, size)
		}
		a.fail(err)
	}
	a.fill()
}

func (a *archive) print(format string, args ...any) {
	if a.err == nil {
		n, err := fmt.Fprintf(a.w, format, args...)
		a.at += int64(n)
		a.fail(err)
	}
}

func (a *archive) fill() {
	for a.err == nil && a.at%4 != 0 {
		a.at++
		a.fail(a.w.WriteByte(0))
	}
}

func (a *archive) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}
