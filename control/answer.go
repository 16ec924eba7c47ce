package control

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Answer answers a command that another program of this process was given (Command.Caller),
// in its place. The descriptor is closed.
func Answer(fd int, r Result) error {
	f := os.NewFile(uintptr(fd), "caller")
	if f == nil {
		return fmt.Errorf("answer on descriptor %d: there is none", fd)
	}
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	defer conn.Close()
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		http.StatusOK, http.StatusText(http.StatusOK), len(body), body)
	if err := conn.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if _, err := conn.Write([]byte(text.String())); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// descriptor is that of the connection.
func (c *caller) descriptor() int {
	raw, err := c.Conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return -1
	}
	number := -1
	_ = raw.Control(func(fd uintptr) { number = int(fd) })
	return number
}
