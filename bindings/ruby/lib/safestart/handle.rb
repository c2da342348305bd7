# SPDX-License-Identifier: LGPL-2.1-or-later
module Safestart
  # The set of storage nodes that this process works with. Every method may be called on any thread; request and shutdown in a
  # Signal.trap too.
  class Handle
    # See Safestart.open.
    def initialize(prepare: nil, restart: nil, logger: nil, child: {}, **settings)
      initialize_core(Core.start(settings, prepare, restart, logger, child))
      core.after_fork if Safestart.serving?
    end

    ##
    # :method: nodes
    # The live Nodes; as cheap as reading an attribute. What hangs on them may be closed as soon as a newer generation is live:
    # to use it, see read.

    ##
    # :method: read
    # Yields the live Nodes, and returns what the block returns. Nothing that hangs on them is closed before the block is left.

    # Ask for the node locations to be read again and applied; never blocks. Returns a ticket for wait. Requests in close
    # succession are one run and one ticket. +force+ lifts the guard rails, +urgent+ skips debounce and backoff.
    def request(reason = nil, force: false, urgent: false)
      core.request((force ? FORCE : 0) | (urgent ? URGENT : 0), reason)
    end

    # Replace all nodes by a file_sd document, as a String of JSON or as what JSON would be made of. Returns a ticket.
    def replace(nodes) = core.replace(nodes.is_a?(String) ? nodes : JSON.generate(nodes))

    # Add one node, or give it another address or incarnation. Returns a ticket.
    def announce(id, address, incarnation: nil) = core.announce(id.to_s, address, incarnation&.to_s)

    # Take one node out. Returns a ticket.
    def withdraw(id) = core.withdraw(id.to_s)

    # Wait for the Outcome of a ticket; nil after +timeout+ seconds. Timeout.timeout, Thread#raise and Thread#kill end it at once.
    def wait(ticket, timeout: nil)
      (answer = core.wait(ticket, timeout)) && outcome(answer)
    end

    # Wait until a first generation is live: true; false after +timeout+ seconds.
    def wait_ready(timeout: nil) = core.wait_ready(timeout)

    # How the newest run ended; nil before the first.
    def last_outcome = (answer = core.last_outcome) && outcome(answer)

    # Report how a real request to a node went. Success makes it proven; an error (true, an exception, or an errno) failing. Takes a
    # Node or an id. A report about an entry that is not live any more counts for nothing.
    def report(node, error = nil)
      node = nodes[node.to_s] unless node.is_a?(Node)
      known = node
      until known.nil? || core.report(known.id, known.generation, code_of(error))
        known = nodes[node.id]
        known = nil unless known&.same?(node)
      end
    end

    # What this process knows of a node: a State.
    def state(id)
      number, why = core.state(id.to_s)
      State.new(number, STATES[number], why)
    end

    # Everything at one moment, as a Hash; "summary" is the line to read first.
    def status = JSON.parse(core.status_json)

    # Figures in the Prometheus exposition format.
    def metrics = core.metrics

    # The number of the live generation; 0 before the first.
    def generation = core.generation

    # Start here what was opened with start: "after_fork". A forked child does it by itself.
    def after_fork = core.after_fork

    # Start no more runs, and answer every wait. Never blocks.
    def shutdown = core.shutdown

    # Shut down, close every object, and free the handle. A prepare that is still inside is not waited for: it is told
    # (Run#cancelled?), and its run is over.
    def close = core.close

    def closed? = core.closed?

    def inspect = "#<Safestart::Handle#{" closed" if closed?}>"

    private

    def outcome((verdict, *rest)) = Outcome.new(VERDICTS[verdict], *rest)

    def code_of(error)
      case error
      when nil, false then 0
      when Integer then error
      when SystemCallError then error.errno.to_i
      else 1
      end
    end
  end

  # Open a handle. With a block: yields it, closes it when the block is left, and returns what the block returns.
  #
  # prepare:: called with a Run when the set has changed: connect to what was added. Nothing is live yet; what it raises arrives in the
  #           outcome, and the old set serves on.
  # restart:: called with a Run after commit, to reload everything else.
  # logger:: a Logger
  # child:: settings of forked children: name, control, serves
  # settings:: those of the library, such as <tt>source: "file:nodes.json"</tt>; see Safestart.settings
  def self.open(**settings)
    handle = Handle.new(**settings)
    return handle unless block_given?

    begin
      yield handle
    ensure
      handle.close
    end
  end
end
