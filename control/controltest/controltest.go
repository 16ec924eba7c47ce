// Package controltest has a control socket served for as long as a test lasts.
package controltest

import (
	"context"
	"testing"

	"vrrpd/control"
)

// Serve has a server answer on the socket of the instance eth0-51 in a run directory
// until the test ends. An error of the server is one of the test.
func Serve(t testing.TB, dir string, s *control.Server) {
	t.Helper()
	ServeAs(t, dir, "eth0-51", s)
}

// ServeAs is Serve for another instance.
func ServeAs(t testing.TB, dir, instance string, s *control.Server) {
	t.Helper()
	if err := s.Listen(control.SocketPath(dir, instance)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
