package act

import (
	"bytes"
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"vrrpd/control"
	"vrrpd/control/controltest"
)

// replaced is a process that is asked to go on as another program.
type replaced struct {
	pid    int
	answer control.Result
	asked  *atomic.Int32 // how many were asked before
	turn   atomic.Int32  // when this one was
}

func (r *replaced) Status() control.Status {
	return control.Status{PID: r.pid, Machine: control.Machine{Group: "lan", State: "BACKUP", Phase: "BACKUP", Epoch: 3}}
}

func (r *replaced) Command(_ context.Context, c control.Command) (control.Result, error) {
	r.turn.Store(r.asked.Add(1))
	return r.answer, nil
}

// Processes are asked one after the other, each once; the first that refuses ends it.
func TestReexec(t *testing.T) {
	done, no := control.Result{Done: true, Message: "binary replaced: version 1 -> 2"}, control.Result{Message: "nothing was changed: busy"}
	for _, c := range []struct {
		answers [3]control.Result
		pids    [3]int
		turns   [3]int32
		code    int
		out     int // lines
		err     string
	}{
		{[3]control.Result{done, done, done}, [3]int{5, 6, 7}, [3]int32{1, 2, 3}, Done, 3, ""},
		{[3]control.Result{done, done, done}, [3]int{5, 5, 7}, [3]int32{1, 0, 2}, Done, 2, ""},
		{[3]control.Result{done, no, done}, [3]int{5, 6, 7}, [3]int32{1, 2, 0}, Failed, 1, "atropos: eth0-52: nothing was changed: busy\n"},
	} {
		dir, asked := t.TempDir(), new(atomic.Int32)
		all := make([]*replaced, 3)
		for i, name := range []string{"eth0-51", "eth0-52", "eth0-53"} {
			all[i] = &replaced{pid: c.pids[i], answer: c.answers[i], asked: asked}
			controltest.ServeAs(t, dir, name, &control.Server{Source: all[i], Feed: new(control.Feed)})
		}
		var out, errs bytes.Buffer
		if code := (Act{RunDir: dir, Out: &out, Err: &errs}).Reexec(t.Context()); code != c.code {
			t.Errorf("ends with %d, want %d", code, c.code)
		}
		if strings.Count(out.String(), "\n") != c.out || errs.String() != c.err {
			t.Errorf("said %q, %q", out.String(), errs.String())
		}
		for i, r := range all {
			if got := r.turn.Load(); got != c.turns[i] {
				t.Errorf("process %d was asked as number %d, want %d", i, got, c.turns[i])
			}
		}
	}
	var errs bytes.Buffer
	if code := (Act{RunDir: t.TempDir(), Out: &errs, Err: &errs}).Reexec(t.Context()); code != Nobody || !strings.Contains(errs.String(), "no vrrpd is running here") {
		t.Errorf("nobody is there: %d, %q", code, errs.String())
	}
}
