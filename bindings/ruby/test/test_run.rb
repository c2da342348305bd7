# SPDX-License-Identifier: LGPL-2.1-or-later
require_relative "helper"

class TestRun < SafestartTest
  def test_changes
    seen = []
    open(prepare: ->(run) { seen = run.changes })
    push("a" => "10.0.0.1:1", "b" => "10.0.0.2:1")
    push("b" => "10.0.0.2:2", "c" => "10.0.0.3:1")
    assert_equal [[:removed, "a", 1], [:changed, "b", 2], [:added, "c", 1]], seen.map { |change| [change.kind, change.id, change.port] }
    assert_equal ["10.0.0.2", 1], [seen[1].was.host, seen[1].was.port]
    assert_predicate seen[1], :changed?
    assert_nil seen[0].was
  end

  def test_what_prepare_raises_arrives_in_words
    open(prepare: ->(_) { raise KeyError, "no route to riak-2" })
    outcome = push("a" => "10.0.0.1:1")
    assert_equal [:failed, -Errno::EIO::Errno], [outcome.verdict, outcome.code]
    assert_match(/prepare failed: KeyError: no route to riak-2/, outcome.message)
  end

  def test_an_errno_arrives_as_such_and_so_does_one_of_restart
    open(restart: ->(_) { raise Errno::ECONNREFUSED, "riak-2" })
    outcome = push("a" => "10.0.0.1:1")
    assert_equal [:failed, -Errno::ECONNREFUSED::Errno], [outcome.verdict, outcome.code]
    assert_match(/restart failed: Errno::ECONNREFUSED: Connection refused - riak-2/, outcome.message)
  end

  def test_what_is_no_standard_error_and_a_killed_thread_are_failures_too
    what = -> { raise NotImplementedError, "later" }
    open(prepare: ->(_) { what.call })
    assert_match(/NotImplementedError: later/, push("a" => "10.0.0.1:1").message)
    what = -> { Thread.current.kill }
    assert_match(/its thread was killed/, push("a" => "10.0.0.1:1").message)
  end

  def test_reject_and_status
    open(prepare: ->(run) { run.reject("b", "not this one") }, restart: ->(run) { run.status = 7 })
    assert_equal 7, push("a" => "10.0.0.1:1", "b" => "10.0.0.2:1").status
    assert_equal ["a"], @ss.nodes.map(&:id)
    state = @ss.state("b")
    assert_equal [:quarantined, true], [state.name, state.why.include?("not this one")]
  end

  def test_objects_are_closed_once_when_no_reader_can_see_them
    open(prepare: connect)
    push("a" => "10.0.0.1:1", "b" => "10.0.0.2:1")
    kept = @ss.nodes["b"].data
    @ss.read do |nodes|
      push("a" => "10.0.0.1:2", "b" => "10.0.0.2:1")
      push("a" => "10.0.0.1:3", "b" => "10.0.0.2:1")
      assert_equal "a@2", next_closed
      refute nodes["a"].data.closed, "it is read here"
    end
    assert_equal "a@1", next_closed
    assert_same kept, @ss.nodes["b"].data
    @ss.close
    assert_equal %w[a@3 b@1], [next_closed, next_closed].sort
    assert_empty @closings
  end

  def test_a_block_that_is_left_by_a_jump_or_a_kill_has_left
    open(prepare: connect)
    push("a" => "10.0.0.1:1")
    inside = Queue.new
    reader = Thread.new { @ss.read { inside << true and sleep } }
    inside.pop
    assert_equal 7, [1].each { break @ss.read { break 7 } }
    assert_raises(KeyError) { @ss.read { raise KeyError } }
    reader.kill
    reader.join
    push("a" => "10.0.0.1:2")
    assert_equal "a@1", next_closed
  end

  def test_an_object_may_be_kept
    one = Connection.new("one", @closings)
    set = Connection.new("set", @closings)
    open(prepare: lambda { |run|
      run["a"] = run["a"] || one
      run.data = run.data || set
    })
    push("a" => "10.0.0.1:1")
    push("a" => "10.0.0.1:2")
    push("a" => "10.0.0.1:3")
    assert_same one, @ss.nodes["a"].data
    assert_same set, @ss.nodes.data
    @ss.close
    assert_equal %w[one set], [next_closed, next_closed].sort
    assert_empty @closings
  end

  def test_what_a_failed_run_made_is_closed
    open(prepare: lambda { |run|
      connect.call(run)
      raise "no"
    })
    push("a" => "10.0.0.1:1")
    assert_equal "a@1", next_closed
    assert_empty @ss.nodes
  end

  def test_an_object_that_no_node_takes_stays_the_caller_s
    open(prepare: ->(run) { run["nobody"] = Connection.new("x", @closings) })
    assert_match(/prepare failed: Safestart::Error: /, push("a" => "10.0.0.1:1").message)
    @ss.close
    assert_empty @closings
  end

  def test_a_close_that_fails_is_logged
    lines = Queue.new
    logger = Object.new
    logger.define_singleton_method(:add) { |_, text, _| lines << text }
    broken = Class.new { def close = raise("stuck") }
    open(logger:, prepare: ->(run) { run["a"] = broken.new })
    push("a" => "10.0.0.1:1")
    push("a" => "10.0.0.1:2")
    line = nil
    until_true("the line") { (line = lines.pop).include?("stuck") }
    assert_match(/RuntimeError: stuck/, line)
  end

  def test_a_run_is_over_when_prepare_returns
    run = nil
    open(prepare: ->(it) { run = it })
    push("a" => "10.0.0.1:1")
    assert_predicate run, :cancelled?
    [-> { run.number }, -> { run.changes }, -> { run["a"] = 1 }, -> { run.data = 1 }, -> { run.status = 1 }, -> { run.reject("a", "") }]
      .each { |use| assert_equal Errno::ESTALE::Errno, assert_raises(Safestart::Error, &use).errno }
  end

  def test_a_prepare_that_hangs_is_told_and_events_go_on
    told = Queue.new
    open(run_timeout: "50ms", prepare: ->(run) { told << run.wait_cancelled })
    assert_equal :timed_out, push("a" => "10.0.0.1:1").verdict
    assert_equal true, Timeout.timeout(LIMIT) { told.pop }
  end

  def test_prepare_may_not_wait_for_itself
    open(prepare: ->(_) { @ss.wait(@ss.request) })
    assert_match(/would wait for itself/, push("a" => "10.0.0.1:1").message)
  end
end
