package acceptance

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"vrrpd/internal/netlab"
	ethernet "vrrpd/lan"
	"vrrpd/vrrp"
)

const (
	floodRate = 100_000         // packets per second
	floodTime = 3 * time.Second // and no longer
	floodTick = time.Millisecond
	// floodShare is how much of a core a process may use for it, in per cent, of a computer
	// that hashes 64 bytes in plainHash; a slower one may use more.
	floodShare = 20
	plainHash  = 140 * time.Nanosecond
	// floodLines are about what is wrong with it: for each of three kinds two
	// sources and the others, at the beginning and at the end.
	floodLines = 3 * 3 * 2
)

// floods are what somebody on the LAN may send without knowing a key.
var floods = map[string]func(n int) forged{
	// Whatever is no advert for anybody here.
	"garbage": func(n int) forged {
		return edit(good(3), func(f *forged) {
			switch n % 4 {
			case 0:
				f.vrid = 99
			case 1:
				f.ttl = 254
			case 2:
				f.kind = 7
			case 3:
				f.version = 4
			}
		})
	},
	// Adverts for us but for the checksum, each from somebody else.
	"damaged": func(n int) forged {
		return edit(good(3), func(f *forged) { f.sum = uint16(n%1000 + 1) })
	},
	// Adverts that nothing is wrong with, of a lower priority.
	"inferior": func(n int) forged {
		return edit(good(3), func(f *forged) { f.priority = byte(n%90 + 1) })
	},
}

// forgedAuth are keys that the routers do not have, under the names that they use:
// whoever hears what is signed with them has to compute to know.
var forgedAuth = map[string]vrrp.AuthConfig{
	"ah":   {Kind: vrrp.HeaderAuth, Key: []byte("guessed")},
	"hmac": {Kind: vrrp.TrailerAuth, Keys: []vrrp.TrailerKey{{ID: 1, Key: bytes.Repeat([]byte{0x66}, 32)}}, Active: 1, Window: 5},
}

// forgedFrame is one frame of a flood.
func forgedFrame(kind string, n int, src netip.Addr) ([]byte, error) {
	if make, ok := floods[kind]; ok {
		return edit(make(n), func(f *forged) { f.src = src }).frame(), nil
	}
	config, ok := forgedAuth[kind]
	if !ok {
		return nil, fmt.Errorf("no flood %q", kind)
	}
	auth, err := vrrp.NewAuth(config)
	if err != nil {
		return nil, err
	}
	group := netip.MustParseAddr("224.0.0.18")
	version, interval := uint8(3), 100*time.Millisecond
	if kind == "ah" {
		version, interval = 2, time.Second
	}
	a := vrrp.Advert{Version: version, VRID: lanA.vrid, Priority: 254, Interval: interval, Addrs: []netip.Addr{lanA.vip}}
	payload, err := a.AppendPayload(nil, src, group, vrrp.RFC9568, auth)
	if err != nil {
		return nil, err
	}
	if kind == "ah" {
		frame := ethernet.AppendAdvertAH(nil, lanA.vmac(), src, group, 1, payload)
		auth.SignPacket(ethernet.IPPacket(frame), 1<<31+uint32(n)) // newer than any
		return frame, nil
	}
	frame := ethernet.AppendAdvert(nil, lanA.vmac(), src, group, 1, payload)
	now := time.Now()
	auth.SignPayload(ethernet.Payload(frame), src, group, vrrp.StampOf(now.Unix(), int64(now.Nanosecond())))
	return frame, nil
}

// flood is the tool.
func flood(args []string) error {
	rate, err := strconv.Atoi(args[2])
	if err != nil {
		return fmt.Errorf("%s at %s: %v", args[1], args[2], err)
	}
	duration, err := time.ParseDuration(args[3])
	if err != nil {
		return err
	}
	ifi, err := net.InterfaceByName(args[0])
	if err != nil {
		return err
	}
	port, err := ethernet.Open(ethernet.Config{Index: ifi.Index, Name: ifi.Name, MAC: [6]byte(ifi.HardwareAddr)})
	if err != nil {
		return err
	}
	defer port.Close()
	const variants = 1000
	var frames [2 * variants][]byte // twice, so that any run of them is in one piece
	for i := range variants {
		frames[i], err = forgedFrame(args[1], i, netip.AddrFrom4([4]byte{10, 16, byte(100 + i/250), byte(i%250 + 1)}))
		if err != nil {
			return err
		}
		frames[variants+i] = frames[i]
	}
	sent, begin := 0, time.Now()
	ticker := time.NewTicker(floodTick)
	defer ticker.Stop()
	for now := begin; now.Sub(begin) < duration; now = <-ticker.C {
		// What is late is made up for, but not without end.
		due := min(int(now.Sub(begin).Seconds()*float64(rate))-sent, variants)
		n, _ := port.Send(frames[sent%variants:][:max(due, 0)])
		sent += n
	}
	fmt.Printf("sent %d in %v\n", sent, time.Since(begin))
	return nil
}

// cpuTime is what a process has used so far, as the kernel counts it in its
// stat file.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	check(t, err)
	fields := strings.Fields(string(text)[strings.LastIndex(string(text), ")")+1:])
	user, err := strconv.Atoi(fields[11])
	check(t, err)
	system, err := strconv.Atoi(fields[12])
	check(t, err)
	return time.Duration(user+system) * time.Second / 100 // USER_HZ
}

// floodCase are routers and what they are flooded with.
type floodCase struct{ kind, interval, flags string }

// protocol is that of the routers' adverts.
func (f floodCase) protocol() uint32 {
	if f.kind == "ah" {
		return ethernet.ProtocolAH
	}
	return 112
}

