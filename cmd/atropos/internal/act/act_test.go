package act

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vrrpd/control"
	"vrrpd/control/controltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// backup is a daemon that is BACKUP and does what it is told.
type backup struct{ asked chan struct{} }

func (b backup) Status() control.Status {
	select {
	case b.asked <- struct{}{}:
	default:
	}
	return control.Status{Machine: control.Machine{Group: "lan", State: "BACKUP", Phase: "BACKUP", Reason: "recovered", Epoch: 3}}
}

func (backup) Command(context.Context, control.Command) (control.Result, error) {
	return control.Result{}, errors.New("not today")
}

func serve(t *testing.T, dir string) *control.Feed {
	t.Helper()
	feed := new(control.Feed)
	controltest.Serve(t, dir, &control.Server{Source: backup{make(chan struct{}, 1)}, Feed: feed})
	return feed
}

// lines hands out what is written, line by line.
func lines(t *testing.T) (io.Writer, func() string) {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { r.Close() })
	out := make(chan string)
	go func() {
		buf, text := make([]byte, 4096), ""
		for {
			n, err := r.Read(buf)
			if err != nil {
				close(out)
				return
			}
			text += string(buf[:n])
			for {
				line, rest, ok := strings.Cut(text, "\n")
				if !ok {
					break
				}
				text = rest
				out <- line
			}
		}
	}()
	return w, func() string {
		t.Helper()
		select {
		case line := <-out:
			return line
		case <-time.After(patience):
			t.Fatal("no line")
			return ""
		}
	}
}

func TestWatch(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		dir := t.TempDir()
		feed := serve(t, dir)
		out, next := lines(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan int, 1)
		go func() { done <- Act{RunDir: dir, JSON: asJSON, Out: out, Err: io.Discard}.Watch(ctx) }()
		state := next() // from here on nothing is missed
		feed.Publish(control.Event{Kind: control.KindTransition, Group: "lan", From: "BACKUP", To: "MASTER", Reason: "master-timeout", Epoch: 4})
		event := next()
		cancel()
		if code := <-done; code != Done {
			t.Errorf("code %d after an interrupt", code)
		}
		if asJSON {
			var a, b control.Event
			if err := errors.Join(json.Unmarshal([]byte(state), &a), json.Unmarshal([]byte(event), &b)); err != nil ||
				a.Kind != control.KindState || b.To != "MASTER" {
				t.Errorf("%s, %s: %v", state, event, err)
			}
		} else if !strings.HasSuffix(state, " lan: is BACKUP: recovered") || !strings.HasSuffix(event, " lan: BACKUP -> MASTER: master-timeout") {
			t.Errorf("%q, %q", state, event)
		}
	}
}

func TestWatchEndsWithItsReader(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	r, w := io.Pipe()
	r.Close()
	if code := (Act{RunDir: dir, Out: w, Err: io.Discard}).Watch(t.Context()); code != Failed {
		t.Errorf("code %d", code)
	}
}

func TestCommandThatIsNotCarriedOut(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	var out, errs bytes.Buffer
	a := Act{RunDir: dir, Out: &out, Err: &errs}
	if code := a.Command(t.Context(), control.Backup); code != Failed || errs.String() != "atropos: not today\n" || out.Len() > 0 {
		t.Errorf("code %d, out %q, err %q", code, &out, &errs)
	}
}

func TestInterruptedCommand(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs bytes.Buffer
	if code := (Act{RunDir: dir, Out: io.Discard, Err: &errs}).Command(ctx, control.Backup); code != Failed || errs.Len() == 0 {
		t.Errorf("code %d, %q", code, &errs)
	}
}
