package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"
)

// ParseFile reads a configuration file, whose name is for messages, and returns the
// configuration of each of its groups, by name. runDir, if it is not empty, stands for
// the file's run_dir. Every error is a UsageError that begins with the file and, where
// it is known, the line.
func ParseFile(name string, content []byte, runDir string) ([]Config, error) {
	var tree map[string]any
	if _, err := toml.Decode(string(content), &tree); err != nil {
		var bad toml.ParseError
		if errors.As(err, &bad) {
			return nil, usagef("%s:%d: %s", name, bad.Position.Line, bad.Message)
		}
		return nil, usagef("%s: %v", name, err)
	}
	r := fileReader{
		name: name, keys: fileKeys(), checkKeys: checkKeys(),
		at: sync.OnceValue(func() positions { return locate(string(content)) }),
	}
	groups, err := r.file(tree, runDir)
	if err != nil {
		return nil, err
	}
	return groups, nil
}

// fileReader turns the tree of a file into configurations.
type fileReader struct {
	name            string
	keys, checkKeys []fileKey
	at              func() positions // looked for when something is wrong
}

// keysOf are the keys of a table of that kind.
func (r *fileReader) keysOf(here where) []fileKey {
	if here == ofCheck {
		return r.checkKeys
	}
	return r.keys
}

// errorf is an error at the line of a path.
func (r *fileReader) errorf(path, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if n := r.at().line(path); n > 0 {
		return usagef("%s:%d: %s", r.name, n, text)
	}
	return usagef("%s: %s", r.name, text)
}

// wrong puts file and line before an error, and says it in the words of a file.
func (r *fileReader) wrong(path string, err error) error {
	return r.errorf(path, "%s", inFile.Replace(err.Error()))
}

// inFile are the options of a command line as keys of a file.
var inFile = strings.NewReplacer(
	"leave --vrrp-version 2 away for VRRPv3", "version = 3",
	"-f ", "run_dir ", "drop --preempt-delay or -s", "drop preempt_delay, or preempt = false",
	"with --name, like", "with name, like",
	"run two vrrpd, one with the IPv4 and one with the IPv6 addresses, both with -M to share one state", "give the IPv4 and the IPv6 addresses a [[router]] each",
	"--no-accept", "accept = false", "--name ", "name ", "with -n ", "with vmac = false ", "--peer-ttl", "peer_ttl", "--peer ADDRESS", "peers", "--peer", "peers", "--checksum", "checksum", "--vrrp-version", "version", "--auth-active ID", "auth_active", "--auth-active", "auth_active", "--auth-mode", "auth_mode", "--auth-replay", "auth_replay",
	"--auth-window", "auth_window", "--ah-icv", "ah_icv", "-a ", "auth ",
)

// draft is what a table says, over what those around it say.
type draft struct{ form }

func (r *fileReader) file(tree map[string]any, runDir string) ([]Config, error) {
	top := draft{form: form{router: Router{Priority: DefaultPriority, Interval: DefaultInterval, Preempt: true}}}
	if err := r.table(&top, tree, "", ofProcess|ofGroup, "group", "router", "check"); err != nil {
		return nil, err
	}
	dir := cmp.Or(runDir, top.runDir)
	var err error
	if top.RunDir, err = RunDir(dir, nil); err != nil {
		return nil, r.wrong("run_dir", err)
	}
	groups, err := r.groups(top, tree["group"])
	if err != nil {
		return nil, err
	}
	routers, ok := tree["router"].([]map[string]any)
	switch {
	case tree["router"] == nil || ok && len(routers) == 0:
		return nil, r.errorf("", "there is no virtual router: add a [[router]] with interface, vrid and addresses")
	case !ok:
		return nil, r.errorf("router", "router is a table of its own for each virtual router, and begins with [[router]]")
	}
	seen := identities{}
	for i, t := range routers {
		path := "router[" + strconv.Itoa(i) + "]"
		g, c, err := r.router(groups, t, path)
		if err != nil {
			return nil, err
		}
		if err := seen.add(c, path, r); err != nil {
			return nil, r.wrong(path, err)
		}
		g.Routers = append(g.Routers, c)
	}
	if err := r.checks(groups, tree["check"]); err != nil {
		return nil, err
	}
	var all []Config
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		g := groups[name]
		path := "group." + name
		g.Routers = slices.Clone(g.Routers) // they stay, and had room for more
		if len(g.Routers) == 0 {
			if name == DefaultGroup && !g.declared {
				continue
			}
			return nil, r.errorf(path, "group %s has no virtual router: add one with group = %q, or remove the table", name, name)
		}
		if err := g.Config.Validate(); err != nil {
			return nil, r.wrong(path, err)
		}
		all = append(all, g.Config)
	}
	return all, nil
}

