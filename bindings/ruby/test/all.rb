# SPDX-License-Identifier: LGPL-2.1-or-later
# All tests, of the gem that is installed.
gem "safestart"
$LOAD_PATH.unshift(*Gem.loaded_specs["safestart"].full_require_paths) # for the programs that the tests start
Dir[File.join(__dir__, "test_*.rb")].each { |file| require file }
