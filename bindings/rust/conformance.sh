#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The conformance program in Rust.
set -euo pipefail
: "${BUILD:?a directory}"
mkdir -p "$BUILD"
BUILD=$(realpath "$BUILD")
cd "$(dirname "${BASH_SOURCE[0]}")"
cargo build --quiet --release --package conformance --target-dir "$BUILD/rust"
exec "$BUILD/rust/release/conformance"
