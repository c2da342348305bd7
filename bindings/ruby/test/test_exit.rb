# SPDX-License-Identifier: LGPL-2.1-or-later
require_relative "helper"

# However a process ends, it does not crash or hang.
class TestExit < SafestartTest
  START = <<~RUBY
    $stdout.sync = true
    inside = Queue.new
    prepare = ->(run) { inside << true; stay(run) }
    def stay(run) = nil
    ss = Safestart.open(debounce: "0", run_timeout: "1h", prepare:)
    ss.replace([{ targets: ["10.0.0.1:1"] }])
    inside.pop
  RUBY

  def ends(how, code)
    text, status = Timeout.timeout(LIMIT) { run_ruby(START + how) }
    refute_match(/\[BUG\]/, text)
    assert_equal code, status.signaled? ? -status.termsig : status.exitstatus, "#{how}: #{status} #{text}"
  end

  def test_it_ends_by_return = ends("", 0)
  def test_it_ends_by_exit = ends("exit 3", 3)
  def test_it_ends_by_exit_at_once = ends("exit! 3", 3)
  def test_it_ends_by_an_exception = ends("raise 'oops'", 1)
  def test_it_ends_by_exit_on_another_thread = ends("Thread.new { exit 3 }; sleep", 3)
  def test_it_ends_by_exit_in_prepare = ends("def stay(run) = exit(3)\nss.replace([{ targets: ['10.0.0.2:1'] }]); sleep", 3)
  def test_it_ends_while_prepare_hangs = ends("def stay(run) = sleep\nss.replace([{ targets: ['10.0.0.2:1'] }]); inside.pop; exit 3", 3)
  def test_it_ends_while_a_thread_waits = ends("Thread.new { ss.wait(ss.request + 1) }; Thread.pass; exit 3", 3)
  def test_it_ends_in_a_child = ends("Process.wait(fork { exit 3 }); exit $?.exitstatus", 3)
  def test_it_ends_by_sigterm = ends("Process.kill(:TERM, $$); sleep", -15)

  def test_a_dropped_handle_is_collected_and_ends
    taker = Thread.new { Thread.list.select { |thread| thread.name == "safestart" } }
    before = taker.value
    drop_one
    until_true("its thread has ended") do
      GC.start
      (Thread.list.select { |thread| thread.name == "safestart" } - before).empty?
    end
  end

  # In a frame of its own, and overwritten, so that no copy of the reference stays on the stack.
  def drop_one
    Thread.new { Safestart.open(**SETTINGS).then { |ss| ss.wait(ss.replace([{ targets: ["10.0.0.1:1"] }])) } }.join
  end
end
