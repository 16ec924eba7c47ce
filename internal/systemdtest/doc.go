// Package systemdtest holds no code, only tests: the unit that we ship,
// contrib/systemd/vrrpd@.service, with the built programs, under a real systemd.
//
// Each machine of a test is a container that boots systemd (systemd-nspawn), on
// the bridges of a network of its own. What systemd does for vrrpd is shown from
// the outside: what systemctl and journalctl print, what passes the port of the
// switch, what the LAN is answered when it asks for the virtual address.
//
// # What it needs
//
// Root, systemd-nspawn (systemd-container), nsenter (util-linux), and for the
// root file system of the containers debootstrap with debian-archive-keyring and
// a configured Debian mirror. The script rootfs builds it once, in about a
// minute, below the folder that VRRPD_ROOTFS_CACHE names (default: vrrpd in the
// user's cache folder). The tests take a minute and run only with VRRPD_SYSTEMD
// set (make systemd). Without any of this they are skipped, and say why; with
// VRRPD_SYSTEMD_REQUIRED set they fail instead.
//
// # Nothing is left behind
//
// A container runs inside a host of the network laboratory (internal/netlab), in
// whose namespaces everything lives: bridges, mounts, processes. They go when the
// test process goes, however it ends. The one thing that outlives it is a control
// group, which a kernel does not remove by itself; the test removes its own, and
// those of test processes that were killed.
//
// # Time
//
// Tests wait for events and for facts with deadlines, never for time to pass.
// What has to be fast is measured by the kernel's times of frames, several times
// over, and the median counts. The figures are logged (go test -v).
package systemdtest
