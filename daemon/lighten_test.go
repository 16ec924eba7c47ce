package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"vrrpd/config"
	"vrrpd/lease"
)

// briefly gives a daemon's deadlines so little time that each is near.
func briefly(d *Daemon, on bool) {
	interval := time.Millisecond
	if !on {
		interval = time.Second
	}
	for _, r := range d.routers {
		reconfigure(r, func(c *config.Router) { c.Interval = interval })
	}
}

// crowded is a daemon of n virtual routers that shares lights.
func crowded(t *testing.T, shared *lights, n int) *Daemon {
	t.Helper()
	d, r := testDaemon(t, t.TempDir(), "")
	d.opt.lights = shared
	for range n - 1 {
		c := *r.cfg
		c.VRID += uint8(len(d.routers))
		d.enlist(newRouter(d.freeVR(), &c, r.parent))
	}
	briefly(d, true)
	return d
}

// The groups of a process have as many light guards together as one has.
func TestLightGuardsAreCountedOverTheProcess(t *testing.T) {
	var shared lights
	a, b, c := crowded(t, &shared, lightRouters-1), crowded(t, &shared, 1), crowded(t, &shared, 1)
	if !a.lightly() || !b.lightly() {
		t.Errorf("%d virtual routers are too many", lightRouters)
	}
	if c.lightly() || a.lightly() || b.lightly() {
		t.Errorf("%d virtual routers are not too many", lightRouters+1)
	}
	briefly(c, false)
	if c.lightly() {
		t.Error("a long interval is for light guards")
	}
	if !a.lightly() || !b.lightly() {
		t.Error("virtual routers that light guards are not for are counted")
	}
	briefly(c, true)
	c.lightly()
	b.delist(b.routers[0]) // the last one
	b.lightenSoon()
	if !a.lightly() || !c.lightly() {
		t.Error("a virtual router that has been removed is counted")
	}
	a.countLight(0)
	c.countLight(0)
	if n := shared.routers.Load(); n != 0 {
		t.Errorf("%d are left", n)
	}
	if alone := New(a.cfg, Options{Log: slog.New(slog.DiscardHandler)}); alone.opt.lights == nil || alone.opt.lights == &shared {
		t.Error("a daemon by itself shares with others, or has nothing to count with")
	}
}

// Few are looked at after each advert, many as often as all of them together may be, and
// none is forgotten.
func TestLightGuardsAreGlancedAt(t *testing.T) {
	const interval, adverts = 10 * time.Millisecond, 100
	for _, n := range []int{1, 8, lightRouters} {
		d := crowded(t, new(lights), n)
		looks, last, began := 0, 0, boottime()
		for i := range adverts {
			for _, r := range d.routers {
				if d.mayGlance(r, began+int64(i)*int64(interval)) {
					looks++
					if r == d.routers[n-1] {
						last++
					}
				}
			}
		}
		most := int(adverts * interval / glanceStep)
		if looks > most+n || looks < min(adverts*n, most*9/10) || last*n < looks {
			t.Errorf("%d: %d looks, %d of them at the last one", n, looks, last)
		}
	}
}

// A light guard that somebody takes away again and again is not made light again; the
// next one of the interface is.
func TestLightGuardIsGivenUp(t *testing.T) {
	d, r := testDaemon(t, t.TempDir(), "")
	var log bytes.Buffer
	d.log = slog.New(slog.NewTextHandler(&log, nil))
	r.guard = new(lease.Guard)
	for range lightRepairs - 1 {
		d.lightHarmed(r)
	}
	if r.heavy != nil {
		t.Errorf("given up after %d repairs", lightRepairs-1)
	}
	r.harmed.since -= int64(repairWindow) + 1
	d.lightHarmed(r)
	if r.heavy != nil {
		t.Error("given up for what was long ago")
	}
	for range lightRepairs {
		d.lightHarmed(r)
	}
	if r.heavy != r.guard || strings.Count(log.String(), "stays clsact") != 1 {
		t.Errorf("heavy %p, guard %p, said:\n%s", r.heavy, r.guard, log.String())
	}
	r.guard = new(lease.Guard)
	d.lightHarmed(r)
	if r.heavy == r.guard {
		t.Error("the next guard is given up for what was done to the one before it")
	}
}
