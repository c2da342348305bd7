# SPDX-License-Identifier: LGPL-2.1-or-later
require_relative "helper"

class TestWait < SafestartTest
  # A ticket that is not answered.
  def open_ticket
    open(debounce: "1h", max_delay: "1h")
    @ss.request
  end

  def waiter(ticket)
    thread = Thread.new { @ss.wait(ticket) }
    thread.report_on_exception = false
    until_true("it waits") { thread.status == "sleep" }
    thread
  end

  def test_a_wait_ends_by_its_time
    ticket = open_ticket
    assert_nil @ss.wait(ticket, timeout: 0)
    assert_nil @ss.wait(ticket, timeout: 0.01)
  end

  def test_a_wait_ends_by_timeout_raise_and_kill
    ticket = open_ticket
    assert_raises(Timeout::Error) { Timeout.timeout(0.01) { @ss.wait(ticket) } }
    thread = waiter(ticket)
    thread.raise(KeyError)
    assert_raises(KeyError) { Timeout.timeout(LIMIT) { thread.value } }
    thread = waiter(ticket)
    thread.kill
    assert thread.join(LIMIT)
    assert_nil @ss.wait(ticket, timeout: 0), "nothing changed for others"
  end

  def test_a_shutdown_and_a_close_answer_what_waits
    ticket = open_ticket
    thread = waiter(ticket)
    @ss.shutdown
    assert_equal :cancelled, Timeout.timeout(LIMIT) { thread.value }.verdict
    assert_raises(Safestart::Closed) { @ss.request }
    ticket = open_ticket
    thread = waiter(ticket)
    @ss.close
    assert_equal :cancelled, Timeout.timeout(LIMIT) { thread.value }.verdict
  end

  def test_a_shutdown_answers_also_while_prepare_hangs
    inside = Queue.new
    open(run_timeout: "1h", prepare: ->(_) { (inside << true) && sleep })
    thread = waiter(@ss.replace(set("a" => "10.0.0.1:1")))
    Timeout.timeout(LIMIT) { inside.pop }
    @ss.shutdown
    assert_equal :cancelled, Timeout.timeout(LIMIT) { thread.value }.verdict
    Timeout.timeout(LIMIT) { @ss.close }
  end

  def test_a_ticket_that_was_never_issued
    open
    assert_equal Errno::EINVAL::Errno, assert_raises(Safestart::Error) { @ss.wait(@ss.request + 9) }.errno
  end

  def test_wait_ready
    open(prepare: connect)
    refute @ss.wait_ready(timeout: 0.01)
    thread = Thread.new { @ss.wait_ready(timeout: LIMIT) }
    until_true("it waits") { thread.status == "sleep" }
    @ss.replace(set("a" => "10.0.0.1:1"))
    assert_equal true, thread.value
    @ss.shutdown
    assert_raises(Safestart::Error) { open.tap(&:shutdown).wait_ready }
  end

  def test_many_threads
    open
    threads = Array.new(8) { Thread.new { Array.new(50) { @ss.wait(@ss.request, timeout: LIMIT).verdict } } }
    push("a" => "10.0.0.1:1")
    assert_empty threads.flat_map(&:value).uniq - %i[applied unchanged refused]
  end
end
