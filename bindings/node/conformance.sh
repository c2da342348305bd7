#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The conformance program for Node.js, with the package installed by npm as its users install it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
installed=$BUILD/node/installed
if [ ! -e "$installed" ] || [ -n "$(find "$here"/{src,lib,binding.gyp,package.json} -newer "$installed")" ]; then
	rm -rf "$BUILD/node"
	"$here/setup" "$BUILD/node" </dev/null >&2 # the commands wait on standard input
	touch "$installed"
fi
NODE_PATH=$BUILD/node/node_modules exec node --expose-gc "$here/conformance.js"
