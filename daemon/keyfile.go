package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxKeyFile is more than any file of keys has.
const maxKeyFile = 64 << 10

// readKeyFile reads a file with a key in it. A key that others can read is none: the
// file has to be the daemon's or root's, and closed to group and others. Its errors
// are for the user, who already sees the file's name.
func readKeyFile(name string) ([]byte, error) {
	// Not to hang on a pipe that nobody writes to.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, plainError(err)
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
		return nil, fmt.Errorf("it belongs to user %d, who can change the key; chown it to root", st.Uid)
	case st.Mode&0o077 != 0:
		return nil, fmt.Errorf("others may read it or write to it (mode %04o); chmod it to 0600", st.Mode&0o7777)
	case st.Size > maxKeyFile:
		return nil, fmt.Errorf("%d bytes are too many for keys", st.Size)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, plainError(err)
	}
	return text, nil
}

// plainError is the reason alone, without the path.
func plainError(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
