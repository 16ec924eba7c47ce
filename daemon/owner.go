package daemon

import (
	"errors"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"vrrpd/config"
	"vrrpd/grouplock"
	"vrrpd/lease"
	"vrrpd/vmacif"
)

// inDir joins the two parts of an owner's name; no interface name has a slash.
const inDir = "@/"

// ownerName is how an instance signs what it puts on the machine: its
// interfaces, its part in the settings of a parent. An instance of another run
// directory is another one, even if it has the same interface and VRID: without
// that the two would take each other's interface for a leftover of their own,
// and delete it.
func ownerName(runDir, instance string) string {
	if runDir == config.DefaultRunDir {
		return instance
	}
	return instance + "@" + runDir
}

// ownerAlive tells whether the process that signed so lives. What cannot be
// known counts as alive: nothing is taken from anybody.
func ownerAlive(owner string) bool {
	instance, dir := dirOf(owner)
	return instanceAlive(dir, instance)
}

// dirOf is the run directory of the instance that signed so.
func dirOf(owner string) (instance, dir string) {
	instance, dir, elsewhere := strings.Cut(owner, inDir)
	if !elsewhere {
		return instance, config.DefaultRunDir
	}
	return instance, "/" + dir
}

// takeHands opens the hands of this instance, and tells them what is its own.
func (d *Daemon) takeHands() error {
	hands, err := openHands(d.cfg.RunDir, d.owner(), loosen(func() (*lease.Guards, error) { return d.guards, nil }))
	if err != nil {
		return err
	}
	d.hands = hands
	hands.Expect(d.specs())
	return nil
}

// openHands opens the hands of an instance of the run directory.
//
// What the settings of a parent were is noted in the machine's own run directory,
// whatever the instance's: those of two run directories, of two groups that share
// a card for instance, must find each other's notes, or the first to go would
// restore what the other needs. Who may not write there notes it in its own, and
// is told if that keeps it apart from somebody on the same parent.
//
// The link group of the interfaces follows from the owner, so that one message
// deletes those of one group where a process has several.
//
// Interfaces are loosened before they are deleted: see loosen.
func openHands(runDir, owner string, loosen func(index int) error) (*vmacif.Hands, error) {
	notes := runDir
	if ownDir(config.DefaultRunDir) {
		notes = config.DefaultRunDir
	}
	var link uint32
	if owner != "" {
		h := fnv.New32a()
		_, _ = h.Write([]byte(owner)) // it cannot fail
		link = vmacif.LinkGroup(h.Sum32())
	}
	return vmacif.Open(vmacif.Config{Notes: notes, Group: link, Alive: ownerAlive, Loosen: loosen, Apart: func(owner string) bool {
		_, dir := dirOf(owner)
		switch {
		case dir == notes || dir == runDir:
			return false
		case notes != config.DefaultRunDir:
			return true
		}
		_, err := os.Lstat(filepath.Join(dir, "sysctl")) // notes of its own
		return err == nil
	}})
}

// ownDir reports whether a directory belongs to this user and can be written to,
// or could be made.
func ownDir(path string) bool {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if errors.Is(err, unix.ENOENT) {
		return unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK) == nil
	}
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && int(st.Uid) == os.Geteuid() &&
		st.Mode&0o022 == 0 && unix.Access(path, unix.W_OK|unix.X_OK) == nil
}

func instanceAlive(runDir, instance string) bool {
	members, err := grouplock.List(runDir)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		return true
	}
	for _, m := range members {
		if m.Instance == instance {
			return m.Status == grouplock.Alive
		}
	}
	return false
}
