# SPDX-License-Identifier: LGPL-2.1-or-later
module Safestart
  VERSION = "1.0.0"
end
