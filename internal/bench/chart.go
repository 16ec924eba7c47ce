package main

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"
)

// The chart's measures, in its own units.
const (
	chartWidth = 860
	labelWidth = 210 // of the causes
	axisRight  = 640 // what is to the right is for words
	rowHeight  = 17
	groupGap   = 9
	panelHead  = 46
	panelFoot  = 30
	topHeight  = 62
)

// The axis is logarithmic: outages differ by a factor of a thousand.
const (
	axisFrom = time.Millisecond
	axisTo   = 10 * time.Second
)

// at is where a duration lies on the axis; what is shorter than the axis begins lies at
// its beginning.
func at(d time.Duration) float64 {
	d = min(max(d, axisFrom), axisTo)
	span := math.Log(float64(axisTo) / float64(axisFrom))
	return labelWidth + (axisRight-labelWidth)*math.Log(float64(d)/float64(axisFrom))/span
}

// style has the colours for light and dark: each of them can be read on the other's
// ground, too, where somebody shows the picture without a style for the dark.
const style = `
    text { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #3d444d; }
    .title { font-size: 16px; font-weight: 600; }
    .head { font-size: 13px; font-weight: 600; }
    .soft { fill: #656d76; font-size: 11px; }
    .warn { fill: #3d444d; font-weight: 600; }
    .grid { stroke: #8c959f; stroke-opacity: .35; stroke-width: 1; }
    .noise { fill: #8c959f; fill-opacity: .16; }
    .c0 { fill: #0969da; stroke: #0969da; }
    .c1 { fill: #bc4c00; stroke: #bc4c00; }
    .c2 { fill: #8250df; stroke: #8250df; }
    .c3 { fill: #1a7f37; stroke: #1a7f37; }
    .span { stroke-width: 2; stroke-opacity: .55; }
    @media (prefers-color-scheme: dark) {
      text { fill: #d1d7e0; }
      .soft { fill: #9198a1; }
      .warn { fill: #d1d7e0; }
      .c0 { fill: #4493f8; stroke: #4493f8; }
      .c1 { fill: #f0883e; stroke: #f0883e; }
      .c2 { fill: #ab7df8; stroke: #ab7df8; }
      .c3 { fill: #3fb950; stroke: #3fb950; }
    }
`

// mark is the sign of a contender: another shape each, for who does not see the colours.
func mark(n int, x, y float64) string {
	class := fmt.Sprintf("c%d", n%4)
	switch n % 4 {
	case 1:
		return fmt.Sprintf(`<rect class="%s" x="%.1f" y="%.1f" width="9" height="9"/>`, class, x-4.5, y-4.5)
	case 2:
		return fmt.Sprintf(`<path class="%s" d="M%.1f %.1fl6 6l-6 6l-6 -6z"/>`, class, x, y-6)
	case 3:
		return fmt.Sprintf(`<path class="%s" d="M%.1f %.1fl6 10l-12 0z"/>`, class, x, y-6)
	}
	return fmt.Sprintf(`<circle class="%s" cx="%.1f" cy="%.1f" r="5"/>`, class, x, y)
}

// chart is docs/outages.svg.
func chart(r result) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	group := float64(len(r.Contenders)*rowHeight + groupGap)
	panel := panelHead + group*float64(len(causes())) + panelFoot
	height := topHeight + panel*float64(len(r.intervals()))
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" width="%d" height="%.0f" role="img" aria-labelledby="t d">`, chartWidth, height, chartWidth, height)
	p(`<title id="t">Outage of a client by cause</title>`)
	p(`<desc id="d">Median and extremes of the time for which nobody answered, on a logarithmic scale; the figures are in benchmarks.md.</desc>`)
	p("<style>%s</style>", style)
	p(`<text class="title" x="12" y="24">For how long nobody answers</text>`)
	x := 12.0
	for i, c := range r.Contenders {
		label := c.Name + " " + c.Version
		p("%s", mark(i, x+6, 44))
		p(`<text x="%.0f" y="48">%s</text>`, x+17, html.EscapeString(label))
		x += 40 + 7*float64(len(label))
	}
	p(`<text class="soft" x="%d" y="48" text-anchor="end">median and extremes of %d</text>`, chartWidth-12, r.Repetitions)
	top := float64(topHeight)
	for _, interval := range r.intervals() {
		b.WriteString(panelSVG(r, interval, top, group))
		top += panel
	}
	p("</svg>")
	return b.String()
}

