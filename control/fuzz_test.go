package control

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// FuzzServer takes any bytes as a request of another user: nothing of it is
// carried out, no command, no panic.
func FuzzServer(f *testing.F) {
	for _, request := range []string{
		"GET /v1/state HTTP/1.1\r\nHost: vrrpd\r\n\r\n",
		"GET /v1/is-master HTTP/1.1\r\nHost: vrrpd\r\n\r\n",
		"GET /v1/watch HTTP/1.1\r\nHost: vrrpd\r\n\r\n",
		"POST /v1/backup HTTP/1.1\r\nHost: vrrpd\r\n\r\n",
		"POST /v1/hold HTTP/1.1\r\nHost: vrrpd\r\nContent-Length: 3\r\n\r\nnow",
		"POST /v1/../v1//reduce?x=%00 HTTP/1.1\r\nHost: a\r\nX-HTTP-Method-Override: POST\r\n\r\n",
		"POST /v1/increase HTTP/1.1\r\nHost: vrrpd\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"CONNECT /v1/release HTTP/1.0\r\n\r\n",
	} {
		f.Add([]byte(request))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		source := &fake{status: []Status{machine("g", "MASTER", 1)}}
		server := &Server{Source: source, Feed: &Feed{}, instance: "eth0-51"}
		server.Log = discard()
		server.Feed.Close("the test is over")
		who := &caller{cred: unix.Ucred{Uid: uint32(os.Geteuid()) + 12345}}
		answer := httptest.NewRecorder()
		server.handler().ServeHTTP(answer, r.WithContext(context.WithValue(context.Background(), callerKey{}, who)))
		if asked := source.asked(); len(asked) > 0 {
			t.Fatalf("a stranger's command is carried out: %+v", asked)
		}
		if r.Method == http.MethodPost && answer.Code == http.StatusOK {
			t.Fatalf("a stranger's POST is answered with 200: %s", answer.Body)
		}
	})
}

// FuzzClient takes any bytes as the answer of a process: an error or a result,
// never a panic and never a wait without end.
func FuzzClient(f *testing.F) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"master\": true}",
		"HTTP/1.1 200 OK\r\n\r\n{\"machine\":{\"state\":\"MASTER\",\"epoch\":7,\"since\":\"2026-01-02T03:04:05Z\"},\"vrrp-instance\":[{\"vrid\":51}]}",
		"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n{\"done\":false,\"message\":\"no\"}",
		tooMany,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1a\r\n{\"kind\":\"state\",\"epoch\":1}\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n{\"kind\":\"transition\",\"epoch\":2,\"to\":\"MASTER\"}\n{\"kind\":\"end\"}\n",
		"HTTP/1.1 301 Moved Permanently\r\nLocation: /v1/state\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nnull",
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		client := NewClient("/nowhere.sock")
		transport := client.http.Transport.(*http.Transport)
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				// The request is taken as far as it comes; then the answer is given.
				go io.Copy(io.Discard, there)
				there.Write(answer)
				there.Close()
			}()
			return here, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		begin := time.Now()
		if st, err := client.Status(ctx); err != nil && len(st.Routers) > 0 && st.Machine.State == "" && IsDead(err) {
			t.Fatalf("who answers is not dead: %v", err)
		}
		client.IsMaster(ctx)
		if r, err := client.Command(ctx, Backup); err != nil && r.Done {
			t.Fatalf("done and failed: %+v, %v", r, err)
		}
		client.Watch(ctx, func(e Event) error { return nil })
		if time.Since(begin) > patience/2 {
			t.Fatalf("the client waited for %v", time.Since(begin))
		}
	})
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
