#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Builds the extension, to run from the checkout: ruby -I FOLDER -I lib
# usage: build.sh FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../tests/install-packages" ruby ruby-dev gcc libc6-dev make pkg-config
mkdir -p "$1/safestart"
cd "$1"
[ -e Makefile ] || ruby "$here/ext/safestart/extconf.rb"
make --quiet V=0 >make.log 2>&1 || { cat make.log; exit 1; }
if grep warning: make.log; then exit 1; fi
[ safestart/safestart.so -nt safestart.so ] || cp safestart.so safestart/safestart.so
