package vmacif

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// FuzzTally takes any bytes as the kernel's answers to two requests, with the
// decoders behind it: an error or a result for each, never a panic.
func FuzzTally(f *testing.F) {
	link := []byte{0, 0, 1, 0, 2, 0, 0, 0, 3, 16, 0, 0, 0, 0, 0, 0, 9, 0, 3, 0, 'e', 't', 'h', '0', 0, 0, 0, 0}
	refused := unix.EEXIST
	f.Add(message(16, netlink.Multi, 7, link))
	f.Add(message(netlink.Error, 0, 7, binary.NativeEndian.AppendUint32(nil, uint32(-int32(refused)))))
	f.Add(append(message(netlink.Done, netlink.Multi|netlink.DumpInterrupted, 8, make([]byte, 4)), message(netlink.Error, 0, 7, nil)...))
	f.Add([]byte{3, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		bodies := 0
		y := tally{results: make([]error, 2), open: map[uint32]int{7: 0, 8: 1}, each: func(b []byte) error {
			bodies += len(b)
			_, _, err := decodeDevice(b)
			_, _, _ = decodeHeld(b)
			return err
		}}
		_ = y.take(b)
		if bodies > len(b) || len(y.open) > 2 {
			t.Fatalf("%d bytes of bodies in %d, %d requests open", bodies, len(b), len(y.open))
		}
	})
}

// FuzzJournal takes any bytes as a parent's journal. Nothing that is accepted
// leads out of the parent's own settings.
func FuzzJournal(f *testing.F) {
	whole, err := json.Marshal(journal{Version: journalVersion, Parent: "eth0", Index: 2, Boot: "b", NetNS: 1,
		Values: map[string]change{"ipv4/arp_ignore": {"0", "1"}}, Users: []string{"eth0-51", "eth0-52@/run/x"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"version":1,"ifindex":2,"values":null,"users":null}`))
	f.Add([]byte(`{"version":1,"ifindex":2,"values":{"ipv4/../all/arp_ignore":{"was":"1","ours":"0"},"core/x":{}}}`))
	f.Add([]byte(`{"version":1e0,"ifindex":-2}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		j := decodeJournal(b, 2)
		if j == nil {
			return
		}
		if j.Version != journalVersion || j.Index != 2 || j.Values == nil {
			t.Fatalf("accepted %+v", j)
		}
		for place := range j.Values {
			family, key, ok := j.setting(place)
			if ok && (family != "ipv4" && family != "ipv6" || key == "" || strings.ContainsAny(key, "/.\x00")) {
				t.Fatalf("%q would be written to %q, %q", place, family, key)
			}
		}
	})
}
