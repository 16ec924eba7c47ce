package vmacif

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"vrrpd/internal/nlwatch"
)

// SettingsWatch hears that somebody has changed sysctls, ours included. It gives
// hints: what is wrong is seen by Inspect.
//
// The kernel tells in two ways, and neither is complete. inotify reports whoever
// writes a file of /proc/sys, of any setting, provided that it is written by way
// of the same mount of /proc. Route netlink reports rp_filter, forwarding and
// proxy_arp, whoever changes them and by what way, also when net.ipv4.ip_forward
// changes those of all interfaces.
//
// Directories are watched, not files: a directory tells of its files, and one
// descriptor holds it. That must be held open, because the kernel may forget a
// directory of /proc that nobody uses, and the watch with it.
type SettingsWatch struct {
	inotify *os.File
	fd      int // of inotify; its Fd would make it blocking
	netconf *nlwatch.Listener

	mu     sync.Mutex
	places map[string]places // by the name of the interface, "default" and "all"
}

// past is a deadline that ends a blocking read at once.
var past = time.Unix(1, 0)

// place is one directory that is watched.
type place struct {
	watch int32 // 0: it is not
	pin   int32 // descriptor that holds the directory
}

// places are those of an interface, of IPv4 and IPv6.
type places [2]place

// confFamilies are the families in the order of places.
var confFamilies = [...]string{"ipv4", "ipv6"}

// WatchSettings begins to watch what concerns every interface, in the network
// namespace of the calling thread: "default", whose values are copied to
// interfaces that have none of their own, and IPv6's "all".
func WatchSettings() (*SettingsWatch, error) {
	fail := func(err error) (*SettingsWatch, error) { return nil, fmt.Errorf("watch sysctls: %w", err) }
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fail(os.NewSyscallError("inotify_init1", err))
	}
	w := &SettingsWatch{inotify: os.NewFile(uintptr(fd), "inotify"), fd: fd, places: make(map[string]places)}
	if w.netconf, err = nlwatch.Listen(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF); err != nil {
		return fail(errors.Join(err, w.Close()))
	}
	for _, p := range [...]struct {
		family int
		name   string
	}{{0, "default"}, {1, "default"}, {1, "all"}} {
		if err := w.follow(p.family, p.name); err != nil {
			return fail(errors.Join(err, w.Close()))
		}
	}
	return w, nil
}

// Follow watches the settings of an interface from now on. It must be called
// again when the interface was made again or renamed.
func (w *SettingsWatch) Follow(iface string) error {
	for family := range confFamilies {
		if err := w.follow(family, iface); err != nil {
			return fmt.Errorf("watch sysctls of %s: %w", iface, err)
		}
	}
	return nil
}

// Forget ends that.
func (w *SettingsWatch) Forget(iface string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for family := range confFamilies {
		w.drop(iface, family, 0)
	}
}

func (w *SettingsWatch) follow(family int, name string) error {
	path := filepath.Join(sysctlRoot, confFamilies[family], "conf", name)
	w.mu.Lock()
	defer w.mu.Unlock()
	pin, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	var watch int
	if err == nil {
		if watch, err = unix.InotifyAddWatch(w.fd, path, unix.IN_MODIFY|unix.IN_ONLYDIR); err != nil {
			_ = unix.Close(pin)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		w.drop(name, family, 0)
		return nil // a kernel, or an interface, without that family
	}
	if err != nil {
		return &fs.PathError{Op: "watch", Path: path, Err: err}
	}
	// The same directory as before has the same watch.
	w.drop(name, family, int32(watch))
	both := w.places[name]
	both[family] = place{watch: int32(watch), pin: int32(pin)}
	w.places[name] = both
	return nil
}

// drop ends the watch of an interface's settings in a family, unless it is the one to be
// kept. The caller holds mu.
func (w *SettingsWatch) drop(name string, family int, keep int32) {
	both := w.places[name]
	p := both[family]
	if p.watch == 0 {
		return
	}
	_ = unix.Close(int(p.pin))
	if both[family] = (place{}); both == (places{}) {
		delete(w.places, name)
	} else {
		w.places[name] = both
	}
	if p.watch != keep {
		// Fails if the directory is no more, and the watch with it.
		_, _ = unix.InotifyRmWatch(w.fd, uint32(p.watch))
	}
}

// Close releases a SettingsWatch whose Run has returned, or was never called.
func (w *SettingsWatch) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.inotify.Close() // and all watches with it
	for _, both := range w.places {
		for _, p := range both {
			if p.watch != 0 {
				_ = unix.Close(int(p.pin))
			}
		}
	}
	clear(w.places)
	if w.netconf != nil {
		err = errors.Join(err, w.netconf.Close())
	}
	return err
}

// Run calls changed whenever settings of an interface, named by its index or by
// its name, may have changed, until ctx is done. 0 and "" mean any interface.
// changed must not block; it is called from two goroutines.
func (w *SettingsWatch) Run(ctx context.Context, changed func(index int, name string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	release := context.AfterFunc(ctx, func() { _ = w.inotify.SetReadDeadline(past) })
	defer release()
	var files, conf error
	var both sync.WaitGroup
	both.Go(func() {
		files = w.readFiles(ctx, changed)
		cancel()
	})
	both.Go(func() {
		conf = w.readNetconf(ctx, changed)
		cancel()
	})
	both.Wait()
	if err := errors.Join(files, conf); err != nil {
		return fmt.Errorf("watch sysctls: %w", err)
	}
	return nil
}

func (w *SettingsWatch) readFiles(ctx context.Context, changed func(int, string)) error {
	buf := make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for {
		n, err := w.inotify.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		// One write is several events, and several writes are one hint.
		told := make(map[string]bool, 1)
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			watch, mask := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:])
			b = b[min(len(b), unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(b[12:]))):]
			switch {
			case mask&unix.IN_Q_OVERFLOW != 0:
				told[""] = true
			case mask&unix.IN_MODIFY != 0:
				if name, known := w.watchedBy(watch); known {
					told[name] = true
				}
			}
		}
		for name := range told {
			changed(0, name)
		}
	}
}

// watchedBy is whose settings a watch is for; "": whatever happens there may concern every
// interface. It goes through all of them, because that somebody writes settings is rare.
func (w *SettingsWatch) watchedBy(watch int32) (iface string, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, both := range w.places {
		if both[0].watch != watch && both[1].watch != watch {
			continue
		}
		if name == "default" || name == "all" {
			name = ""
		}
		return name, true
	}
	return "", false
}

// netconfIndex is NETCONFA_IFINDEX of linux/netconf.h: a 32-bit number, negative
// for "all" and "default".
const netconfIndex = 1

func (w *SettingsWatch) readNetconf(ctx context.Context, changed func(int, string)) error {
	return w.netconf.Run(ctx, func(messages []netlink.Message) {
		for _, m := range messages {
			if index, ok := netconfOf(m.Data); ok {
				changed(index, "")
			}
		}
	}, func() { changed(0, "") })
}

// netconfOf reads which interface a message is about; 0: all of them. It begins
// with struct netconfmsg, one byte that is padded to four.
func netconfOf(b []byte) (index int, ok bool) {
	const header = 4
	if len(b) < header {
		return 0, false
	}
	ad, err := netlink.NewAttributeDecoder(b[header:])
	if err != nil {
		return 0, false
	}
	for ad.Next() {
		if ad.Type() == netconfIndex && len(ad.Bytes()) == 4 {
			index, ok = max(int(int32(ad.Uint32())), 0), true
		}
	}
	return index, ok && ad.Err() == nil
}
