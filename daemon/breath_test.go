package daemon

import (
	"testing"
	"time"

	"vrrpd/internal/realtime"
)

// The loop takes breath before many adverts, once, on a real-time thread.
func TestBreath(t *testing.T) {
	d, grid := crowdDaemon(t, atOnce+1)
	bell, err := realtime.NewBell(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bell.Close() })
	d.bell = bell
	d.verdictAt = boottime() + int64(time.Hour)
	if d.breathAt() != maxTime || d.breathe() {
		t.Error("without a real-time thread")
	}
	d.realtime = new(realtime.Threads)
	if d.breathAt() != maxTime || d.breathe() {
		t.Error("of who does not serve")
	}
	d.serves.Store(true)
	ahead := d.verdictAt - int64(breathAhead)
	if d.breathAt() != ahead || d.due() != ahead {
		t.Errorf("%v before the adverts, want %v", time.Duration(d.verdictAt-d.breathAt()), breathAhead)
	}
	if d.breathe() {
		t.Error("too early")
	}
	d.verdictAt = boottime()
	if d.breathe() || d.breathAt() != maxTime {
		t.Error("when it is too late for that, or again")
	}
	bell.Ring()
	bell.Wait(0)
	d.verdictAt = boottime() + int64(breathAhead)
	if d.breathe() {
		t.Error("although somebody has called")
	}
	bell.Quiet()
	bell.Wait(0)
	bell.Wait(0)
	breathed := false
	for range 1000 { // it may be stopped between the two
		if d.verdictAt = boottime() + int64(breathAhead); d.breathe() {
			breathed = true
			break
		}
	}
	if !breathed || d.breathAt() != maxTime {
		t.Errorf("breathed: %v, or twice", breathed)
	}
	d.verdictAt = boottime() + int64(time.Hour)
	d.pieces.left = grid()
	if d.breathAt() != maxTime {
		t.Error("between the adverts")
	}
	d.pieces.left = nil
	d.routers = d.routers[:atOnce]
	if d.breathAt() != maxTime {
		t.Error("before few adverts")
	}
}
