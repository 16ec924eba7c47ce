package daemon

import (
	"testing"

	"vrrpd/health"
)

// A router that a reload removes is silent from then on, whatever was to be said of it: what
// is said after its successor's first word would lead the LAN back to a machine that goes.
func TestAnnounceOfOneThatIsRemoved(t *testing.T) {
	d, _ := crowdDaemon(t, 2)
	d.health = health.New(health.Options{})
	told := map[[4]byte]int{}
	d.announcer.send = func(_ *parent, frames [][]byte) (int, error) {
		for _, f := range frames {
			told[[4]byte(f[28:32])]++ // the sender's protocol address
		}
		return len(frames), nil
	}
	goes, stays := d.routers[0], d.routers[1]
	for _, r := range d.routers {
		d.announceAll(r)
	}
	end := func() {
		for at := d.announcer.wakeAt(); at != maxTime; at = d.announcer.wakeAt() {
			d.announcer.run(at)
		}
	}
	d.begin(&plan{cfg: d.cfg, retire: []*router{goes}}, func() {})
	end()
	d.announcer.woke = true // a heal, and everything is said again that is announced
	d.announceSome()
	end()
	if n := told[goes.vips[0].As4()]; n > 0 || told[stays.vips[0].As4()] == 0 {
		t.Errorf("it is announced %d times, of %v", n, told)
	}
	if d.announcer.urgent() {
		t.Error("somebody waits for it to be announced")
	}
}
