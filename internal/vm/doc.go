// Command vm runs tests on another kernel than this machine's: one with VLANs and
// bonds, which a kernel without loadable modules may lack. It is "make vm".
//
// It boots Debian's cloud kernel under qemu with a file system in memory that holds
// nothing but busybox, the programs of this tree, a test binary of it
// (internal/acceptance) and the modules that the tests need; package guest is its
// first process. What the tests print comes over the serial line, their exit code as
// its last word. Nothing of this machine's network is used, no disk, no root.
//
//	go run ./internal/vm                            the tests of parents
//	go run ./internal/vm -run TestFollow_ -v        other tests, on that kernel
//
// Kernel and busybox are fetched with apt-get download, once, into the user's cache
// directory. Where qemu or apt is missing it says what to install and ends with 0,
// or with -required with 1.
//
// The machine is emulated, because KVM is not everywhere (and in a virtual machine not
// always one that works), with a clock of its own that goes by the instructions that it
// executes: however busy this machine is, it misses nothing, and what it only waits for
// takes no time. It takes a minute and a half of processor time. Its processor is slow by
// its own clock, too: tests that judge milliseconds do not belong in there.
package main
