package acceptance

import (
	"syscall"
	"testing"
	"time"

	"vrrpd/control"
	"vrrpd/internal/netlab"
)

// RFC9568-8.4.2: one machine speaks both versions, the other one either: they are a pair
// like any other, neither raises an alarm, and what is said for a dead one is understood.
func TestBothVersions(t *testing.T) {
	t.Parallel()
	for _, other := range []string{"2", "3", "2+3"} {
		t.Run(other, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{})
			const line = "vrrpd -i eth0 -v 51 10.16.1.200 -d 1 "
			both, theirs := line+"-p 150 --vrrp-version 2+3", line+"-p 100 --vrrp-version "+other
			spoken := s.r1.sniff(lanA, netlab.MatchAdverts())
			s.r1.startLine(both)
			s.r1.waitServing(lanA)
			s.r2.startLine(theirs)
			follows := func(st control.Status) bool {
				r := st.Routers[0]
				return st.Machine.Phase == "BACKUP" && r.LastAdvSource == s.r1.own(lanA).Addr() && r.Statistics.AdvertisementRcvd >= 3
			}
			s.r2.waitStatus(lanA, "it follows", follows)
			// Both versions at every tick, version 3 first, and their priority 0.
			var versions []uint8
			for _, f := range spoken.Frames(0) {
				if a, ok := f.Advert(); ok && !f.Out {
					versions = append(versions, a.Version)
					if a.Interval != time.Second || a.SrcMAC != lanA.vmac() {
						t.Errorf("%v every %v", a, a.Interval)
					}
				}
			}
			if len(versions) < 6 {
				t.Errorf("only %d adverts", len(versions))
			}
			for i, v := range versions {
				if want := uint8(3 - i%2); v != want {
					t.Errorf("advert %d is of version %d, want %d: %v", i, v, want, versions)
					break
				}
			}
			for _, r := range s.routers() {
				if st := r.status(lanA); len(st.Machine.Alarms) != 0 {
					t.Errorf("%s: %+v", r.Name(), st.Machine.Alarms)
				}
			}

			// The last word of a dead process is said in both versions.
			s.r1.signal(lanA, syscall.SIGKILL)
			s.r1.waitProcesses(0)
			died := time.Now()
			if got := s.r1.typed("vrrpd --release"); got.Code != 0 {
				t.Fatalf("vrrpd --release: %+v", got)
			}
			s.r2.waitServing(lanA)
			if took := time.Since(died); took > 2*time.Second {
				t.Errorf("it served after %v, and the skew time is 0.61 s", took)
			}
			// And back, with the priority.
			s.r1.startLine(both)
			s.r1.waitServing(lanA)
			s.r2.waitBackup(lanA)
			s.r2.waitStatus(lanA, "it follows again", follows)
			if st := s.r2.status(lanA); st.Routers[0].Statistics.VersionErrors > 0 == (other == "2+3") {
				t.Errorf("version errors: %+v", st.Routers[0].Statistics)
			}
			for _, r := range s.routers() {
				if n := r.said(0, "does not speak VRRP version"); n != 0 {
					t.Errorf("%s has said %d times that the other version is not spoken", r.Name(), n)
				}
			}
		})
	}
}

// Both versions are one advert. Where the one of version 2, the longer one, cannot be sent
// any more, routers of version 2 hear nobody: so the machine resigns, as for any advert
// that cannot be sent.
func TestBothVersions_OneCannotBeSent(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	line := "vrrpd -i eth0 -v 51 -d 1 --vrrp-version 2+3"
	for n := range byte(14) { // 84 bytes of IP in version 3, 92 in version 2
		line += " " + lanA.host(200+n).Addr().String()
	}
	s.r1.startLine(line)
	s.r1.waitServing(lanA)
	eth0, err := s.r1.Netlink().LinkByName("eth0")
	check(t, err)
	mtu := eth0.Attrs().MTU
	check(t, s.r1.Netlink().LinkSetMTU(eth0, 88))
	st := s.r1.waitStatus(lanA, "it is held", func(st control.Status) bool { return st.Machine.Phase == "HELD" })
	if len(st.Machine.Faults) == 0 || st.Machine.Faults[0].Reason != "send-failed" || st.Routers[0].Statistics.SendErrors == 0 {
		t.Errorf("%+v, %+v", st.Machine, st.Routers[0].Statistics)
	}
	s.r1.waitBackup(lanA)
	check(t, s.r1.Netlink().LinkSetMTU(eth0, mtu))
	s.r1.waitServing(lanA)
}
