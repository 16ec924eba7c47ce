package config

import (
	"fmt"
	"strings"

	"vrrpd/internal/realtime"
)

// Options that concern the process as a whole and have a rule of their own.

func setAnnounceRefresh(f *form, as, value string) error {
	d, ok := seconds(value)
	if !ok || d != 0 && (d < MinAnnounceRefresh || d > MaxAnnounceRefresh) {
		return usagef("%s %s: a number of seconds from %.0f to %.0f, or 0 for never", as, show(value),
			MinAnnounceRefresh.Seconds(), MaxAnnounceRefresh.Seconds())
	}
	f.AnnounceRefresh = d
	return nil
}

// setScriptUser only looks at the form: whether there is such a user is asked
// when the daemon starts.
func setScriptUser(f *form, as, value string) error {
	if value == "" || value[0] == '-' || strings.ContainsAny(value, ":/, \t\n\r") || strings.ContainsFunc(value, unprintable) {
		return usagef("%s %s: give the name of a user, like nobody", as, show(value))
	}
	f.ScriptUser = value
	return nil
}

// realtimeRange says which real-time priorities there are.
var realtimeRange = fmt.Sprintf("a whole number from %d to %d; the kernel's interrupts, which adverts come through, have 50", realtime.MinPriority, realtime.MaxPriority)

func setRealtime(f *form, as, value string) error {
	n, ok := whole(value)
	if !ok || n < realtime.MinPriority || n > realtime.MaxPriority {
		return usagef("%s %s: %s", as, show(value), realtimeRange)
	}
	f.Realtime = n
	return nil
}

func setLockMemory(f *form, _, value string) error {
	f.LockMemory = value == "true"
	return nil
}
