# SPDX-License-Identifier: LGPL-2.1-or-later
"""The handle of an asyncio program."""

import asyncio
import errno
import gc
import os
import threading
import weakref

import pytest
from conftest import LONG, QUICK, Connection, connect, document, in_child, run_program

import safestart.aio
from safestart import Error, Verdict


def in_loop(test):
    """Runs a coroutine function as a test."""

    def run():
        asyncio.run(asyncio.wait_for(test(), LONG))

    run.__name__ = test.__name__
    return run


def open_handle(prepare=connect, **more):
    return safestart.aio.Safestart(prepare, **{**QUICK, **more})


@in_loop
async def test_prepare_may_be_a_coroutine():
    async def prepare(run):
        await asyncio.sleep(0)
        connect(run)

    threads = threading.active_count()
    async with open_handle(prepare) as ss:
        assert (await ss.outcome(ss.replace(document("a")), LONG)).ok
        await ss.ready()
        assert ss.nodes[0].data.id == "a" and [node.id for node in ss] == ["a"]
        assert threading.active_count() == threads
    assert ss.closed


@in_loop
async def test_what_a_coroutine_raises_arrives_in_words():
    async def prepare(run):
        await asyncio.sleep(0)
        raise ValueError("no route to riak-2 – ä")

    async with open_handle(prepare) as ss:
        outcome = await ss.outcome(ss.replace(document("a")), LONG)
        assert outcome.verdict == Verdict.FAILED and "prepare failed: ValueError: no route to riak-2 – ä" in outcome.message


@in_loop
async def test_a_wait_is_cancelled_and_changes_nothing_for_others():
    async with open_handle(debounce="1h", max_delay="1h") as ss:
        ticket = ss.request()
        one, other = (asyncio.ensure_future(ss.outcome(ticket)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.wait({one})
        assert one.cancelled() and not other.done() and len(ss._waiting) == 1
        with pytest.raises(TimeoutError, match="pending"):
            await ss.outcome(ticket, 0.01)
        ss.shutdown()
        assert (await other).verdict == Verdict.CANCELLED


@in_loop
async def test_a_coroutine_is_cancelled_at_its_deadline():
    cancelled = asyncio.Event()

    async def prepare(run):
        try:
            await asyncio.sleep(0 if cancelled.is_set() else LONG)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with open_handle(prepare, run_timeout="50ms") as ss:
        assert (await ss.outcome(ss.replace(document("a")), LONG)).verdict == Verdict.TIMED_OUT
        await cancelled.wait()
        while not (await ss.outcome(ss.request(), LONG)).ok:
            pass


@in_loop
async def test_callbacks_never_overlap():
    inside = 0
    release, order = asyncio.Event(), []

    async def prepare(run):
        nonlocal inside
        inside += 1
        assert inside == 1
        order.append(run.number)
        while True:  # it does not listen when it is cancelled
            try:
                await release.wait()
                break
            except asyncio.CancelledError:
                pass
        inside -= 1

    async with open_handle(prepare, run_timeout="50ms") as ss:
        assert (await ss.outcome(ss.replace(document("a")), LONG)).verdict == Verdict.TIMED_OUT
        # The next one is asked for, but not called while the first is inside.
        assert (await ss.outcome(ss.request(), LONG)).verdict == Verdict.TIMED_OUT
        release.set()
        while not (await ss.outcome(ss.request(), LONG)).ok:
            pass
        assert order == sorted(order) and 2 not in order


@in_loop
async def test_waiting_in_a_callback_fails_at_once_and_later_in_its_tasks_not():
    later = []

    async def background(finished):
        await finished.wait()
        return await ss.outcome(ss.request(), LONG)

    async def prepare(run):
        later.append(asyncio.ensure_future(background(finished)))
        with pytest.raises(Error) as refused:
            await ss.outcome(ss.request())
        assert refused.value.errno == errno.EDEADLK

    finished = asyncio.Event()
    async with open_handle(prepare) as ss:
        assert (await ss.outcome(ss.replace(document("a")), LONG)).ok
        finished.set()
        assert (await later[0]).ok


@in_loop
async def test_data_may_be_closed_by_a_coroutine():
    class Pool(Connection):
        async def aclose(self):
            await asyncio.sleep(0)
            self.close()

    made = []

    def prepare(run):
        for change in run.changes:
            if change.change == "added":
                made.append(Pool(change.id))
                run.set_data(change.id, made[-1])

    async with open_handle(prepare) as ss:
        await ss.outcome(ss.replace(document("a")), LONG)
        await ss.outcome(ss.replace(document("b")), LONG)
        while not made[0].closed:
            await asyncio.sleep(0.001)
    assert [pool.closed for pool in made] == [1, 1]


@in_loop
async def test_close_ends_a_callback_that_is_inside():
    inside = asyncio.Event()

    async def prepare(run):
        inside.set()
        await asyncio.sleep(LONG)

    async with open_handle(prepare, run_timeout="1h") as ss:
        wait = asyncio.ensure_future(ss.outcome(ss.replace(document("a"))))
        await inside.wait()
    assert (await wait).verdict == Verdict.CANCELLED


@in_loop
async def test_a_dropped_handle_is_closed():
    ss = open_handle()
    await ss.outcome(ss.replace(document("a")), LONG)
    data, descriptor, gone = ss.nodes[0].data, ss._core.event_fd(), weakref.ref(ss)
    del ss
    gc.collect()
    assert gone() is None
    while not data.closed or os.path.exists(f"/proc/self/fd/{descriptor}"):
        await asyncio.sleep(0.001)


@in_loop
async def test_a_child_goes_on_in_a_loop_of_its_own():
    async with open_handle() as ss:
        await ss.outcome(ss.replace(document("a")), LONG)
        mine = ss.nodes[0].data

        async def child():
            inherited = ss.nodes[0].data
            await ss.after_fork()
            outcome = await ss.outcome(ss.request(), LONG)
            data = ss.nodes[0].data
            await ss.close()
            return [inherited is None, outcome.verdict, data.closed, mine.closed]

        def fork():
            asyncio._set_running_loop(None)
            return asyncio.run(child())

        assert in_child(fork) == [True, 0, 1, 0]
        assert (await ss.outcome(ss.replace(document("b")), LONG)).ok


def test_it_needs_a_loop_or_a_start_later():
    with pytest.raises(RuntimeError):
        open_handle()
    ss = open_handle(start="after_fork")

    async def start():
        ticket = ss.replace(document("a"))
        await ss.after_fork()
        assert (await ss.outcome(ticket, LONG)).ok
        await ss.close()

    asyncio.run(start())


@pytest.mark.parametrize("ending, code", [("pass", 0), ("sys.exit(3)", 3), ("raise RuntimeError", 1), ("await ss.close()", 0)])
@pytest.mark.parametrize("prepare", ["connect", "hang"])
def test_a_process_ends_in_any_way(ending, code, prepare):
    done = run_program(
        f"""
    import asyncio
    async def hang(run):
        inside.set()
        await asyncio.Event().wait()
    async def main():
        global ss, inside
        inside = asyncio.Event()
        ss = safestart.aio.Safestart({prepare}, run_timeout="1h", **QUICK)
        ticket = ss.replace(document("a"))
        await (inside.wait() if {prepare} is hang else ss.outcome(ticket))
        {ending}
    asyncio.run(main())
    """
    )
    assert done.returncode == code, done.stderr
    assert ("Traceback" in done.stderr) == (code == 1), done.stderr
