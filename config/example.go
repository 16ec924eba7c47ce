package config

import (
	"fmt"
	"strings"
)

// ExampleFile is a configuration file with every key: those that have a default are
// comments, so that what remains is the smallest file that is of use.
func ExampleFile() string {
	var b strings.Builder
	b.WriteString(`# /etc/vrrpd/vrrpd.toml: virtual routers of this machine. See vrrpd.toml(5).
# "vrrpd --check -c FILE" says what is wrong with it, and what it comes to;
# "systemctl reload vrrpd" puts it in force without a gap.
`)
	keys(&b, "\n# The process.\n", "", func(k fileKey) bool { return k.where&ofProcess != 0 })
	keys(&b, "\n# All groups: what stands before the first table is the default of each.\n", "",
		func(k fileKey) bool { return k.where&ofGroup != 0 })
	b.WriteString(`
# Virtual routers of one group are MASTER or BACKUP together. All of a machine are in
# the group "machine" unless they say otherwise. Every key of a group may stand here.
[group.machine]

# One table for each virtual router.
[[router]]
`)
	keys(&b, "", "interface vrid addresses", func(k fileKey) bool { return k.where&ofRouter != 0 && k.where&ofGroup == 0 })
	var also []string
	for _, k := range fileKeys() {
		if k.where&ofRouter != 0 && k.where&ofGroup != 0 {
			also = append(also, k.name)
		}
	}
	b.WriteString(wrap("# ", "Of the keys of a group these may stand here, too: "+strings.Join(also, ", ")+"."))
	b.WriteString(`
[[router]]
interface = "eth1"
vrid = 52
addresses = ["10.17.1.200"]
`)
	b.WriteString(`
# What else must be well for this machine to be MASTER. Each check watches one thing: a
# command, the carrier of an interface, addresses on it, or a process.
#[[check]]
`)
	keysFrom(&b, checkKeys(), "", "", func(fileKey) bool { return true })
	return b.String()
}

// keys writes a part of the keys; those named in active are no comments.
func keys(b *strings.Builder, title, active string, want func(fileKey) bool) {
	keysFrom(b, fileKeys(), title, active, want)
}

func keysFrom(b *strings.Builder, all []fileKey, title, active string, want func(fileKey) bool) {
	b.WriteString(title)
	for _, k := range all {
		if !want(k) {
			continue
		}
		b.WriteString(wrap("# ", k.doc))
		set := "#"
		if strings.Contains(" "+active+" ", " "+k.name+" ") {
			set = ""
		}
		fmt.Fprintf(b, "%s%s = %s\n", set, k.name, k.example)
	}
}

