package netlab

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/jsimonetti/rtnetlink/v2"
	mdnetlink "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// bridgeName is what every switch calls its bridge.
const bridgeName = "br0"

// SwitchOptions say what a switch is like.
type SwitchOptions struct {
	// Snooping makes the switch forward multicast only where it was asked for
	// by IGMP or MLD.
	Snooping bool
}

// Switch is an Ethernet switch: a Linux bridge in its own network namespace,
// without spanning tree and forward delay, with the usual ageing of 300 s.
type Switch struct {
	place
	bridge int // interface index
	item   *item
}

// Switch adds a switch.
func (l *Lab) Switch(name string, opts SwitchOptions) (*Switch, error) {
	if err := l.refuse(); err != nil {
		return nil, fmt.Errorf("make switch %s: %w", name, err)
	}
	s := &Switch{place: place{lab: l, name: name}}
	s.item = l.stack.push(s.close)
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make namespace: %w", err)
		}
		if err := s.init(false); err != nil {
			return err
		}
		if err := quiet(); err != nil {
			return err
		}
		return s.addBridge(opts)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make switch %s: %w", name, err), s.item.Close())
	}
	return s, nil
}

// quiet makes the calling thread's network namespace one of a switch: it has
// nothing to say by itself, and its bridge does not look into the frames. With
// br_netfilter the kernel's default is that the machine's firewall code sees
// bridged packets, and drops IP headers that it does not like.
func quiet() error {
	for _, s := range []struct{ key, value string }{
		{"net/ipv6/conf/all/disable_ipv6", "1"},
		{"net/ipv6/conf/default/disable_ipv6", "1"},
		{"net/ipv4/ip_forward", "0"},
		{"net/bridge/bridge-nf-call-arptables", "0"},
		{"net/bridge/bridge-nf-call-iptables", "0"},
		{"net/bridge/bridge-nf-call-ip6tables", "0"},
	} {
		// A kernel without IPv6 or br_netfilter does not have them.
		if err := writeSysctl(s.key, s.value); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (s *Switch) addBridge(opts SwitchOptions) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridgeName
	err := s.nl.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &opts.Snooping})
	if err != nil {
		return fmt.Errorf("add bridge: %w", err)
	}
	link, err := s.nl.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("find bridge: %w", err)
	}
	s.bridge = link.Attrs().Index
	if err := setForwardDelay(s.bridge, 0); err != nil {
		return fmt.Errorf("set forward delay: %w", err)
	}
	if err := s.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("set bridge up: %w", err)
	}
	return nil
}

// Station is one entry of a switch's forwarding database.
type Station struct {
	MAC  MAC
	Port string // interface name of the port
}

// Stations returns what the switch has learnt: which MAC is behind which port.
func (s *Switch) Stations() ([]Station, error) {
	ports, err := s.nl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list ports of %s: %w", s.name, err)
	}
	names := make(map[int]string)
	for _, p := range ports {
		if p.Attrs().MasterIndex == s.bridge {
			names[p.Attrs().Index] = p.Attrs().Name
		}
	}
	entries, err := s.nl.NeighList(0, unix.AF_BRIDGE)
	if err != nil {
		return nil, fmt.Errorf("read the forwarding database of %s: %w", s.name, err)
	}
	var out []Station
	for _, e := range entries {
		mac, ok := macFrom(e.HardwareAddr)
		// Permanent entries are the ports' own addresses.
		if port := names[e.LinkIndex]; ok && port != "" && e.State&unix.NUD_PERMANENT == 0 {
			out = append(out, Station{MAC: mac, Port: port})
		}
	}
	return out, nil
}

// PortOf returns the port behind which the switch has learnt the MAC, or "".
func (s *Switch) PortOf(mac MAC) (string, error) {
	list, err := s.Stations()
	for _, st := range list {
		if st.MAC == mac {
			return st.Port, err
		}
	}
	return "", err
}

// setForwardDelay sets a bridge's forward delay, in units of 10 ms, in the
// calling thread's network namespace.
func setForwardDelay(bridge int, delay uint32) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(bridge)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_BR_FORWARD_DELAY, nl.Uint32Attr(delay))
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// stateForwarding is the state of a bridge port that works (linux/if_bridge.h).
const stateForwarding = 3

// portForwards tells whether the bridge forwards at a port.
func (p *place) portForwards(index int) (bool, error) {
	conn, err := p.dialRoute()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	question, err := (&rtnetlink.LinkMessage{Index: uint32(index)}).MarshalBinary()
	if err != nil {
		return false, err
	}
	answer, err := conn.Execute(mdnetlink.Message{
		Header: mdnetlink.Header{Type: unix.RTM_GETLINK, Flags: mdnetlink.Request},
		Data:   question,
	})
	if err != nil || len(answer) != 1 {
		return false, fmt.Errorf("read bridge port: %w", err)
	}
	var link rtnetlink.LinkMessage
	if err := link.UnmarshalBinary(answer[0].Data); err != nil {
		return false, err
	}
	if link.Attributes == nil || link.Attributes.Info == nil {
		return false, nil
	}
	data, ok := link.Attributes.Info.SlaveData.(*rtnetlink.LinkData)
	if !ok {
		return false, nil
	}
	attrs, err := mdnetlink.NewAttributeDecoder(data.Data)
	if err != nil {
		return false, err
	}
	for attrs.Next() {
		if attrs.Type() == nl.IFLA_BRPORT_STATE {
			return attrs.Uint8() == stateForwarding, nil
		}
	}
	return false, attrs.Err()
}
