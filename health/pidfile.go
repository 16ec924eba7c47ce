package health

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// fileWatch rings when a file may have changed, appeared or gone, also if its
// directory is not there yet: then the nearest one above it that exists is watched.
type fileWatch struct {
	path string
	file *os.File // inotify
	fd   int
	bell chan struct{}
	done sync.WaitGroup
	// parts of the path: names that matter, in whatever directory
	parts []string

	dir     string // that is watched; "": none
	watched int
}

func watchFile(path string) (*fileWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, os.NewSyscallError("inotify_init1", err))
	}
	f := &fileWatch{path: path, file: os.NewFile(uintptr(fd), "inotify"), fd: fd, bell: make(chan struct{}, 1),
		parts: strings.Split(path, "/")}
	f.done.Go(f.listen)
	return f, nil
}

const (
	changes = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MODIFY | unix.IN_CLOSE_WRITE |
		unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
)

// rearm has it ring with the next change; what has been before must be looked at
// afterwards. It must not be called after Close.
func (f *fileWatch) rearm() {
	for {
		dir := existing(filepath.Dir(f.path))
		if wd, err := unix.InotifyAddWatch(f.fd, dir, changes); err == nil {
			if f.dir != "" && wd != f.watched {
				// It may have gone with its directory.
				_, _ = unix.InotifyRmWatch(f.fd, uint32(f.watched))
			}
			f.dir, f.watched = dir, wd
		} else if err != unix.ENOENT && err != unix.ENOTDIR {
			return // nothing will ring; the interval is what remains
		}
		if existing(filepath.Dir(f.path)) == dir {
			return
		}
	}
}

// existing is the nearest directory that exists.
func existing(dir string) string {
	for {
		if s, err := os.Stat(dir); err == nil && s.IsDir() || dir == "/" || dir == "." {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// listen turns what inotify says of the file and its directories into a ring.
func (f *fileWatch) listen() {
	buf := make([]byte, 4096)
	for {
		n, err := f.file.Read(buf)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return // closed
		}
		if !f.concerns(buf[:max(n, 0)]) {
			continue
		}
		select {
		case f.bell <- struct{}{}:
		default:
		}
	}
}

// concerns reports whether any of these events is about the file or a directory above
// it: others write in there, too.
func (f *fileWatch) concerns(events []byte) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(events[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		name := strings.TrimRight(string(events[unix.SizeofInotifyEvent:end]), "\x00")
		if name == "" || mask&unix.IN_Q_OVERFLOW != 0 || slices.Contains(f.parts, name) {
			return true
		}
		events = events[end:]
	}
	return false
}

// Close ends it.
func (f *fileWatch) Close() {
	f.file.Close()
	f.done.Wait()
}
