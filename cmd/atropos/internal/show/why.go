package show

import (
	"fmt"
	"strings"
	"time"

	"vrrpd/control"
)

// Explained is a transition in plain language.
type Explained struct {
	Group string `json:"group"`
	control.Transition
	Sentence string `json:"sentence"`
	Do       string `json:"what-to-do,omitempty"`
}

// Explain gives every transition that is remembered, oldest first, its words.
func Explain(v control.View) []Explained {
	all := []Explained{}
	for _, g := range v.Groups {
		for _, t := range g.Transitions {
			w := about(t.Reason)
			all = append(all, Explained{g.Machine.Group, t, w.sentence, w.do})
		}
	}
	return all
}

// Why is the transitions as text, group by group, oldest first, and then what the
// machine is now and what troubles it, so that the present stands just above the
// prompt.
func Why(v control.View, now time.Time) string {
	var b strings.Builder
	for i, g := range v.Groups {
		if len(v.Groups) > 1 {
			if i > 0 {
				b.WriteString("\n")
			}
			b.WriteString(Clean(g.Machine.Group) + ":\n")
		}
		if len(g.Transitions) == 0 {
			b.WriteString("no transition since vrrpd started\n")
		}
		for i, t := range g.Transitions {
			w := about(t.Reason)
			fmt.Fprintf(&b, "%s  %s -> %s: %s%s", clock(t.At, now), Clean(t.From), Clean(t.To), by(t.Reason, t.Peer), culprit(t))
			if i > 0 && g.Transitions[i-1].To == t.From {
				fmt.Fprintf(&b, ", after %s as %s", ago(t.At.Sub(g.Transitions[i-1].At)), Clean(t.From))
			}
			fmt.Fprintf(&b, "\n    %s\n", w.sentence)
			if w.do != "" {
				fmt.Fprintf(&b, "    What to do: %s.\n", w.do)
			}
		}
		fmt.Fprintf(&b, "%s  now: %s\n", clock(now, now), headline(g, now))
		lines := troubles(g, now)
		// What the last transition has just explained needs no second time.
		if n := len(g.Transitions); n == 0 || g.Transitions[n-1].Reason != g.Reason {
			lines = append(holding(g), lines...)
		}
		for _, line := range lines {
			b.WriteString("    " + line + "\n")
		}
	}
	return b.String()
}

// culprit is where the fault was that a transition is about, and what is known of it.
func culprit(t control.Transition) string {
	s := ""
	if t.Where != "" {
		s = " on " + Clean(t.Where)
	}
	if t.Detail != "" && t.Detail != t.Where {
		s += " (" + Clean(t.Detail) + ")"
	}
	return s
}

// Event is one event as one line. A transition is the group's, whichever of its
// processes told it.
func Event(e control.Event, now time.Time) string {
	who := e.Interface
	if who == "" || e.Kind == control.KindTransition {
		who = e.Group
	}
	text := Clean(e.Message)
	peer := ""
	if e.Peer != "" {
		peer = " (peer " + Clean(e.Peer) + ")"
	}
	switch e.Kind {
	case control.KindState:
		text = fmt.Sprintf("is %s: %s%s", Clean(e.To), Clean(e.Reason), peer)
	case control.KindTransition:
		more := ""
		if text != "" {
			more = " (" + text + ")"
		}
		text = fmt.Sprintf("%s -> %s: %s%s%s", Clean(e.From), Clean(e.To), Clean(e.Reason), peer, more)
	case control.KindAlarm, control.KindFault:
		begun := e.Kind
		if !e.Active {
			begun += " is over"
		}
		if text == "" {
			text = about(e.Reason).because
		}
		text = fmt.Sprintf("%s: %s%s: %s", begun, Clean(e.Reason), peer, text)
	case control.KindCommand:
		text = "operator: " + text
	case control.KindReplace:
		who = e.Instance
	case control.KindEnd:
		who, text = e.Instance, "gone: "+text
	case control.KindCheck:
		// it says that it is one
	case control.KindHook:
		text = "script: " + text
	default:
		text = strings.TrimSpace(Clean(e.Kind) + " " + text)
	}
	return fmt.Sprintf("%s %s: %s", e.At.In(now.Location()).Format("15:04:05.000"), Clean(who), text)
}
