package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vrrpd/election"
)

// Limits of a request and of the patience with one that does not move on.
const (
	maxHeader   = 8 << 10
	headerLimit = 2 * time.Second // to send the whole header
	writeLimit  = 5 * time.Second // to take an answer, or one line of a watch
	closeLimit  = time.Second     // for open requests when the server ends
)

// Server answers on one socket. Source and Feed must be set; Log may be nil.
type Server struct {
	Source Source
	Feed   *Feed
	Log    *slog.Logger
	GID    int // > 0: the group that may connect, instead of the process's own

	sock      *socket
	instance  string
	questions pace // for the state
	scrapes   pace // for the metrics
	statuses  *press[Status]
	states    *press[[]byte]
	stateSize int // of printState
}

// Listen makes the socket. The caller owns the instance: a socket that is there
// already is a dead one's and is replaced. Connections wait until Run.
func (s *Server) Listen(path string) error {
	sock, err := listenAt(path, s.GID)
	if err != nil {
		return err
	}
	s.take(sock, path)
	return nil
}

func (s *Server) take(sock *socket, path string) {
	s.sock = sock
	s.instance = strings.TrimSuffix(filepath.Base(path), suffix)
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
}

// Adopt goes on with the socket of another program of this process, instead of Listen:
// who has connected meanwhile is answered. The descriptor belongs to the server.
func (s *Server) Adopt(path string, fd int) error {
	sock, err := adopt(path, fd, s.GID)
	if err != nil {
		return err
	}
	s.take(sock, path)
	return nil
}

// Hint makes who watches the directory (Follow) look at the socket again.
func (s *Server) Hint() { _ = s.sock.open(s.GID) } // it has been possible before

// Descriptor is that of the socket; it stays the server's.
func (s *Server) Descriptor() int { return descriptor(s.sock.Listener) }

// Close removes the socket of a server that was never run.
func (s *Server) Close() error {
	if s.sock == nil {
		return nil
	}
	return errors.Join(s.sock.remove(), s.sock.Close())
}

// Run serves what Listen made until ctx ends, then removes the socket, ends the watches with a
// last line, lets the answers to open commands go out for a second, and
// returns. The error is that of the listening socket or of its removal.
func (s *Server) Run(ctx context.Context) error {
	// Open requests outlive ctx until the watches have had their last line.
	base, end := context.WithCancel(context.Background())
	defer end()
	srv := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: headerLimit,
		MaxHeaderBytes:    maxHeader,
		IdleTimeout:       headerLimit,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, callerKey{}, c.(*caller))
		},
	}
	srv.SetKeepAlivesEnabled(false)
	served := make(chan error, 1)
	go func() {
		served <- srv.Serve(&gate{Listener: s.sock.Listener, count: make(map[uint32]int)})
	}()
	var err error
	serving := true
	select {
	case err = <-served:
		serving = false
		err = fmt.Errorf("serve %s: %w", s.sock.path, err)
	case <-ctx.Done():
	}
	err = errors.Join(err, s.sock.remove())
	s.Feed.Close("vrrpd " + s.instance + " has ended")
	end()
	closing, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	if srv.Shutdown(closing) != nil {
		srv.Close()
	}
	if serving {
		<-served
	}
	return err
}

type callerKey struct{}

func (s *Server) handler() http.Handler {
	s.statuses = newPress(s.ask)
	s.states = newPress(s.printState)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/state", s.paced(s.state))
	mux.HandleFunc("GET /v1/is-master", s.paced(s.isMaster))
	mux.HandleFunc("GET /v1/watch", s.paced(s.watch))
	mux.HandleFunc("GET /metrics", s.metrics)
	for _, v := range Verbs() {
		mux.HandleFunc("POST /v1/"+string(v), func(w http.ResponseWriter, r *http.Request) { s.command(w, r, v) })
	}
	return bodiless(mux)
}

