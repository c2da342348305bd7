# SPDX-License-Identifier: LGPL-2.1-or-later
# The conformance program in Ruby: commands on standard input, answers on standard output; see ../conformance/README.md.
require "safestart"
require "timeout"

# What the program hangs on nodes and generations.
class Connection
  attr_reader :number, :closed

  def initialize(counts, made, retired)
    @counts, @retired = counts, retired
    @number = counts[made] += 1
  end

  def close
    @counts[:used_after_retire] += 1 if @closed
    @closed = true
    @counts[@retired] += 1
  end
end

class Program
  def initialize
    @counts = Hash.new(0)
    @script = { "prepare" => "ok", "restart" => "ok" }
    @inside = Queue.new
    @out = Mutex.new
    beat
  end

  def beat = Thread.new { loop { sleep 0.01; @counts[:heartbeat] += 1 } }

  def answer(id, with)
    @out.synchronize { $stdout.write(JSON.generate(with.merge(id:)), "\n") }
    $stdout.flush
  end

  def run
    while (line = $stdin.gets)
      command = JSON.parse(line)
      return if command["do"] == "end" && finish(command["how"])

      command["do"] == "outcome" ? Thread.new(command) { |own| obey(own) } : obey(command)
    end
  end

  def obey(command)
    answer(command["id"], send(:"do_#{command["do"]}", command))
  rescue Safestart::Error => e
    answer(command["id"], error: -e.errno, message: e.message)
  end

  # ---- The application

  def prepare(run)
    how, word = @script["prepare"].split(":", 2)
    raise word if how == "throw"
    Process.kill(:SEGV, Process.pid) if how == "crash"

    run.changes.each do |change|
      if how == "reject" && change.id == word
        run.reject(change.id, "not this one")
      elsif !change.removed?
        run[change.id] = Connection.new(@counts, :made, :retired)
      end
    end
    run.data = Connection.new(@counts, :made_sets, :retired_sets)
    hang(run) if how == "hang"
    stay
  end

  def hang(run)
    @counts[:told] += 1 if run.wait_cancelled
  end

  # Left open, or until the child is made.
  def stay
    @inside << true if @forking
    sleep if @later
    sleep 0.001 while @forking
  end

  def restart(run)
    how, word = @script["restart"].split(":", 2)
    raise word if how == "throw"

    run.status = Integer(word) if how == "status"
  end

  # ---- Commands

  def do_hello(_) = { language: "Ruby", version: RUBY_VERSION, library: Safestart.library_version, forks: true }

  def do_open(command)
    logger = Object.new
    def logger.add(_severity, text, _name) = warn(text)
    @ss = Safestart.open(prepare: method(:prepare), restart: method(:restart), logger:, **command["settings"].transform_keys(&:to_sym))
    {}
  end

  def do_replace(command) = { ticket: @ss.replace(command["json"]) }
  def do_announce(command) = { ticket: @ss.announce(command["node"], command["address"], incarnation: command["incarnation"]) }
  def do_withdraw(command) = { ticket: @ss.withdraw(command["node"]) }
  def do_request(command) = { ticket: @ss.request(command["reason"], force: command["force"], urgent: command["urgent"]) }

  def do_outcome(command)
    timeout = command["timeout_ms"].negative? ? nil : command["timeout_ms"] / 1000.0
    cancel = command["cancel_after_ms"]
    begun = @ss && Process.clock_gettime(Process::CLOCK_MONOTONIC)
    outcome = Timeout.timeout(cancel && cancel / 1000.0) { @ss.wait(command["ticket"], timeout:) }
    return { timeout: true } unless outcome

    { verdict: Safestart::VERDICTS.index(outcome.verdict), code: outcome.code, words: outcome.message, run: outcome.run,
      generation: outcome.generation, requests: outcome.requests, status: outcome.status }
  rescue Timeout::Error
    took = (Process.clock_gettime(Process::CLOCK_MONOTONIC) - begun) * 1000
    { cancelled: true, after_ms: (took - cancel).round }
  end

  def do_burst(command)
    threads = command["threads"]
    own = Array.new(threads) { |i| (command["count"] / threads) + (i < command["count"] % threads ? 1 : 0) }
    { tickets: own.map { |count| Thread.new { Array.new(count) { @ss.request } } }.flat_map(&:value).uniq.sort }
  end

  def do_script(command)
    @script = command
    {}
  end

  def do_nodes(_)
    @ss.read do |nodes|
      { generation: nodes.generation, nodes: nodes.map { |node| seen(node) } }
    end
  end

  def seen(node)
    @counts[:used_after_retire] += 1 if node.data&.closed
    { id: node.id, host: node.host, port: node.port, labels: node.labels, data: node.data&.number }
  end

  def do_report(command) = @ss.report(command["node"], command["code"]).then { {} }

  def do_state(command)
    state = @ss.state(command["node"])
    { state: state.number, why: state.why }
  end

  def do_status(_) = { status: @ss.status }
  def do_metrics(_) = { text: @ss.metrics }

  def do_counts(_)
    own = %i[made retired used_after_retire made_sets retired_sets told heartbeat].to_h { |name| [name, @counts[name]] }
    @counts[:heartbeat] = 0
    own.merge(threads: Dir.children("/proc/self/task").size, descriptors: Dir.children("/proc/self/fd").size - 1,
              rss_kib: File.read("/proc/self/statm").split[1].to_i * 4)
  end

  attr_reader :own

  def do_read(command)
    times, ss, own = command["times"], @ss, self
    now = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond) }
    @own = ss.nodes
    begun, i = now.call, 0
    while i < times
      ss.nodes
      i += 1
    end
    between, i = now.call, 0
    while i < times
      own.own
      i += 1
    end
    { ns: (between - begun) / times.to_f, own_ns: (now.call - between) / times.to_f }
  end

  def do_fork(command)
    if (@forking = command["when"] == "prepare")
      @ss.replace('[{"targets":["10.9.9.9:1"],"labels":{"id":"a"}}]')
      @inside.pop
    end
    ours, theirs = IO.pipe
    pid = fork { live_in_child(theirs) }
    theirs.close
    said = ours.read
    Process.wait(pid)
    { child: said.empty? ? { verdict: -1 } : JSON.parse(said) }
  ensure
    @forking = false
  end

  # The child opens nothing new. It ends as any program does.
  def live_in_child(pipe)
    @forking = false
    verdict = Safestart::VERDICTS.index(@ss.wait(@ss.request, timeout: 20)&.verdict)
    nodes = @ss.nodes
    pipe.write(JSON.generate(generation: nodes.generation, verdict:, data: !nodes.empty? && nodes.all?(&:data)))
  end

  def do_later(_)
    @later = true
    {}
  end

  def do_shutdown(_) = @ss.shutdown.then { {} }

  def do_close(_)
    begun = Process.clock_gettime(Process::CLOCK_MONOTONIC, :millisecond)
    @ss.close
    { ms: Process.clock_gettime(Process::CLOCK_MONOTONIC, :millisecond) - begun }
  end

  # True: the program returns.
  def finish(how)
    raise "the end that was asked for" if how == "throw"

    exit 3 if how == "exit"
    if how == "drop"
      @ss = nil
      GC.start
    end
    true
  end
end

Program.new.run
