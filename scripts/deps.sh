#!/bin/sh
# Installs what Corun is built and tested with, on Debian and Ubuntu, as root.
# usage: scripts/deps.sh build|run|test
# What is there already is left alone; without root it says what is missing.
set -eu

what=${1:-build}
missing=
need() { # need COMMAND-OR-FILE PACKAGE...
	probe=$1
	shift
	case $probe in
	/*) [ -e "$probe" ] && return ;;
	*) command -v "$probe" >/dev/null 2>&1 && return ;;
	esac
	missing="$missing $*"
}

multiarch=$(gcc -print-multiarch 2>/dev/null || true)
need gcc gcc libc6-dev
need make make
need git git
need pkg-config pkg-config # how cgo finds libseccomp
need /usr/include/seccomp.h libseccomp-dev
if [ -n "$multiarch" ]; then need "/usr/lib/$multiarch/libc.a" libc6-dev; fi
need /etc/ssl/certs/ca-certificates.crt ca-certificates
need node nodejs
need npm npm
if [ "$what" != build ]; then
	need mmdebstrap mmdebstrap
	need mkfs.erofs erofs-utils # images as file systems of their own
fi
if [ "$what" = test ] && [ "$(uname -m)" = x86_64 ]; then
	need qemu-system-x86_64 qemu-system-x86 # box tests in a kernel of their own
fi
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ "$what" = test ] && [ -z "$browser" ]; then
	# Ubuntu has it as a snap, behind a package of another name.
	. /etc/os-release
	if [ "${ID:-}" = ubuntu ]; then need chromium-browser chromium-browser; else need chromium chromium; fi
fi

# Go itself: any version from 1.21 fetches the one that go.mod asks for.
go_ok() {
	command -v go >/dev/null 2>&1 || return 1
	v=$(go env GOVERSION 2>/dev/null | sed 's/^go1\.\([0-9]*\).*/\1/')
	[ "${v:-0}" -ge 21 ]
}
backports=
if ! go_ok; then
	. /etc/os-release
	case "${VERSION_CODENAME:-}" in
	bookworm) backports=bookworm-backports ;;
	*) missing="$missing golang-go" ;;
	esac
fi

# Whom the server becomes once it has opened its port.
if [ "$what" = run ] && [ "$(id -u)" = 0 ] && ! id corun >/dev/null 2>&1 && command -v useradd >/dev/null 2>&1; then
	useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin corun
fi

if [ -z "$missing" ] && [ -z "$backports" ]; then exit 0; fi
if [ "$(id -u)" != 0 ]; then
	echo "Corun needs these Debian packages:$missing${backports:+ golang-go (from $backports)}" >&2
	echo "Install them as root, or run this command as root and it will." >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
if [ -n "$backports" ] && ! grep -rqs "$backports" /etc/apt/sources.list /etc/apt/sources.list.d; then
	# The same mirror and key as the machine's own Debian source.
	mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -n 1 | tr -d ' ')
	[ -n "$mirror" ] || { echo "No Debian mirror found in /etc/apt; install Go 1.21 or newer by hand." >&2; exit 1; }
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $backports main" >/etc/apt/sources.list.d/corun-backports.list
fi
echo "Installing:$missing${backports:+ golang-go (from $backports)}"
apt-get update -q
if [ -n "$missing" ]; then
	# shellcheck disable=SC2086 # a list of packages
	apt-get install -y -q --no-install-recommends $missing
fi
if [ -n "$backports" ]; then
	apt-get install -y -q --no-install-recommends -t "$backports" golang-go
fi
