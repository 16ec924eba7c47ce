package control

import (
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Who asks while an answer is made shares the next one, which is newer than the question,
// and after one that was much work there is a pause.
func TestPress(t *testing.T) {
	for _, c := range []struct {
		name  string
		work  time.Duration
		pause time.Duration
	}{
		{"much work", 20 * time.Millisecond, 60 * time.Millisecond},
		{"little work", pressLight / 2, 0},
		{"very much work", 2 * time.Second, pressLongest},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var begun []time.Duration
				p := newPress(func() ([]byte, time.Duration) {
					begun = append(begun, time.Since(start))
					text := []byte(strconv.Itoa(len(begun)))
					time.Sleep(c.work)
					return text, c.work
				})
				var all sync.WaitGroup
				ask := func(want string) {
					all.Go(func() {
						if got := string(p.read()); got != want {
							t.Errorf("got edition %s, want %s", got, want)
						}
					})
				}
				ask("1")
				synctest.Wait() // it is being made
				for range 100 {
					ask("2")
				}
				all.Wait()
				if len(begun) != 2 || begun[1] != c.work+c.pause {
					t.Errorf("begun at %v, want a pause of %v after work of %v", begun, c.pause, c.work)
				}
				// Who comes when the pause is long over waits for nothing.
				time.Sleep(time.Hour)
				at := time.Since(start)
				ask("3")
				all.Wait()
				if len(begun) != 3 || begun[2] != at {
					t.Errorf("begun at %v, asked at %v", begun[2], at)
				}
			})
		})
	}
}
