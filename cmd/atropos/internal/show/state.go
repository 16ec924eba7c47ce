package show

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"vrrpd/control"
	"vrrpd/election"
)

// lastTransitions is how many State shows; Why shows all.
const lastTransitions = 5

// State is the machine as a page of text.
func State(v control.View, now time.Time) string {
	var b strings.Builder
	for i, g := range v.Groups {
		if i > 0 {
			b.WriteString("\n")
		}
		if len(v.Groups) > 1 {
			b.WriteString(Clean(g.Machine.Group) + ": ")
		}
		group(&b, g, now)
	}
	if all := Troubles(v); len(all) > 0 {
		b.WriteString("\n" + strings.Join(all, "\n") + "\n")
	}
	return b.String()
}

func group(b *strings.Builder, g control.Group, now time.Time) {
	b.WriteString(headline(g, now) + "\n")
	for _, line := range remarks(g, now) {
		b.WriteString("  " + line + "\n")
	}
	b.WriteString("\n")
	routers(b, g)
	checks(b, g, now)
	if n := len(g.Transitions); n > 0 {
		b.WriteString("\nlast transitions (atropos --why explains them):\n")
		t := table(b)
		for _, tr := range g.Transitions[max(0, n-lastTransitions):] {
			fmt.Fprintf(t, "  %s\t%s -> %s\t%s\n", clock(tr.At, now), Clean(tr.From), Clean(tr.To), by(tr.Reason, tr.Peer))
		}
		t.Flush()
	}
}

// headline says what the machine is, since when, and why.
func headline(g control.Group, now time.Time) string {
	since := fmt.Sprintf("since %s (%s)", clock(g.Since, now), ago(time.Duration(g.AgoMS)*time.Millisecond))
	because := fmt.Sprintf("because %s (%s)", about(g.Reason).because, by(g.Reason, g.Peer))
	state, ok := control.ParseState(g.Phase)
	switch {
	case !ok:
		return fmt.Sprintf("%s (%s) %s, %s", Clean(g.State), Clean(g.Phase), since, because)
	case state == election.Init:
		return "INIT: vrrpd is starting and takes no part yet"
	case state == election.Held:
		return held(g, since)
	case state == election.Prepare:
		return fmt.Sprintf("BACKUP, about to become MASTER (PREPARE) %s, %s", since, because)
	case state == election.Linger:
		return fmt.Sprintf("MASTER, handing over (LINGER) %s, %s", since, because)
	case state == election.Listen:
		return fmt.Sprintf("BACKUP, finding out who serves (LISTEN) %s, %s", since, because)
	}
	return fmt.Sprintf("%s %s, %s", state, since, because)
}

// held names what is wrong and where, or how long the hold-down lasts.
func held(g control.Group, since string) string {
	if len(g.Faults) == 0 && g.HeldMS > 0 {
		return fmt.Sprintf("HELD for another %.1f s after %s, %s: nothing is wrong, this is the hold-down",
			float64(g.HeldMS)/1000, Clean(g.Reason), since)
	}
	var what []string
	for _, f := range g.Faults {
		s := Clean(f.Reason)
		if f.Parent != "" {
			s += " on " + Clean(f.Parent)
		}
		if f.Detail != "" && f.Detail != f.Parent {
			s += " (" + Clean(f.Detail) + ")"
		}
		what = append(what, s)
	}
	named := slices.ContainsFunc(g.Faults, func(f control.Fault) bool { return f.Reason == g.Reason })
	if !named && g.Reason != "" {
		what = append([]string{Clean(g.Reason)}, what...)
	}
	return "HELD: " + strings.Join(what, ", ") + ", " + since
}

