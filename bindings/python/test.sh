#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Installs this checkout into a virtual environment of its own and tests it there.
# usage: test.sh [pytest's arguments]    from the environment: PYTHON (default python3), BUILD (a folder that is kept), PKG_CONFIG_PATH
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-}
if [ -z "$build" ]; then
	build=$(mktemp -d)
	trap 'rm -rf "$build"' EXIT
fi
# A library that is not where the system looks.
LD_LIBRARY_PATH=$(pkg-config --variable=libdir libsafestart)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH PYTHONDONTWRITEBYTECODE=1 CFLAGS="-Wall -Wextra -Werror"
"$here/installed" "$build/python-test" "pytest>=7" ruff mypy
cd "$here"
bin=$build/python-test/bin
"$bin/ruff" check --quiet --no-cache .
"$bin/ruff" format --quiet --no-cache --check .
"$bin/mypy" --cache-dir "$build/mypy"
"$bin/python" -m pytest -p no:cacheprovider "$@"
