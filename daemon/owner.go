package daemon

import (
	"errors"
	"io/fs"
	"strings"

	"vrrpd/config"
	"vrrpd/grouplock"
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
	instance, dir, elsewhere := strings.Cut(owner, inDir)
	if elsewhere {
		dir = "/" + dir
	} else {
		dir = config.DefaultRunDir
	}
	return instanceAlive(dir, instance)
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
