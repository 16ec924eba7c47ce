package control

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A command whose program was replaced is answered by the next one on the connection
// that it was given on, and who has connected meanwhile is answered by the next server.
func TestNextProgramAnswers(t *testing.T) {
	path := sock(t, "eth0-51")
	old := serve(t, path, machine("lan", "MASTER", 1))
	caller := make(chan int, 1)
	gone := make(chan struct{})
	old.fake.reply = func(ctx context.Context, c Command) (Result, error) {
		fd, err := unix.FcntlInt(uintptr(c.Caller), unix.F_DUPFD_CLOEXEC, 100)
		if err != nil {
			t.Error(err)
		}
		caller <- fd
		<-gone // as if nothing ran here any more
		return Result{}, nil
	}
	defer close(gone)
	type outcome struct {
		r   Result
		err error
	}
	answered := make(chan outcome, 1)
	go func() {
		r, err := NewClient(path).Command(within(t), Reexec)
		answered <- outcome{r, err}
	}()
	want := Result{Done: true, Message: "binary replaced: \"1\" -> 2"}
	if err := Answer(<-caller, want); err != nil {
		t.Fatal(err)
	}
	if got := <-answered; got.err != nil || got.r != want {
		t.Errorf("%+v", got)
	}
	if err := Answer(1<<20, want); err == nil {
		t.Error("nobody was answered, without an error")
	}
}

func TestAdoptSocket(t *testing.T) {
	path := sock(t, "eth0-51")
	old := &Server{Source: &fake{status: []Status{machine("lan", "MASTER", 1)}}, Feed: new(Feed)}
	if err := old.Listen(path); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(uintptr(old.Descriptor()), unix.F_DUPFD_CLOEXEC, 100)
	if err != nil {
		t.Fatal(err)
	}
	// Who connects between the two programs waits for the next one.
	status := make(chan error, 1)
	go func() {
		_, err := NewClient(path).Status(within(t))
		status <- err
	}()
	next := &Server{Source: &fake{status: []Status{machine("lan", "MASTER", 1)}}, Feed: new(Feed)}
	if err := next.Adopt(path, fd); err != nil {
		t.Fatal(err)
	}
	old.sock.Listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- next.Run(ctx) }()
	if err := <-status; err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if left, err := sockets(path[:len(path)-len("/eth0-51.sock")]); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Who follows is told that a program is replaced, nothing else of it, and goes on with
// the next one.
func TestFollowAcrossReplacement(t *testing.T) {
	dir := t.TempDir()
	d := serve(t, SocketPath(dir, "eth0-51"), machine("lan", "MASTER", 7))
	events := make(chan Event, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Follow(ctx, dir, func(e Event) error { events <- e; return nil }) }()
	next := func() Event {
		select {
		case e := <-events:
			return e
		case <-within(t).Done():
			t.Fatal("no event")
		}
		return Event{}
	}
	if e := next(); e.Kind != KindState {
		t.Fatalf("%+v", e)
	}
	d.feed.Replace("the program is being replaced")
	if e := next(); e.Kind != KindReplace || e.Instance != "eth0-51" {
		t.Fatalf("%+v", e)
	}
	d.server.Hint()
	again := time.NewTicker(time.Millisecond) // until somebody watches
	defer again.Stop()
	limit := within(t).Done()
	for {
		select {
		case <-again.C:
			d.feed.Publish(Event{At: time.Now(), Kind: KindCommand, Group: "lan", Message: "reduce"})
		case e := <-events:
			if e.Kind == KindState {
				continue // of the next program
			}
			if e.Kind != KindCommand {
				t.Fatalf("%+v", e)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			return
		case <-limit:
			t.Fatal("it does not go on")
		}
	}
}
