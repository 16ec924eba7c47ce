#!/bin/sh
# vrrpd -D: this machine is BACKUP, the virtual addresses have gone. See
# MASTER.sh for the settings.
IPSEC_INTERFACE=vrrp51 IPSEC_STACK=netkey IPSEC_CONNS=branch
IPSEC_CONFIG=${IPSEC_CONFIG:-/etc/vrrpd/openswan}
[ -r "$IPSEC_CONFIG" ] && . "$IPSEC_CONFIG"
[ "$VRRP_INTERFACE" = "$IPSEC_INTERFACE" ] || exit 0

if [ "$IPSEC_STACK" = klips ]; then
	exec ipsec setup stop
fi

# The address is gone, so the peer cannot be told any more; its dead peer
# detection or the new MASTER's connection replaces the old one. Here the
# states are dropped, so that nothing of this machine answers for them.
for conn in $IPSEC_CONNS; do
	timeout 5 ipsec auto --down "$conn"
done
ipsec whack --listen
