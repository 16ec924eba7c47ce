package daemon

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vrrpd/lan"
	"vrrpd/vrrp"
)

// captured is a frame, and what is to be found in it.
type captured struct {
	what  string
	frame []byte
	// as9568: the checksum of version 3 over IPv4 is over the message alone. tshark has to
	// be told.
	as9568 bool
}

// capture is every form that we send, with several priorities, intervals and numbers of
// addresses, each once as it is and a few times with a byte changed behind the headers.
func capture(t *testing.T) (all []captured) {
	random := rand.New(rand.NewPCG(5, 9568))
	add := func(what string, frame []byte, err error, as9568 bool) {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		all = append(all, captured{what, slices.Clone(frame), as9568})
		message := messageOf(t, frame)
		for range 8 {
			f := slices.Clone(frame)
			at := len(f) - len(message) + random.IntN(len(message))
			f[at] ^= byte(1 + random.IntN(255))
			all = append(all, captured{fmt.Sprintf("%s, byte %d changed", what, at), f, as9568})
		}
	}
	for _, addresses := range []string{"192.0.2.100", "192.0.2.100 192.0.2.1 198.51.100.7", "fe80::100", "fe80::100 2001:db8::1 2001:db8::2"} {
		six := strings.Contains(addresses, ":")
		for _, form := range []string{
			"", "-d 255", "-a pass/s3cr3t51", "-a ah/s3cr3t51", "-a ah/s3cr3t51 --ah-icv rfc2402", "-a hmac/1:" + key32,
			"--vrrp-version 3 --checksum rfc9568", "--vrrp-version 3 --checksum rfc5798 -d 40.95", "-d 0.01", "-d 0.01 -a hmac/1:" + key32, both,
		} {
			if six && (strings.Contains(form, "pass/") || strings.Contains(form, "ah/") || strings.Contains(form, "rfc") || form == both || strings.Contains(form, "255")) {
				continue // IPv4 only
			}
			_, r := testDaemonOf(t, t.TempDir(), addresses, form)
			for _, priority := range []uint8{0, 1, 100, 255} {
				f, err := r.frame(priority)
				add(fmt.Sprintf("%s %s, priority %d", addresses, form, priority), f, err, r.checksumForm() == vrrp.RFC9568)
				if r.cfg.Beside2 {
					f, err = r.frame2(priority)
					add(fmt.Sprintf("%s %s, version 2, priority %d", addresses, form, priority), f, err, false)
				}
			}
		}
	}
	return all
}

// messageOf is the VRRP message of a frame, with what is behind it.
func messageOf(t *testing.T, frame []byte) []byte {
	t.Helper()
	in, drop := lan.ParseAdvert(frame, false)
	if drop != lan.Delivered {
		t.Fatal(drop)
	}
	if !in.AH {
		return in.Payload
	}
	message, why := vrrp.AfterAH(in.Payload)
	if why != vrrp.DropNone {
		t.Fatal(why)
	}
	return message
}

// fields are those of tshark's dissector that are compared.
var fields = []string{
	"vrrp.version", "vrrp.type", "vrrp.virt_rtr_id", "vrrp.prio", "vrrp.addr_count", "vrrp.auth_type", "vrrp.adver_int", "vrrp.short_adver_int",
	"vrrp.ip_addr", "vrrp.ipv6_addr", "vrrp.checksum.status", "ah.sequence", "ah.spi",
}

// Our decoder and tshark's find the same in what we send, whole and damaged.
func TestTsharkAgrees(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("SKIPPED: tshark is not installed")
	}
	all := capture(t)
	for _, as9568 := range []bool{true, false} {
		var part []captured
		for _, c := range all {
			if c.as9568 == as9568 {
				part = append(part, c)
			}
		}
		found := dissect(t, part, as9568)
		good := 0
		for i, c := range part {
			want, ok := ours(t, c)
			if ok {
				good++
			}
			for f, value := range want {
				if got := found[i][f]; got != value {
					t.Errorf("%s: tshark's %s is %q, ours %q\n% x", c.what, f, got, value, c.frame)
				}
			}
		}
		t.Logf("checksums of version 3 as in version 2: %v: %d frames, %d of them whole", as9568, len(part), good)
		if good < len(part)/9 || good > len(part)/5 { // a changed trailer leaves the message whole
			t.Errorf("%d of %d frames are whole", good, len(part))
		}
	}
}

