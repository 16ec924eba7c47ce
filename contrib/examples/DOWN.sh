#!/bin/sh
# /etc/scripts/DOWN.sh: run by each vrrpd of the machine when it has become
# BACKUP, and once at its start. Every address of the virtual interface, also
# those that MASTER.sh has added, is gone already.
logger -t vrrp "BACKUP on $VRRP_INTERFACE ($VRRP_PARENT): $VRRP_REASON"
