package netlab

import (
	"fmt"
	"time"
)

// Span is a stretch of time.
type Span struct{ From, To time.Time }

// Length returns how long the span lasts.
func (s Span) Length() time.Duration { return s.To.Sub(s.From) }

// Outage is a stretch of time during which questions went unanswered.
type Outage struct {
	Span      // from the first question that was not answered to the next that was
	Lost int  // how many were not
	Open bool // none was answered any more: To is the end of the measurement
}

func (o Outage) String() string {
	if o.Lost == 0 {
		return "no outage"
	}
	ms := float64(o.Length()) / float64(time.Millisecond)
	if o.Open {
		return fmt.Sprintf("%d lost, not answered again for %.1f ms", o.Lost, ms)
	}
	return fmt.Sprintf("%d lost in %.1f ms", o.Lost, ms)
}

// outages finds the runs of bad among n questions sent at the given times.
func outages(n int, sent func(int) time.Time, end time.Time, bad func(int) bool) []Outage {
	var list []Outage
	open := false
	for i := range n {
		switch isBad := bad(i); {
		case isBad && !open:
			list = append(list, Outage{Span: Span{From: sent(i)}, Lost: 1})
			open = true
		case isBad:
			list[len(list)-1].Lost++
		case open:
			list[len(list)-1].To = sent(i)
			open = false
		}
	}
	if open {
		last := &list[len(list)-1]
		last.To, last.Open = end, true
	}
	return list
}

// longest returns the longest outage, the first of equals.
func longest(list []Outage) (max Outage) {
	for _, o := range list {
		if o.Length() > max.Length() {
			max = o
		}
	}
	return max
}

// stall is the longest gap between two of n questions beyond their interval.
func stall(n int, sent func(int) time.Time, interval time.Duration) (worst time.Duration) {
	for i := 1; i < n; i++ {
		worst = max(worst, sent(i).Sub(sent(i-1))-interval)
	}
	return worst
}
