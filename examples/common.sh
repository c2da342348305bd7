# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Shared by the scripts that play something with real processes: packages, the build, a folder that is removed when they
# end, and a player whose processes end with it. To be sourced. `me` is the name in messages; a script may add to `packages`
# and `programs`.
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
me=${me:-examples}
build=
keep=no
work=
player=
packages=(gcc meson ninja-build pkg-config libc6-dev liburcu-dev libjansson-dev libmicrohttpd-dev libhiredis-dev redis-server python3)
programs=(cc meson ninja pkg-config redis-server python3)

die() {
	echo "$me: $*" >&2
	exit 2
}

missing() {
	local program library
	for program in "${programs[@]}"; do
		command -v "$program" >/dev/null || { echo "$program"; return; }
	done
	for library in liburcu-bp jansson libmicrohttpd hiredis; do
		pkg-config --exists "$library" || { echo "$library"; return; }
	done
}

install_packages() {
	local what
	what=$(missing)
	[ -z "$what" ] && return
	command -v apt-get >/dev/null ||
		die "$what is missing, and others may be missing too. On Debian the packages are: ${packages[*]}. Install the corresponding ones and try again."
	[ "$(id -u)" = 0 ] ||
		die "$what is missing. Run this as root once, or install it: apt-get install ${packages[*]}"
	echo "Installing missing packages ($what, maybe more)."
	"$examples/../tests/install-packages" "${packages[@]}" || die "it cannot run without these packages; the reason is above"
	what=$(missing)
	[ -z "$what" ] || die "$what is still missing after installing ${packages[*]}; please check by hand."
}

build_examples() {
	[ -n "$build" ] && return
	build=$work/build
	echo "Building."
	if ! { meson setup --buildtype=release -Dtests=false "$build" "$examples/.." && meson compile -C "$build"; } >"$work/build.log" 2>&1; then
		tail -n 30 "$work/build.log" >&2
		die "the build failed; its last lines are above"
	fi
}

# The player is the leader of a process group that has everything it started. It ends these processes itself;
# those that are still there after a while are killed.
cleanup() {
	trap '' INT TERM HUP
	if [ -n "$player" ]; then
		kill -TERM -- "-$player" 2>/dev/null || kill -TERM "$player" 2>/dev/null || true
		for _ in {1..40}; do
			kill -0 -- "-$player" 2>/dev/null || break
			sleep 0.1
		done
		kill -KILL -- "-$player" 2>/dev/null || true
		wait "$player" 2>/dev/null || true
	fi
	[ -z "$work" ] && return
	if [ "$keep" = yes ]; then
		echo "The logs are in $work"
	else
		rm -rf "$work"
	fi
}

# Prepares everything that is needed, in a folder of its own.
prepare() {
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	work=$(mktemp -d -t "$me.XXXXXX")
	install_packages
	build_examples
}

play() {
	python3 -B "$@" &
	player=$!
	wait "$player"
}
