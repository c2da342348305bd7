#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The conformance program in Ruby. The gem's extension is built into $BUILD/ruby.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/build.sh" "$BUILD/ruby" >&2
exec ruby -I "$BUILD/ruby" -I "$here/lib" "$here/conformance.rb"
