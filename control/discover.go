package control

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// suffix of the sockets in the run directory.
const suffix = ".sock"

// SocketPath is where the instance (eth0-51) listens.
func SocketPath(runDir, instance string) string { return filepath.Join(runDir, instance+suffix) }

// askLimit is how long a process may take to say how it is. It does not wait for its loop
// for longer than 1.1 s, so one that takes longer is stopped or hung.
const askLimit = 2 * time.Second

// Process is one socket of the run directory and what its process said.
type Process struct {
	Instance string
	Path     string
	Status   Status // if Err is nil
	Err      error  // IsDead: nobody listens; else it did not answer, or not to us
}

// Discover asks every process of the run directory, all at once, and returns
// them in the order of their names. A directory that does not exist holds no
// process. Symbolic links and other things that are not sockets are left out.
func Discover(ctx context.Context, runDir string) ([]Process, error) {
	paths, err := sockets(runDir)
	if err != nil {
		return nil, err
	}
	all := make([]Process, len(paths))
	var wg sync.WaitGroup
	for i, path := range paths {
		p := &all[i]
		p.Path, p.Instance = path, strings.TrimSuffix(filepath.Base(path), suffix)
		wg.Go(func() { p.ask(ctx) })
	}
	wg.Wait()
	return all, nil
}

func (p *Process) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	p.Status, p.Err = NewClient(p.Path).Status(ctx)
}

func sockets(runDir string) (paths []string, err error) {
	entries, err := os.ReadDir(runDir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for vrrpd in %s: %w", runDir, err)
	}
	for _, e := range entries {
		if e.Type() == fs.ModeSocket && strings.HasSuffix(e.Name(), suffix) {
			paths = append(paths, filepath.Join(runDir, e.Name()))
		}
	}
	return paths, nil
}
