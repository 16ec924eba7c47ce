package rtnl

import (
	"os"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// tap is a TAP interface whose carrier the test controls, like a card's.
type tap struct {
	l  *lab
	fd int
}

func newTap(l *lab, name string) *tap {
	l.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	l.must(err)
	l.Cleanup(func() { _ = unix.Close(fd) })
	ifr, err := unix.NewIfreq(name)
	l.must(err)
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	l.must(unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr))
	return &tap{l, fd}
}

func (t *tap) carrier(on bool) {
	t.l.Helper()
	v := 0
	if on {
		v = 1
	}
	t.l.must(unix.IoctlSetPointerInt(t.fd, unix.TUNSETCARRIER, v))
}

// currentNS opens the network namespace of the calling thread.
func currentNS(t *testing.T) int {
	t.Helper()
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return int(f.Fd())
}

func nsHandle(fd int) netns.NsHandle { return netns.NsHandle(fd) }
