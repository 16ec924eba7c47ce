package config

import (
	"fmt"
	"strings"
	"testing"
)

// A start reads the file before it hears anybody: this is added to the time until it serves.
func BenchmarkParseFile(b *testing.B) {
	var s strings.Builder
	fmt.Fprintln(&s, "[group.machine]\npriority = 200\ninterval = 0.1")
	for n := range 1000 {
		lan, vrid := n/250, n%250+1
		fmt.Fprintf(&s, "\n[[router]]\ninterface = \"eth%d\"\nvrid = %d\nname = \"v%d-%d\"\naddresses = [\"198.18.%d.%d\"]\n", lan, vrid, lan, vrid, lan, vrid)
	}
	text := []byte(s.String())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseFile("vrrpd.toml", text, ""); err != nil {
			b.Fatal(err)
		}
	}
}
