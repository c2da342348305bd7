# SPDX-License-Identifier: LGPL-2.1-or-later
require_relative "helper"

class TestHandle < SafestartTest
  def test_a_wrong_setting_is_named_in_words
    error = assert_raises(Safestart::Error) { Safestart.open(debonce: "1s") }
    assert_equal Errno::EINVAL::Errno, error.errno
    assert_match(/debounce/, error.message)
    assert_includes Safestart.settings.keys, "debounce"
  end

  def test_nodes_are_pushed_and_found
    open
    outcome = @ss.wait(@ss.replace([{ targets: ["10.0.0.1:1"], labels: { id: "ä", zone: "Köln" } }]))
    assert_equal :applied, outcome.verdict
    assert_predicate outcome, :ok?
    node = @ss.nodes["ä"]
    assert_equal ["ä", "10.0.0.1", 1, { "zone" => "Köln" }], [node.id, node.host, node.port, node.labels]
    assert_equal [node], @ss.nodes.to_a
    assert_same @ss.nodes, @ss.nodes
    assert_nil @ss.nodes["b"]
    assert_equal 1, @ss.generation
    assert_equal outcome, @ss.last_outcome
  end

  def test_announce_and_withdraw
    open
    @ss.wait(@ss.announce(:a, "10.0.0.1:1", incarnation: 7))
    assert_equal({ "incarnation" => "7" }, @ss.nodes["a"].labels)
    @ss.wait(@ss.announce("b", "10.0.0.2:1"))
    @ss.wait(@ss.withdraw("a"))
    assert_equal ["b"], @ss.nodes.map(&:id)
    assert_equal Errno::ENOENT::Errno, assert_raises(Safestart::Error) { @ss.withdraw("a") }.errno
  end

  def test_what_is_not_a_string_of_the_library_is_refused
    open
    assert_raises(ArgumentError) { @ss.announce("a\0b", "10.0.0.1:1") }
    assert_raises(TypeError) { @ss.announce("a", 7) }
    @ss.wait(@ss.replace('[{"targets":["10.0.0.1:1"],"labels":{"id":"ä"}}]'.encode("UTF-16LE")))
    assert_equal ["ä"], @ss.nodes.map(&:id)
  end

  def test_reports_are_about_the_entry
    open
    push("a" => "10.0.0.1:1")
    old = @ss.nodes["a"]
    assert_equal :applied, @ss.state("a").name
    @ss.report("a")
    assert_equal :proven, @ss.state("a").name
    @ss.report(old, Errno::ECONNREFUSED.new)
    assert_equal [:failing, true], [@ss.state("a").name, @ss.state("a").why.include?("refused")]
    push("a" => "10.0.0.1:1", "b" => "10.0.0.2:1")
    @ss.report(old) # the same entry, in a newer generation
    assert_equal :proven, @ss.state("a").name
    push("a" => "10.0.0.1:2")
    @ss.report(old) # not the same any more
    assert_equal :applied, @ss.state("a").name
    @ss.report("nobody")
  end

  def test_status_and_metrics
    open(name: "api")
    push("a" => "10.0.0.1:1")
    assert_equal 1, @ss.status["generation"]
    assert_match(/^safestart_generation\{name="api"\} 1$/, @ss.metrics)
  end

  def test_the_log_goes_to_a_logger_which_may_fail
    lines = Queue.new
    works = true
    logger = Object.new
    logger.define_singleton_method(:add) { |*line| works ? lines << line : raise("no disk") }
    open(logger:)
    @ss.replace("[{\"targets\":[\"nowhere\"]},{\"targets\":[\"10.0.0.1:1\"]}]")
    line = Timeout.timeout(LIMIT) { lines.pop }
    assert_equal [Integer, String, "safestart"], [line[0].class, line[1].class, line[2]]
    works = false
    capture_io do
      push("a" => "10.0.0.1:1")
      until_true("the failure") { $stderr.string.include?("the logger failed: no disk") }
    end
  end

  def test_after_close_there_is_an_error_and_no_crash
    open
    push("a" => "10.0.0.1:1")
    node = @ss.nodes["a"]
    @ss.close
    @ss.close
    assert_predicate @ss, :closed?
    [-> { @ss.nodes }, -> { @ss.read { nil } }, -> { @ss.request }, -> { @ss.wait(1) }, -> { @ss.status }, -> { @ss.report(node) },
     -> { @ss.replace([]) }, -> { @ss.shutdown }].each { |use| assert_raises(Safestart::Closed, &use) }
  end

  def test_open_with_a_block_closes_also_by_an_exception
    handle = nil
    assert_raises(KeyError) { Safestart.open { |ss| (handle = ss) && raise(KeyError) } }
    assert_predicate handle, :closed?
    assert_equal 7, Safestart.open { 7 }
  end

  def test_a_request_may_be_made_in_a_signal_handler
    open
    tickets = Queue.new
    before = trap("USR1") { tickets << @ss.request("by signal") }
    Process.kill(:USR1, Process.pid)
    @ss.wait(Timeout.timeout(LIMIT) { tickets.pop }, timeout: LIMIT)
  ensure
    trap("USR1", before)
  end

  def test_garbage_collection_at_every_allocation
    open(prepare: connect)
    GC.stress = true
    push("a" => "10.0.0.1:1")
    @ss.read { |nodes| assert_equal ["a"], nodes.map(&:id) }
    assert_raises(Safestart::Error) { @ss.replace("[") }
    @ss.close
  ensure
    GC.stress = false
  end
end