// bodiless turns away requests with a body: none of ours has one, so nobody's is read
// or waited for.
func bodiless(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			http.NewResponseController(w).SetReadDeadline(time.Now())
			answer(w, http.StatusRequestEntityTooLarge, Result{Message: "a request has no body"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// status is newer than the question; who asks meanwhile is told the same.
func (s *Server) status() Status { return s.statuses.read() }

// paced answers questions for the state no faster than they may be.
func (s *Server) paced(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.questions.enter(r.Context()) == nil {
			next(w, r)
		}
	}
}

// statusWork is what a status takes at most; if it took longer, it was waited for.
const statusWork = 20 * time.Millisecond

// ask has a new status made, and says how much work that was.
func (s *Server) ask() (Status, time.Duration) {
	begin := time.Now()
	st := s.Source.Status()
	st.Model, st.Instance = Model, s.instance
	st.Machine.Group = s.group(st.Machine.Group)
	// Lists are lists in JSON, also when they are empty.
	st.Routers = list(st.Routers)
	st.Hooks = list(st.Hooks)
	st.Transitions = list(st.Transitions)
	st.Counts = list(st.Counts)
	st.Parents = list(st.Parents)
	st.Machine.Faults = list(st.Machine.Faults)
	st.Machine.Alarms = list(st.Machine.Alarms)
	return st, min(time.Since(begin), statusWork)
}

// group names the group of a process that has none (no -M) after its instance,
// so that nobody takes two such processes for one machine's state.
func (s *Server) group(name string) string {
	if name == "" {
		return s.instance
	}
	return name
}

func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (s *Server) state(w http.ResponseWriter, _ *http.Request) {
	text := s.states.read()
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeLimit))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.Write(text)
}

// printState is the answer of /v1/state.
func (s *Server) printState() ([]byte, time.Duration) {
	st := s.status()
	begin := time.Now()
	var b bytes.Buffer
	b.Grow(s.stateSize)
	json.NewEncoder(&b).Encode(st)
	s.stateSize = b.Len() + b.Len()/16 // the next one will be as long, or a little longer
	return b.Bytes(), time.Since(begin)
}

// masterAnswer is the answer of /v1/is-master.
type masterAnswer struct {
	Master bool `json:"master"`
}

func (s *Server) isMaster(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, masterAnswer{s.status().Machine.State == election.Master.String()})
}

func (s *Server) command(w http.ResponseWriter, r *http.Request, v Verb) {
	who := r.Context().Value(callerKey{}).(*caller).cred
	if own := uint32(os.Geteuid()); who.Uid != 0 && who.Uid != own {
		s.Log.Warn("command refused", "command", string(v), "uid", who.Uid, "pid", who.Pid)
		answer(w, http.StatusForbidden, Result{Message: fmt.Sprintf(
			"%s is for root (or uid %d), and you are uid %d: use sudo", v, own, who.Uid)})
		return
	}
	c := Command{Verb: v, UID: who.Uid, PID: who.Pid}
	if v == Reexec {
		c.Caller = r.Context().Value(callerKey{}).(*caller).descriptor()
	}
	res, err := s.Source.Command(r.Context(), c)
	if err != nil {
		answer(w, http.StatusServiceUnavailable, Result{Message: err.Error()})
		return
	}
	answer(w, http.StatusOK, res)
}

// watch writes one line per event. The first says how things stand, and alarms
// that last follow it; all of it is taken after the watch has begun, so that
// nothing can fall between the two.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	watcher := s.Feed.watch()
	defer close(watcher.gone)
	defer watcher.stop()
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	line := func(e Event) error {
		e.Instance, e.Group = s.instance, s.group(e.Group)
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if err := out.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
			return err
		}
		if _, err := w.Write(append(b, '\n')); err != nil {
			return err
		}
		return out.Flush()
	}
	m := s.status().Machine
	now := Event{At: time.Now(), Kind: KindState, Group: m.Group, To: m.Phase, Reason: m.Reason, Peer: m.Peer, Epoch: m.Epoch}
	if line(now) != nil {
		return
	}
	for _, a := range m.Alarms {
		e := Event{At: a.Since, Kind: KindAlarm, Group: m.Group, Interface: a.Interface, Reason: a.Reason, Peer: a.Peer, Active: true, Message: a.text()}
		if line(e) != nil {
			return
		}
	}
	gone := r.Context().Done()
	for {
		select {
		case e, ok := <-watcher.events:
			if !ok {
				if watcher.why != "" {
					line(Event{At: time.Now(), Kind: watcher.kind, Message: watcher.why})
				}
				return
			}
			if line(e) != nil {
				return
			}
		case <-gone:
			// The reader left, or the server ends; then the feed has said why,
			// and what is in the queue still goes out.
			watcher.stop()
			gone = nil
		}
	}
}

// answer writes one JSON object. A caller that does not take it in time is
// dropped.
func answer(w http.ResponseWriter, code int, v any) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeLimit))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}
