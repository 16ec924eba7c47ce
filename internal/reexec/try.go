package reexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/internal/child"
)

// TryFlag is the only argument of a program that is asked whether it could go on with a
// State, which is its descriptor 3. It changes nothing on the machine. A vrrpd that knows
// nothing of this refuses the option, and any other program does not know the answer.
const TryFlag = "--could-take-over"

// tryFile is where the state is.
const tryFile = 3

// tryLimit is how long the answer may take: a configuration of thousands of virtual
// routers takes half a second.
const tryLimit = 20 * time.Second

// yes begins the answer; the version follows.
const yes = "vrrpd could take over: "

// Yes is what the program answers; the version is its own.
func Yes(version string) string { return yes + version }

// Tried is a program that could go on.
type Tried struct {
	Version string

	path string
	file identity
}

// Try asks the program at path whether it could go on with the state. The error says why
// not, and what to do.
func Try(ctx context.Context, path string, s *State) (*Tried, error) {
	refuse := func(err error) (*Tried, error) { return nil, fmt.Errorf("nothing was changed: %w", err) }
	file, err := check(path)
	if err != nil {
		return refuse(err)
	}
	state, err := memory(s)
	if err != nil {
		return refuse(err)
	}
	defer state.Close()
	var said []string
	c := child.Command{
		Argv: []string{path, TryFlag}, Program: true, Environ: child.Environ(os.Environ()), Files: []*os.File{state}, Limit: tryLimit,
		Output: func(line string) {
			if len(said) < 8 {
				said = append(said, strings.TrimSpace(line))
			}
		},
	}
	o := run(ctx, c)
	for _, line := range said {
		if v, ok := strings.CutPrefix(line, yes); ok && o.Err == nil && v != "" {
			return &Tried{v, path, file}, nil
		}
	}
	why := strings.TrimPrefix(strings.Join(said, "; "), "vrrpd: ")
	switch {
	case o.Err != nil && why == "":
		return refuse(fmt.Errorf("%s: %w", path, o.Err))
	case o.Err != nil && o.ExitCode > 0:
		return refuse(fmt.Errorf("%s cannot take over: %s", path, why))
	case o.Err != nil:
		return refuse(fmt.Errorf("%s: %w: %s", path, o.Err, why))
	}
	return refuse(fmt.Errorf("%s does not know how to take over: it is no vrrpd, or one that has to be restarted", path))
}

// run runs a program to its end, and leaves no thread.
func run(ctx context.Context, c child.Command) child.Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	starter := child.NewStarter()
	go starter.Run(ctx)
	p, err := starter.Start(ctx, c)
	if err != nil {
		return child.Result{Err: err}
	}
	return p.Wait(ctx)
}

// Asked returns the state that a program started with TryFlag was given.
func Asked() (*State, error) {
	f := os.NewFile(tryFile, "state")
	if f == nil {
		return nil, errors.New("there is no state")
	}
	defer f.Close()
	return read(f)
}

// memory puts a state into a file that nobody else can find.
func memory(s *State) (*os.File, error) {
	b, err := s.Encode()
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("vrrpd-state", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "state")
	if _, err := f.Write(b); err != nil {
		return nil, errors.Join(fmt.Errorf("write the state: %w", err), f.Close())
	}
	return f, nil
}

// read reads a state from its file, wherever that stands.
func read(f *os.File) (*State, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	if st.Size() > headerSize+maxState {
		return nil, errors.New("the state is too long: " + strconv.FormatInt(st.Size(), 10) + " bytes")
	}
	b := make([]byte, st.Size())
	if _, err := f.ReadAt(b, 0); err != nil && len(b) > 0 {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	return Decode(b)
}
