#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# gunicorn and uvicorn, real Redis nodes, load by wrk: nodes come, are drained and die, and no request fails.
# usage: servers.sh [SERVER …]    from the environment: PYTHON, BUILD (a folder that is kept), PKG_CONFIG_PATH; `safestart` is in PATH
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-}
if [ -z "$build" ]; then
	build=$(mktemp -d)
	trap 'rm -rf "$build"' EXIT
fi
"$here/../../tests/install-packages" redis-server wrk
LD_LIBRARY_PATH=$(pkg-config --variable=libdir libsafestart)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH PYTHONDONTWRITEBYTECODE=1
"$here/installed" "$build/python-servers" gunicorn uvicorn redis
"$build/python-servers/bin/python" "$here/servers/run.py" "$@"
