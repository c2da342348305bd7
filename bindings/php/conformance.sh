#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The conformance program in PHP. The extension is built into $BUILD/php.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/build.sh" "$BUILD/php" >&2
exec php -d display_errors=stderr -d extension="$BUILD/php/modules/safestart.so" "$here/conformance.php"
