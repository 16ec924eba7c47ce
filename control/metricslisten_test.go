package control

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"vrrpd/internal/promtext"
)

// serveMetrics answers on a loopback port until the test ends.
func serveMetrics(t *testing.T) (addr string) {
	t.Helper()
	s := &MetricsServer{All: func() []Status { return []Status{busyStatus("dmz"), busyStatus("lan")} }}
	if err := s.Listen(netip.MustParseAddrPort("127.0.0.1:0")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s.Addr().String()
}

// ask sends a request on a connection of its own and returns the answer's first line
// and body.
func ask(t *testing.T, addr, request string) (status, body string) {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(within(t), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%s\r\nHost: x\r\nConnection: close\r\n\r\n", request)
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(all), "\r\n\r\n")
	status, _, _ = strings.Cut(head, "\r\n")
	return status, body
}

func TestMetricsListener(t *testing.T) {
	addr := serveMetrics(t)
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	all, err := promtext.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range []string{"dmz", "lan"} {
		if v, err := all["vrrpd_held"].Value("group", g); v != 1 || err != nil {
			t.Errorf("%s: %v, %v", g, v, err)
		}
	}
	// Nothing but metrics: who can reach the port may not do what the socket allows.
	for _, r := range []string{"GET /v1/state HTTP/1.1", "POST /v1/backup HTTP/1.1", "GET / HTTP/1.1"} {
		if status, _ := ask(t, addr, r); status != "HTTP/1.1 404 Not Found" {
			t.Errorf("%s: %s", r, status)
		}
	}
	if status, _ := ask(t, addr, "POST /metrics HTTP/1.1"); status != "HTTP/1.1 405 Method Not Allowed" {
		t.Error(status)
	}
	if status, _ := ask(t, addr, "GET /metrics HTTP/1.1\r\nContent-Length: 1000"); !strings.Contains(status, "413") {
		t.Error(status)
	}
}

// Callers that say nothing take places, and give them back when their time is over.
func TestMetricsListenerWithSilentCallers(t *testing.T) {
	addr := serveMetrics(t)
	for range maxScrapers {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	status, body := ask(t, addr, "GET /metrics HTTP/1.1")
	if status != "HTTP/1.1 200 OK" || !strings.Contains(body, "vrrpd_build_info{") {
		t.Errorf("%s, %q", status, body)
	}
}

func TestMetricsListenerIsRefused(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:9112", "192.0.2.1:9112", "[::]:9112"} {
		if err := new(MetricsServer).Listen(netip.MustParseAddrPort(addr)); err == nil || !strings.Contains(err.Error(), "not a loopback address") {
			t.Errorf("%s: %v", addr, err)
		}
	}
	first := &MetricsServer{}
	if err := first.Listen(netip.MustParseAddrPort("127.0.0.1:0")); err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if err := new(MetricsServer).Listen(netip.MustParseAddrPort(first.Addr().String())); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a port that is taken: %v", err)
	}
}
