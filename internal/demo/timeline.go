package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"vrrpd/internal/netlab"
)

// row is one line of a timeline.
type row struct {
	at    time.Duration
	where string // a router, a LAN, or the client
	what  string
}

// rows tells the chapter in the order of time, from the event on.
func (o observation) rows() []row {
	var all []row
	all = append(all, o.advertRows()...)
	all = append(all, o.linkRows()...)
	for _, s := range o.states {
		all = append(all, row{s.at, routerName(s.router), fmt.Sprintf("%s -> %s (%s)", s.from, s.to, s.reason)})
	}
	all = append(all, o.clientRows()...)
	all = slices.DeleteFunc(all, func(r row) bool { return r.at < 0 || r.at >= o.to })
	slices.SortStableFunc(all, func(a, b row) int { return int(a.at - b.at) })
	return all
}

func routerName(n int) string { return fmt.Sprintf("r%d", n+1) }

// advertRows tells who begins to speak on a LAN and who resigns there.
func (o observation) advertRows() []row {
	var out []row
	for router := range o.held {
		for n, lan := range plan() {
			speaks := o.held[router][n]
			for i, a := range o.adverts {
				if a.router != router || a.lan != n {
					continue
				}
				if zero := a.priority == 0; zero == !speaks && !(zero && o.firstZero(i)) {
					continue
				} else if zero {
					out = append(out, row{a.at, lan.name, fmt.Sprintf("%s resigns: priority 0%s", routerName(router), o.times(i))})
				} else {
					out = append(out, row{a.at, lan.name, fmt.Sprintf("%s speaks: first advert as MASTER, priority %d", routerName(router), a.priority)})
				}
				speaks = a.priority > 0
			}
		}
	}
	return out
}

// firstZero: the router has said nothing on that LAN before in this chapter. A
// survivor resigns for a dead process that had no time to.
func (o observation) firstZero(i int) bool {
	a := o.adverts[i]
	return !slices.ContainsFunc(o.adverts[:i], func(b advert) bool { return b.router == a.router && b.lan == a.lan })
}

// times counts the resignations from advert i on that follow each other.
func (o observation) times(i int) string {
	n, last := 0, o.adverts[i].at
	for _, a := range o.adverts[i:] {
		if a.router != o.adverts[i].router || a.lan != o.adverts[i].lan {
			continue
		}
		if a.priority > 0 {
			break
		}
		n, last = n+1, a.at
	}
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (%d times, until %.1f ms)", n, ms(last))
}

// linkRows tells of carriers and of virtual addresses.
func (o observation) linkRows() []row {
	var out []row
	for _, c := range o.links {
		for _, lan := range plan() {
			what := ""
			switch {
			case c.link == lan.nic && (c.what == netlab.CarrierLost || c.what == netlab.CarrierOn):
				what = fmt.Sprintf("%s %s", c.link, c.what)
			case c.link != lan.vmac():
			case c.what == netlab.AddrAdded || c.what == netlab.AddrGone:
				what = fmt.Sprintf("%s %s %v", c.link, c.what, c.addr.Addr())
			case c.what == netlab.LinkAdded || c.what == netlab.LinkGone:
				what = fmt.Sprintf("%s %s", c.link, c.what)
			}
			if what != "" {
				out = append(out, row{c.at, routerName(c.router), what})
			}
		}
	}
	return out
}

// clientRows tells when the longest outage began and ended.
func (o observation) clientRows() []row {
	v := o.verdict()
	if v.lost == 0 {
		return nil
	}
	return []row{
		{v.first, "client", "first datagram lost"},
		{v.first + v.gap, "client", "first datagram delivered again"}, // or never
	}
}

// happening is where the interesting part of a chapter ends.
func (o observation) happening() time.Duration {
	if v := o.verdict(); v.lost > 0 && v.first+v.gap >= o.to {
		return o.to // it has not ended
	}
	rows := o.rows()
	if len(rows) == 0 {
		return 0
	}
	return rows[len(rows)-1].at
}

// render draws the chapter: the event, what followed, and who served whom.
func (o observation) render(p paint, event row) string {
	var b strings.Builder
	line := func(r row, style style) {
		// Padded before painted: the terminal's codes have no width.
		where := p.do(colourOf(r.where), fmt.Sprintf("%-6s", r.where))
		fmt.Fprintf(&b, "  %9.1f ms   %s   %s\n", ms(r.at), where, p.do(style, r.what))
	}
	line(event, bold)
	for _, r := range o.rows() {
		line(r, plain)
	}
	b.WriteByte('\n')
	b.WriteString(o.bars(p))
	return b.String()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
