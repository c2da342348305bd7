# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a handle is, whoever takes its events: threads (_threads.py) or an asyncio loop (aio.py)."""

from __future__ import annotations

import contextlib
import contextvars
import enum
import errno
import itertools
import json
import logging
import os
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable, NamedTuple, Protocol, Union

from safestart import _native

Setting = Union[str, int, bool]
Callback = Callable[["Run"], Any]


class Verdict(enum.IntEnum):
    """How a run ended."""

    PENDING = -1
    APPLIED = 0
    UNCHANGED = 1
    REFUSED = 2
    FAILED = 3
    TIMED_OUT = 4
    CANCELLED = 5


class State(enum.IntEnum):
    """What this process knows of a node."""

    UNKNOWN = 0
    ANNOUNCED = 1
    APPLIED = 2
    PROVEN = 3
    FAILING = 4
    QUARANTINED = 5
    RETIRED = 6


class NodeState(NamedTuple):
    state: State
    why: str


class Outcome(NamedTuple):
    """How a run ended, and with it every ticket that it covered."""

    verdict: Verdict
    error: int  # 0 or -errno
    message: str
    run: int
    generation: int
    requests: int
    attempts: int
    quarantined: int
    ticket: int
    status: int
    pid: int
    merged: int

    @property
    def ok(self) -> bool:
        """The desired set is live."""
        return self.verdict in (Verdict.APPLIED, Verdict.UNCHANGED)


class NodeAddress(NamedTuple):
    host: str
    port: int
    labels: Mapping[str, str]


class Change(NamedTuple):
    """One difference between the live set and the one that a run is about to apply."""

    change: str  # "added", "removed" or "changed"
    id: str
    host: str
    port: int
    labels: Mapping[str, str]
    was: NodeAddress | None  # of a changed node: as it is live


class Nodes(tuple[_native.Node, ...]):
    """One generation of nodes, in the order of their ids. Their data is not closed while it, or a node of it, is in use."""

    generation: int
    data: Any  # what the run set as its `data`
    _by_id: dict[str, _native.Node] | None

    def __new__(cls, snapshot: _native.Snapshot) -> Nodes:
        made = super().__new__(cls, snapshot.nodes())
        made.generation, made.data, made._by_id = snapshot.generation, snapshot.data, None
        return made

    def get(self, id: str) -> _native.Node | None:
        """The node with this id, or None."""
        if self._by_id is None:
            self._by_id = {node.id: node for node in self}
        return self._by_id.get(id)


class Run:
    """What `prepare` and `restart` are given. It is over when they have returned."""

    def __init__(self, native: _native.Run, objects: Objects) -> None:
        self._native, self._objects = native, objects

    @property
    def number(self) -> int:
        """As in the outcome and in the log."""
        return self._native.number

    @property
    def cancelled(self) -> bool:
        """Is it pointless to go on? The deadline has passed, or the handle was shut down."""
        return self._native.cancelled

    @property
    def changes(self) -> list[Change]:
        """All differences, in the order of the nodes' ids."""
        return [
            Change(one["change"], one["id"], one["host"], one["port"], one["labels"], NodeAddress(**one["was"]) if "was" in one else None)
            for one in json.loads(self._native.changes())
        ]

    def set_data(self, id: str, data: object) -> None:
        """Hang an object on an added or changed node: `node.data`. When no reader can see it any more, its `close()` is called."""
        key = self._objects.add(data)
        try:
            self._native.set_node_key(id, key)
        except BaseException:
            del self._objects[key]
            raise

    def keep_data(self, id: str) -> None:
        """A changed node goes on with the object that its live entry has."""
        self._native.keep(id)

    def set_generation_data(self, data: object) -> None:
        """Hang an object on the generation: `nodes.data`. It is closed as a node's is."""
        key = self._objects.add(data)
        try:
            self._native.set_key(key)
        except BaseException:
            del self._objects[key]
            raise

    def reject(self, id: str, reason: str | None = None) -> None:
        """Leave this node out; the others are applied. It is retried with backoff."""
        self._native.reject(id, reason)

    def set_status(self, status: int) -> None:
        """In `restart`: a number for the outcome, such as an exit code."""
        self._native.set_status(status)


class Objects(dict[int, Any]):
    """The data of nodes and generations, by the keys that the library knows. The handle has it, and each snapshot: what is left when
    the last of them goes can be seen by nobody any more."""

    def __init__(self, log: logging.Logger) -> None:
        super().__init__()
        self._keys, self._log, self.ended = itertools.count(1), log, False

    def add(self, data: object) -> int:
        key = next(self._keys)  # one step of C, as are those of the dict: threads need no lock for it
        self[key] = data
        return key

    def close(self, data: object) -> None:
        try:
            self._close(data)
        except Exception:
            self._log.exception("close() of a node's data failed: %r", data)

    def _close(self, data: object) -> None:
        close = getattr(data, "close", None)
        if close is not None:
            close()

    def __del__(self) -> None:
        while self.ended and not sys.is_finalizing() and self:
            self.close(self.popitem()[1])


