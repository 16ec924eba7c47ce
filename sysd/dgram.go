package sysd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// dgram is a connected unix datagram socket, dialled when it is first needed
// and once more when its other end has been replaced. Connected, because only
// then does the poller learn that a full receiver has room again. It belongs to
// one goroutine. A path that begins with @ is an abstract address.
type dgram struct {
	path string
	conn *net.UnixConn
}

// send writes one datagram, with file descriptors if rights is not nil, and
// waits until by at most for a full receiver. Errors: os.ErrDeadlineExceeded,
// EMSGSIZE or ENOBUFS for a datagram that is too large, or why the socket could
// not be reached.
func (d *dgram) send(b, rights []byte, by time.Time) error {
	fresh := d.conn == nil
	err := d.try(b, rights, by)
	if err == nil || fresh || errors.Is(err, os.ErrDeadlineExceeded) || tooLarge(err) {
		return err
	}
	// The receiver was restarted and has bound a new socket.
	d.close()
	return d.try(b, rights, by)
}

func (d *dgram) try(b, rights []byte, by time.Time) error {
	if d.conn == nil {
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: d.path, Net: "unixgram"})
		if err != nil {
			return fmt.Errorf("connect to %s: %w", d.path, err)
		}
		d.conn = conn
	}
	if err := d.conn.SetWriteDeadline(by); err != nil {
		return fmt.Errorf("write to %s: %w", d.path, err)
	}
	var err error
	if rights == nil {
		_, err = d.conn.Write(b)
	} else {
		err = d.pass(b, rights)
	}
	if err != nil {
		return fmt.Errorf("write to %s: %w", d.path, err)
	}
	return nil
}

// pass sends descriptors along; net's WriteMsgUnix refuses connected sockets.
func (d *dgram) pass(b, rights []byte) error {
	raw, err := d.conn.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), b, rights, nil, unix.MSG_NOSIGNAL)
		return !errors.Is(sent, unix.EAGAIN)
	})
	if err != nil {
		return err
	}
	return sent
}

func (d *dgram) close() {
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
}

// tooLarge says that a datagram must travel as a file instead.
func tooLarge(err error) bool {
	return errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.ENOBUFS)
}
