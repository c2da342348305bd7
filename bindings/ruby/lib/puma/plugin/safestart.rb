# SPDX-License-Identifier: LGPL-2.1-or-later
require "puma/plugin"
require "safestart"

# `plugin :safestart` in Puma's configuration. The application opens its handle with start: "after_fork", where it is loaded: in the
# master with preload_app!, else in each worker. Either way it starts in the processes that serve, and in these only.
Puma::Plugin.create do
  def config(dsl)
    hook = dsl.respond_to?(:before_worker_boot) ? :before_worker_boot : :on_worker_boot # before Puma 7
    dsl.public_send(hook) { Safestart.after_fork }
  end

  def start(launcher)
    Safestart.after_fork if launcher.options[:workers].to_i.zero?
  end
end
