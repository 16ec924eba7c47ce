package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// graceForThreads is how long descriptors and threads of this process that are
// on their way out may take before they count as left over.
const graceForThreads = 2 * time.Second

// leftovers lists what still holds the namespaces of the place, besides the
// place itself; it waits a little for what is just leaving. It is exact as long
// as the place's own descriptors are open: they keep the numbers of the
// namespaces from being given to others.
func (p *place) leftovers() []string {
	var left []string
	poll(graceForThreads, func() bool {
		left = p.occupants()
		return len(left) == 0
	})
	return left
}

// occupants lists the threads, processes and sockets in the namespaces.
func (p *place) occupants() []string {
	var links []string
	for _, f := range []*os.File{p.spaces.net, p.spaces.mnt, p.spaces.pid} {
		if f == nil {
			continue
		}
		if link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err == nil {
			links = append(links, link)
		}
	}
	var left []string
	tasks, _ := filepath.Glob("/proc/self/task/[0-9]*")
	procs, _ := filepath.Glob("/proc/[0-9]*")
	self := strconv.Itoa(os.Getpid())
	for _, dir := range append(tasks, procs...) {
		if filepath.Base(dir) == self && filepath.Dir(dir) == "/proc" {
			continue // counted thread by thread
		}
		for _, kind := range []string{"net", "mnt", "pid"} {
			if link, err := os.Readlink(filepath.Join(dir, "ns", kind)); err == nil && slices.Contains(links, link) {
				left = append(left, fmt.Sprintf("%s (%s) in its %s namespace", dir, comm(dir), kind))
			}
		}
	}
	return append(left, p.sockets()...)
}

// sockets lists the sockets of this process in the network namespace.
func (p *place) sockets() []string {
	if p.cookie == 0 {
		return nil // before Linux 5.14 nobody can tell
	}
	var left []string
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, entry := range fds {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		if err == nil && cookie == p.cookie {
			left = append(left, fmt.Sprintf("descriptor %d, a socket of this process", fd))
		}
	}
	return left
}

// netnsCookie returns the cookie of the calling thread's network namespace, 0
// where the kernel has none (before Linux 5.14).
func netnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return 0, nil
	}
	return cookie, err
}

func comm(dir string) string {
	b, _ := os.ReadFile(filepath.Join(dir, "comm"))
	return strings.TrimSpace(string(b))
}