class Future(Protocol):
    """What a concurrent and an asyncio future have in common."""

    def cancel(self) -> bool: ...
    def add_done_callback(self, callback: Callable[[Any], object], /) -> None: ...


PREPARE, RESTART, COMMITTED, CANCELLED, RETIRE, RETIRE_NODE, OUTCOME, LOG = range(1, 9)
NONE, OVER = 0, -1
FORCE, URGENT = 1, 2
READY = 0  # what waits for a first generation waits for this "ticket"
# By syslog's numbers.
LEVELS = (*[logging.CRITICAL] * 3, logging.ERROR, logging.WARNING, logging.INFO, logging.INFO, logging.DEBUG)

inside: contextvars.ContextVar[_native.Run | None] = contextvars.ContextVar("safestart_inside", default=None)


def outcome_of(values: Any) -> Outcome:
    return Outcome(Verdict(values[0]), *values[1:])


def words_of(error: BaseException) -> tuple[int, str]:
    """As the outcome tells it: "ValueError: no route to riak-2"."""
    number = error.errno if isinstance(error, OSError) and isinstance(error.errno, int) and error.errno > 0 else errno.EIO
    return number, f"{type(error).__name__}: {error}"


def texts_of(settings: Mapping[str, Setting]) -> dict[str, str]:
    for name in ("events", "thread"):
        if name in settings:
            raise _native.Error(errno.EINVAL, f"{name}: this binding needs it as it is, leave it out")
    return {
        "events": "pull",
        **{key: ("no", "yes")[value] if isinstance(value, bool) else str(value) for key, value in settings.items()},
    }


def drain(core: _native.Core, handle_of: Callable[[], Handle | None]) -> bool:
    """Take what waits. True: nothing will come any more. Nothing here keeps the handle alive: when the application has dropped it,
    nobody is left to tell, and a run that is dropped finishes itself."""
    while True:
        kind, what = core.next_event()
        if kind in (NONE, OVER):
            return bool(kind == OVER)
        handle = handle_of()
        if handle is not None:
            handle._told(kind, what)


