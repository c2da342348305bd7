#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Builds the extension in a copy, because phpize writes beside the sources: FOLDER/modules/safestart.so
# usage: build.sh FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../tests/install-packages" php-cli php-dev gcc libc6-dev make pkg-config
mkdir -p "$1"
cp -up "$here"/*.[ch] "$here/config.m4" "$1"
cd "$1"
if [ ! -e Makefile ] || [ config.m4 -nt Makefile ]; then
	phpize >/dev/null 2>&1
	./configure --quiet --enable-safestart >/dev/null 2>&1
fi
make --quiet >make.log 2>&1 || { cat make.log; exit 1; }
if grep -n warning: make.log; then exit 1; fi
