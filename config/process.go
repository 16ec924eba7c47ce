package config

import "strings"

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
