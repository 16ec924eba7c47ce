package main

import (
	"fmt"
	"strings"
	"time"
)

// document is docs/benchmarks.md.
func document(r result) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("<!-- Written by %s. Do not change it here. -->", r.Command)
	p("# Benchmarks")
	p("")
	var names []string
	for _, c := range r.Contenders {
		names = append(names, c.Name+" "+c.Version)
	}
	p("%s, measured side by side\nin one run on %s: the same cables, the same client, the same moments.\nTimes belong to this machine; **what is claimed are ratios**, and what is not in vrrpd's\nfavour stands under [Where vrrpd is slower](#where-vrrpd-is-slower).",
		list(names), r.Date.Format("2 January 2006"))
	p("")
	p("    %s", r.Command)
	p("")
	p("repeats it, as root, in network namespaces (%s here), and writes this page;\n`BENCH=-short` is quicker and says less.", r.Took.Round(time.Second))
	p("")
	p("| | |\n|---|---|")
	p("| kernel | %s |", r.Machine.Kernel)
	p("| processor | %d of %s |", r.Machine.Processors, r.Machine.Processor)
	p("| load average before, after | %s, %s |", r.Machine.Before, r.Machine.After)
	if n := r.Machine.Touched; n > 0 {
		p("| memory touched before | %.1f GB: the host may have to find what a virtual machine uses for the first time |", float64(n)/1e9)
	}
	for _, c := range r.Contenders {
		p("| %s | %s |", c.Name, c.Version)
	}
	if len(r.Missing) > 0 {
		p("| not installed | %s |", list(r.Missing))
	}
	p("")
	if len(r.Failovers) > 0 {
		b.WriteString(outagesText(r))
	}
	if len(r.Scale) > 0 {
		b.WriteString(scaleText(r))
	}
	if len(r.Crossed) > 0 {
		b.WriteString(crossedText(r))
	}
	if len(r.Path) > 0 {
		b.WriteString(pathText(r))
	}
	if len(r.Tolls) > 0 {
		b.WriteString(tollText(r))
	}
	if len(r.Late) > 0 {
		b.WriteString(lateText(r))
	}
	p("## Where vrrpd is slower")
	p("")
	worse := slower(r)
	if len(worse) == 0 {
		p("Nowhere in these figures by more than the noise.")
	}
	for _, line := range worse {
		p("- %s", line)
	}
	p("")
	if len(r.Notes) > 0 {
		p("## What went otherwise than planned")
		p("")
		for _, n := range r.Notes {
			p("- %s", n)
		}
		p("")
	}
	b.WriteString(method)
	return b.String()
}

