#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Builds the gem, installs it into a folder of its own as a user would, and tests what was installed.
# The library is found by pkg-config. usage: test.sh [ARGUMENTS of minitest, such as -n NAME]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../tests/install-packages" ruby ruby-dev ruby-minitest gcc libc6-dev make pkg-config
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$here"
for file in $(find . -name '*.rb'); do ruby -wc "$file" >/dev/null; done
gem build --quiet --output "$scratch/safestart.gem" safestart.gemspec >/dev/null 2>&1
gem install --quiet --local --no-document --install-dir "$scratch/gems" "$scratch/safestart.gem" >/dev/null
GEM_PATH="$scratch/gems:$(gem environment gempath)" ruby -w -e '
	gem "safestart"
	$LOAD_PATH.unshift(*Gem.loaded_specs["safestart"].full_require_paths) # for the programs that the tests start
	Dir["test/test_*.rb"].each { |file| require "./#{file}" }' -- "$@"
