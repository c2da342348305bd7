#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Formatted, vetted, tested with the race detector, and used from outside as README.md says. The library is found by pkg-config.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
pkg-config --exists libsafestart || { echo "pkg-config does not find libsafestart: install it, and set PKG_CONFIG_PATH" >&2; exit 1; }
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "not as gofmt has it: $unformatted" >&2; exit 1; }
go vet ./...
go test -race -count=1 ./...

outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT
awk '/^```go$/ { code = 1; next } /^```$/ { code = 0 } code' README.md >"$outside/main.go"
here=$PWD
cd "$outside"
go mod init example >/dev/null 2>&1
go mod edit -require=safestart@v0.0.0 "-replace=safestart=$here"
said=$(go run . 2>/dev/null)
[ "$said" = "generation 1 is live: 1 nodes (1 added, 0 removed, 0 changed) <nil>" ] || { echo "the example of README.md said: $said" >&2; exit 1; }
echo "the example of README.md works"
