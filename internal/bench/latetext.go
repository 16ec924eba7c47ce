package main

import (
	"fmt"
	"strings"
	"time"
)

// text is a row in words.
func (l lateness) text() string {
	return fmt.Sprintf("%s%s: adverts %s; a process %s; the crowd %s; %d questions",
		l.Moment, l.how(), l.Adverts.text(), l.Floor.text(), l.Crowd.text(), l.Asked)
}

// how is by which option.
func (l lateness) how() string {
	if l.Realtime == 0 {
		return ""
	}
	return fmt.Sprintf(", `--realtime %d`", l.Realtime)
}

// text is the delays in milliseconds: half of it, 99 %, 99.9 %, all of it.
func (s delays) text() string {
	if s.Count == 0 {
		return "–"
	}
	return fmt.Sprintf("%s / %s / %s / %s", hundredths(s.P50), hundredths(s.P99), hundredths(s.P999), hundredths(s.Latest))
}

// hundredths writes a duration in milliseconds, to the hundredth.
func hundredths(d time.Duration) string {
	if d == never {
		return "never"
	}
	return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond))
}

// lateText is the section about lateness.
func lateText(r result) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("## How late adverts are")
	p("")
	p("One vrrpd with two groups: a virtual router that is MASTER all the time, with adverts every\n%v, and a crowd of %d, which is promoted when the other machine dies. For each point of\nthe first one's grid, how much later the next advert came, in ms: the median, the 99th\npercentile, the 99.9th, the worst. Beside it the same of a process that\nonly wakes up at as many points of time, with the priority of the daemons (with `--realtime`\nthat of the loop): what the computer, which the daemons, their commands and who asks share,\ndoes to everybody; and of each advert of the crowd but the first, how much more than an\ninterval after the one before.",
		steadyInterval, r.Late[0].Routers)
	p("")
	p("| while | points | adverts late by, ms | a process that wakes up | the crowd | answers |")
	p("|---|---|---|---|---|---|")
	for _, l := range r.Late {
		p("| %s%s | %d | %s | %s | %s | %d |", l.Moment, l.how(), l.Adverts.Count, l.Adverts.text(), l.Floor.text(), l.Crowd.text(), l.Asked)
	}
	p("")
	return b.String()
}
