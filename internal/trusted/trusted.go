// Package trusted reads files whose content root acts upon: keys, and a configuration
// that names commands. They have to be root's or this user's, and closed to others.
package trusted

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Read returns the content of a file of at most limit bytes that nobody else can have
// written, and, if it is secret, that nobody else can read. Its errors are for the user,
// who already sees the file's name.
func Read(name string, secret bool, limit int64) ([]byte, error) {
	// Not to hang on a pipe that nobody writes to.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, Reason(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, errors.New("not a regular file")
	case st.Uid != 0 && st.Uid != uint32(os.Geteuid()):
		return nil, fmt.Errorf("it belongs to user %d, who can change it; chown it to root", st.Uid)
	case secret && st.Mode&0o077 != 0:
		return nil, fmt.Errorf("others may read it or write to it (mode %04o); chmod it to 0600", st.Mode&0o7777)
	case st.Mode&0o022 != 0:
		return nil, fmt.Errorf("others may write to it (mode %04o); chmod it to 0644", st.Mode&0o7777)
	case st.Size > limit:
		return nil, fmt.Errorf("%d bytes are too many", st.Size)
	}
	text, err := io.ReadAll(io.LimitReader(f, limit))
	return text, Reason(err)
}

// Reason is the reason alone, without the path.
func Reason(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
