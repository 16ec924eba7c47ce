package netlab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// OwnDev gives the host a /dev of its own, so that it can have its own /dev/log: the usual
// devices without a driver behind them, and nothing else.
func (h *Host) OwnDev() error {
	return h.Do(func() error {
		const dev = "/run/dev"
		if err := os.Mkdir(dev, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("netlab", dev, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
			return fmt.Errorf("mount a tmpfs: %w", err)
		}
		for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
			path := filepath.Join(dev, name)
			if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
				return fmt.Errorf("make %s: %w", path, err)
			}
			if err := os.Chmod(path, 0o666); err != nil {
				return err
			}
		}
		if err := unix.Mount(dev, "/dev", "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("put it on /dev: %w", err)
		}
		return os.Remove(dev)
	})
}

// DropSyslog gives the host, which needs a /dev of its own, a syslog (syslog(3)) that takes
// everything and keeps nothing, so that who logs to it finds somebody there.
func (h *Host) DropSyslog() error {
	var conn *net.UnixConn
	err := h.Do(func() (err error) {
		conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log", Net: "unixgram"})
		return err
	})
	if err != nil {
		return fmt.Errorf("listen to syslog of %s: %w", h.name, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for letter := make([]byte, 1<<16); ; {
			if _, err := conn.Read(letter); errors.Is(err, net.ErrClosed) {
				return
			}
		}
	}()
	h.inside.push(func() error {
		err := conn.Close()
		<-done
		return err
	})
	return nil
}
