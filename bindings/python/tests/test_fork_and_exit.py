# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forked children, and every way in which a process ends."""

import errno
import os
import signal

import pytest
from conftest import LONG, document, in_child, run_program

import safestart.gunicorn
from safestart import Error, _threads

OPEN = """
    ss = safestart.Safestart(connect, **QUICK)
    ss.outcome(ss.replace(document("a")), LONG)
"""


def test_a_child_goes_on_by_itself(opened):
    ss = opened()
    ss.outcome(ss.replace(document("a")), LONG)
    mine = ss.nodes[0].data

    def child():
        early = ss.nodes[0].data  # None, or its own already: its threads began at the fork
        outcome = ss.outcome(ss.request(), LONG)
        data = ss.nodes[0].data
        ss.close()
        return [early is not mine, outcome.verdict, data is not mine, data.closed, mine.closed]

    assert in_child(child) == [True, 0, True, 1, 0]
    assert ss.outcome(ss.replace(document("a", "b")), LONG).ok and mine.closed == 0


def test_a_child_forked_inside_a_callback_does_not_use_its_run(opened):
    answers = []

    def prepare(run):
        if run.number == 1:

            def child():
                with pytest.raises(Error, match="the run is over"):
                    run.reject("a")
                return run.cancelled

            answers.append(in_child(child))

    ss = opened(prepare)
    assert ss.outcome(ss.replace(document("a")), LONG).ok and answers == [True]


def test_with_start_after_fork_nothing_runs_before_it(opened):
    names = []
    ss = opened(start="after_fork", name="master", on_fork=lambda handle: (names.append(1), handle.after_fork_set("name", "worker")))
    ticket = ss.replace(document("a"))
    with pytest.raises(Error) as refused:
        ss.outcome(ticket)
    assert refused.value.errno == errno.EAGAIN

    def child():
        return [ss.outcome(ss.request(), LONG).verdict, ss.status()["name"], len(ss.nodes), names]

    assert in_child(child) == [0, "worker", 1, [1]]
    assert names == [] and ss._taker is None
    ss.after_fork()
    ss.after_fork()
    assert ss.outcome(ticket, LONG).ok and ss.status()["name"] == "master"


def test_gunicorn_s_workers_start_when_they_are_ready(opened):
    ss = opened(start="after_fork")
    ss.replace(document("a"))

    def child():
        before = ss._taker is None
        safestart.gunicorn.post_worker_init(None)
        verdict = ss.outcome(ss.request(), LONG).verdict
        safestart.gunicorn.worker_exit(None, None)
        return [before, verdict, ss.closed]

    safestart.gunicorn.pre_fork(None, None)
    try:
        assert in_child(child) == [True, 0, True]
    finally:
        _threads.children_start_later = False
    assert ss._taker is None


@pytest.mark.parametrize(
    "ending, code",
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise RuntimeError", 1),
        ("os._exit(4)", 4),
        ("del ss; import gc; gc.collect()", 0),
        ("os.kill(os.getpid(), 15); threading.Event().wait()", -signal.SIGTERM),
        ("ss.shutdown()", 0),
        ("node = ss.nodes[0]", 0),
        ("threading.Thread(target=ss.close).start()", 0),
        ("[ss.replace(document('a', 'b', str(i))) for i in range(500)]", 0),
    ],
)
def test_a_process_ends_in_any_way(ending, code):
    done = run_program(OPEN + "    " + ending)
    assert done.returncode == code, done.stderr
    assert ("Traceback" in done.stderr) == ("raise" in ending), done.stderr


def test_what_is_open_when_the_program_ends_is_closed():
    done = run_program("""
    class Loud(Connection):
        def close(self):
            print("closed", self.id)
    ss = safestart.Safestart(lambda run: run.set_data("a", Loud("a")), **QUICK)
    ss.outcome(ss.replace(document("a")), LONG)
    """)
    assert (done.returncode, done.stdout) == (0, "closed a\n"), done.stderr


@pytest.mark.parametrize("callback", ["prepare", "restart"])
def test_a_process_ends_while_a_callback_is_inside(callback):
    done = run_program(
        """
    inside = threading.Event()
    def hang(run):
        inside.set()
        threading.Event().wait()
    ss = safestart.Safestart(**{sys.argv[1]: hang}, run_timeout="1h", **QUICK)
    ss.replace(document("a"))
    inside.wait()
    sys.exit(3)
    """,
        callback,
    )
    assert done.returncode == 3, done.stderr


def test_a_crash_in_prepare_is_python_s_own():
    done = run_program("""
    import ctypes, faulthandler
    faulthandler.enable()
    ss = safestart.Safestart(lambda run: ctypes.string_at(0), **QUICK)
    ss.outcome(ss.replace(document("a")), LONG)
    """)
    assert done.returncode == -signal.SIGSEGV and "string_at" in done.stderr, done.stderr


def test_a_child_that_ends_leaves_the_parent_its_data(opened):
    ss = opened()
    ss.outcome(ss.replace(document("a")), LONG)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert ss.outcome(ss.request(), LONG).ok and ss.nodes[0].data.closed == 0
