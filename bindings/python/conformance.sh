#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The conformance program in Python. FLAVOUR: threads (default) or loop, PYTHON: the interpreter, default python3.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/installed" "$BUILD/python" >&2
exec "$BUILD/python/bin/python" "$here/conformance.py" "${FLAVOUR:-threads}"
