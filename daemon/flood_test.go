package daemon

import "testing"

func TestFloodgate(t *testing.T) {
	var g floodgate
	passed := func(n int, priority uint8, now int64) (count int) {
		for range n {
			if !g.drops(priority, now) {
				count++
			}
		}
		return count
	}
	now := int64(1e9)
	if n := passed(1000, 10, now); n != floodBudget {
		t.Errorf("%d of 1000 pass, want %d", n, floodBudget)
	}
	// A true master is heard through a flood of lower ones, in the same instant.
	if n := passed(3, 100, now); n != 1 {
		t.Errorf("%d of 3 with a higher priority pass, want 1", n)
	}
	if n := passed(1000, 100, now+floodWindow-1); n != 0 {
		t.Errorf("%d more pass", n)
	}
	// So is one who resigns, whatever was said before.
	if n := passed(1000, 0, now+floodWindow-1); n != floodBudget {
		t.Errorf("%d resignations pass, want %d", n, floodBudget)
	}
	// The next window begins anew; what 1,000 virtual routers or a dozen masters
	// say in an interval is no flood.
	for range 1000 {
		now += floodWindow
		if n := passed(12, 100, now); n != 12 {
			t.Fatalf("%d of 12 pass", n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { g.drops(1, now) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
