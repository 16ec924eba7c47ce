package election

import (
	"net/netip"
	"testing"
	"time"
)

// A machine may have begun to listen long before its second step: what it has heard since
// comes first, and nothing heard is silence.
func TestLongBetweenStartAndTheNextStep(t *testing.T) {
	const interval = time.Second
	router := Router{
		Family: 4, VRID: 51, Version: 3, Priority: 100, Interval: interval, Preempt: true,
		VIP: netip.MustParseAddr("192.0.2.100"), Source: netip.MustParseAddr("192.0.2.11"),
	}
	down := int64(MasterDownInterval(3, 100, interval))
	advert := func(priority uint8) Event {
		return Event{Kind: EvAdvert, Addr: netip.MustParseAddr("192.0.2.12"), Priority: priority, Interval: interval}
	}
	for _, c := range []struct {
		name  string
		after int64
		heard []Event
		want  State
	}{
		{"nothing heard, and long enough", down, nil, Master},
		{"nothing heard, and not long enough", down - 1, nil, Backup},
		{"a better master was heard", 10 * down, []Event{advert(200)}, Backup},
		{"a better master was heard, which has resigned", 10 * down, []Event{advert(200), advert(0)}, Backup},
		{"the machine was suspended meanwhile", 10 * down, []Event{{Kind: EvSuspended}}, Backup},
	} {
		m := New(Config{}, new(LocalBoard), []Router{router})
		m.Start(epoch, nil)
		m.Step(epoch+c.after, c.heard, nil)
		if got := m.View().Word.State(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
