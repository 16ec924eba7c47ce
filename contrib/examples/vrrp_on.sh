#!/bin/sh
# /etc/scripts/vrrp_on.sh: the virtual routers of this machine. The same lines
# stand on both machines; add -p 150 on the one that should be preferred.
set -e
vrrpd -i eth0 -v 51 ipaddr 10.16.1.200 -M 2 -U /etc/scripts/MASTER.sh -D /etc/scripts/DOWN.sh
vrrpd -i eth1 -v 52 ipaddr 10.17.1.200 -M 2 -U /etc/scripts/MASTER.sh -D /etc/scripts/DOWN.sh
