package vmacif

import (
	"encoding/binary"
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
