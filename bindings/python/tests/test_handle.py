# SPDX-License-Identifier: LGPL-2.1-or-later
"""The handle of a program with threads."""

import errno
import gc
import json
import logging
import os
import signal
import threading
import weakref

import pytest
from conftest import LONG, QUICK, Connection, connect, document

import safestart
from safestart import Error, State, Verdict


def test_a_wrong_setting_is_an_error_in_the_library_s_words():
    with pytest.raises(Error, match=r"there is no setting.*debounce") as refused:
        safestart.Safestart(debonce="1s")
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(Error, match="debounce=soon"):
        safestart.Safestart(debounce="soon")
    for name in ("events", "thread"):
        with pytest.raises(Error, match=f"{name}: this binding needs it"):
            safestart.Safestart(**{name: "yes"})


def test_what_is_no_ticket_is_refused_and_breaks_nothing(opened):
    ss = opened()
    for wrong in (None, "1", -1, 2**64):
        with pytest.raises((TypeError, OverflowError, Error)):
            ss.outcome(wrong, LONG)
    assert ss.outcome(ss.replace(document("a")), LONG).verdict == Verdict.APPLIED


def test_settings_are_texts_numbers_and_booleans(opened):
    ss = opened(max_nodes=1, allow_empty=True)
    assert ss.outcome(ss.replace([]), LONG).verdict == Verdict.APPLIED
    with pytest.raises(Error):
        ss.announce("a", "10.0.0.1:1") and ss.announce("b", "10.0.0.2:1")


def test_nodes_are_a_sequence_with_their_data(opened):
    ss = opened()
    assert ss.generation == 0 and len(ss.nodes) == 0
    assert ss.outcome(ss.replace(document("a", b="[::1]:2")), LONG).ok
    nodes = ss.nodes
    assert [node.id for node in ss] == ["a", "b"] and nodes.generation == ss.generation == 1
    assert (nodes[1].host, nodes[1].port, repr(nodes[1])) == ("::1", 2, "<Node b at ::1:2>")
    assert nodes.get("a").data.id == "a" and nodes.get("c") is None
    assert ss.nodes is nodes, "the look is cached"


def test_labels_are_utf_8_and_cannot_be_changed(opened):
    ss = opened()
    ss.outcome(ss.replace([{"targets": ["10.0.0.1:1"], "labels": {"id": "knoten-ä", "zone": "Köln 🐧"}}]), LONG)
    node = ss.nodes.get("knoten-ä")
    assert dict(node.labels) == {"zone": "Köln 🐧"}
    with pytest.raises(TypeError):
        node.labels["zone"] = "x"


def test_a_file_is_followed(opened, tmp_path):
    path = tmp_path / "nodes.json"
    path.write_text(json.dumps(document("a")))
    ss = opened(source=f"file:{path}")
    ss.ready(LONG)
    new = tmp_path / "new"
    new.write_text(json.dumps(document("a", "b")))
    new.rename(path)
    assert ss.outcome(ss.request("the file is new"), LONG).ok and len(ss.nodes) == 2
    with pytest.raises(Error) as refused:
        ss.replace([])
    assert refused.value.errno == errno.ENOTSUP


def test_changes_say_what_was(opened):
    seen = []
    ss = opened(lambda run: seen.append(run.changes))
    ss.outcome(ss.replace(document("a", "b")), LONG)
    ss.outcome(ss.replace(document("a", c="10.0.0.9:9", a="10.0.0.8:8")), LONG)
    assert [(one.change, one.id, one.port) for one in seen[1]] == [("changed", "a", 8), ("removed", "b", 1), ("added", "c", 9)]
    assert (seen[1][0].was.host, seen[1][0].was.port) == ("10.0.0.97", 1) and seen[1][2].was is None


def test_what_prepare_raises_arrives_in_words(opened, caplog):
    def prepare(run):
        raise ValueError("no route to riak-2 – ä")

    ss = opened(prepare)
    outcome = ss.outcome(ss.replace(document("a")), LONG)
    assert outcome.verdict == Verdict.FAILED and outcome.error == -errno.EIO and not outcome.ok
    assert "prepare failed: ValueError: no route to riak-2 – ä" in outcome.message
    assert any(record.exc_info for record in caplog.records), "with the traceback in the log"
    assert len(ss.nodes) == 0 and ss.last_outcome() == outcome


@pytest.mark.parametrize(
    "raised, code", [(ConnectionRefusedError(errno.ECONNREFUSED, "x"), errno.ECONNREFUSED), (SystemExit(3), errno.EIO)]
)
def test_any_exception_fails_the_run_and_nothing_else(opened, raised, code):
    def restart(run):
        if raising:
            raise raised

    raising = [1]
    ss = opened(restart=restart)
    outcome = ss.outcome(ss.replace(document("a")), LONG)
    assert (outcome.verdict, outcome.error) == (Verdict.FAILED, -code) and type(raised).__name__ in outcome.message
    raising.clear()
    assert ss.outcome(ss.request(), LONG).ok