// A hundred thousand forged packets per second on the group change no state, make
// no advert late by more than an interval, cost little, and fill no journal.
func flooded(t *testing.T) {
	t.Parallel()
	for _, c := range []floodCase{
		{"garbage", "0.1", ""}, {"damaged", "0.1", ""}, {"inferior", "0.1", ""}, {"ah", "1", "-a ah/s3cr3t51"}, {"hmac", "0.1", "-a hmac/" + keyLine(1)},
	} {
		t.Run(c.kind, func(t *testing.T) {
			onStage(t)
			s := pair(t, options{interval: c.interval, flags: c.flags})
			attacker, err := s.lab.Host("attacker", netlab.HostOptions{NoForward: true})
			check(t, err)
			_, err = s.lab.Connect(attacker, "eth0", s.switches[0], netlab.CableOptions{Addrs: []netip.Prefix{lanA.host(99)}})
			check(t, err)
			mark := s.r1.syslog.mark()
			var wrong []string
			quietly(t, func() {
				for range 3 { // a stall of the machine that the test runs on is nobody's fault
					s.settled(s.r1, s.r2)
					if wrong = s.endures(attacker, c); len(wrong) == 0 {
						break
					}
					t.Logf("once more: %s", strings.Join(wrong, "; "))
				}
			})
			for _, what := range wrong {
				t.Error(what)
			}
			if c.kind != "inferior" {
				s.r1.syslog.waitFor(t, mark, "that there are many", containing(" other sources ("))
			}
		})
	}
}

// hashTime is how long the computer needs for the MD5 of 64 bytes, which only the speed of
// its processors decides: the best of a few, since something else may run.
func hashTime() time.Duration {
	const times = 20_000
	best := time.Hour
	var text [md5.BlockSize]byte
	for range 5 {
		begin := time.Now()
		for range times {
			text[0] ^= md5.Sum(text[:])[0]
		}
		best = min(best, time.Since(begin)/times)
	}
	return best
}

// endures floods a pair, and says what is not as it should be.
func (s *site) endures(attacker *netlab.Host, c floodCase) (wrong []string) {
	t := s.t
	t.Helper()
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	interval, err := time.ParseDuration(c.interval + "s")
	check(t, err)
	source := binary.BigEndian.Uint32(s.r1.own(lanA).Addr().AsSlice())
	heard := s.r1.sniff(lanA, netlab.Match{{{At: 12, Size: 2, Value: 0x0800}, {At: 23, Size: 1, Value: c.protocol()}, {At: 26, Size: 4, Value: source}}})
	epochs := map[*router]uint64{}
	before := map[*router]time.Duration{}
	for _, r := range s.routers() {
		epochs[r] = r.status(lanA).Machine.Epoch
		before[r] = cpuTime(t, r.daemon(lanA).PID)
	}
	self, err := os.Executable()
	check(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*floodTime)
	defer cancel()
	mark := s.r1.syslog.mark()
	begin := time.Now()
	result, err := attacker.Run(ctx, netlab.Command{Path: self, Env: []string{toolEnv + "=" + toolFlood},
		Args: []string{"eth0", c.kind, strconv.Itoa(floodRate), floodTime.String()}})
	took := time.Since(begin)
	check(t, err)
	if result.Code != 0 {
		t.Fatal(result.Stderr)
	}
	t.Logf("%s: %s", c.kind, strings.TrimSpace(result.Stdout))
	hashing := hashTime()
	most := floodShare * max(1, float64(hashing)/float64(plainHash))
	t.Logf("the computer hashes 64 bytes in %v", hashing)
	sent, _ := strconv.Atoi(strings.Fields(result.Stdout)[1])
	for _, r := range s.routers() {
		used := cpuTime(t, r.daemon(lanA).PID) - before[r]
		// A machine that is busy with something else sends less than was
		// asked for: what counts is the cost of a packet.
		perPacket := float64(used.Nanoseconds()) / float64(sent)
		share := perPacket * floodRate / 1e9 * 100
		t.Logf("%s: %v of CPU, %.2f us per packet, %.1f %% of a core at %d packets per second", r.Name(), used, perPacket/1000, share, floodRate)
		if share > most {
			complain("%s: the flood costs %.1f %% of a core, at most %.1f are to be", r.Name(), share, most)
		}
		st := r.status(lanA)
		if st.Machine.Epoch != epochs[r] {
			complain("%s has changed its state: %+v", r.Name(), st.Transitions)
		}
		t.Logf("%s counts %v, %d adverts", r.Name(), st.Routers[0].Statistics.Drops, st.Routers[0].Statistics.AdvertisementRcvd)
	}
	var last time.Time
	var worst time.Duration
	adverts := 0
	for _, f := range heard.Frames(0) {
		if _, ok := f.Advert(); !ok || f.Out || f.At.Before(begin) || f.At.After(begin.Add(took)) {
			continue
		}
		if !last.IsZero() {
			worst = max(worst, f.At.Sub(last)-interval)
		}
		last = f.At
		adverts++
	}
	check(t, heard.Close())
	t.Logf("%d adverts of the MASTER, the latest by %s", adverts, ms(worst))
	if worst > interval || adverts < int(floodTime/interval)-1 {
		complain("%d adverts of the MASTER, the latest by %v", adverts, worst)
	}
	if n := s.r1.said(mark, "adverts from "); n > floodLines {
		complain("%d lines in the journal, want %d at most", n, floodLines)
	}
	if sent < floodRate*int(floodTime/time.Second)/3 {
		complain("only %d packets were sent: that proves little", sent)
	}
	return wrong
}
