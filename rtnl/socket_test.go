package rtnl

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadOneLink(t *testing.T) {
	l := newLab(t)
	l.veth("eth0", "far0")
	l.up("eth0", "far0")
	s, err := dial(0)
	l.must(err)
	defer s.Close()
	index := l.link("eth0").Attrs().Index
	if eth, err := s.link(index); err != nil || eth.Index != index || eth.Name != "eth0" || !eth.Up {
		t.Errorf("link %d: %+v %v", index, eth, err)
	}
	if _, err := s.link(9999); !errors.Is(err, errNoLink) {
		t.Errorf("link 9999: %v", err)
	}
}

func BenchmarkReadLink(b *testing.B) {
	s, err := dial(0)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.link(1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadFlags(b *testing.B) {
	fd, err := ioctlSocket(0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := readFlags(fd, "lo"); err != nil {
			b.Fatal(err)
		}
	}
}
