package health

import (
	"context"
	"testing"
	"time"
)

// What a look costs: a command from its start to its verdict.
func BenchmarkCommand(b *testing.B) {
	s := start(b, Options{}, Passing, Check{Name: "true", Command: []string{"/bin/true"}, Interval: time.Hour, Timeout: patience, Rise: 1, Fall: 1})
	w := s.watches[0]
	b.ReportAllocs()
	for b.Loop() {
		if o, known := w.command(context.Background()); !known || !o.ok {
			b.Fatal(o.detail)
		}
	}
}

// A process by name is looked for among all of the machine.
func BenchmarkProcessByName(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if pid := oldest("no-such-process"); pid != 0 {
			b.Fatal(pid)
		}
	}
}
