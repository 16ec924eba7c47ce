package peers

import (
	"net/netip"
	"testing"
	"time"
)

func two() []Router {
	return []Router{
		{Parent: "eth0", VRID: 51, Priority: 200, Interval: 100 * time.Millisecond, VMAC: "vrrp51",
			VIPs: []netip.Addr{netip.MustParseAddr("192.0.2.100")}},
		{Parent: "eth0", VRID: 52, Priority: 100, VIPs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}},
	}
}

func TestKeepalived(t *testing.T) {
	got := Keepalived{Routers: two(), Group: true, Global: "    vrrp_version 3", Instance: "    nopreempt\n"}.Text()
	const want = `global_defs {
    router_id peer
    vrrp_version 3
}
vrrp_sync_group G {
    group {
        V0
        V1
    }
}
vrrp_instance V0 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 200
    advert_int 0.1
    use_vmac vrrp51
    virtual_ipaddress {
        192.0.2.100/32
    }
    nopreempt
}
vrrp_instance V1 {
    state BACKUP
    interface eth0
    virtual_router_id 52
    priority 100
    virtual_ipaddress {
        2001:db8::1/128
    }
    nopreempt
}
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFRR(t *testing.T) {
	r := two()
	r[0].VIPs = append(r[0].VIPs, netip.MustParseAddr("192.0.2.101"))
	got := FRR{Routers: r, Waits: true}.Text()
	const want = `log stdout informational
interface eth0
 vrrp 51 version 3
 vrrp 51 priority 200
 vrrp 51 advertisement-interval 100
 no vrrp 51 preempt
 vrrp 51 ip 192.0.2.100
 vrrp 51 ip 192.0.2.101
 vrrp 52 version 3
 vrrp 52 priority 100
 no vrrp 52 preempt
 vrrp 52 ipv6 2001:db8::1
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMAC(t *testing.T) {
	for i, want := range []string{"00:00:5e:00:01:33", "00:00:5e:00:02:34"} {
		if got := two()[i].MAC().String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
