# SPDX-License-Identifier: LGPL-2.1-or-later
module Safestart
  @serves = nil

  # Start every handle of this process that was opened with start: "after_fork", and from now on each that is opened. For the hook of a
  # server that runs in each of its workers; the Puma plugin calls it.
  def self.after_fork
    @serves = Process.pid
    Core::ALL.each_key(&:after_fork)
  end

  # Was after_fork called in this process?
  def self.serving? = @serves == Process.pid

  # Makes the handles of a forked child its own: Kernel#fork, Process.fork and IO.popen("-") all come here.
  module Fork # :nodoc:
    def _fork
      super.tap { |pid| Core::ALL.each_key(&:after_fork) if pid.zero? }
    end

    # Goes on in a child, which is not made by _fork.
    def daemon(...)
      super.tap { Core::ALL.each_key(&:after_fork) }
    end
  end
  Process.singleton_class.prepend(Fork)
end
