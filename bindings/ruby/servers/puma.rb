# SPDX-License-Identifier: LGPL-2.1-or-later
plugin :safestart
workers 2
threads 2, 2
preload_app! if ENV["PRELOAD"] == "yes"
