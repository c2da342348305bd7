#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Builds the extension and runs tests/*.phpt. The library is found by pkg-config. usage: test.sh [TEST.phpt ...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../tests/install-packages" php-cli php-dev gcc libc6-dev make pkg-config
hash=$(sha1sum <"$here/safestart.stub.php" | cut -d' ' -f1)
grep -q "Stub hash: $hash" "$here/safestart_arginfo.h" || { echo "safestart_arginfo.h is not made of this safestart.stub.php: run gen_stub.php" >&2; exit 1; }
# A library that is not where the system looks.
LD_LIBRARY_PATH=$(pkg-config --variable=libdir libsafestart)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$here/build.sh" "$scratch"
cp -r "$here/tests" "$here/README.md" "$scratch"
cd "$scratch"
export SAFESTART_SO="$scratch/modules/safestart.so" NO_INTERACTION=1 TEST_PHP_EXECUTABLE
TEST_PHP_EXECUTABLE=$(command -v php)
php run-tests.php -q --show-diff -d extension="$SAFESTART_SO" "${@:-tests}"
