# SPDX-License-Identifier: LGPL-2.1-or-later
require "io/wait"
require "json"

require_relative "safestart/version"
require_relative "safestart/values"

module Safestart
  # What the library refused, in its words. +errno+ is positive, as Errno::EINVAL::Errno.
  class Error < StandardError
    attr_reader :errno

    def initialize(message = nil, errno = 0)
      super(message)
      @errno = errno
    end
  end

  # The handle was shut down or closed.
  class Closed < Error
    def initialize(message = "the handle is closed", errno = Errno::ECANCELED::Errno) = super
  end
end

require "safestart/safestart"
require_relative "safestart/run"
require_relative "safestart/core"
require_relative "safestart/handle"
require_relative "safestart/fork"
