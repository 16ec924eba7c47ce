package acceptance

import (
	"context"
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
)

const (
	floodRate = 100_000                 // packets per second
	floodTime = 1500 * time.Millisecond // and no longer
	floodTick = time.Millisecond
	// floodShare is how much of a core a process may use for it, in per cent.
	floodShare = 20
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

// flood is the tool.
func flood(args []string) error {
	make, ok := floods[args[1]]
	rate, err := strconv.Atoi(args[2])
	if err != nil || !ok {
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
		f := make(i)
		f.src = netip.AddrFrom4([4]byte{10, 16, byte(100 + i/250), byte(i%250 + 1)})
		frames[i] = f.frame()
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

// A hundred thousand forged packets per second on the group change no state, make
// no advert late by more than an interval, and cost little.
func flooded(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"garbage", "damaged", "inferior"} {
		t.Run(kind, func(t *testing.T) {
			onStage(t)
			s := pair(t, options{interval: "0.1"})
			attacker, err := s.lab.Host("attacker", netlab.HostOptions{NoForward: true})
			check(t, err)
			_, err = s.lab.Connect(attacker, "eth0", s.switches[0], netlab.CableOptions{Addrs: []netip.Prefix{lanA.host(99)}})
			check(t, err)
			source := binary.BigEndian.Uint32(s.r1.own(lanA).Addr().AsSlice())
			heard := s.r1.sniff(lanA, netlab.Match{{{At: 12, Size: 2, Value: 0x0800}, {At: 23, Size: 1, Value: 112}, {At: 26, Size: 4, Value: source}}})
			quietly(t, func() { s.flooded(kind, attacker, heard) })
		})
	}
}

// flooded has the attacker send what it can, and judges what that does to the machines.
func (s *site) flooded(kind string, attacker *netlab.Host, heard *netlab.Sniffer) {
	t := s.t
	t.Helper()
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
	begin := time.Now()
	result, err := attacker.Run(ctx, netlab.Command{Path: self, Env: []string{toolEnv + "=" + toolFlood},
		Args: []string{"eth0", kind, strconv.Itoa(floodRate), floodTime.String()}})
	took := time.Since(begin)
	check(t, err)
	if result.Code != 0 {
		t.Fatal(result.Stderr)
	}
	t.Logf("%s: %s", kind, strings.TrimSpace(result.Stdout))
	sent, _ := strconv.Atoi(strings.Fields(result.Stdout)[1])
	for _, r := range s.routers() {
		used := cpuTime(t, r.daemon(lanA).PID) - before[r]
		// A machine that is busy with something else sends less than was
		// asked for: what counts is the cost of a packet.
		perPacket := float64(used.Nanoseconds()) / float64(sent)
		share := perPacket * floodRate / 1e9 * 100
		t.Logf("%s: %v of CPU, %.2f us per packet, %.1f %% of a core at %d packets per second", r.Name(), used, perPacket/1000, share, floodRate)
		if share > floodShare {
			t.Errorf("%s: the flood costs %.1f %% of a core", r.Name(), share)
		}
		st := r.status(lanA)
		if st.Machine.Epoch != epochs[r] {
			t.Errorf("%s has changed its state: %+v", r.Name(), st.Transitions)
		}
		t.Logf("%s counts %v, %d adverts", r.Name(), st.Routers[0].Statistics.Drops, st.Routers[0].Statistics.AdvertisementRcvd)
	}
	const interval = 100 * time.Millisecond
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
	t.Logf("%d adverts of the MASTER, the latest by %s", adverts, ms(worst))
	if worst > interval || adverts < int(floodTime/interval)-1 {
		t.Errorf("%d adverts of the MASTER, the latest by %v", adverts, worst)
	}
	if float64(sent) < floodRate*floodTime.Seconds()/5 {
		t.Errorf("only %d packets were sent: that proves little", sent)
	}
}
