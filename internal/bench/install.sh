#!/bin/sh
# Installs what is to be measured beside vrrpd and is missing, on Debian and its kin, as
# root; elsewhere what is not there is not measured. No service is started: a computer
# that measures must not become a router.
set -eu
missing=
command -v keepalived >/dev/null || missing="$missing keepalived"
[ -x /usr/lib/frr/vrrpd ] || missing="$missing frr"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "bench-peers: not installed, and not measured:$missing" >&2
	exit 0
fi
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	# Debian's packages ask it before they start anything.
	trap 'rm -f "$policy"' EXIT INT TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # words on purpose
apt-get install -q -y --no-install-recommends $missing
