#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Builds the package here and tests it. libsafestart has to be where pkg-config and the dynamic linker find it.
set -euo pipefail
cd "$(dirname "$0")"
../../tests/install-packages clang-format
clang-format --dry-run -Werror src/*.c src/*.h
CFLAGS=-Werror ./setup .
npm run check
npm test