// remarks are the lines under the headline: what asks for attention, and the
// few facts that one always wants.
func remarks(g control.Group, now time.Time) []string {
	out := append(holding(g), troubles(g, now)...)
	for _, h := range g.Hooks {
		if s := hook(h, now); s != "" {
			out = append(out, s)
		}
	}
	for _, m := range g.Members {
		if m.LogLost > 0 {
			out = append(out, fmt.Sprintf("%s has lost %d log records: no journal or syslog took them in time.", Clean(m.Instance), m.LogLost))
		}
		if s := urgent(m); s != "" {
			out = append(out, Clean(m.Instance)+" has "+s+".")
		}
	}
	for _, r := range g.Routers {
		if r.Joining {
			out = append(out, fmt.Sprintf("%s was added, and listens before it joins the others.", Clean(r.Interface)))
		}
		if a := r.GeneratedAddress; a.IsValid() {
			out = append(out, fmt.Sprintf("%s has the link-local address %s because none was given; all machines make the same one.", Clean(r.Interface), a))
		}
		out = append(out, settings(r)...)
		if s := refused(r); s != "" {
			out = append(out, s)
		}
		if len(r.Lease.Skipped) > 0 {
			out = append(out, fmt.Sprintf("The lease of %s is kept by %s; why by nothing better: %s", Clean(r.Interface), Clean(r.Lease.Rung), Clean(strings.Join(r.Lease.Skipped, "; "))))
		}
	}
	p := fmt.Sprintf("priority %d", g.Priority.Effective)
	if g.Priority.Effective != g.Priority.Configured {
		p += fmt.Sprintf(" (configured %d", g.Priority.Configured)
		if g.Priority.Checks != 0 {
			p += fmt.Sprintf(", checks %+d", g.Priority.Checks)
		}
		p += ")"
	}
	if g.Processes.Wanted > 0 {
		p += fmt.Sprintf(", %d of %d vrrpd processes", g.Processes.Alive, g.Processes.Wanted)
	}
	return append(out, p)
}

// urgent is what a process does not wait for.
func urgent(m control.Member) string {
	var all []string
	if m.Realtime != 0 {
		all = append(all, fmt.Sprintf("real-time priority %d", m.Realtime))
	}
	if m.MemoryLock {
		all = append(all, "its memory locked")
	}
	return strings.Join(all, " and ")
}

// holding explains what holds the machine.
func holding(g control.Group) (out []string) {
	if g.Phase == election.Held.String() {
		w := about(g.Reason)
		out = append(out, w.sentence)
		if w.do != "" && (g.HeldMS == 0 || len(g.Faults) > 0) {
			out = append(out, "What to do: "+w.do+".")
		}
	}
	return out
}

// troubles are the operator's wishes that are easily forgotten, and the alarms.
func troubles(g control.Group, now time.Time) (out []string) {
	// The wish itself says it when it is not why the machine is held.
	if g.Wishes.Hold && g.Reason != election.OperatorHold.String() {
		out = append(out, "The operator holds this machine; atropos --release ends it.")
	}
	if g.Wishes.Soft {
		out = append(out, "The operator asked for BACKUP: it does not preempt; atropos --release ends it.")
	}
	return append(out, alarms(g, now)...)
}

// alarms are what a person should know and what can be done about it, the views
// that contradict each other first.
func alarms(g control.Group, now time.Time) []string {
	var out []string
	view := func(is bool, title, reason string) {
		if !is {
			return
		}
		for _, a := range g.Alarms {
			if a.Reason == reason && a.Message != "" {
				out = append(out, fmt.Sprintf("%s since %s: %s", title, clock(a.Since, now), message(a)))
				return
			}
		}
		out = append(out, title+": "+hint(reason))
	}
	view(g.Partition, "PARTITION", election.Partition.String())
	view(g.MixedView, "MIXED VIEW", election.MixedView.String())
	for _, a := range g.Alarms {
		if a.Reason == election.Partition.String() || a.Reason == election.MixedView.String() {
			continue // said above
		}
		where := ""
		if a.Interface != "" {
			where = " on " + Clean(a.Interface)
		}
		how := by(a.Reason, a.Peer)
		switch {
		case a.Count == 1:
			how += ", 1 advert"
		case a.Count > 1:
			how += fmt.Sprintf(", %d adverts", a.Count)
		}
		out = append(out, fmt.Sprintf("ALARM%s since %s (%s): %s", where, clock(a.Since, now), how, message(a)))
	}
	return out
}

// message is what vrrpd itself says of the alarm, which knows more than the
// reason does; an older one says nothing.
func message(a control.Alarm) string {
	if a.Message == "" {
		return hint(a.Reason)
	}
	s := Clean(a.Message) + "."
	if a.Do != "" {
		s += " What to do: " + Clean(a.Do) + "."
	}
	return s
}

func hint(reason string) string {
	w := about(reason)
	if w.do == "" {
		return w.sentence
	}
	return w.sentence + " What to do: " + w.do + "."
}