// panelSVG is one interval.
func panelSVG(r result, interval time.Duration, top, group float64) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	first := top + panelHead
	end := first + group*float64(len(causes()))
	p(`<text class="head" x="12" y="%.0f">adverts every %v</text>`, top+22, interval)
	if noise := r.noise(interval); noise > axisFrom {
		p(`<rect class="noise" x="%d" y="%.0f" width="%.1f" height="%.0f"/>`, labelWidth, first-6, at(noise)-labelWidth, end-first+6)
		p(`<text class="soft" x="%d" y="%.0f">noise</text>`, labelWidth+3, end+13)
	}
	for _, tick := range []struct {
		d    time.Duration
		word string
	}{
		{time.Millisecond, "1 ms"}, {10 * time.Millisecond, "10 ms"}, {100 * time.Millisecond, "100 ms"},
		{time.Second, "1 s"}, {10 * time.Second, "10 s"},
	} {
		p(`<line class="grid" x1="%.1f" y1="%.0f" x2="%.1f" y2="%.0f"/>`, at(tick.d), first-6, at(tick.d), end)
		p(`<text class="soft" x="%.1f" y="%.0f" text-anchor="middle">%s</text>`, at(tick.d), first-11, tick.word)
	}
	for n, k := range causes() {
		y := first + group*float64(n)
		for i, c := range r.Contenders {
			row := y + float64(i)*rowHeight + rowHeight/2
			if i == 0 {
				middle := y + group/2 - groupGap/2 + 4
				p(`<text x="%d" y="%.1f" text-anchor="end">%s</text>`, labelWidth-10, middle, html.EscapeString(short(k)))
			}
			if f := r.failover(c.Name, interval, k); f != nil && len(f.Dark) > 0 {
				b.WriteString(rowSVG(f, i, row))
			}
		}
		p(`<line class="grid" x1="12" y1="%.1f" x2="%d" y2="%.1f"/>`, y+group-groupGap/2, chartWidth-12, y+group-groupGap/2)
	}
	return b.String()
}

// rowSVG is one contender's outage by one cause.
func rowSVG(f *failover, number int, y float64) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	low, mid, high := f.Dark.min(), f.Dark.median(), f.Dark.max()
	if high > low {
		p(`<line class="c%d span" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, number%4, at(low), y, at(high), y)
	}
	x := at(mid)
	words := about(mid)
	if mid == never {
		p(`<path class="c%d span" style="fill:none" d="M%.1f %.1fl8 0m-4 -4l4 4l-4 4"/>`, number%4, x+8, y)
		words = "never answers again"
	}
	p("%s", mark(number, x, y))
	if double := f.Double.median(); double > present {
		words += `; <tspan class="warn">two answer for ` + about(double) + "</tspan>"
	}
	p(`<text class="soft" x="%.1f" y="%.1f">%s</text>`, at(high)+10+arrow(mid), y+4, words)
	return b.String()
}

// arrow is the room that the arrow of a median needs.
func arrow(mid time.Duration) float64 {
	if mid == never {
		return 12
	}
	return 0
}

// about writes a duration for a picture.
func about(d time.Duration) string {
	switch {
	case d == never:
		return "ever"
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
	case d >= axisFrom:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return "under 1 ms"
}

// short names a cause in a picture.
func short(k cause) string {
	return map[cause]string{
		cable: "cable pulled on one LAN", kill: "daemon killed", unit: "its unit cleans up", stop: "planned stop",
		hang: "daemon hangs, wakes up", comeUp: "better machine is back",
	}[k]
}
