package show

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/election"
)

func TestTable(t *testing.T) {
	v := control.Merge(pair(election.Held, election.LinkDown, "", time.Minute))
	g := &v.Groups[0]
	g.Routers[0].Statistics.AdvertisementSent, g.Routers[0].Statistics.Drops = 12345, map[string]uint64{"ttl": 3, "vrid": 4}
	golden(t, "table", strings.Join(Table(v, []string{"one", "two"}, three, 200, 40), "\n")+"\n")
}

// Whatever the size, the table fits, and the first thing that is wanted stays.
func TestTableFits(t *testing.T) {
	v := control.Merge(pair(election.Master, election.MasterTimeout, "", time.Minute))
	g := &v.Groups[0]
	for i := range 300 {
		r := g.Routers[0]
		r.Interface = fmt.Sprintf("vrrp%d", i)
		g.Routers = append(g.Routers, r)
	}
	var events []string
	for i := range 100 {
		events = append(events, fmt.Sprintf("event %d %s", i, strings.Repeat("ö", 300)))
	}
	for height := 1; height < 60; height++ {
		for _, width := range []int{1, 2, 40, 80, 300} {
			lines := Table(v, events, three, width, height)
			if len(lines) > height {
				t.Fatalf("%d lines on a screen of %d", len(lines), height)
			}
			for _, l := range lines {
				if n := len([]rune(l)); n > width {
					t.Fatalf("a line of %d on a screen of %d: %q", n, width, l)
				}
			}
			text := strings.Join(lines, "\n")
			if width >= 80 && height >= 15 {
				if !strings.HasPrefix(lines[2], "MASTER since ") || !strings.Contains(text, "more lines") || !strings.Contains(text, "event 99") {
					t.Fatalf("%dx%d:\n%s", width, height, text)
				}
				if len(lines) != height {
					t.Errorf("%d lines of %d are used", len(lines), height)
				}
			}
		}
	}
}

func TestTableOfNobody(t *testing.T) {
	lines := Table(control.Merge(nil), []string{"gone"}, three, 80, 24)
	if !slices.Contains(lines, "no vrrpd is running here") || !slices.Contains(lines, "gone") {
		t.Errorf("%q", lines)
	}
}
