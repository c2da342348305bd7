# SPDX-License-Identifier: LGPL-2.1-or-later
require "mkmf"

pkg_config("libsafestart") or abort "libsafestart was not found by pkg-config: install it, or set PKG_CONFIG_PATH"
have_func("safestart_next_event", "safestart/safestart.h") or abort "this libsafestart has no events=pull: 1.0 or newer is needed"
$warnflags = "-Wall -Wextra -Wno-unused-parameter" # Ruby's own headers have parameters that are not used
create_makefile("safestart/safestart")
