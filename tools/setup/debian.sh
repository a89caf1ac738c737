#!/bin/sh
# Installs the Debian packages named as arguments that are missing; asks sudo when not root.
# What cannot be installed is said in one line; the exit code is 0 all the same unless WEIR_SETUP_STRICT is set,
# since the tests that need a package skip and say so.
set -u
missing=""
for p in "$@"; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
fail() {
	echo "setup: missing Debian packages:$missing ($1); install them with: apt-get install$missing" >&2
	[ -z "${WEIR_SETUP_STRICT:-}" ] || exit 1
	exit 0
}
command -v apt-get >/dev/null 2>&1 || fail "no apt-get here"
sudo=""
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || fail "not root and no sudo"
	sudo="sudo"
fi
echo "setup: installing$missing"
log=$(mktemp)
# Another apt on the machine is waited for. RUNLEVEL=1 keeps the packages from starting their services.
$sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 sh -c "
	install='apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120'
	\$install $missing || { apt-get update && \$install $missing; }" >"$log" 2>&1 </dev/null || {
	tail -3 "$log" >&2
	rm -f "$log"
	fail "apt-get failed"
}
rm -f "$log"
