package control

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What an answer costs, and what it leaves for the collector.
func BenchmarkAnswer(b *testing.B) {
	st := busyStatus("machine")
	for len(st.Routers) < 10 {
		st.Routers = append(st.Routers, st.Routers[0])
	}
	for _, path := range []string{"/metrics", "/v1/state", "/v1/is-master"} {
		b.Run(path[1:], func(b *testing.B) {
			d := serve(b, filepath.Join(b.TempDir(), "machine.sock"), st)
			buf := make([]byte, 1<<16)
			question := []byte("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
			b.ReportAllocs()
			for b.Loop() {
				for _, p := range []*pace{&d.server.questions, &d.server.scrapes} {
					p.mu.Lock()
					p.next = time.Time{} // no rest
					p.mu.Unlock()
				}
				conn, err := net.Dial("unix", d.path)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := conn.Write(question); err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = conn.Read(buf)
				}
				conn.Close()
			}
		})
	}
}

// slowSource answers when it is let, and counts.
type slowSource struct {
	*fake
	asked *atomic.Int32
	let   chan struct{}
}

func (s slowSource) Status() Status {
	s.asked.Add(1)
	<-s.let
	return s.fake.Status()
}

// Who asks while a status is made waits for the next one, together with all others, whatever
// they ask for: it has to be newer than the question. And the more ask, the longer it takes.
func TestStatusesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := slowSource{&fake{status: []Status{busyStatus("machine")}}, new(atomic.Int32), make(chan struct{})}
		s := &Server{Source: src, Feed: &Feed{}, Log: slog.New(slog.DiscardHandler)}
		h := s.handler()
		var all sync.WaitGroup
		ask := func(path string) {
			all.Go(func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
				if w.Code != http.StatusOK || w.Body.Len() == 0 {
					t.Errorf("%s: %d %s", path, w.Code, w.Body)
				}
			})
		}
		ask("/v1/is-master")
		synctest.Wait()
		for _, path := range []string{"/v1/is-master", "/metrics", "/v1/state", "/metrics"} {
			ask(path)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := src.asked.Load(); n != 1 {
			t.Errorf("asked %d times at once", n)
		}
		src.let <- struct{}{}
		src.let <- struct{}{}
		all.Wait()
		if n := src.asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
		close(src.let)
		const many = 100
		for _, path := range []string{"/v1/is-master", "/v1/state", "/metrics"} {
			time.Sleep(time.Minute)
			start := time.Now()
			for range many {
				ask(path)
			}
			all.Wait()
			if took, least := time.Since(start), (many-1)*paceRest*answerWork; took < least {
				t.Errorf("%d answers to %s in %v, want no less than %v", many, path, took, least)
			}
		}
		time.Sleep(time.Minute)
		s.scrapes.leave(paceLongest)
		ask("/metrics")
		all.Wait()
		if s.scrapes.taken == paceLongest {
			t.Error("what a scrape takes is not measured")
		}
	})
}
