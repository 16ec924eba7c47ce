#!/bin/sh
# vrrpd -U: this machine is MASTER, the virtual addresses are up and announced.
#
# Every vrrpd of the machine runs its own -U command; the tunnel belongs to one
# of them. /etc/vrrpd/openswan may set:
#   IPSEC_INTERFACE  virtual router that carries the tunnel   (vrrp51)
#   IPSEC_STACK      netkey or klips                          (netkey)
#   IPSEC_CONNS      connections to bring up, netkey only     (branch)
IPSEC_INTERFACE=vrrp51 IPSEC_STACK=netkey IPSEC_CONNS=branch
IPSEC_CONFIG=${IPSEC_CONFIG:-/etc/vrrpd/openswan}
[ -r "$IPSEC_CONFIG" ] && . "$IPSEC_CONFIG"
[ "$VRRP_INTERFACE" = "$IPSEC_INTERFACE" ] || exit 0

if [ "$IPSEC_STACK" = klips ]; then
	exec ipsec setup start
fi

# pluto does not notice a new address by itself.
ipsec whack --listen || exit 1
failed=0
for conn in $IPSEC_CONNS; do
	# --up waits for the peer for ever: limit it, and believe the traffic
	# status rather than the exit code.
	timeout 20 ipsec auto --up "$conn"
	if ! ipsec whack --trafficstatus | grep -q "\"$conn\""; then
		echo "connection $conn is not up" >&2
		failed=1
	fi
done
exit $failed
