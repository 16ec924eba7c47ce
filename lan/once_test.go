package lan

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// What a dead process left is sent as it is, and a Port on the other side takes
// it for what it is.
func TestSendOnce(t *testing.T) {
	a, b := newPair(t)
	l := listen(t, b.open())
	a.enter()
	if err := SendOnce("veth0", advert(1)); err != nil {
		t.Fatal(err)
	}
	if got := l.next(); len(got.Adverts) != 1 || !bytes.Equal(got.Adverts[0].Payload, payload) || got.Adverts[0].SrcMAC != vmac51 {
		t.Errorf("received %+v", got)
	}
}

func TestSendOnceRefused(t *testing.T) {
	a, _ := newPair(t)
	a.enter()
	if err := SendOnce("nosuch0", advert(1)); err == nil {
		t.Error("sent from an interface that does not exist")
	}
	a.setUp(false)
	if err := SendOnce("veth0", advert(1)); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("sent from an interface that is down: %v", err)
	}
}