// groupDraft is a group while its virtual routers are being read.
type groupDraft struct {
	draft
	declared bool
}

func (r *fileReader) groups(top draft, tree any) (map[string]*groupDraft, error) {
	groups := map[string]*groupDraft{}
	add := func(name string, declared bool) *groupDraft {
		g := &groupDraft{draft: top, declared: declared}
		g.Group = name
		groups[name] = g
		return g
	}
	add(DefaultGroup, false)
	if tree == nil {
		return groups, nil
	}
	tables, ok := tree.(map[string]any)
	if !ok {
		return nil, r.errorf("group", "a group is a table with its name: [group.%s]", DefaultGroup)
	}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		path := "group." + name
		table, ok := tables[name].(map[string]any)
		if !ok {
			return nil, r.errorf(path, "%s: a group is a table with its name: [group.%s]", name, DefaultGroup)
		}
		if why := badGroup(name); why != "" {
			return nil, r.errorf(path, "group %s: %s", show(name), why)
		}
		if err := r.table(&add(name, true).draft, table, path+".", ofGroup); err != nil {
			return nil, err
		}
	}
	return groups, nil
}

// badGroup says why a group cannot have a name, which is also part of the names of
// files, or "".
func badGroup(name string) string {
	odd := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	}
	switch {
	case name == "" || len(name) > 40:
		return "a name has 1 to 40 letters"
	case strings.ContainsFunc(name, odd):
		return "a name has letters, digits, - and _ only"
	}
	return ""
}

// groupOf is the group that a [[router]] or [[check]] names.
func groupOf(groups map[string]*groupDraft, table map[string]any) (*groupDraft, error) {
	name := DefaultGroup
	if v, given := table["group"]; given {
		var ok bool
		if name, ok = v.(string); !ok {
			return nil, errors.New("group: a string is needed, the name of a group")
		}
	}
	if groups[name] == nil {
		return nil, fmt.Errorf("group %s: there is no [group.%s] in this file", show(name), name)
	}
	return groups[name], nil
}

// router reads a [[router]].
func (r *fileReader) router(groups map[string]*groupDraft, table map[string]any, path string) (*groupDraft, Router, error) {
	fail := func(at string, err error) (*groupDraft, Router, error) { return nil, Router{}, r.wrong(path+at, err) }
	g, err := groupOf(groups, table)
	if err != nil {
		return fail(".group", err)
	}
	d := g.draft
	d.router.Peers = nil
	d.router.Auth.Keys = slices.Clone(d.router.Auth.Keys)
	d.router.OnMaster, d.router.OnBackup = Command{}, Command{}
	d.OnMaster, d.OnBackup = Command{}, Command{} // those here are the router's own
	if err := r.table(&d, table, path+".", ofRouter); err != nil {
		return nil, Router{}, err
	}
	for _, key := range [...]string{"interface", "vrid", "addresses"} {
		if _, given := table[key]; !given {
			return fail("", fmt.Errorf("%s is missing in this [[router]]", key))
		}
	}
	c := &d.router
	c.OnMaster, c.OnBackup = d.OnMaster, d.OnBackup
	if err := r.addresses(c, table["addresses"], path+".addresses"); err != nil {
		return nil, Router{}, err
	}
	if err := d.complete(); err != nil {
		return fail("", err)
	}
	if err := c.Validate(); err != nil {
		return fail("", err)
	}
	return g, *c, nil
}

func (r *fileReader) addresses(c *Router, value any, path string) error {
	items, _ := value.([]any) // table has looked at the types
	if len(items) == 0 {
		return r.errorf(path, "addresses: one at least is needed")
	}
	for _, item := range items {
		p, err := ParseAddress(item.(string))
		if err != nil {
			return r.wrong(path, err)
		}
		c.Addresses = append(c.Addresses, p)
	}
	return nil
}

