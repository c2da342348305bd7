#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Formatted, linted, tested (README.md's example is one of the tests), and used from outside as README.md says. The library is found
# by pkg-config.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
pkg-config --exists libsafestart || { echo "pkg-config does not find libsafestart: install it, and set PKG_CONFIG_PATH" >&2; exit 1; }
outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$outside/target}
cargo fmt --all --check
cargo clippy --quiet --all-targets -- --deny warnings
cargo clippy --quiet --all-targets --all-features -- --deny warnings
RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --no-deps --all-features
cargo test --quiet --all-features

here=$PWD
cd "$outside"
cargo init --quiet --name outside --vcs none app
cd app
cargo add --quiet safestart --path "$here/safestart"
awk '/^```rust$/ { code = 1; next } /^```$/ { code = 0 } code' "$here/README.md" >src/main.rs
said=$(cargo run --quiet)
[ "$said" = "generation 1 is live: 1 nodes (1 added, 0 removed, 0 changed)" ] || { echo "the example of README.md said: $said" >&2; exit 1; }
echo "the example of README.md works"