def test_a_rejected_node_is_left_out(opened):
    ss = opened(lambda run: run.reject("b", "not this one"))
    outcome = ss.outcome(ss.replace(document("a", "b")), LONG)
    assert outcome.ok and outcome.quarantined == 1 and [node.id for node in ss] == ["a"]
    state = ss.state("b")
    assert state.state == State.QUARANTINED and "not this one" in state.why


def test_restart_sets_a_status(opened):
    ss = opened(restart=lambda run: run.set_status(7))
    assert ss.outcome(ss.replace(document("a")), LONG).status == 7


def test_a_report_makes_a_node_proven_or_failing(opened):
    ss = opened()
    ss.outcome(ss.replace(document("a")), LONG)
    node = ss.nodes[0]
    for result, state in [(None, State.PROVEN), (errno.ECONNREFUSED, State.FAILING), (0, State.PROVEN), (ValueError("x"), State.FAILING)]:
        node.report(result)
        assert ss.state("a").state == state
    node.report(TimeoutError(errno.ETIMEDOUT, "x"))
    assert os.strerror(errno.ETIMEDOUT) in ss.state("a").why


def test_status_and_metrics(opened):
    ss = opened(name="api")
    ss.outcome(ss.replace(document("a")), LONG)
    assert ss.status()["generation"] == 1 and 'safestart_generation{name="api"} 1' in ss.metrics()


def test_the_logger_gets_the_library_s_lines():
    lines = []

    class Handler(logging.Handler):
        def emit(self, record):
            lines.append((record.levelno, record.getMessage()))

    logger = logging.getLogger("mine")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(Handler())
    with safestart.Safestart(logger=logger, **QUICK) as ss:
        ss.outcome(ss.replace(document("a")), LONG)
    assert any(level == logging.INFO and "generation 1 is live" in line for level, line in lines), lines


def test_force_lifts_a_guard_rail(opened):
    ss = opened(max_shrink="50%")
    ss.outcome(ss.replace(document("a", "b", "c", "d")), LONG)
    assert ss.outcome(ss.replace(document("a")), LONG).verdict == Verdict.REFUSED
    assert ss.outcome(ss.request(force=True), LONG).verdict == Verdict.APPLIED


# ---- Data


def test_data_is_closed_once_when_nobody_can_see_it(opened):
    ss = opened()
    ss.outcome(ss.replace(document("a", "b")), LONG)
    node = ss.nodes.get("a")
    a, b = node.data, ss.nodes.get("b").data
    ss.outcome(ss.replace(document("b")), LONG)
    # A report on its way through the library's threads would have closed it by the next run.
    ss.outcome(ss.replace(document("b", "c")), LONG)
    assert a.closed == 0, "a node that is in use keeps its data"
    del node
    assert a.gone.wait(LONG) and a.closed == 1
    assert ss.nodes.get("b").data is b and b.closed == 0, "an unchanged node goes on with its data"
    ss.close()
    assert (a.closed, b.closed) == (1, 1)


def test_data_of_a_failed_run_is_closed(opened):
    made = []

    def prepare(run):
        made.append(Connection("a"))
        run.set_data("a", made[0])
        raise ValueError

    ss = opened(prepare)
    ss.outcome(ss.replace(document("a")), LONG)
    assert made[0].gone.wait(LONG)


def test_a_changed_node_may_keep_its_data(opened):
    def prepare(run):
        for change in run.changes:
            if change.change == "changed":
                run.keep_data(change.id)
            else:
                run.set_data(change.id, Connection(change.id))
        with pytest.raises(Error):
            run.keep_data("nobody")

    ss = opened(prepare)
    ss.outcome(ss.replace(document("a")), LONG)
    data = ss.nodes[0].data
    assert ss.outcome(ss.replace(document(a="10.0.0.9:9")), LONG).ok
    assert ss.nodes[0].data is data and data.closed == 0 and ss.nodes[0].port == 9
    ss.close()
    assert data.closed == 1


def test_data_of_a_generation(opened):
    ss = opened(lambda run: run.set_generation_data(Connection(run.number)))
    ss.outcome(ss.replace(document("a")), LONG)
    first = ss.nodes.data
    ss.outcome(ss.replace(document("b")), LONG)
    assert first.gone.wait(LONG) and ss.nodes.data is not first


def test_data_for_no_node_is_refused_and_still_the_caller_s(opened):
    mine = Connection("x")

    def prepare(run):
        run.set_data("nobody", mine)

    ss = opened(prepare)
    outcome = ss.outcome(ss.replace(document("a")), LONG)
    assert outcome.error == -errno.ENOENT
    ss.close()
    assert mine.closed == 0


def test_nodes_in_use_keep_their_data_after_close(opened):
    ss = opened()
    ss.outcome(ss.replace(document("a")), LONG)
    node = ss.nodes[0]
    data = node.data
    ss.close()
    assert data.closed == 0 and node.data is data and node.host == "10.0.0.97"
    del node
    assert data.closed == 1


