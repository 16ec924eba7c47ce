package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seedFlag  = flag.Int64("seed", -1, "play this seed alone and print its trace")
	fileFlag  = flag.String("script", "", "play the scenario in this file and print its trace")
	firstFlag = flag.Uint64("first", 1, "first seed of TestRandom")
	seedsFlag = flag.Int("seeds", 3000, "number of seeds that TestRandom plays")
)

// TestRandom plays seeds, on every processor. A failing one is shrunk and
// printed with the smallest script that still fails.
func TestRandom(t *testing.T) {
	if *seedFlag >= 0 {
		w := New(Generate(uint64(*seedFlag)))
		fmt.Println(w.Scenario)
		w.trace = func(line string) { fmt.Println(line) }
		if v := w.Play(); v != nil {
			t.Fatal(v)
		}
		return
	}
	if *fileFlag != "" {
		text, err := os.ReadFile(*fileFlag)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(script(blocks(string(text))))
		if err != nil {
			t.Fatal(err)
		}
		w := New(s)
		w.tell()
		w.trace = func(line string) { fmt.Println(line) }
		if v := w.Play(); v != nil {
			t.Fatal(v)
		}
		return
	}
	begin := time.Now()
	var next, steps atomic.Int64
	var mu sync.Mutex
	var failed []uint64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				n := next.Add(1) - 1
				if n >= int64(*seedsFlag) {
					return
				}
				seed := *firstFlag + uint64(n)
				w := New(Generate(seed))
				if v := w.Play(); v != nil {
					mu.Lock()
					failed = append(failed, seed)
					mu.Unlock()
				}
				steps.Add(int64(w.steps))
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	t.Logf("%d scenarios in %v (%.0f/s), %d steps", *seedsFlag, took.Round(time.Millisecond), float64(*seedsFlag)/took.Seconds(), steps.Load())
	for i, seed := range failed {
		s := Generate(seed)
		v := New(s).Play()
		if i >= 5 {
			t.Errorf("seed %d: %v", seed, v)
			continue
		}
		small, v2 := Shrink(s, v)
		t.Errorf("seed %d: %v\nreplay: go test ./internal/sim -run TestRandom -seed=%d\nsmallest script that fails in the same way: %v\n%v", seed, v, seed, v2, small)
	}
}
