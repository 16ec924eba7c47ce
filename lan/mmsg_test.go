package lan

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// A frame is whole, whether it fits into the small buffer or not; one that fits into
// neither is cut.
func TestIncomingFrames(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	in := newIncoming()
	sizes := []int{1, headSize - 1, headSize, headSize + 1, 1054, frameSize - 1, frameSize, frameSize + 1}
	for round := range 2 { // what is left of the longer frames must not show
		for i, n := range sizes {
			if err := unix.Sendto(pair[0], bytes.Repeat([]byte{byte(1 + i + 16*round)}, n), 0, nil); err != nil {
				t.Fatal(err)
			}
		}
		got, errno := in.receive(uintptr(pair[1]))
		if errno != 0 || got != len(sizes) {
			t.Fatalf("%d frames, %v; want %d", got, errno, len(sizes))
		}
		for i, n := range sizes {
			if want := bytes.Repeat([]byte{byte(1 + i + 16*round)}, min(n, frameSize)); !bytes.Equal(in.frame(i), want) {
				t.Errorf("a frame of %d bytes comes as one of %d: %.20x", n, len(in.frame(i)), in.frame(i))
			}
		}
		// The other way round, so that each buffer has had every size.
		sizes[0], sizes[4] = sizes[4], sizes[0]
	}
}
