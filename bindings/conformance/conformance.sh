#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The conformance program in C.
set -euo pipefail
here=$(dirname "$0")
mkdir -p "$BUILD"
if [ ! "$BUILD/c" -nt "$here/conformance.c" ]; then
	# shellcheck disable=SC2046 # words that pkg-config means to be several
	"${CC:-cc}" -std=gnu11 -O1 -Wall -Wextra "$here/conformance.c" -o "$BUILD/c" $(pkg-config --cflags --libs libsafestart jansson) -pthread
fi
exec "$BUILD/c"
