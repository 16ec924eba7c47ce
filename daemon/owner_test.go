package daemon

import (
	"path/filepath"
	"testing"

	"vrrpd/config"
)

func TestOwner(t *testing.T) {
	if got := ownerName(config.DefaultRunDir, "eth0-51"); got != "eth0-51" {
		t.Errorf("in the usual run directory: %q", got)
	}
	dir := filepath.Join(t.TempDir(), "none")
	owner := ownerName(dir, "eth0-51")
	if owner == ownerName(config.DefaultRunDir, "eth0-51") {
		t.Error("instances of two run directories have one name")
	}
	if ownerAlive(owner) {
		t.Errorf("%s lives, in a directory that does not exist", owner)
	}
}
