#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Builds the jar and tests it. libsafestart has to be where pkg-config and the dynamic linker find it.
set -euo pipefail
cd "$(dirname "$0")"
../../tests/install-packages clang-format
clang-format --dry-run -Werror src/main/c/native.c
command -v mvn >/dev/null || ../../tests/install-packages openjdk-17-jdk-headless maven
mvn -q -B -ntp verify </dev/null
