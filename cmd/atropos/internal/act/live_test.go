package act

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"vrrpd/control"
)

// paper is a Display that a test reads.
type paper struct {
	mu      sync.Mutex
	width   int
	drawn   chan string
	changed chan struct{}
	keys    chan byte
	closed  int
	err     error
}

func newPaper() *paper {
	return &paper{width: 100, drawn: make(chan string, 100), changed: make(chan struct{}), keys: make(chan byte)}
}

func (p *paper) Size() (int, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.width, 30
}

func (p *paper) Draw(lines []string) error {
	if p.err != nil {
		return p.err
	}
	select {
	case p.drawn <- strings.Join(lines, "\n"):
	default:
	}
	return nil
}

func (p *paper) Changed() <-chan struct{} { return p.changed }
func (p *paper) Keys() <-chan byte        { return p.keys }
func (p *paper) Close() error             { p.closed++; return nil }

// until waits for a drawing that has the words.
func (p *paper) until(t *testing.T, words string) string {
	t.Helper()
	limit := time.After(patience)
	last := ""
	for {
		select {
		case last = <-p.drawn:
			if strings.Contains(last, words) {
				return last
			}
		case <-limit:
			t.Fatalf("%q is not shown:\n%s", words, last)
		}
	}
}

func TestLive(t *testing.T) {
	dir := t.TempDir()
	feed := serve(t, dir)
	p := newPaper()
	done := make(chan int, 1)
	go func() {
		done <- Act{RunDir: dir, Err: t.Output(), Display: func() (Display, error) { return p, nil }}.Watch(t.Context())
	}()
	p.until(t, "BACKUP since")
	p.until(t, "lan: is BACKUP: recovered") // from here on nothing is missed
	feed.Publish(control.Event{Kind: control.KindTransition, Group: "lan", From: "BACKUP", To: "MASTER", Reason: "master-timeout", Epoch: 4})
	p.until(t, "lan: BACKUP -> MASTER: master-timeout")
	p.mu.Lock()
	p.width = 12
	p.mu.Unlock()
	p.changed <- struct{}{}
	for _, line := range strings.Split(p.until(t, "atropos"), "\n") {
		if len([]rune(line)) > 100 {
			t.Errorf("%q", line)
		}
	}
	p.until(t, "BACKUP sinc~")
	p.keys <- 'x'
	p.keys <- 'q'
	if code := <-done; code != Done || p.closed != 1 {
		t.Errorf("code %d, closed %d times", code, p.closed)
	}
}

func TestLiveEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	p := newPaper()
	close(p.keys) // no keyboard
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int, 1)
	go func() {
		done <- Act{RunDir: dir, Err: t.Output(), Display: func() (Display, error) { return p, nil }}.Watch(ctx)
	}()
	p.until(t, "lan: is BACKUP")
	cancel()
	if code := <-done; code != Done || p.closed != 1 {
		t.Errorf("code %d, closed %d times", code, p.closed)
	}
}

func TestLiveOnATerminalThatGoes(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	p := newPaper()
	p.err = errors.New("the terminal is gone")
	var errs bytes.Buffer
	a := Act{RunDir: dir, Err: &errs, Display: func() (Display, error) { return p, nil }}
	if code := a.Watch(t.Context()); code != Failed || errs.String() != "atropos: the terminal is gone\n" || p.closed != 1 {
		t.Errorf("code %d, %q, closed %d times", code, &errs, p.closed)
	}
}