// wrap breaks a text into lines with a prefix.
func wrap(prefix, text string) string {
	const width = 84
	var b strings.Builder
	line := prefix
	for _, word := range strings.Fields(text) {
		if len(line) > len(prefix) && len(line)+len(word) > width {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = prefix
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	return b.String()
}

// Manual is the manual page of the file, vrrpd.toml(5), for man(1).
func Manual() string {
	var b strings.Builder
	b.WriteString(`.\" Made of the table in config/keys.go by make man. Do not change it here.
.TH VRRPD.TOML 5 "2026-11-25" "vrrpd" "File formats"
.SH NAME
vrrpd.toml \- configuration file of vrrpd
.SH DESCRIPTION
.BR vrrpd (8)
with
.B \-c
reads the virtual routers of this machine from a file, usually
.IR /etc/vrrpd/vrrpd.toml ,
and runs all of them in one process.
The file is TOML 1.0.
An unknown key, a value of the wrong type and whatever else cannot be is an error
with its line, and changes nothing.
.PP
The smallest file that is of use:
.PP
.nf
.RS
priority = 150

[[router]]
interface = "eth0"
vrid = 51
addresses = ["10.16.1.200"]

[[router]]
interface = "eth1"
vrid = 52
addresses = ["10.17.1.200"]
.RE
.fi
.PP
.B vrrpd \-\-example
prints one with every key, and
.B vrrpd \-\-check \-c
.I FILE
says what is wrong with a file on this machine, what its author may not have meant,
and what it comes to.
.PP
Four kinds of keys:
.TP
of the process
They stand before all tables.
.TP
of a group
They stand in
.BI [group. NAME ]
or, as the default of all groups, before all tables.
The virtual routers of a group are MASTER or BACKUP together, and have one priority
and one interval.
Every virtual router that names no group belongs to the group
.BR machine ,
so that without any group this machine changes sides as a whole.
A group of its own has its own control socket and state in the run directory, named
after it.
.TP
of a virtual router
They stand in a
.B [[router]]
of its own for each.
.TP
of a check
They stand in a
.B [[check]]
of its own for each.
A check says that something must be well for this machine to be MASTER: a command, the
carrier of an interface, addresses on it, or a process; each watches one of them.
While it fails it holds the machine, or with a weight changes its priority.
See
.B CHECKS
below.
.PP
What a group and a virtual router may both have is, in the group, the default of its
virtual routers; commands excepted, which are run for the group and for the virtual
router.
`)
	for _, part := range []struct {
		title string
		keys  []fileKey
		want  func(where) bool
	}{
		{"KEYS OF THE PROCESS", fileKeys(), func(w where) bool { return w&ofProcess != 0 }},
		{"KEYS OF A GROUP", fileKeys(), func(w where) bool { return w&ofGroup != 0 }},
		{"KEYS OF A VIRTUAL ROUTER", fileKeys(), func(w where) bool { return w&(ofGroup|ofRouter) == ofRouter }},
		{"KEYS OF A CHECK", checkKeys(), func(where) bool { return true }},
	} {
		b.WriteString(".SH " + part.title + "\n")
		for _, k := range part.keys {
			if !part.want(k.where) {
				continue
			}
			fmt.Fprintf(&b, ".TP\n.BR %s \" (%s)\"\n%s\n", k.name, kindWords[k.kind], roff(k.doc))
			switch {
			case k.fallback == "required":
				b.WriteString("It has to be there.\n")
			default:
				fmt.Fprintf(&b, "Default: %s.\n", roff(k.fallback))
			}
			if k.where&ofGroup != 0 && k.where&ofRouter != 0 {
				b.WriteString("Also a key of a virtual router.\n")
			}
		}
	}
	b.WriteString(checksManual + `.SH RELOAD
SIGHUP,
.B systemctl reload vrrpd
and
.B atropos \-\-reload
read the file again.
A file with a mistake changes nothing, and the mistake is told: in the journal, and by
.BR atropos ,
whose exit code is 1 then.
.PP
A virtual router is the same one as before if its interface, name, VRID, family and
kind of authentication are.
What has not changed is not touched, and misses no advert.
Priority, preemption, interval, version, virtual addresses, keys, commands and hold-downs
are changed in place.
A virtual router that is removed hands over by itself: it says priority 0, and serves on
until another machine does or has had the time to.
One that is added has no vote until it has listened for a master-down interval (a little
more than three intervals); then it joins the others, or, where another machine serves
it, waits until this machine is BACKUP.
Neither changes the state of the group.
A check that has not changed goes on as it is, and one that is added counts as passed until
it fails.
A priority that was set at run time (SIGTTIN,
.BR "atropos \-\-reduce" )
holds until the priority in the file changes.
.PP
.BR run_dir ", " lease ", " metrics ", " socket_group ", " realtime " and " lock_memory
need a restart.
.SH FILES
.TP
.I /etc/vrrpd/vrrpd.toml
The usual place. The file has to belong to root (or to the user that vrrpd runs as), and
nobody else may be able to write to it: it names commands that run as root.
.TP
.IR RUN_DIR / GROUP .sock
The control socket of a group, for
.BR atropos (8).
.SH SEE ALSO
.BR vrrpd (8),
.BR atropos (8)
`)
	return fold(b.String())
}

// fold breaks lines of text that are longer than people like in a source.
func fold(page string) string {
	const width = 78
	var b strings.Builder
	for line := range strings.Lines(page) {
		for len(line) > width+1 && line[0] != '.' {
			cut := strings.LastIndex(line[:width+1], " ")
			if cut <= 0 {
				break
			}
			b.WriteString(line[:cut] + "\n")
			line = line[cut+1:]
		}
		b.WriteString(line)
	}
	return b.String()
}

// roff makes a text fit for a manual page.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
