# SPDX-License-Identifier: LGPL-2.1-or-later
require_relative "helper"

class TestFork < SafestartTest
  # What the block returns in a child, by Marshal.
  def in_child
    ours, theirs = IO.pipe
    pid = fork do
      theirs.write(Marshal.dump(Timeout.timeout(LIMIT) { yield }))
      theirs.close
      exit!(0)
    end
    theirs.close
    said = ours.read
    Process.wait(pid)
    flunk "the child ended with #{$?}" if said.empty?
    Marshal.load(said)
  end

  def test_a_child_goes_on_with_objects_of_its_own
    open(prepare: connect)
    push("a" => "10.0.0.1:1")
    verdict, data, closed = in_child do
      outcome = @ss.wait(@ss.request)
      [outcome.verdict, @ss.nodes.map { |node| node.data.class.name }, @closings.size]
    end
    assert_equal [:applied, ["Connection"], 0], [verdict, data, closed]
    refute @ss.nodes["a"].data.closed
    assert_equal :applied, push("a" => "10.0.0.1:2").verdict
  end

  def test_a_child_s_settings
    open(name: "api", child: { name: "api-worker" })
    assert_match(/name="api-worker"/, in_child { @ss.metrics })
    assert_match(/name="api"/, @ss.metrics)
  end

  def test_nothing_runs_before_the_fork
    prepared = 0
    open(start: "after_fork", prepare: ->(_) { prepared += 1 })
    ticket = @ss.replace(set("a" => "10.0.0.1:1"))
    assert_equal Errno::EAGAIN::Errno, assert_raises(Safestart::Error) { @ss.wait(ticket) }.errno
    assert_equal [:applied, 1], in_child { [@ss.wait(ticket).verdict, prepared] }
    assert_equal 0, prepared
    @ss.after_fork
    assert_equal :applied, @ss.wait(ticket, timeout: LIMIT).verdict
    @ss.after_fork
    assert_equal 1, prepared
  end

  def test_a_server_s_hook_starts_what_is_opened_later
    verdict = in_child do
      Safestart.after_fork
      late = Safestart.open(**SETTINGS, start: "after_fork")
      late.wait(late.replace(set("a" => "10.0.0.1:1"))).verdict
    end
    assert_equal :applied, verdict
    refute_predicate Safestart, :serving?
  end

  def test_a_run_of_the_parent_is_over_in_a_child
    here = self
    child = nil
    open(prepare: ->(run) { child = here.in_child { [run.cancelled?, (run.changes rescue $!.errno)] } })
    assert_equal :applied, push("a" => "10.0.0.1:1").verdict
    assert_equal [true, Errno::ESTALE::Errno], child
  end

  def test_a_daemon_goes_on
    text, status = run_ruby(<<~RUBY)
      ss = Safestart.open(debounce: "0")
      Process.daemon(true, true)
      puts ss.wait(ss.replace([{ targets: ["10.0.0.1:1"] }]), timeout: 20).verdict
    RUBY
    assert_equal ["applied\n", true], [text, status.success?]
  end
end
