#!/bin/sh
# /etc/scripts/MASTER.sh: run by each vrrpd of the machine when it has become
# MASTER. The virtual addresses are up and announced already.
#
# Further production addresses belong on the virtual interface: vrrpd announces
# them with the virtual MAC like its own, and removes them on BACKUP.
case "$VRRP_INTERFACE" in
vrrp51)
	ip addr add 192.168.2.2/32 dev "$VRRP_INTERFACE"
	;;
esac
logger -t vrrp "MASTER on $VRRP_INTERFACE ($VRRP_PARENT): $VRRP_REASON"