// table sets what a table says. Tables within it, by name, are read by others.
func (r *fileReader) table(d *draft, table map[string]any, prefix string, here where, within ...string) error {
	// In the order of the table of keys, so that of several mistakes always the same
	// one is told; unknown ones first, because a wrong name explains what is missing.
	keys := r.keysOf(here)
	for _, name := range slices.Sorted(maps.Keys(table)) {
		at := slices.IndexFunc(keys, func(k fileKey) bool { return k.name == name })
		switch {
		case slices.Contains(within, name):
		case at < 0:
			return r.errorf(prefix+name, "unknown key %s%s", show(name), r.meant(name, here))
		case keys[at].where&here == 0:
			return r.errorf(prefix+name, "%s does not belong here: it is a key of %s", name, keys[at].where.places())
		}
	}
	if _, given := table["auth"]; given {
		d.router.Auth, d.auth = Auth{}, authOptions{} // nothing of what is around
	}
	for _, k := range keys {
		value, given := table[k.name]
		if !given || k.where&here == 0 {
			continue
		}
		values, err := k.values(value)
		if err != nil {
			return r.wrong(prefix+k.name, err)
		}
		for _, v := range values {
			if k.set == nil {
				break
			}
			if err := k.set(&d.form, k.name, v); err != nil {
				return r.wrong(prefix+k.name, err)
			}
		}
	}
	return nil
}

// values are those of a key as a command line has them.
func (k fileKey) values(v any) ([]string, error) {
	wrong := func() error {
		return fmt.Errorf("%s: a value of type %s is needed, like %s", k.name, kindWords[k.kind], k.example)
	}
	switch v := v.(type) {
	case string:
		if k.kind == text || k.kind == texts || k.kind == either {
			return []string{v}, nil
		}
	case bool:
		if k.kind == flag {
			return []string{strconv.FormatBool(v)}, nil
		}
	case int64:
		if k.kind == number || k.kind == either {
			return []string{strconv.FormatInt(v, 10)}, nil
		}
	case float64:
		if k.kind == number {
			return []string{strconv.FormatFloat(v, 'f', -1, 64)}, nil
		}
	case []any:
		if k.kind != list && k.kind != texts {
			return nil, wrong()
		}
		all := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, wrong()
			}
			all = append(all, s)
		}
		return all, nil
	}
	return nil, wrong()
}

// meant guesses what a misspelt key should have been.
func (r *fileReader) meant(name string, here where) string {
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	for _, k := range r.keysOf(here) {
		if a, b := plain(k.name), plain(name); k.where&here != 0 && (a == b || strings.HasPrefix(a, b) || strings.HasPrefix(b, a) || oneOff(a, b)) {
			return "; did you mean " + k.name + "?"
		}
	}
	return ""
}

// oneOff reports whether two words differ by one letter, or by two that have changed
// places.
func oneOff(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch {
	case len(b)-len(a) > 1:
		return false
	case len(b) > len(a):
		return a[i:] == b[i+1:]
	case i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]:
		return true
	}
	return i < len(a) && a[i+1:] == b[i+1:]
}

// places are where a key may stand, in words.
func (w where) places() string {
	switch {
	case w&ofProcess != 0:
		return "the file as a whole, and stands before all tables"
	case w&ofGroup != 0:
		return "a group: it stands in [group.NAME], or before all tables"
	}
	return "[[router]]"
}

// identities are what two virtual routers of a machine cannot share, with the path of
// whose it is.
type identities map[string]string

func (seen identities) add(r Router, path string, in *fileReader) error {
	claim := func(what string) error {
		if first, taken := seen[what]; taken {
			return fmt.Errorf("%s: the virtual router of line %d has it already", what, in.at().line(first))
		}
		seen[what] = path
		return nil
	}
	if err := claim(fmt.Sprintf("VRID %d for IPv%d on %s", r.VRID, r.Family, r.Interface)); err != nil {
		return err
	}
	if r.NoVMAC {
		// Many may be on one parent.
	} else if err := claim("interface name " + r.Name); err != nil {
		return fmt.Errorf("%w; give one of them another name", err)
	}
	for _, p := range r.Addresses {
		on := ""
		if isLinkLocal(p) {
			on = " on " + r.Interface // elsewhere it is another address
		}
		if p.Addr() == r.Generated {
			continue // it follows from the VRID
		}
		if err := claim("address " + p.Addr().String() + on); err != nil {
			return err
		}
	}
	return nil
}

