# SPDX-License-Identifier: LGPL-2.1-or-later
module Safestart
  # A run, as +prepare+ and +restart+ see it. It is over when they return or raise: then every method but cancelled? raises an
  # Error (ESTALE). Nothing that +prepare+ does is live before the run is: it may raise at any time.
  class Run
    # :nodoc:
    attr_writer :core

    # What is added, removed or changed: an Array of Change.
    def changes = JSON.parse(changes_json).map { |entry| Change.of(entry) }

    # Hang an object on a node that this run adds or changes. Its +close+ is called, if it has one, when no reader can see the
    # node any more, or soon after the run if the run fails. A node that does not change keeps its object.
    def []=(id, object)
      attach(id.to_s, object)
    end

    # The live node's object.
    def [](id) = @core.data_of(live_key(id.to_s))

    # Hang an object on the whole generation, likewise. Without this the generation has none.
    def data=(object)
      attach(nil, object)
    end

    # The live generation's object.
    def data = @core.data_of(live_key(nil))

    # Wait until it is pointless to go on: the deadline has passed, or the handle was shut down. For a prepare that waits for
    # something else, call this on a thread. Returns cancelled?, after +timeout+ seconds at the latest.
    def wait_cancelled(timeout = nil)
      @core.wait_until(timeout) { cancelled? || nil } || false
    end

    private

    # An object that already is the live one keeps its number, so that it is not retired with the old generation.
    def attach(id, object)
      live = live_key(id)
      key = live != 0 && @core.data_of(live).equal?(object) ? live : @core.keep(object)
      begin
        set_key(id, key)
      rescue Error
        @core.drop(key) unless key == live
        raise
      end
    end

    private :changes_json, :live_key, :set_key
  end
end
