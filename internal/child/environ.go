package child

import "strings"

// Environ is what a program inherits of the environment base: all but what is not
// its business.
func Environ(base []string) []string {
	env := make([]string, 0, len(base)+10)
	for _, variable := range base {
		if name, _, _ := strings.Cut(variable, "="); !private(name) {
			env = append(env, variable)
		}
	}
	return append(env, "PWD=/")
}

// private reports the variables that a program does not inherit: those with
// which it could speak for the systemd service or believe that descriptors were
// passed to it (systemd.exec(5)), those that would be stale, and VRRP_* of an
// outer vrrpd.
func private(name string) bool {
	for _, prefix := range []string{"LISTEN_", "WATCHDOG_", "MEMORY_PRESSURE_", "VRRP_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "NOTIFY_SOCKET", "FDSTORE", "JOURNAL_STREAM", "MAINPID", "SYSTEMD_EXEC_PID", "PWD", "OLDPWD":
		return true
	}
	return false
}
