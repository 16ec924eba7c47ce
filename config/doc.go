// Package config turns what the user asked for into validated values: the
// classic vrrpd command line in, a Config out.
//
// It is pure parsing. It never opens a file, looks at an interface or asks the
// kernel: whether eth0 exists is found out by those who need it. What it
// accepts is complete and consistent (Config.Validate says so), and what it
// refuses has changed nothing.
//
// A configuration file is read by ParseFile. Its keys are a table (keys.go), from which
// the example and the manual page are made, too; what a key means is what the option of
// the command line means.
//
// Two layers: Grammar (getopt.go) knows how C programs spell options and
// nothing about vrrpd, so that atropos uses it too; Parse (flags.go) knows what
// vrrpd's options mean.
//
// Every error is a UsageError: one line that names the culprit as the user
// typed it and says what would be right. Keys are never repeated in it.
package config
