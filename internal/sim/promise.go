package sim

import (
	"fmt"
	"strings"
)

// promise checks what a story says must be true at this moment; it reports
// whether the verb was one that does.
func (w *World) promise(v Verb) bool {
	switch v.Name {
	case "serves":
		first := ""
		for _, name := range v.Args[0] {
			l := int(name - 'A')
			if l < 0 || l >= len(w.lans) {
				w.fail("story", "%v: there is no LAN %c", v, name)
				return true
			}
			is, want := w.servers(l), v.Args[1]
			if want == "one" {
				// The same on every LAN, whichever it is.
				if first == "" && is != "nobody" && !strings.Contains(is, ",") {
					first = is
				}
				want = first
			}
			if is != want {
				w.fail("story", "%v: it is %s on %c", v, is, name)
			}
		}
	case "expect":
		for _, h := range w.hosts {
			if h.name != v.Args[0] {
				continue
			}
			word := h.groups[0].word
			if is := fmt.Sprintf("%v %v", word.State(), word.Reason()); is != v.Args[1]+" "+v.Args[2] {
				w.fail("story", "%v: it is %s", v, is)
			}
			return true
		}
		w.fail("story", "%v: there is no such machine", v)
	case "warned":
		if !w.story.warned(v.Args[0], v.Args[1]) {
			w.fail("story", "%v: not since somebody last did something", v)
		}
	default:
		return false
	}
	return true
}

// warned reports whether the machine has raised the alarm since somebody last
// did something; a story that is not told knows of none.
func (s *story) warned(name, reason string) bool {
	if s == nil {
		return false
	}
	for a := range s.alarms {
		if s.w.hosts[a.host].name == name && a.reason.String() == reason {
			return true
		}
	}
	return false
}
