package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
)

// maxScrapers is how many connections the listener of metrics has at one time. Who is
// calling cannot be told there, so that they share it.
const maxScrapers = 8

// MetricsServer answers GET /metrics on a loopback address, for every group of a
// process, and nothing else: no command, no state of one's neighbours.
type MetricsServer struct {
	All func() []Status // what the groups say; must not wait for long
	Log *slog.Logger    // nil: nobody is told of odd requests

	listener net.Listener
	scrapes  pace
}

// Listen opens the port. Connections wait until Run.
func (s *MetricsServer) Listen(addr netip.AddrPort) error {
	if !addr.Addr().IsLoopback() {
		return fmt.Errorf("listen on %s for metrics: it is not a loopback address", addr)
	}
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		return fmt.Errorf("metrics on %s: %w", addr, err)
	}
	s.take(l)
	return nil
}

func (s *MetricsServer) take(l net.Listener) {
	s.listener = l
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
}

// Adopt goes on with a port that another program of this process has opened, instead of
// Listen. The descriptor belongs to the server.
func (s *MetricsServer) Adopt(fd int) error {
	f := os.NewFile(uintptr(fd), "metrics")
	if f == nil {
		return errors.New("metrics: no descriptor")
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	s.take(l)
	return nil
}

// Descriptor is that of the port; it stays the server's.
func (s *MetricsServer) Descriptor() int { return descriptor(s.listener) }

// Addr is where it listens.
func (s *MetricsServer) Addr() net.Addr { return s.listener.Addr() }

// Run serves what Listen has opened until ctx ends.
func (s *MetricsServer) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) { answerMetrics(w, r, &s.scrapes, s.All) })
	srv := &http.Server{
		Handler:           bodiless(mux),
		ReadHeaderTimeout: headerLimit,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	srv.SetKeepAlivesEnabled(false)
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	err := srv.Serve(newTurnstile(s.listener, maxScrapers))
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve metrics: %w", err)
}

// Close closes the port of a server that was never run.
func (s *MetricsServer) Close() error { return s.listener.Close() }

// turnstile lets so many connections in at one time; the others wait outside, in the
// kernel's queue, and cost nothing.
type turnstile struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	close  func() // once
}

func newTurnstile(l net.Listener, n int) *turnstile {
	closed := make(chan struct{})
	return &turnstile{l, make(chan struct{}, n), closed, sync.OnceFunc(func() { close(closed) })}
}

func (t *turnstile) Accept() (net.Conn, error) {
	select {
	case t.places <- struct{}{}:
	case <-t.closed:
		return nil, net.ErrClosed
	}
	c, err := t.Listener.Accept()
	if err != nil {
		<-t.places
		return nil, err
	}
	return &visitor{Conn: c, leave: sync.OnceFunc(func() { <-t.places })}, nil
}

func (t *turnstile) Close() error {
	t.close()
	return t.Listener.Close()
}

// visitor is a connection that has a place.
type visitor struct {
	net.Conn
	leave func()
}

func (v *visitor) Close() error {
	err := v.Conn.Close()
	v.leave()
	return err
}
