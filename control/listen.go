package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is what a unix socket address holds, without the final zero.
const maxPath = 107

// socket is a listening socket of ours in the run directory.
type socket struct {
	path     string
	dev, ino uint64 // of the file, so that only our own is removed
	net.Listener
}

// listenAt makes a 0660 socket at path. What a dead instance left there is
// replaced (the caller knows that it is dead: it holds the instance's lock),
// anything that is not a socket is left alone and refused. Nothing here follows
// a symbolic link in the last component: bind and unlink never do, and the mode
// is set through a descriptor of the very file. gid > 0 gives it to that group.
func listenAt(path string, gid int) (*socket, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("listen on %s: the path has %d bytes, a socket's may have %d: choose a shorter run directory",
			path, len(path), maxPath)
	}
	switch st, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	case st.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("listen on %s: a %s is there that is not ours: remove it", path, describe(st.Mode()))
	default:
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove the socket of a dead instance: %w", err)
		}
	}
	l, err := bind(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	s := &socket{path: path, Listener: l}
	if err := s.open(gid); err != nil {
		l.Close()
		return nil, err
	}
	return s, nil
}

// adopt goes on with a socket that another program of this process has made at path.
func adopt(path string, fd, gid int) (*socket, error) {
	f := os.NewFile(uintptr(fd), path)
	if f == nil {
		return nil, fmt.Errorf("listen on %s: no descriptor", path)
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	s := &socket{path: path, Listener: l}
	if err := s.open(gid); err != nil {
		l.Close()
		return nil, err
	}
	return s, nil
}

// descriptor is that of a listening socket; -1: it has none.
func descriptor(l net.Listener) int {
	number := -1
	if c, ok := l.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { number = int(fd) })
		}
	}
	return number
}

// bind makes the socket for its owner alone: the mode of the descriptor at bind
// becomes that of the file, so that it is never more open than at the end.
func bind(path string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); cerr != nil {
			return cerr
		}
		return err
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return l, nil
}

// open lets the group in, and remembers which file is ours.
func (s *socket) open(gid int) error {
	fd, err := unix.Open(s.path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", s.path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat %s: %w", s.path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fmt.Errorf("listen on %s: somebody put something else there: keep others from writing to the run directory", s.path)
	}
	s.dev, s.ino = st.Dev, st.Ino
	self := fmt.Sprintf("/proc/self/fd/%d", fd)
	if gid > 0 {
		if err := unix.Chown(self, -1, gid); err != nil {
			return fmt.Errorf("give %s to group %d: %w", s.path, gid, err)
		}
	}
	if err := unix.Chmod(self, 0o660); err != nil {
		return fmt.Errorf("set the mode of %s: %w", s.path, err)
	}
	return nil
}

// remove takes the file away if it is still ours.
func (s *socket) remove() error {
	var st unix.Stat_t
	err := unix.Lstat(s.path, &st)
	if errors.Is(err, unix.ENOENT) || err == nil && (st.Dev != s.dev || st.Ino != s.ino) {
		return nil
	}
	if err == nil {
		err = unix.Unlink(s.path)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", s.path, err)
	}
	return nil
}

func describe(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m.Type() == fs.ModeSymlink:
		return "symbolic link"
	default:
		return "file"
	}
}

// Limits on connections at one time. Root has places of its own, so that a
// flood by others cannot keep it out.
const (
	maxPerUser = 16
	maxOthers  = 48
	maxRoot    = 48
)

// gate accepts connections, finds out who is calling, and turns away those who
// are too many.
type gate struct {
	net.Listener

	mu    sync.Mutex // guards what follows
	count map[uint32]int
	all   int // of users other than root
}

// caller is an accepted connection with what the kernel says of its other end.
type caller struct {
	net.Conn
	cred unix.Ucred
	gate *gate
	once sync.Once
}

const tooMany = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\n" +
	"\r\n{\"done\":false,\"message\":\"too many connections, try later\"}\n"

func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		cred, err := peer(conn)
		if err == nil && g.enter(cred.Uid) {
			return &caller{Conn: conn, cred: *cred, gate: g}, nil
		}
		// Just made, so its buffer takes this without waiting.
		conn.SetWriteDeadline(time.Now().Add(time.Millisecond))
		conn.Write([]byte(tooMany))
		conn.Close()
	}
}

func peer(conn net.Conn) (*unix.Ucred, error) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, cerr
}

func (g *gate) enter(uid uint32) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if uid == 0 {
		if g.count[0] >= maxRoot {
			return false
		}
	} else {
		if g.count[uid] >= maxPerUser || g.all >= maxOthers {
			return false
		}
		g.all++
	}
	g.count[uid]++
	return true
}

func (g *gate) leave(uid uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.count[uid]--; g.count[uid] == 0 {
		delete(g.count, uid)
	}
	if uid != 0 {
		g.all--
	}
}

func (c *caller) Close() error {
	c.once.Do(func() { c.gate.leave(c.cred.Uid) })
	return c.Conn.Close()
}
