package show

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"vrrpd/control"
)

// fewestEvents is how many lines of a table are left to events, however much else there
// is to show.
const fewestEvents = 3

// fewestRows is the same of the tables.
const fewestRows = 3

// Table is the machine as the lines of a screen, no more than height and none longer
// than width: how it is, what asks for attention, each virtual router, and at the end
// the latest of the events, which are lines that Event has made.
func Table(v control.View, events []string, now time.Time, width, height int) []string {
	title := "atropos --watch  " + now.Format("2006-01-02 15:04:05") + "  q ends"
	lines := []string{title, ""}
	if v.Empty() {
		lines = append(lines, "no vrrpd is running here")
	}
	for _, g := range v.Groups {
		name := ""
		if len(v.Groups) > 1 {
			name = Clean(g.Machine.Group) + ": "
		}
		lines = append(lines, name+headline(g, now))
		for _, l := range slices.Concat(holding(g), troubles(g, now)) {
			lines = append(lines, "  "+l)
		}
	}
	lines = append(lines, Troubles(v)...)
	tables := slices.Concat(routerTable(v), checkTable(v, now))
	// From the end: events, tables, and the rest; each gets what the others leave.
	eventLines := min(len(events), fewestEvents)
	if room := max(height-len(lines)-eventLines-2, fewestRows); len(tables) > room {
		more := fmt.Sprintf("  and %d more lines: atropos --state", len(tables)-room+1)
		tables = append(slices.Clip(tables[:room-1]), more)
	}
	lines = append(lines, "")
	lines = append(lines, tables...)
	if left := height - len(lines) - 1; left > 0 && len(events) > 0 {
		lines = append(lines, "")
		lines = append(lines, events[max(0, len(events)-left):]...)
	}
	lines = lines[:min(len(lines), height)]
	for i := range lines {
		lines[i] = clip(lines[i], width)
	}
	return lines
}

// clip cuts what does not fit, visibly.
func clip(line string, width int) string {
	all := []rune(line)
	if len(all) <= width {
		return line
	}
	if width < 2 {
		return string(all[:max(width, 0)])
	}
	return string(all[:width-1]) + "~"
}

func rows(b *strings.Builder) []string {
	if b.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}

func routerTable(v control.View) []string {
	var b strings.Builder
	t := table(&b)
	fmt.Fprintln(t, "INTERFACE\tPARENT\tVRID\tSTATE\tPRIORITY\tMASTER IS\tLEASE\tSENT\tRECEIVED\tDROPPED\tADDRESSES")
	n := 0
	for _, g := range v.Groups {
		for _, r := range g.Routers {
			n++
			dropped := uint64(0)
			for _, k := range r.Statistics.Drops {
				dropped += k
			}
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d\t%s\t%s\t%d\t%d\t%d\t%s\n", Clean(r.Interface), Clean(r.Parent), r.VRID, routerState(r),
				r.EffectivePriority, masterOf(r), lease(r.Lease), r.Statistics.AdvertisementSent, r.Statistics.AdvertisementRcvd, dropped, addresses(r))
		}
	}
	t.Flush()
	if n == 0 {
		return nil
	}
	return rows(&b)
}

func checkTable(v control.View, now time.Time) []string {
	var b strings.Builder
	for _, g := range v.Groups {
		checks(&b, g, now)
	}
	return rows(&b)
}