def test_a_close_that_raises_is_logged(opened, caplog):
    class Bad(Connection):
        def close(self):
            super().close()
            raise ValueError("stuck")

    bad = Bad("a")
    ss = opened(lambda run: run.set_data("a", bad) if run.number == 1 else None)
    ss.outcome(ss.replace(document("a")), LONG)
    ss.outcome(ss.replace(document("b")), LONG)
    assert bad.gone.wait(LONG)
    ss.close()
    assert "stuck" in caplog.text


# ---- Waiting


@pytest.fixture
def idle(opened):
    """A handle whose tickets are not answered."""
    return opened(debounce="1h", max_delay="1h")


def test_a_wait_ends_by_its_time_in_words(idle):
    ticket = idle.request()
    with pytest.raises(TimeoutError, match="pending"):
        idle.outcome(ticket, 0.01)
    with pytest.raises(TimeoutError, match="no run has ended yet"):
        idle.ready(0)
    assert not idle._waiting


def test_keyboard_interrupt_ends_a_wait(idle):
    ticket = idle.request()
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        idle.outcome(ticket, LONG)
    timer.join()
    assert not idle._waiting


def test_a_future_is_cancelled(idle):
    future = idle.future(idle.request())
    assert future.cancel() and future.cancelled() and not idle._waiting


def test_many_wait_and_no_thread_is_taken(idle):
    before = threading.active_count()
    ticket = idle.request()
    futures = [idle.future(ticket) for _ in range(100)]
    assert threading.active_count() == before
    idle.shutdown()
    assert all(future.result(LONG).verdict == Verdict.CANCELLED for future in futures)
    with pytest.raises(Error, match="shut down"):
        idle.request()


def test_tickets_never_issued_and_too_old(opened):
    ss = opened()
    first = ss.replace(document("a"))
    ss.outcome(first, LONG)
    with pytest.raises(Error) as refused:
        ss.outcome(first + 9, LONG)
    assert refused.value.errno == errno.EINVAL
    for _ in range(1100):
        ss.outcome(ss.request(), LONG)
    with pytest.raises(Error) as refused:
        ss.outcome(first)
    assert refused.value.errno == errno.ENODATA


def test_waiting_and_closing_in_a_callback_fail_at_once(opened):
    errors = []

    def prepare(run):
        for wrong in (lambda: ss.outcome(ss.request()), ss.close):
            try:
                wrong()
            except Error as error:
                errors.append(error.errno)

    ss = opened(prepare)
    assert ss.outcome(ss.replace(document("a")), LONG).ok
    assert errors == [errno.EDEADLK] * 2


# ---- The end


def test_a_run_that_hangs_is_told_timed_out_and_void(opened):
    told = threading.Event()
    late = []

    def prepare(run):
        if run.number > 1:
            return
        while not run.cancelled:
            os.sched_yield()
        told.set()
        over.wait(LONG)
        try:
            run.set_data("a", Connection("a"))
        except Error as error:
            late.append(error)
        kept.append(run)

    over, kept = threading.Event(), []
    ss = opened(prepare, run_timeout="50ms")
    assert ss.outcome(ss.replace(document("a")), LONG).verdict == Verdict.TIMED_OUT
    assert told.wait(LONG)
    over.set()
    while not ss.outcome(ss.request(), LONG).ok:  # those that come while it hangs time out, too
        pass
    assert late == [] or late[0].errno
    with pytest.raises(Error, match="the run is over"):
        kept[0].reject("a")
    assert kept[0].cancelled


def test_close_does_not_wait_for_what_never_returns():
    inside, never = threading.Event(), threading.Event()

    def prepare(run):
        inside.set()
        never.wait()

    ss = safestart.Safestart(prepare, **QUICK)
    future = ss.future(ss.replace(document("a")))
    assert inside.wait(LONG)
    ss.close(timeout=0.01)
    assert future.result(LONG).verdict == Verdict.CANCELLED and ss.closed
    never.set()


def test_a_closed_handle_says_so(opened):
    ss = opened()
    ss.outcome(ss.replace(document("a")), LONG)
    ss.close()
    ss.close()
    for use in (lambda: ss.nodes, ss.request, ss.status, lambda: ss.outcome(1), lambda: ss.generation, lambda: ss.replace([])):
        with pytest.raises(Error, match="closed"):
            use()


def test_a_dropped_handle_is_closed_also_in_a_circle():
    class Service:
        def __init__(self):
            self.ss = safestart.Safestart(self.prepare, **QUICK)

        def prepare(self, run):
            connect(run)

    service = Service()
    service.ss.outcome(service.ss.replace(document("a")), LONG)
    service.seen = service.ss.nodes
    data, taker, gone = service.seen[0].data, service.ss._taker, weakref.ref(service.ss)
    del service
    gc.collect()
    assert gone() is None
    taker.join(LONG)
    assert not taker.is_alive() and data.gone.wait(LONG) and data.closed == 1


def test_the_library_s_objects_cannot_be_made_by_hand():
    from safestart import _native

    for kind in (_native.Run, _native.Node, _native.Snapshot):
        with pytest.raises(TypeError):
            kind()