// hook is a line about a command that failed or is still running, else "".
func hook(h control.MemberHook, now time.Time) string {
	option := "-U"
	if h.State != election.Master.String() {
		option = "-D"
	}
	who := fmt.Sprintf("%s %s of %s", option, Clean(h.Command), Clean(h.Instance))
	switch {
	case h.Running:
		return fmt.Sprintf("%s is running since %s", who, clock(h.Started, now))
	case h.Error != "":
		return fmt.Sprintf("FAILED: %s at %s: %s", who, clock(h.Started, now), Clean(h.Error))
	case h.ExitCode != 0:
		return fmt.Sprintf("FAILED: %s at %s: exit code %d", who, clock(h.Started, now), h.ExitCode)
	}
	return ""
}

// refused is a line about packets that were not accepted, else "".
func refused(r control.Router) string {
	var parts []string
	for _, word := range slices.Sorted(maps.Keys(r.Statistics.Drops)) {
		if n := r.Statistics.Drops[word]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, Clean(word)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("%s has refused packets: %s", Clean(r.Interface), strings.Join(parts, ", "))
}

func routers(b *strings.Builder, g control.Group) {
	t := table(b)
	fmt.Fprintln(t, "  INTERFACE\tPARENT\tVRID\tVRRP\tSTATE\tPRIORITY\tADDRESSES\tMASTER IS\tAUTH\tLEASE")
	for _, r := range g.Routers {
		fmt.Fprintf(t, "  %s\t%s\t%d\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n",
			Clean(r.Interface), Clean(r.Parent), r.VRID, version(r), routerState(r), r.EffectivePriority,
			addresses(r), masterOf(r), authentication(r), lease(r.Lease))
	}
	t.Flush()
}

// version is 2, 3 or 2+3, whatever the model calls it.
func version(r control.Router) string {
	v := strings.TrimPrefix(Clean(r.Version), "vrrp-v")
	if r.Beside2 != nil {
		v = "2+" + v
	}
	return v
}

// authentication is its kind, as -a has it.
func authentication(r control.Router) string {
	if r.Authentication == nil {
		return "none"
	}
	return Clean(r.Authentication.Type)
}

// settings are lines about what is not as it is everywhere, and changes who is believed
// or answered.
func settings(r control.Router) (out []string) {
	if a := r.Authentication; a != nil && len(a.Keys) > 0 {
		var keys []string
		for _, id := range a.Keys {
			keys = append(keys, fmt.Sprint(id))
		}
		line := fmt.Sprintf("%s signs with key %d and accepts what is signed with %s", Clean(r.Interface), a.ActiveKey, strings.Join(keys, ", "))
		switch a.Mode {
		case "permissive":
			line += ", or not at all (permissive)"
		case "receive-only":
			line = fmt.Sprintf("%s does not sign, and accepts what is signed with %s, or not at all (receive-only)", Clean(r.Interface), strings.Join(keys, ", "))
		}
		if n := r.Statistics.AuthUnsigned; n > 0 {
			line += fmt.Sprintf("; %d adverts were not signed", n)
		}
		out = append(out, line+".")
	}
	if b := r.Beside2; b != nil {
		out = append(out, fmt.Sprintf("%s speaks both versions until the LAN is migrated; %d adverts that it went by were of version 2.", Clean(r.Interface), b.AdvertisementRcvd-b.Ignored))
	}
	if !r.AcceptMode {
		out = append(out, fmt.Sprintf("%s drops packets to its addresses (--no-accept).", Clean(r.Interface)))
	}
	return out
}

func routerState(r control.Router) string {
	if r.Held {
		return election.Held.String()
	}
	if r.State == control.StateName(election.Init) {
		return election.Init.String()
	}
	return strings.ToUpper(Clean(r.State))
}

func addresses(r control.Router) string {
	var all []string
	for _, a := range slices.Concat(r.VirtualIPv4Addresses, r.VirtualIPv6Addresses) {
		all = append(all, Clean(a.String()))
	}
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ",")
}

func masterOf(r control.Router) string {
	switch {
	case r.State == control.StateName(election.Master):
		return "this machine"
	case r.LastAdvSource.IsValid():
		return Clean(r.LastAdvSource.String())
	}
	return "not heard"
}

func lease(l control.Lease) string {
	if l.RemainingMS <= 0 {
		return Clean(l.Rung)
	}
	return fmt.Sprintf("%s, %d ms", Clean(l.Rung), l.RemainingMS)
}

func table(b *strings.Builder) *tabwriter.Writer { return tabwriter.NewWriter(b, 0, 0, 2, ' ', 0) }
