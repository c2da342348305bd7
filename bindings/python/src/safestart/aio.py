# SPDX-License-Identifier: LGPL-2.1-or-later
"""The handle of an asyncio program: no thread, the loop watches the library's descriptor. All of it is used on the loop's thread.

async with safestart.aio.Safestart(prepare=prepare, source="file:nodes.json") as ss:
    await ss.ready()
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import logging
import weakref
from types import TracebackType
from typing import Any, Callable

from safestart import _native
from safestart._handle import READY, Callback, Handle, Objects, Outcome, Run, Setting, drain, inside, words_of


def readable(loop: asyncio.AbstractEventLoop, descriptor: int, core: _native.Core, handle_of: Callable[[], Safestart | None]) -> None:
    """The loop keeps this, and this does not keep the handle: one that is dropped ends, and is closed, as soon as the loop is here."""
    over = drain(core, handle_of)
    handle = handle_of()
    if over or handle is None:
        loop.remove_reader(descriptor)
    if over and handle is not None:
        handle._over()


class LoopObjects(Objects):
    """Closes data by aclose() or close(), which may be coroutine functions."""

    def __init__(self, log: logging.Logger, closing: set[asyncio.Task[Any]]) -> None:
        super().__init__(log)
        self._closing = closing

    def _close(self, data: object) -> None:
        close = getattr(data, "aclose", None) or getattr(data, "close", None)
        result = close() if close is not None else None
        if inspect.iscoroutine(result):
            try:
                task = asyncio.get_running_loop().create_task(result)
            except RuntimeError:  # the loop has ended before the handle was closed
                result.close()
                raise
            self._closing.add(task)  # a loop alone does not keep its tasks
            task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[Any]) -> None:
        self._closing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("close() of a node's data failed", exc_info=task.exception())


class Safestart(Handle):
    """As safestart.Safestart, in a loop. It has to be made inside a running loop, or with start=after_fork before there is one.

    prepare, restart: functions or coroutine functions. A coroutine is cancelled when its run is pointless: past its deadline, or shut
    down. Data is given back by `aclose()`, if it has that, else by `close()`; either may be a coroutine function.
    """

    def __init__(
        self,
        prepare: Callback | None = None,
        restart: Callback | None = None,
        logger: logging.Logger | None = None,
        **settings: Setting,
    ) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: dict[_native.Run, asyncio.Task[None]] = {}  # in their order; each waits for the one before it
        self._closing: set[asyncio.Task[Any]] = set()  # of data whose close() is a coroutine
        loop = None if settings.get("start") == "after_fork" else asyncio.get_running_loop()
        super().__init__(prepare, restart, logger, None, **settings)
        if loop is not None:
            self._start(loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._ended = loop, loop.create_future()
        descriptor = self._core.event_fd()
        loop.add_reader(descriptor, readable, loop, descriptor, self._core, weakref.ref(self))

    def _over(self) -> None:
        self._answer_all()
        if not self._ended.done():
            self._ended.set_result(None)

    # ---- Waiting

    async def outcome(self, ticket: int, timeout: float | None = None) -> Outcome:
        """Wait for the one outcome of a ticket. TimeoutError after `timeout` seconds; cancelling it changes nothing for others."""
        outcome: Outcome = await self._result(ticket, timeout)
        return outcome

    async def ready(self, timeout: float | None = None) -> None:
        """Wait until a first generation is live. The TimeoutError says why there is none."""
        await self._result(READY, timeout)

    async def _result(self, ticket: int, timeout: float | None) -> Any:
        future = self._wait(ticket)
        try:
            await asyncio.wait({future}, timeout=timeout)
            if not future.done():
                raise self._timeout(ticket)
            return future.result()
        finally:
            future.cancel()

    def _new_future(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    def _settle(self, future: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    # ---- Calling the application

    def _call(self, function: Callback, run: _native.Run) -> None:
        assert self._loop is not None
        before = list(self._calls.values())[-1:]
        task = self._calls[run] = self._loop.create_task(self._call_after(before, function, run))
        # Not in the coroutine: one that is cancelled before its first step has none.
        task.add_done_callback(lambda task: self._called(task, function, run))

    async def _call_after(self, before: list[asyncio.Task[None]], function: Callback, run: _native.Run) -> None:
        if before:
            await asyncio.wait(before)
        inside.set(run)  # of this task only
        result = function(Run(run, self._objects))
        if inspect.isawaitable(result):
            await result

    def _called(self, task: asyncio.Task[None], function: Callback, run: _native.Run) -> None:
        self._calls.pop(run, None)
        error = None if task.cancelled() else task.exception()
        if task.cancelled():
            run.finish(errno.ECANCELED)
        elif error is None:
            run.finish()
        else:
            self._log.error("%s failed", getattr(function, "__name__", function), exc_info=error)
            run.finish(*words_of(error))

    def _cancel(self, number: int) -> None:
        for run, task in self._calls.items():
            if run.number == number:
                task.cancel()

    def _new_objects(self) -> Objects:
        return LoopObjects(self._log, self._closing)

    def _retire(self, data: object) -> None:
        self._objects.close(data)

    # ---- Fork, close

    async def after_fork(self) -> None:
        """Make the handle this process's own, and this loop's: with start=after_fork, and in a forked child, in its own loop."""
        self._core.after_fork()
        if self._loop is None:
            self._start(asyncio.get_running_loop())

    def _forked(self) -> None:
        # The loop is the parent's, with its epoll set: it is left alone. Tasks that were in work do not exist here.
        self._loop, self._calls = None, {}

    async def close(self, timeout: float = 1) -> None:
        """Shut down and close. A callback that is inside is cancelled, and given `timeout` seconds to end."""
        if self.closed:
            return
        self._core.shutdown()
        if self._loop is not None:
            tasks = list(self._calls.values())
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=timeout)
            for run in list(self._calls):
                run.finish(errno.ECANCELED, "the handle was closed")
            await asyncio.wait({self._ended}, timeout=timeout)
            self._loop.remove_reader(self._core.event_fd())
        self._close_now()
        if self._closing:
            await asyncio.wait(set(self._closing), timeout=timeout)

    def _close_now(self) -> None:
        if not self.closed:
            self._end()

    def _close_at_exit(self) -> None:
        if self._loop is None or not self._loop.is_running():
            self._close_now()

    async def __aenter__(self) -> Safestart:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
