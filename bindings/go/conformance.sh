#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The conformance program in Go.
set -euo pipefail
: "${BUILD:?a directory}"
mkdir -p "$BUILD"
BUILD=$(realpath "$BUILD")
cd "$(dirname "${BASH_SOURCE[0]}")"
go build -o "$BUILD/go" ./conformance
exec "$BUILD/go"
