# SPDX-License-Identifier: LGPL-2.1-or-later
module Safestart
  # What a Handle shares with the thread that takes its events; it never refers to the Handle, so that one that is dropped can be
  # collected. The part in C holds the library's handle.
  class Core # :nodoc:
    PREPARE, RESTART, COMMITTED, CANCELLED, RETIRE, RETIRE_NODE, OUTCOME, LOG = *1..8
    SEVERITIES = [4, 4, 4, 3, 2, 1, 1, 0].freeze # of Logger, by the level of syslog

    # Every one that is open, for a child that is forked.
    ALL = ObjectSpace::WeakMap.new

    def self.start(settings, prepare, restart, logger, child)
      core = open(settings)
      core.begin(prepare, restart, logger, child, settings[:start].to_s != "after_fork")
      ALL[core] = true
      core
    end

    def begin(prepare, restart, logger, child, started)
      @prepare, @restart, @logger, @child, @started = prepare, restart, logger, child, started
      @key = 0
      start_afresh
    end

    # ---- Fork

    # In a child nothing of the parent's is used: its threads are not here, its runs are its own, and the objects too.
    def start_afresh
      @lock, @changed = Mutex.new, ConditionVariable.new
      @data, @runs, @workers, @waiters, @closing = {}, {}, {}, 0, false
      @owner = Process.pid
      forget_view
      take_events_on_a_thread if @started
    end

    def after_fork
      return if closed? || (@started && @owner == Process.pid)

      (@runs || {}).each_value(&:forget)
      @child.each { |key, value| after_fork_set(key, value) } if forked?
      revive
      @started = true
      start_afresh
    end

    # ---- Events

    def take_events_on_a_thread
      core = self
      @taker = Thread.new { core.take_events }
      @taker.name = "safestart"
    end

    # It is stopped by Thread#kill, which is let in while it waits for an event and where it blocks: in an object's close, or in
    # a logger.
    def take_events
      io = IO.for_fd(event_fd, autoclose: false)
      Thread.handle_interrupt(Object => :on_blocking) do
        loop do
          Thread.handle_interrupt(Object => :immediate) { io.wait_readable }
          break unless take_waiting_events
        end
      end
    ensure
      tell_waiters # that nothing comes any more
    end

    # False: there will be no more.
    def take_waiting_events
      while (event = next_event)
        take(*event)
      end
      event.nil?
    end

    def take(kind, number, run, key, level, text)
      case kind
      when PREPARE then work(run, @prepare)
      when RESTART then work(run, @restart)
      when COMMITTED
        refresh # which lets the old generation go
        tell_waiters
      when RETIRE, RETIRE_NODE then give_back(drop(key))
      when OUTCOME, CANCELLED then tell_waiters
      when LOG then log(SEVERITIES.fetch(level, 0), text)
      end
    end

    def log(severity, text)
      @logger&.add(severity, text, "safestart")
    rescue StandardError => e
      warn "safestart: the logger failed: #{e.message}"
    end

    # On a thread of its own, so that events are taken while it is inside, however long that takes.
    def work(run, step)
      return run.finish(0, nil) unless step

      run.core = self
      number = run.number
      @runs[number] = run
      Thread.new do
        Thread.current.report_on_exception = false
        @workers[Thread.current] = true
        call(run, step)
      ensure
        @runs.delete(number) if @runs[number].equal?(run)
        @workers.delete(Thread.current)
        run.finish(-Errno::EINTR::Errno, "its thread was killed") # if nothing else has finished it
      end.name = "safestart-run"
    end

    def call(run, step)
      step.call(run)
      run.finish(0, nil)
    rescue Exception => e # rubocop:disable Lint/RescueException -- whatever it is, the run has failed
      code = e.is_a?(SystemCallError) && e.errno.to_i.positive? ? e.errno : Errno::EIO::Errno
      run.finish(-code, "#{e.class}: #{e.message}")
      raise if e.is_a?(SystemExit) || e.is_a?(SignalException)
    end

    # ---- Objects, by the number that the library knows them by

    def keep(object)
      @lock.synchronize { @key += 1 }.tap { |key| @data[key] = object }
    end

    def drop(key) = @data.delete(key)
    def data_of(key) = @data[key]

    def give_back(object)
      object.close if object.respond_to?(:close)
    rescue StandardError => e
      log(2, "close of what was retired failed: #{e.class}: #{e.message}")
    end

    # Make the live generation's nodes; called when a look finds another number than that of the nodes it has.
    def refresh
      hold, generation, key, entries = acquire
      list = entries.map { |id, host, port, labels, own| Node.new(id, host, port, labels, @data[own], generation) }
      show(Nodes.new(generation, list, @data[key]), hold, generation)
    end

    # ---- Waiting

    def tell_waiters = @lock.synchronize { @changed.broadcast }

    # What the block returns, as soon as it is not nil; nil after +timeout+ seconds. Ends by Timeout, Thread#raise and Thread#kill.
    def wait_until(timeout)
      limit = timeout && now + timeout
      @lock.synchronize do
        @waiters += 1
        until (found = yield)
          left = limit && limit - now
          break if left && left <= 0

          @changed.wait(@lock, left)
        end
        found
      ensure
        @waiters -= 1
        @changed.broadcast if @closing
      end
    end

    def wait(ticket, timeout)
      refuse_to_wait_for_itself
      wait_until(timeout) { try_wait(ticket) }
    end

    def wait_ready(timeout)
      refuse_to_wait_for_itself
      wait_until(timeout) { ready } || false
    end

    def refuse_to_wait_for_itself
      if Thread.current.equal?(@taker) || @workers.key?(Thread.current)
        raise Error.new("a wait inside prepare, restart, close or a logger would wait for itself", Errno::EDEADLK::Errno)
      end
      raise Error.new("the handle was not started in this process: see after_fork", Errno::EAGAIN::Errno) unless @started
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

    # ---- The end

    def close
      return if closed?

      shutdown
      stop_taking_events
      @runs.each_value(&:forget)
      close_handle
      tell_waiters # wait_cancelled
      rest = @data
      @data = {}
      rest.each_value { |object| give_back(object) }
    end

    def stop_taking_events
      answer_waiters
      if @taker && !@taker.equal?(Thread.current)
        @taker.kill
        @taker.join
      end
      take_waiting_events if @started
    end

    # A shutdown has answered every ticket, or does so soon. A thread that waits for a cancelled run has its answer too.
    def answer_waiters
      @lock.synchronize do
        @closing = true
        @changed.broadcast
        @changed.wait(@lock) until @waiters.zero?
      end
    end
  end
end
