package peers

import (
	"fmt"
	"strings"

	"vrrpd/internal/netlab"
)

// keepalivedConf is where keepalived finds its configuration.
const keepalivedConf = "/etc/keepalived/keepalived.conf"

// Keepalived is a configuration of keepalived.
type Keepalived struct {
	Routers []Router
	// Group puts all routers into one vrrp_sync_group.
	Group bool
	// Global and Instance are more lines of global_defs and of every vrrp_instance.
	Global, Instance string
}

// Text is the configuration.
func (k Keepalived) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "global_defs {\n    router_id peer\n%s}\n", block(k.Global))
	if k.Group {
		b.WriteString("vrrp_sync_group G {\n    group {\n")
		for i := range k.Routers {
			fmt.Fprintf(&b, "        V%d\n", i)
		}
		b.WriteString("    }\n}\n")
	}
	for i, r := range k.Routers {
		fmt.Fprintf(&b, "vrrp_instance V%d {\n    state BACKUP\n    interface %s\n    virtual_router_id %d\n    priority %d\n",
			i, r.Parent, r.VRID, r.Priority)
		if r.Interval > 0 {
			fmt.Fprintf(&b, "    advert_int %s\n", seconds(r.Interval))
		}
		if r.VMAC != "" {
			fmt.Fprintf(&b, "    use_vmac %s\n", r.VMAC)
		}
		b.WriteString("    virtual_ipaddress {\n")
		for _, a := range r.VIPs {
			fmt.Fprintf(&b, "        %s/%d\n", a, a.BitLen())
		}
		fmt.Fprintf(&b, "    }\n%s}\n", block(k.Instance))
	}
	return b.String()
}

// block makes lines end with a line end.
func block(lines string) string {
	if lines == "" || strings.HasSuffix(lines, "\n") {
		return lines
	}
	return lines + "\n"
}

// Command writes the configuration to the host, and returns what starts keepalived
// in the foreground with it; more are further options.
func (k Keepalived) Command(h *netlab.Host, more ...string) (netlab.Command, error) {
	if err := h.WriteFile(keepalivedConf, netlab.File{Text: k.Text()}); err != nil {
		return netlab.Command{}, err
	}
	return netlab.Command{
		Path: "keepalived",
		Args: append([]string{"-n", "-l", "-f", keepalivedConf, "-p", "/run/k.pid", "-r", "/run/kv.pid"}, more...),
		Env:  []string{"TMPDIR=/run"},
	}, nil
}
