package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// checks reads every [[check]] into its group.
func (r *fileReader) checks(groups map[string]*groupDraft, tree any) error {
	tables, ok := tree.([]map[string]any)
	if !ok && tree != nil {
		return r.errorf("check", "check is a table of its own for each check, and begins with [[check]]")
	}
	for i, t := range tables {
		path := "check[" + strconv.Itoa(i) + "]"
		g, c, err := r.check(groups, t, path)
		if err != nil {
			return err
		}
		g.Checks = append(g.Checks, c)
		// What it has in common with others is told with its line.
		if err := g.Config.validateChecks(); err != nil {
			return r.wrong(path, err)
		}
	}
	return nil
}

func (r *fileReader) check(groups map[string]*groupDraft, table map[string]any, path string) (*groupDraft, HealthCheck, error) {
	fail := func(at string, err error) (*groupDraft, HealthCheck, error) {
		return nil, HealthCheck{}, r.wrong(path+at, err)
	}
	g, err := groupOf(groups, table)
	if err != nil {
		return fail(".group", err)
	}
	if len(g.Routers) == 0 {
		return fail(".group", fmt.Errorf("group %s has no virtual router: say with group = \"...\" which one the check is about", g.Group))
	}
	var d draft
	if err := r.table(&d, table, path+".", ofCheck); err != nil {
		return nil, HealthCheck{}, err
	}
	c := d.check
	if v, given := table["command"]; given {
		if c.Command, err = checkCommand(v); err != nil {
			return fail(".command", err)
		}
	}
	if v, given := table["address"]; given {
		if c.Addresses, err = checkAddresses(v); err != nil {
			return fail(".address", err)
		}
	}
	c.complete()
	if err := c.Validate(); err != nil {
		return fail("", err)
	}
	return g, c, nil
}

// checkCommand reads a command, whose type has been looked at: a text is split into
// words, a list is taken as it is.
func checkCommand(v any) (Command, error) {
	if line, ok := v.(string); ok {
		return ParseCommand("command", line)
	}
	var c Command
	for _, item := range v.([]any) {
		c.Argv = append(c.Argv, item.(string))
	}
	c.Line = strings.Join(c.Argv, " ")
	switch {
	case len(c.Argv) == 0 || c.Argv[0] == "":
		return Command{}, usagef(`command: the list begins with a program, like ["/usr/bin/pgrep", "named"]`)
	case strings.Contains(c.Argv[0], "/") && c.Argv[0][0] != '/':
		return Command{}, usagef("command %s: commands run in /, so give the whole path", show(c.Argv[0]))
	case strings.Contains(strings.Join(c.Argv, ""), "\x00"):
		return Command{}, usagef("command %s: a command has no NUL characters", show(c.Line))
	}
	return c, nil
}

func checkAddresses(v any) ([]netip.Addr, error) {
	words, ok := v.([]any)
	if !ok {
		words = []any{v}
	}
	var all []netip.Addr
	for _, w := range words {
		a, err := netip.ParseAddr(w.(string))
		if err != nil {
			return nil, usagef("address %s: an IP address without a length, like 192.0.2.254", show(w.(string)))
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return nil, usagef("address: one at least is needed")
	}
	return all, nil
}
