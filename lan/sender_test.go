package lan

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// What is sent through a socket that hears one protocol has the protocol of its own
// header: filters and queueing disciplines of the parent go by it.
func TestSendProtocol(t *testing.T) {
	a, _ := newPair(t)
	pa := a.open()
	tap, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(tap)
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if err := unix.Bind(tap, &unix.SockaddrLinklayer{Protocol: all, Ifindex: a.ifi.Index}); err != nil {
		t.Fatal(err)
	}
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(tap, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		t.Fatal(err)
	}
	frames := [][]byte{advert(1), AppendGratuitousARP(nil, vmac51, vip, true)}
	mustSend(t, pa, frames...)
	buf := make([]byte, frameSize)
	for i := 0; i < len(frames); {
		n, from, err := unix.Recvfrom(tap, buf, 0)
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		sa := from.(*unix.SockaddrLinklayer)
		if n < len(frames[i]) || string(buf[:len(frames[i])]) != string(frames[i]) {
			continue // the kernel's own
		}
		if is, want := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, sa.Protocol)), binary.BigEndian.Uint16(frames[i][12:]); is != want {
			t.Errorf("frame %d: sent as protocol %#04x, want %#04x", i, is, want)
		}
		i++
	}
}

// That the parent was down once is no reason to refuse a frame now, and who hears
// is told of it all the same.
func TestSendAfterDown(t *testing.T) {
	for name, family := range map[string]func(*Config){"IPv4": func(*Config) {}, "IPv6": six} {
		t.Run(name, func(t *testing.T) {
			_, b := newPair(t)
			pb := b.open(family)
			b.setUp(false)
			b.setUp(true)
			b.carrier()
			if n, err := pb.Send([][]byte{advert(1)}); n != 1 || err != nil {
				t.Errorf("sent %d, %v; it is up again", n, err)
			}
			b.setUp(false)
			for range 2 {
				if n, err := pb.Send([][]byte{advert(1)}); n != 0 || !errors.Is(err, unix.ENETDOWN) {
					t.Errorf("sent %d, %v; want ENETDOWN", n, err)
				}
			}
		})
	}
}
