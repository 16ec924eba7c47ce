package lease

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/internal/nftables"
)

// Whatever somebody does to a guard of clsact or nftables is told within
// milliseconds; of TCX nothing is told, and Watch says so.
func TestWatch(t *testing.T) {
	eachRung(t, func(l *lab, r Rung) {
		g := l.attach(r)
		w, err := Watch(r)
		l.must(err)
		if r == TCX {
			if w != nil {
				l.Error("Watch promises to hear of TCX")
			}
			return
		}
		hints := make(chan hint, 1000)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx, func(index int, name string) { hints <- hint{index, name} }) }()
		want := hint{index: l.index}
		if r == Nftables {
			want = hint{name: "vrrp51"}
		}
		for words, harm := range vandals(l, g) {
			for len(hints) > 0 {
				<-hints // what Repair has done
			}
			at := time.Now()
			harm()
			select {
			case h := <-hints:
				if h != want {
					l.Errorf("%s: told of %+v, want %+v", words, h, want)
				}
				t.Logf("%v, %s: told after %v", r, words, time.Since(at))
			case <-time.After(10 * time.Second):
				l.Fatalf("%s: nothing is told", words)
			}
			l.must(g.Repair())
		}
		cancel()
		if err := <-ended; err != nil {
			l.Errorf("Run ends with %v", err)
		}
	})
}

// Elements of our tables, which every renewal changes, and tables of others are
// no news.
func TestNftHint(t *testing.T) {
	const ours, others = tablePrefix + "vrrp51", "filter"
	for _, c := range []struct {
		typ   uint16
		table string
		want  bool
	}{
		{unix.NFT_MSG_DELTABLE, ours, true},
		{unix.NFT_MSG_DELRULE, ours, true},
		{unix.NFT_MSG_NEWSETELEM, ours, false},
		{unix.NFT_MSG_DELSETELEM, ours, false},
		{unix.NFT_MSG_DELTABLE, others, false},
	} {
		h, ok := nftHint(message(c.typ, 0, nftables.Str(unix.NFTA_TABLE_NAME, c.table)))
		if ok != c.want || ok && h.name != "vrrp51" {
			t.Errorf("message %#x about %q: %+v, %v; want %v", c.typ, c.table, h, ok, c.want)
		}
	}
}