// list joins words as a sentence does.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// ms writes a duration in milliseconds, to three digits or so.
func ms(d time.Duration) string {
	v := float64(d) / float64(time.Millisecond)
	switch {
	case d == never:
		return "never"
	case v > -10 && v < 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// cell is a median with its extremes.
func cell(s sample, unit func(time.Duration) string) string {
	if len(s) == 0 {
		return "–"
	}
	if len(s) == 1 || unit(s.min()) == unit(s.max()) {
		return unit(s.median())
	}
	return fmt.Sprintf("%s (%s–%s)", unit(s.median()), unit(s.min()), unit(s.max()))
}

// ratio is how many times as long theirs is, with noise below which two durations
// cannot be told apart.
func ratio(ours, theirs, noise time.Duration) string {
	switch {
	case ours == never && theirs == never:
		return "both never"
	case theirs == never:
		return "∞"
	case ours == never:
		return "0"
	case max(ours-theirs, theirs-ours) <= noise:
		return "≈"
	case ours < noise:
		return fmt.Sprintf("> %s", times(theirs, noise))
	case theirs < noise:
		return fmt.Sprintf("< %s", times(noise, ours))
	}
	return times(theirs, ours)
}

func times(a, b time.Duration) string {
	v := float64(a) / float64(b)
	if v < 10 {
		return fmt.Sprintf("%.2g", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// others are the contenders but ours.
func (r result) others() (names []string) {
	for _, c := range r.Contenders {
		if c.Name != ourName {
			names = append(names, c.Name)
		}
	}
	return names
}

// intervals are those of the failovers, in order.
func (r result) intervals() (all []time.Duration) {
	seen := map[time.Duration]bool{}
	for _, f := range r.Failovers {
		if !seen[f.Interval] {
			seen[f.Interval] = true
			all = append(all, f.Interval)
		}
	}
	return all
}

// failover is what a cause came to for a contender, nil: it was not measured.
func (r result) failover(name string, interval time.Duration, k cause) *failover {
	for i, f := range r.Failovers {
		if f.Contender == name && f.Interval == interval && f.Cause == k {
			return &r.Failovers[i]
		}
	}
	return nil
}

// noise is for how long the client had no answer while nothing happened: the median, as
// it is medians that are compared, of the contender with the noisiest site.
func (r result) noise(interval time.Duration) time.Duration {
	return r.quiet(interval, func(c control) time.Duration { return c.Dark.median() })
}

// quiet is the greatest of something about the controls at an interval.
func (r result) quiet(interval time.Duration, of func(control) time.Duration) (worst time.Duration) {
	for _, c := range r.Controls {
		if c.Interval == interval && len(c.Dark) > 0 {
			worst = max(worst, of(c))
		}
	}
	return worst
}

// outagesText are the tables of the failovers.
func outagesText(r result) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("## What a client loses")
	p("")
	p("![Outage of a client by cause, on a logarithmic scale](outages.svg)")
	p("")
	p("Two machines share an address on each of two LANs. Once a millisecond a client on the\none LAN asks for the MAC of the address afresh, by ARP, and sends an echo by way of that\nMAC to a server on the other LAN, which answers by its own virtual address. In the tables:\nthe median of %d, in ms, and the extremes; an event comes at another moment between two\nadverts each time, the same for everybody. *Never*: not until somebody repaired it.", r.Repetitions)
	p("")
	for _, interval := range r.intervals() {
		noise := r.noise(interval)
		table := func(title string, of func(*failover) sample, causes []cause) {
			p("### %s, adverts every %v", title, interval)
			p("")
			b.WriteString(header(r))
			for _, k := range causes {
				ours := r.failover(ourName, interval, k)
				if ours == nil {
					continue
				}
				line := fmt.Sprintf("| %s | %s |", k.word(), cell(of(ours), ms))
				ratios := ""
				for _, name := range r.others() {
					theirs := r.failover(name, interval, k)
					if theirs == nil {
						line, ratios = line+" – |", ratios+" – |"
						continue
					}
					line += " " + cell(of(theirs), ms) + " |"
					if len(of(ours)) == 0 || len(of(theirs)) == 0 {
						ratios += " – |"
						continue
					}
					ratios += " " + ratio(of(ours).median(), of(theirs).median(), noise) + " |"
				}
				p("%s", line+ratios)
			}
			p("")
		}
		table("Nobody answers", func(f *failover) sample { return f.Dark }, causes())
		p("Noise: while nothing happened, the client was without an answer for %s ms (the median of the\nnoisiest site; %s at worst), and late by up to %s ms itself. ≈ is within that median, > and <\nare bounds because of it.", ms(noise),
			ms(r.quiet(interval, func(c control) time.Duration { return c.Dark.max() })),
			ms(r.quiet(interval, func(c control) time.Duration { return c.Stall.max() })))
		p("")
		table("Two machines answer", func(f *failover) sample { return f.Double }, []cause{stop, comeUp, cable, kill, unit, hang})
		table("The other machine has spoken on both LANs after", func(f *failover) sample { return f.Speaks }, []cause{stop, cable, kill, unit, hang})
		table("The two LANs have different masters for", func(f *failover) sample { return f.Apart }, []cause{stop, cable, kill, unit, hang})
		p("A hang lasted %v.", hangTime(interval))
		p("")
	}
	return b.String()
}

// header is that of a table with a column for each contender and each ratio.
func header(r result) string {
	line, rule := "| ms | "+ourName+" |", "|---|---|"
	for _, name := range r.others() {
		line, rule = line+" "+name+" |", rule+"---|"
	}
	for _, name := range r.others() {
		line, rule = line+" "+name+" : "+ourName+" |", rule+"---|"
	}
	return line + "\n" + rule + "\n"
}

// scaleText is the table of many virtual routers.
func scaleText(r result) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("## Many virtual routers")
	p("")
	p("Two machines, up to %d virtual routers on each LAN, one address each, each on a virtual\nMAC. Processor time is that of all processes of the machine, in user space and kernel, and\nincludes what the kernel does for a frame on its way over veth and bridge, which it does in\nthe name of the sender. Medians of %d seconds, and the extremes. Memory is that of the\nMASTER, in MB: resident, and with what is shared counted in part. \"All MASTER\" is counted\nfrom the start less three intervals and the skew time, \"taken over\" and \"announced\" from a\nplanned stop less the skew time: what remains is the implementation's own.", perLAN, seconds)
	p("")
	p("| routers | adverts | | us per advert sent | received | RSS | PSS | all MASTER, ms | taken over, ms | announced, ms |")
	p("|---|---|---|---|---|---|---|---|---|---|")
	for _, s := range r.Scale {
		line := fmt.Sprintf("| %d | %v | %s |", s.Routers, s.Interval, s.Contender)
		if s.Note != "" {
			p("%s %s | | | | | | |", line, s.Note)
			continue
		}
		taken := ms(s.Takeover)
		if s.Takeover == never {
			taken = fmt.Sprintf("%d of %d within %v", s.Taken, s.Routers, allLimit)
		}
		p("%s %s | %s | %s | %s | %s | %s | %s |", line, cell(s.Sent, us), cell(s.Received, us), mb(s.RSS), mb(s.PSS), ms(s.Masters), taken, announced(s.Announced))
	}
	p("")
	b.WriteString(scaleRatios(r))
	return b.String()
}

// scaleRatios is how many times as much the others need.
func scaleRatios(r result) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("The same as ratios to vrrpd: above 1 the other needs more.")
	p("")
	p("| routers | adverts | | sent | received | RSS | PSS | all MASTER | taken over |")
	p("|---|---|---|---|---|---|---|---|---|")
	any := false
	for _, o := range r.Scale {
		s := r.scale(ourName, o.Routers, o.Interval)
		if o.Contender == ourName || o.Note != "" || s == nil || s.Note != "" {
			continue
		}
		any = true
		p("| %d | %v | %s : vrrpd | %s | %s | %s | %s | %s | %s |", o.Routers, o.Interval, o.Contender,
			times(o.Sent.median(), s.Sent.median()), times(o.Received.median(), s.Received.median()),
			times(time.Duration(o.RSS), time.Duration(s.RSS)), times(time.Duration(o.PSS), time.Duration(s.PSS)),
			ratio(s.Masters, o.Masters, startNoise), ratio(s.Takeover, o.Takeover, startNoise))
	}
	if !any {
		return ""
	}
	p("")
	return b.String()
}

// crossedText is the table of what adverts cost with no switch between the machines.
func crossedText(r result) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("### The same without a switch")
	p("")
	p("A switch that is a bridge of the same kernel does its work in the name of the sender, and\nhears each frame itself. Here each of the machines' interfaces is one end of a veth pair, and\nthe other machine's is the other end: the processor time is what the sender and the peer's\nkernel need, up to the peer's socket. *system calls* is a program that does nothing but the\nleast of these: what remains is the implementation's own.")
	p("")
	p("| routers | adverts | | us per advert sent | received |")
	p("|---|---|---|---|---|")
	for _, s := range r.Crossed {
		name := s.Contender
		if name == floorName {
			name = "*system calls*"
		}
		if s.Note != "" {
			p("| %d | %v | %s | %s | |", s.Routers, s.Interval, name, s.Note)
			continue
		}
		p("| %d | %v | %s | %s | %s |", s.Routers, s.Interval, name, cell(s.Sent, us), cell(s.Received, us))
	}
	p("")
	return b.String()
}

// scale is a row, nil: there is none.
func (r result) scale(name string, routers int, interval time.Duration) *scale {
	for i, s := range r.Scale {
		if s.Contender == name && s.Routers == routers && s.Interval == interval {
			return &r.Scale[i]
		}
	}
	return nil
}

func announced(d time.Duration) string {
	if d == never {
		return "not all"
	}
	return ms(d)
}

func us(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Microsecond)) }
func mb(n int64) string         { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }

