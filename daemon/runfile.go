package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"vrrpd/internal/rundir"
)

// What an instance has in the run directory besides what grouplock keeps there and
// what authentication must not forget: INSTANCE and one of these.
const (
	pidSuffix   = ".pid"
	sockSuffix  = ".sock"
	stateSuffix = ".state"
	newSuffix   = ".new" // of a file that is being written, after its own name
)

// replaceFile writes a file of ours in the run directory as a whole, without
// following what somebody may have put there.
func replaceFile(path, text string) error {
	dir, err := rundir.Open(filepath.Dir(path), rundir.ToMake)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer dir.Close()
	return dir.Replace(filepath.Base(path), []byte(text))
}

// removeFiles removes files of an instance, and what was left of writing them.
func removeFiles(dir, instance string, suffixes ...string) error {
	var errs []error
	for _, suffix := range suffixes {
		path := filepath.Join(dir, instance+suffix)
		for _, p := range [...]string{path, path + newSuffix} {
			if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