// Warnings are what is allowed in a file and probably not meant.
func Warnings(groups []Config) (all []string) {
	for _, g := range groups {
		low, high := g.Routers[0], g.Routers[0]
		for _, r := range g.Routers {
			if r.Priority < low.Priority {
				low = r
			}
			if r.Priority > high.Priority {
				high = r
			}
		}
		if low.Priority != high.Priority {
			all = append(all, fmt.Sprintf("group %s: the priorities differ (%d for %s, %d for %s), and the lowest counts for all of them: give the group one priority",
				g.Group, low.Priority, low.Name, high.Priority, high.Name))
		}
		for _, w := range g.checkWarnings() {
			all = append(all, "group "+g.Group+": "+w)
		}
		if g.Routers[0].Preempt && g.HoldDown > 0 && g.Routers[0].PreemptDelay > 0 && g.HoldDown >= g.Routers[0].PreemptDelay {
			all = append(all, fmt.Sprintf("group %s: preempt_delay begins when hold_down is over, so after a fault it takes %v until this machine takes over again",
				g.Group, g.HoldDown+g.Routers[0].PreemptDelay))
		}
		if g.ReducedPriority != 0 && g.ReducedPriority >= low.Priority {
			all = append(all, fmt.Sprintf("group %s: reduced_priority %d is not lower than the priority %d", g.Group, g.ReducedPriority, low.Priority))
		}
	}
	if len(groups) > 1 {
		on := map[string]string{}
		for _, g := range groups {
			for _, r := range g.Routers {
				if other, known := on[r.Interface]; known && other != g.Group {
					all = append(all, fmt.Sprintf("groups %s and %s both use %s: what happens to that interface moves both, and nothing else does; is that meant?", other, g.Group, r.Interface))
				}
				on[r.Interface] = g.Group
			}
		}
		slices.Sort(all)
		all = slices.Compact(all)
	}
	return all
}

// Plan is what a configuration comes to, in words, one line each.
func Plan(groups []Config) (lines []string) {
	if len(groups) > 0 && groups[0].Metrics.IsValid() {
		lines = append(lines, fmt.Sprintf("metrics of all groups on http://%s/metrics, for every user of this machine", groups[0].Metrics))
	}
	for _, g := range groups {
		r := g.Routers[0]
		priority := r.Priority
		for _, r := range g.Routers {
			priority = min(priority, r.Priority)
		}
		preempt := "takes over from lower priorities"
		switch {
		case !r.Preempt:
			preempt = "does not take over from lower priorities"
		case r.PreemptDelay > 0:
			preempt += " after " + r.PreemptDelay.String()
		}
		lines = append(lines, fmt.Sprintf("group %s: %d virtual routers that change sides together, priority %d, adverts every %v, %s",
			g.Group, len(g.Routers), priority, r.Interval, preempt))
		for _, c := range []struct {
			what string
			Command
		}{{"on_master", g.OnMaster}, {"on_backup", g.OnBackup}} {
			if c.Given() {
				lines = append(lines, fmt.Sprintf("group %s: %s runs %s", g.Group, c.what, c.Line))
			}
		}
		for i := range g.Checks {
			k := &g.Checks[i]
			lines = append(lines, fmt.Sprintf("group %s: check %s: %s, %s", g.Group, k.Name, k.What(), k.effect()))
		}
		for _, r := range g.Routers {
			var addrs []netip.Addr
			for _, p := range r.Addresses {
				addrs = append(addrs, p.Addr())
			}
			more := ""
			if r.Auth.Kind != 0 {
				more = ", authentication " + r.Auth.Kind.String()
			}
			lines = append(lines, fmt.Sprintf("%s on %s: VRID %d, VRRPv%d, %v%s", r.Name, r.Interface, r.VRID, r.Version, addrs, more))
		}
	}
	return lines
}