// pathText is the table of what a forwarded packet costs.
func pathText(r result) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("## Forwarded packets")
	p("")
	p("Small packets from one LAN to the other through a machine that is MASTER, on one\nprocessor: bridge, veth, the machine, veth, bridge. The quickest twentieth of %d turns of %d\npackets counts, the machines by turns. \"More\" is the median of the differences, turn by\nturn, to what stands beside it, on the same way, with the bounds that hold it in 19 cases of\n20; by what the machines differed before anything was started has been taken off.\nFor the card that is the cost of hearing adverts, for the virtual MAC that of the lease\n(`--lease`), which silences a dead MASTER.", r.Path[0].Turns, handful)
	p("")
	p("| addressed to the | through a machine with | ns per packet | packets per second | more, ns |")
	p("|---|---|---|---|---|")
	for _, w := range r.Path {
		p("| %s | %s | %d | %d 000 | %s |", w.Way, w.Contender, w.Quick.Nanoseconds(), int(time.Second/w.Quick)/1000, w.more())
	}
	p("")
	return b.String()
}

// more is how much a packet takes more, and than where.
func (w pathRow) more() string {
	if w.Base == "" {
		return "–"
	}
	return fmt.Sprintf("%+d (%+d to %+d), %s", w.More.Nanoseconds(), w.Low.Nanoseconds(), w.High.Nanoseconds(), w.Base)
}

// method says how it was done; what changes from run to run is elsewhere.
const method = `## How it was measured

- Everybody speaks VRRPv3 and uses a virtual MAC: keepalived with ` + "`use_vmac`" + ` and both LANs
  in one ` + "`vrrp_sync_group`" + ` (with many routers in none), FRR as its manual has it, and
  ` + "`arp_ignore`" + `, without which its backups answer ARP. FRR has nothing that ties two LANs
  together. Its site is built anew after each cable that was pulled: the interface of a
  backup stays up after it.
- Priorities 200 and 100; events happen to the better machine. Each implementation has a
  site of its own, the three live at the same time, and each event has the computer to
  itself for its first second.
- *Killed*: all processes of the daemon stand still, then die, so that none cleans up after
  another, and nothing cleans up after them. *Its unit cleans up*: as soon as they are
  dead, what vrrpd's unit has for that is run (` + "`ExecStopPost=vrrpd --release`" + `), as a
  service manager does; the units of the others have nothing.
- *Two machines answer*: ARP answers of both within 20 ms, told apart by the cable that
  they come in by, not by their MAC, which is the same.
- Processor time is the scheduler's, in nanoseconds, of whole processes
  (` + "`clock_getcpuclockid`" + `). Adverts are counted as they leave the card.
- Everything that is measured, and what measures, has the same better priority (nice -10).
  Other work on the computer is in the load average above and in the noise at each table.
`
