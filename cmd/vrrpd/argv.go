package main

import (
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"vrrpd/config"
)

// takeArgs returns the arguments of this process and hides the keys in the memory
// that /proc/PID/cmdline shows, which everybody on the machine may read. What cannot
// be hidden is the moment between the start of the process and this call; a key in a
// file (@FILE) is never there.
//
// The runtime does not copy that memory: the strings of os.Args lie in it. Writing to
// a string is not Go, which is why everything else works on copies.
func takeArgs() []string {
	args := make([]string, len(os.Args)-1)
	for i, arg := range os.Args[1:] {
		args[i] = strings.Clone(arg)
	}
	for i, shown := range config.HideKeys(args) {
		if arg := os.Args[i+1]; shown != args[i] && len(shown) == len(arg) {
			copy(unsafe.Slice(unsafe.StringData(arg), len(arg)), shown)
		}
	}
	return args
}

// keepFromCores: with a key in its memory, the process leaves no core dump, to nobody.
func keepFromCores(cfg config.Config) {
	if keyed(cfg) {
		noCores()
	}
}

func keyed(cfg config.Config) bool {
	return slices.ContainsFunc(cfg.Routers, func(r config.Router) bool { return r.Auth.Kind != 0 })
}

// noCores is for whoever does not know yet what it is about to read. allow is for when it
// turns out to be no secret.
func noCores() (allow func()) {
	before, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	// It cannot fail with these arguments.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	return func() {
		if err == nil && before == 1 {
			_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
		}
	}
}
