# SPDX-License-Identifier: LGPL-2.1-or-later
require_relative "lib/safestart/version"

Gem::Specification.new do |gem|
  gem.name = "safestart"
  gem.version = Safestart::VERSION
  gem.summary = "Makes \"the storage nodes changed\" harmless: hot-reloads node locations into a running server"
  gem.description = "Binding of libsafestart. Requests in close succession become one run, runs never overlap, and a run " \
                    "either puts a whole new generation of nodes live or leaves the old one serving."
  gem.authors = ["The libsafestart authors"]
  gem.license = "LGPL-2.1-or-later"
  gem.required_ruby_version = ">= 3.1"
  gem.files = Dir["lib/**/*.rb", "ext/**/*.{c,h,rb}", "README.md"]
  gem.extensions = ["ext/safestart/extconf.rb"]
end