// ours is what our decoder finds, in tshark's words.
func ours(t *testing.T, c captured) (fields map[string]string, whole bool) {
	in, drop := lan.ParseAdvert(c.frame, false)
	if drop != lan.Delivered {
		t.Fatal(drop)
	}
	message := messageOf(t, c.frame)
	fields = map[string]string{}
	if in.AH {
		fields["ah.sequence"] = fmt.Sprint(binary.BigEndian.Uint32(in.Payload[8:]))
		fields["ah.spi"] = fmt.Sprintf("0x%08x", binary.BigEndian.Uint32(in.Payload[4:]))
	}
	version, vrid, why := vrrp.Identify(message)
	fields["vrrp.version"] = fmt.Sprint(version)
	if why != vrrp.DropNone {
		return fields, false
	}
	fields["vrrp.type"], fields["vrrp.virt_rtr_id"] = "1", fmt.Sprint(vrid)
	fields["vrrp.prio"], fields["vrrp.addr_count"] = fmt.Sprint(message[2]), fmt.Sprint(message[3])
	family := vrrp.FamilyOf(in.Src)
	if version == 2 && family == vrrp.IPv6 {
		return fields, false // of which tshark makes something else
	}
	size := vrrp.Size(version, family, int(message[3]))
	if len(message) < size {
		return fields, false
	}
	// What lies outside of the message has been judged by then; here only the message is.
	r := vrrp.Rules{Version: version, VRID: vrid, Family: family, Interval: time.Second, Beside2: version == 3}
	var a vrrp.Advert
	if family == vrrp.IPv6 && len(message) > size { // the checksum covers the trailer, too
		whole = r.Receive(vrrp.Packet{Src: in.Src, Dst: in.Dst, TTL: 255, Payload: message}, &a) == vrrp.DropLength
		fields["vrrp.checksum.status"] = status(whole)
		return fields, whole
	}
	why = r.Receive(vrrp.Packet{Src: in.Src, Dst: in.Dst, TTL: 255, Payload: message[:size]}, &a)
	if why == vrrp.DropCount {
		return fields, false
	}
	if len(message) == size { // tshark knows no trailers, and takes the sum over all there is
		fields["vrrp.checksum.status"] = status(why != vrrp.DropChecksum)
	}
	if why == vrrp.DropChecksum {
		return fields, false
	}
	if version == 2 {
		fields["vrrp.adver_int"] = fmt.Sprint(int(a.Interval / time.Second))
		fields["vrrp.auth_type"] = fmt.Sprint(a.AuthType)
	} else {
		fields["vrrp.short_adver_int"] = fmt.Sprint(int(a.Interval / (10 * time.Millisecond)))
	}
	name := "vrrp.ip_addr"
	if family == vrrp.IPv6 {
		name = "vrrp.ipv6_addr"
	}
	fields[name] = joined(a.Addrs)
	return fields, true
}

// status is what tshark says of a checksum.
func status(good bool) string {
	if good {
		return "1"
	}
	return "0"
}

func joined(addrs []netip.Addr) string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return strings.Join(all, ",")
}

// dissect has tshark read the frames.
func dissect(t *testing.T, frames []captured, as9568 bool) []map[string]string {
	t.Helper()
	const ethernet = 1
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	for _, v := range []uint32{0, 0, 1 << 16, ethernet} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	for i, c := range frames {
		for _, v := range []int{i, 0, len(c.frame), len(c.frame)} {
			b = binary.LittleEndian.AppendUint32(b, uint32(v))
		}
		b = append(b, c.frame...)
	}
	file := filepath.Join(t.TempDir(), "adverts.pcap")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-r", file, "-n", "-T", "fields", "-E", "separator=|", "-o", "vrrp.v3_checksum_as_in_v2:" + strings.ToUpper(strconv.FormatBool(as9568))}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	var errs strings.Builder
	cmd := exec.Command("tshark", args...)
	cmd.Stderr = &errs
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, errs.String())
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(frames) {
		t.Fatalf("tshark found %d packets in %d frames\n%s", len(lines), len(frames), errs.String())
	}
	found := make([]map[string]string, len(frames))
	for i, line := range lines {
		found[i] = map[string]string{}
		for f, value := range strings.Split(line, "|") {
			found[i][fields[f]] = value
		}
	}
	return found
}
