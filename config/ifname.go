package config

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// longestInterface is IFNAMSIZ less the final zero.
const longestInterface = 15

// badInterface says why no network interface can have a name, or "" (the
// kernel's dev_valid_name, and the two directories beside the interfaces in
// /proc/sys/net).
func badInterface(name string) string {
	switch {
	case name == "":
		return "a name is needed, like eth0"
	case len(name) > longestInterface:
		return "the name of an interface has at most 15 bytes"
	case strings.Contains(name, "/") || name == "." || name == "..":
		return "the name of an interface has no slash and is not . or .."
	case strings.Contains(name, ":"):
		return "an alias is not an interface; name the interface itself, without the colon"
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return "the name of an interface has no space and no control character"
	case name == "all" || name == "default":
		return "the kernel keeps this word for itself; name an interface, like eth0"
	}
	return ""
}

// badName says why we would not create an interface of a name, or "".
func badName(name string) string {
	if why := badInterface(name); why != "" {
		return why
	}
	if strings.ContainsAny(name, ".%") {
		return "a dot breaks its sysctl keys and a percent sign is a pattern to the kernel; choose a name without"
	}
	return ""
}
