package show

import (
	"fmt"
	"strings"
	"time"

	"vrrpd/control"
)

// checks are a table of what must be well besides, if there is any.
func checks(b *strings.Builder, g control.Group, now time.Time) {
	if len(g.Checks) == 0 {
		return
	}
	b.WriteString("\n")
	t := table(b)
	fmt.Fprintln(t, "  CHECK\tSTATE\tSINCE\tWATCHES\tLAST LOOK\tEFFECT")
	for _, c := range g.Checks {
		since, effect, last := "the start", "none", Clean(c.Detail)
		if !c.Since.IsZero() {
			since = clock(c.Since, now)
		}
		if c.Effect != "" {
			effect = Clean(c.Effect)
		}
		if last == "" {
			last = "-"
			if !c.Last.IsZero() {
				last = "well"
			}
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\n", Clean(c.Name), Clean(c.State), since, Clean(c.What), last, effect)
	}
	t.Flush()
}