class Handle(_native.Watch):
    """The part that is the same with threads and in a loop."""

    def __init__(
        self,
        prepare: Callback | None = None,
        restart: Callback | None = None,
        logger: logging.Logger | None = None,
        on_fork: Callable[[Any], object] | None = None,
        **settings: Setting,
    ) -> None:
        self._prepare, self._restart, self._on_fork = prepare, restart, on_fork
        self._log = logger or logging.getLogger("safestart")
        self._objects = self._new_objects()
        self._inherited: list[Objects] = []
        self._waiting: dict[Any, int] = {}
        self._pid = os.getpid()
        self._core = _native.Core(texts_of(settings))
        self._watch(self._core)
        self._starts_later = settings.get("start") == "after_fork"
        handles.add(self)

    def __del__(self) -> None:
        core = getattr(self, "_core", None)  # None: open was refused
        if core is not None:
            self._objects.ended = True
            core.shutdown()  # whoever takes the events gets to the end, drops it, and so closes it

    # ---- The nodes

    nodes: Nodes  # the live set; a look costs about as much as reading an attribute

    def _look(self) -> Nodes:
        view = Nodes(self._core.snapshot(self._objects))
        shown: Nodes = self._show(view, view.generation)
        return shown

    def __iter__(self) -> Iterator[_native.Node]:
        return iter(self.nodes)

    @property
    def generation(self) -> int:
        """The number of the live generation; 0 before the first load."""
        return self._core.generation()

    def replace(self, nodes: str | Iterable[Any]) -> int:
        """source=push: replace the whole desired set by a file_sd document, as JSON or as what becomes JSON. Returns the ticket."""
        return self._core.replace(nodes if isinstance(nodes, str) else json.dumps(nodes))

    def announce(self, id: str, address: str, incarnation: str | None = None) -> int:
        """source=push: add one node, or give it another address or incarnation. Returns the ticket."""
        return self._core.announce(id, address, incarnation)

    def withdraw(self, id: str) -> int:
        """source=push: take one node out. Returns the ticket."""
        return self._core.withdraw(id)

    # ---- Requests

    def request(self, reason: str | None = None, *, force: bool = False, urgent: bool = False) -> int:
        """Ask for the nodes to be applied, as often as you like. Returns the ticket."""
        return self._core.request(FORCE * force | URGENT * urgent, reason)

    def last_outcome(self) -> Outcome | None:
        """How the newest run ended; None before the first."""
        values = self._core.last_outcome()
        return outcome_of(values) if values is not None else None

    # ---- State

    def state(self, id: str) -> NodeState:
        """What this process knows of a node."""
        state, why = self._core.state(id)
        return NodeState(State(state), why)

    def status(self) -> dict[str, Any]:
        """Everything at one moment."""
        status: dict[str, Any] = json.loads(self._core.status())
        return status

    def metrics(self) -> str:
        """Figures in the Prometheus exposition format."""
        return self._core.metrics()

    @property
    def closed(self) -> bool:
        return self._core.closed

    def after_fork_set(self, key: str, value: Setting) -> None:
        """In a forked child, before it goes on (`on_fork`): another `name`, its own `control`, or `serves`."""
        self._core.after_fork_set(key, texts_of({key: value})[key])

    def shutdown(self) -> None:
        """Start no more runs; every open ticket is answered CANCELLED. Never blocks."""
        self._core.shutdown()

    # ---- Those who wait

    def _new_future(self) -> Any:
        raise NotImplementedError

    def _settle(self, future: Any, value: Any, error: Exception | None) -> None:
        raise NotImplementedError

    def _wait(self, ticket: int) -> Any:
        """A future of the ticket's outcome. Registered before the first look, so that no answer comes in between."""
        run = inside.get()
        if run is not None and not run.finished:
            raise _native.Error(errno.EDEADLK, "a callback cannot wait for a run: its own has to end first")
        if ticket != READY:
            with contextlib.suppress(_native.Error):
                self._core.outcome(ticket)  # what is no number at all is refused before it waits among the others
        future = self._new_future()
        self._waiting[future] = ticket
        future.add_done_callback(self._no_longer_waits)
        self._answer(future, ticket)
        return future

    def _no_longer_waits(self, future: Any) -> None:
        self._waiting.pop(future, None)

    def _answer_all(self) -> None:
        for future, ticket in list(self._waiting.items()):
            self._answer(future, ticket)

    def _answer(self, future: Any, ticket: int) -> None:
        value: Any = None
        error = None
        try:
            if ticket == READY:
                value = self._core.is_ready() or None
            else:
                values = self._core.outcome(ticket)
                value = outcome_of(values) if values[0] != Verdict.PENDING else None
        except _native.Error as refused:
            error = refused
        # The one who takes it out answers it: another thread may be here as well.
        if (value is not None or error is not None) and self._waiting.pop(future, None) is not None:
            self._settle(future, value, error)

    def _timeout(self, ticket: int) -> TimeoutError:
        if ticket == READY:
            last = self.last_outcome()
            return TimeoutError(last.message if last is not None else "no run has ended yet")
        return TimeoutError(outcome_of(self._core.outcome(ticket)).message)

    # ---- Those who are told

    def _call(self, function: Callback, run: _native.Run) -> None:
        """Call `prepare` or `restart`, later and one at a time, and finish the run."""
        raise NotImplementedError

    def _cancel(self, number: int) -> None:
        """This run is pointless now."""

    def _new_objects(self) -> Objects:
        return Objects(self._log)

    def _retire(self, data: object) -> None:
        raise NotImplementedError

    def _told(self, kind: int, what: Any) -> None:
        if kind in (PREPARE, RESTART):
            function = self._prepare if kind == PREPARE else self._restart
            if function is None:
                what.finish()
            else:
                self._call(function, what)
        elif kind == COMMITTED:
            self._forget(False)
        elif kind == CANCELLED:
            self._cancel(what)
        elif kind in (RETIRE, RETIRE_NODE):
            if what in self._objects:
                self._retire(self._objects.pop(what))
        elif kind == OUTCOME:
            self._answer_all()
        elif kind == LOG:
            self._log.log(LEVELS[what[0]], "%s", what[1])

    # ---- The end, and a fork

    def _end(self) -> None:
        """Close the library's handle; nobody takes events any more."""
        self._answer_all()
        self._watch(None)
        self._core.close()
        self._answer_all()  # an error for those whose answer never came
        self._forget(True)
        self._objects.ended = True
        self._objects = self._new_objects()

    def _close_at_exit(self) -> None:
        raise NotImplementedError

    def _disown(self) -> None:
        """In a forked child: what the parent has made stays the parent's, and is never closed here."""
        self._core.disown()
        self._inherited.append(self._objects)
        self._objects, self._waiting, self._pid = self._new_objects(), {}, os.getpid()
        self._forget(True)

    def _forked(self) -> None:
        raise NotImplementedError


handles: weakref.WeakSet[Handle] = weakref.WeakSet()
