package config

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

func setInterface(f *form, as, value string) error {
	if why := badInterface(value); why != "" {
		return usagef("%s %s: %s", as, show(value), why)
	}
	f.router.Interface = value
	return nil
}

func setName(f *form, as, value string) error {
	if why := badName(value); why != "" {
		return usagef("%s %s: %s", as, show(value), why)
	}
	f.router.Name = value
	return nil
}

func setVRID(f *form, as, value string) (err error) {
	f.router.VRID, err = octet(as, value, "a VRID is a whole number from 1 to 255")
	return err
}

func setPriority(f *form, as, value string) (err error) {
	f.router.Priority, err = octet(as, value, "a priority is a whole number from 1 to 254, or 255 for the owner")
	return err
}

func setReduced(f *form, as, value string) (err error) {
	f.ReducedPriority, err = octet(as, value, "the priority after SIGTTIN is a whole number from 1 to 255")
	return err
}

func setIncreased(f *form, as, value string) (err error) {
	f.IncreasedPriority, err = octet(as, value, "the priority after SIGTTOU is a whole number from 1 to 255")
	return err
}

func setMonitor(f *form, as, value string) error {
	n, ok := whole(value)
	if !ok || n < 1 || n > MaxMonitor {
		return usagef("%s %s: the number of processes of this machine is 1 to %d", as, show(value), MaxMonitor)
	}
	f.Monitor = n
	return nil
}

func setVersion(f *form, as, value string) error {
	n, ok := whole(value)
	f.router.Beside2 = value == "2+3"
	if f.router.Beside2 {
		n, ok = 3, true
	}
	if !ok || n != 2 && n != 3 {
		return usagef("%s %s: the protocol has the versions 2 and 3; 2+3 is both", as, show(value))
	}
	f.version = uint8(n)
	return nil
}

func setInterval(f *form, as, value string) error {
	d, ok := seconds(value)
	if !ok {
		return usagef("%s %s: the advertisement interval is a number of seconds, like 1 or 0.1", as, show(value))
	}
	f.router.Interval = d
	return nil
}

func setPreemptDelay(f *form, as, value string) error {
	d, ok := seconds(value)
	if !ok || d > MaxPreemptDelay {
		return usagef("%s %s: the delay is a number of seconds from 0 to %.0f", as, show(value), MaxPreemptDelay.Seconds())
	}
	f.router.PreemptDelay = d
	return nil
}

func setLease(f *form, as, value string) error {
	if !slices.Contains(Leases[:], value) {
		return usagef("%s %s: one of %s", as, show(value), strings.Join(Leases[:], ", "))
	}
	f.Lease = value
	if value == Leases[0] {
		f.Lease = ""
	}
	return nil
}

func setLeaseIntervals(f *form, as, value string) error {
	n, ok := whole(value)
	if !ok || n < minLeaseIntervals || n > maxLeaseIntervals {
		return usagef("%s %s: a lease lasts %d or %d intervals; the other machines wait for a little more than 3", as, show(value), minLeaseIntervals, maxLeaseIntervals)
	}
	f.LeaseIntervals = n
	return nil
}

func setOnMaster(f *form, as, value string) (err error) {
	f.OnMaster, err = ParseCommand(as, value)
	return err
}

func setOnBackup(f *form, as, value string) (err error) {
	f.OnBackup, err = ParseCommand(as, value)
	return err
}

func setRunDir(f *form, as, value string) error {
	if value == "" {
		return usagef(`%s "": the run directory has to be an absolute path, like %s`, as, DefaultRunDir)
	}
	f.runDir = value
	return nil
}

func setConfigFile(f *form, as, value string) error {
	if value == "" {
		return usagef(`%s "": give the path of a file`, as)
	}
	if !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return usagef("%s %s: a character in the name of the file that cannot be printed", as, show(value))
	}
	f.ConfigFile = value
	return nil
}

// whole reads a decimal number without sign, of at most nine digits.
func whole(s string) (int, bool) {
	if len(s) > 9 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return int(n), err == nil
}

func octet(as, value, right string) (uint8, error) {
	n, ok := whole(value)
	if !ok || n < 1 || n > 255 {
		return 0, usagef("%s %s: %s", as, show(value), right)
	}
	return uint8(n), nil
}

// seconds reads a decimal number of seconds exactly: digits, and a fraction of
// at most nine digits. No sign, no exponent, no unit, no rounding.
func seconds(s string) (time.Duration, bool) {
	integer, fraction, point := strings.Cut(s, ".")
	if integer == "" && fraction == "" || !point && integer == "" {
		return 0, false
	}
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > 9 {
		return 0, false
	}
	n, ok := 0, true
	if integer != "" {
		n, ok = whole(integer)
	}
	if !ok {
		return 0, false
	}
	nanos, ok := whole((fraction + "000000000")[:9])
	return time.Duration(n)*time.Second + time.Duration(nanos), ok
}
