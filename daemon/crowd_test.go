package daemon

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"vrrpd/vrrp"
)

// told runs what was posted as packets were judged, and a look of the watch, and returns
// what people were told.
func told(d *Daemon, p *parent, log *bytes.Buffer) []string {
	_, calls := d.inbox.take(nil, nil)
	for _, f := range calls {
		f()
	}
	d.endOddities(p)
	var lines []string
	for dec := json.NewDecoder(log); ; {
		var record struct{ Msg string }
		if dec.Decode(&record) != nil {
			break
		}
		lines = append(lines, record.Msg)
	}
	log.Reset()
	return lines
}

// Somebody forges the addresses of a thousand sources: two of a kind are told of in
// full, the others in one line, and so is their end. The status has as many alarms.
func TestCrowd(t *testing.T) {
	d, r := testDaemon(t, t.TempDir(), "")
	p := r.parent
	var log bytes.Buffer
	d.log = slog.New(slog.NewJSONHandler(&log, nil))
	seen := func(what oddity, from, to int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i := from; i < to; i++ {
			p.note(note{what, 51, netip.AddrFrom4([4]byte{192, 0, byte(2 + i/250), byte(1 + i%250)})}, r)
		}
	}
	quiet := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, s := range p.noted {
			s.seen -= s.quiet + 1
		}
	}
	want := func(what string, lines []string, prefixes ...string) {
		t.Helper()
		ok := len(lines) == len(prefixes)
		for i := range min(len(lines), len(prefixes)) {
			ok = ok && strings.HasPrefix(lines[i], prefixes[i])
		}
		if !ok {
			t.Errorf("%s: people are told\n%s\nwant\n%s", what, strings.Join(lines, "\n"), strings.Join(prefixes, "\n"))
		}
	}
	alarms := func(want int) {
		t.Helper()
		if all := oddityAlarms(p.appendOddities(nil)); len(all) != want {
			t.Errorf("%d alarms, want %d: %+v", len(all), want, all)
		}
	}
	ttl, sum := oddity(vrrp.DropTTL), oddity(vrrp.DropChecksum)

	seen(ttl, 0, 1)
	want("one source", told(d, p, &log), "adverts from 192.0.2.1 are ignored, because their TTL")
	seen(ttl, 0, 1000)
	seen(sum, 0, 1)
	want("many", told(d, p, &log), "adverts from 192.0.2.2 are ignored, because their TTL", "adverts from 192.0.2.1 are ignored, because their checksum",
		"more than 30 other sources (192.0.2.3, 192.0.2.4, 192.0.2.5, ...) do the same: adverts from 192.0.2.")
	seen(ttl, 0, 1000)
	want("they go on", told(d, p, &log))
	alarms(4)
	ofAll := 0
	for _, a := range oddityAlarms(p.appendOddities(nil)) {
		if a.Peer == "" {
			ofAll++
		}
	}
	if ofAll != 1 {
		t.Errorf("%d alarms are for all the others together", ofAll)
	}
	quiet()
	lines := told(d, p, &log)
	if len(lines) != 4 {
		t.Errorf("people are told of the end\n%s", strings.Join(lines, "\n"))
	}
	for _, l := range lines {
		if !strings.HasPrefix(l, "over: ") {
			t.Errorf("told: %s", l)
		}
	}
	alarms(0)
	seen(ttl, 0, 1000)
	want("again, in the same state", told(d, p, &log))
	quiet()
	want("over again", told(d, p, &log))

	// The machine has changed its state: it is news again.
	p.forget()
	seen(ttl, 10, 13)
	want("another state", told(d, p, &log), "adverts from 192.0.2.11 are", "adverts from 192.0.2.12 are",
		"1 other source (192.0.2.13) does the same: adverts from 192.0.2.")
	quiet()
	told(d, p, &log)
	p.forget()
	if len(p.noted)+len(p.crowds) > 0 {
		t.Errorf("remembered for ever: %v, %v", p.noted, p.crowds)
	}
}
