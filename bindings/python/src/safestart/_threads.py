# SPDX-License-Identifier: LGPL-2.1-or-later
"""Safestart: a handle for programs with threads. It has two of them, both daemons, and neither keeps it alive: one takes the events, one
calls the application, which may hang. A child that was forked gets its own two."""

from __future__ import annotations

import atexit
import concurrent.futures
import errno
import logging
import os
import queue
import select
import threading
import time
import weakref
from types import TracebackType
from typing import Any, Callable

from safestart import _native
from safestart._handle import READY, Callback, Handle, Outcome, Run, Setting, drain, handles, inside, words_of

# Set by safestart.gunicorn: children start later, when they have dropped their privileges.
children_start_later = False

Job = Callable[[], object]


def take(core: _native.Core, handle_of: Callable[[], Handle | None], jobs: queue.SimpleQueue[Job | None]) -> None:
    """The thread that takes events."""
    poll = select.poll()
    poll.register(core.event_fd(), select.POLLIN)
    while True:
        poll.poll()
        try:
            if drain(core, handle_of):
                break
        except Exception:  # of a handler of the log, or no memory: the next event is no worse for it
            logging.getLogger("safestart").exception("an event was lost")
            time.sleep(0.1)  # if it comes again and again
    handle = handle_of()
    if handle is not None:
        handle._answer_all()  # a shutdown answers tickets without an event
    jobs.put(None)


def work(jobs: queue.SimpleQueue[Job | None]) -> None:
    """The thread that calls the application."""
    while True:
        job = jobs.get()
        if job is None:
            break
        job()
        del job  # nothing is kept while it waits for the next


class Safestart(Handle):
    """A handle. Settings are the library's own, as keywords: Safestart(source="file:nodes.json", debounce="50ms").

    prepare(run): build what the changed nodes need. What it raises fails the run, in words.
    restart(run): reload everything else, after the new set went live.
    logger: gets the library's lines; default: the logger "safestart".
    on_fork(handle): called in a forked child before it goes on, for after_fork_set().
    """

    def __init__(
        self,
        prepare: Callback | None = None,
        restart: Callback | None = None,
        logger: logging.Logger | None = None,
        on_fork: Callable[[Any], object] | None = None,
        **settings: Setting,
    ) -> None:
        self._taker: threading.Thread | None = None
        self._open_run: _native.Run | None = None  # what the worker is in
        super().__init__(prepare, restart, logger, on_fork, **settings)
        if not self._starts_later:
            self._start()

    def _start(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=work, args=(self._jobs,), name="safestart-calls", daemon=True)
        self._taker = threading.Thread(target=take, args=(self._core, weakref.ref(self), self._jobs), name="safestart-events", daemon=True)
        self._worker.start()
        self._taker.start()

    # ---- Waiting

    def future(self, ticket: int) -> concurrent.futures.Future[Outcome]:
        """The ticket's outcome as a future. It takes no thread; cancel() ends the wait, and changes nothing for others."""
        future: concurrent.futures.Future[Outcome] = self._wait(ticket)
        return future

    def outcome(self, ticket: int, timeout: float | None = None) -> Outcome:
        """Wait for the one outcome of a ticket. TimeoutError after `timeout` seconds; KeyboardInterrupt ends it at once."""
        outcome: Outcome = self._result(ticket, timeout)
        return outcome

    def ready(self, timeout: float | None = None) -> None:
        """Wait until a first generation is live. The TimeoutError says why there is none."""
        self._result(READY, timeout)

    def _result(self, ticket: int, timeout: float | None) -> Any:
        future = self._wait(ticket)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            if not future.cancel():
                return future.result()  # it came at the last moment
            raise self._timeout(ticket) from None
        finally:
            future.cancel()

    def _new_future(self) -> concurrent.futures.Future[Any]:
        return concurrent.futures.Future()

    def _settle(self, future: concurrent.futures.Future[Any], value: Any, error: Exception | None) -> None:
        if not future.set_running_or_notify_cancel():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    # ---- Calling the application

    def _call(self, function: Callback, run: _native.Run) -> None:
        self._jobs.put(lambda: self._call_now(function, run))

    def _call_now(self, function: Callback, run: _native.Run) -> None:
        if run.cancelled:  # one before it hung: nobody waits for this one any more
            run.finish(errno.ECANCELED)
            return
        self._open_run = run
        token = inside.set(run)
        try:
            function(Run(run, self._objects))
        except BaseException as error:  # SystemExit, too: it fails this run, and ends nothing else
            self._log.error("%s failed", getattr(function, "__name__", function), exc_info=error)
            run.finish(*words_of(error))
        else:
            run.finish()
        finally:
            inside.reset(token)
            self._open_run = None

    def _retire(self, data: object) -> None:
        objects = self._objects
        self._jobs.put(lambda: objects.close(data))

    # ---- Fork, close

    def after_fork(self) -> None:
        """Make the handle this process's own. With start=after_fork it starts it, in the process that opened it as well. In a forked
        child it has been called already. Again it changes nothing."""
        self._core.after_fork()
        if self._taker is None:
            self._start()

    def _forked(self) -> None:
        self._taker = self._open_run = None
        if children_start_later:
            return
        try:
            self.start_here()
        except Exception:
            self._log.exception("cannot go on in this child: call after_fork() again")

    def start_here(self) -> None:
        """after_fork(), with on_fork() before it; nothing where the handle has been started."""
        if self._taker is None:
            if self._on_fork is not None:
                self._on_fork(self)
            self.after_fork()

    def close(self, timeout: float = 1) -> None:
        """Shut down and close. A callback that is inside is told (`run.cancelled`) and given `timeout` seconds to return."""
        if self.closed:
            return
        if threading.current_thread() in (self._taker, getattr(self, "_worker", None)):
            raise _native.Error(errno.EDEADLK, "a callback cannot close the handle: it would wait for itself")
        self._core.shutdown()
        if self._taker is not None:
            self._jobs.put(None)
            self._worker.join(timeout)
            run = self._open_run
            if run is not None:
                run.finish(errno.ECANCELED, "the handle was closed")  # it hangs; what it does later is ignored
            while self._taker.is_alive():
                self._do_what_is_left()
                self._taker.join(0.01)
            self._do_what_is_left()
        self._end()

    def _do_what_is_left(self) -> None:
        """Instead of the worker: runs to be finished, data to be closed."""
        while not self._jobs.empty():
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:  # the worker was faster
                break
            if job is not None:
                job()

    def _close_at_exit(self) -> None:
        self.close()

    def __enter__(self) -> Safestart:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_handles() -> list[Handle]:
    return [handle for handle in list(handles) if not handle.closed]


@atexit.register
def close_all() -> None:
    """What is still open when the program ends."""
    for handle in open_handles():
        try:
            if handle._pid == os.getpid():
                handle._close_at_exit()
        except Exception:
            handle._log.exception("cannot close")


def go_on_in_child() -> None:
    for handle in open_handles():
        handle._disown()
        handle._forked()


os.register_at_fork(after_in_child=go_on_in_child)
