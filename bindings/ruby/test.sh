#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Builds the gem, installs it into a folder of its own as a user would, and tests what was installed.
# The library is found by pkg-config. usage: test.sh [ARGUMENTS of minitest, such as -n NAME]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../tests/install-packages" ruby ruby-dev ruby-minitest gcc libc6-dev make pkg-config
# A library that is not where the system looks.
LD_LIBRARY_PATH=$(pkg-config --variable=libdir libsafestart)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$here"
find . -name '*.rb' -print0 | xargs -0 -n 1 ruby -wc >/dev/null
gem build --quiet --output "$scratch/safestart.gem" safestart.gemspec >/dev/null 2>&1
gem install --quiet --local --no-document --install-dir "$scratch/gems" "$scratch/safestart.gem" >/dev/null
GEM_PATH="$scratch/gems:$(gem environment gempath)" ruby -w test/all.rb "$@"
