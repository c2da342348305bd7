# SPDX-License-Identifier: LGPL-2.1-or-later
"""The conformance program: see ../conformance/README.md. usage: conformance.py threads|loop, which of the two handles is tried."""

import asyncio
import ctypes
import gc
import itertools
import json
import os
import sys
import threading
import time

import safestart
import safestart.aio


class Connection:
    """What the application hangs on nodes and generations."""

    made = retired = used_after_retire = made_sets = retired_sets = 0

    def __init__(self, of_set=False):
        self.of_set, self.closed = of_set, False
        if of_set:
            Connection.made_sets += 1
        else:
            Connection.made += 1
            self.number = Connection.made

    def use(self):
        Connection.used_after_retire += self.closed
        return self.number

    def close(self):
        Connection.used_after_retire += self.closed
        self.closed = True
        if self.of_set:
            Connection.retired_sets += 1
        else:
            Connection.retired += 1


class Application:
    """`prepare` and `restart`, and what the script says of them."""

    def __init__(self):
        self.script = {"prepare": "ok", "restart": "ok"}
        self.told, self.later, self.forking = 0, False, None
        self.never = threading.Event()

    def make(self, run):
        for change in run.changes:
            if change.change != "removed":
                run.set_data(change.id, Connection())
        run.set_generation_data(Connection(of_set=True))

    def obey(self, run, what):
        """Returns whether it hangs."""
        word, _, argument = self.script[what].partition(":")
        if word == "reject":
            run.reject(argument, "not this one")
        elif word == "throw":
            raise ValueError(argument)
        elif word == "status":
            run.set_status(int(argument))
        elif word == "crash":
            ctypes.string_at(0)
        return word == "hang"

    def prepare(self, run):
        self.make(run)
        if self.forking is not None:
            inside, go_on = self.forking
            inside.set()
            go_on.wait()
        if self.later:
            self.never.wait()
        if self.obey(run, "prepare"):
            while not run.cancelled:
                time.sleep(0.01)
            self.told += 1

    def restart(self, run):
        self.obey(run, "restart")

    async def prepare_in_loop(self, run):
        self.make(run)
        if self.forking is not None:
            inside, go_on = self.forking
            inside.set()
            while not go_on.is_set():
                await asyncio.sleep(0.001)
        try:
            if self.later:
                await asyncio.Event().wait()
            if self.obey(run, "prepare"):
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.told += 1
            raise

    async def restart_in_loop(self, run):
        self.obey(run, "restart")


def nodes_of(ss):
    nodes = ss.nodes
    return {
        "generation": nodes.generation,
        "nodes": [
            {
                "id": node.id,
                "host": node.host,
                "port": node.port,
                "labels": dict(node.labels),
                "data": node.data.use() if node.data is not None else None,
            }
            for node in nodes
        ],
    }


def outcome_of(outcome):
    return {
        "verdict": outcome.verdict,
        "code": outcome.error,
        "words": outcome.message,
        "run": outcome.run,
        "generation": outcome.generation,
        "requests": outcome.requests,
        "status": outcome.status,
    }


def burst(ss, count, threads):
    tickets = []
    crowd = [threading.Thread(target=lambda: tickets.extend(ss.request() for _ in range(count // threads))) for _ in range(threads)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    return {"tickets": sorted(set(tickets))}


def read(ss, times):
    class Own:
        pass

    own = Own()
    own.nodes = ()
    begun = time.thread_time_ns()  # of the processor: other programs do not count
    for _ in itertools.repeat(None, times):
        ss.nodes  # noqa: B018
    middle = time.thread_time_ns()
    for _ in itertools.repeat(None, times):
        own.nodes  # noqa: B018
    return {"ns": (middle - begun) / times, "own_ns": (time.thread_time_ns() - middle) / times}


def process():
    with open("/proc/self/statm", encoding="ascii") as statm:
        pages = int(statm.read().split()[1])
    return {
        "threads": len(os.listdir("/proc/self/task")),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "rss_kib": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }


def simple(ss, application, command):
    """What needs no waiting."""
    do = command["do"]
    if do == "hello":
        return {"language": "Python", "version": sys.version.split()[0], "library": safestart.version(), "forks": True}
    if do == "replace":
        return {"ticket": ss.replace(command["json"])}
    if do == "announce":
        return {"ticket": ss.announce(command["node"], command["address"], command["incarnation"])}
    if do == "withdraw":
        return {"ticket": ss.withdraw(command["node"])}
    if do == "request":
        return {"ticket": ss.request(command["reason"], force=command["force"], urgent=command["urgent"])}
    if do == "burst":
        return burst(ss, command["count"], command["threads"])
    if do == "script":
        application.script = {"prepare": command["prepare"], "restart": command["restart"]}
        return {}
    if do == "later":
        application.later = True
        return {}
    if do == "nodes":
        return nodes_of(ss)
    if do == "report":
        ss.nodes.get(command["node"]).report(command["code"])
        return {}
    if do == "state":
        return ss.state(command["node"])._asdict()
    if do == "status":
        return {"status": ss.status()}
    if do == "metrics":
        return {"text": ss.metrics()}
    if do == "read":
        return read(ss, command["times"])
    if do == "shutdown":
        ss.shutdown()
        return {}
    raise AssertionError(do)


def write(identity, answer):
    sys.stdout.write(json.dumps({"id": identity, **answer}) + "\n")
    sys.stdout.flush()


def error_of(error):
    return {"error": -(error.errno or 5), "message": error.strerror or str(error)}


def counts(application, beats):
    names = ("made", "retired", "used_after_retire", "made_sets", "retired_sets")
    return {**{name: getattr(Connection, name) for name in names}, "heartbeat": beats, "told": application.told, **process()}


def child_answer(outcome, ss, generation):
    data = all(node.data is not None and node.data.number > 0 and not node.data.closed for node in ss.nodes)
    return {"generation": generation, "verdict": outcome.verdict, "data": data}


def answer_of_child(pid, descriptor):
    with os.fdopen(descriptor, encoding="utf-8") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    return {"child": json.loads(text) if text and status == 0 else {"status": status, "verdict": None, "data": False}}


def end(how):
    if how == "exit":
        sys.exit(3)
    if how == "throw":
        raise RuntimeError("the end")
    gc.collect()


class Threads:
    """With safestart.Safestart: the main thread reads the commands."""

    def __init__(self):
        self.application, self.ss, self.beats, self.lock = Application(), None, 0, threading.Lock()

    def beat(self):
        while True:
            time.sleep(0.01)
            self.beats += 1

    def answer(self, identity, answer):
        with self.lock:
            write(identity, answer)

    def outcome(self, command):
        """A future, which ends by its answer, by its time or by its cancellation, and takes no thread."""
        identity, timers, begun = command["id"], [], time.monotonic()
        future = self.ss.future(command["ticket"])

        def after(milliseconds, then):
            timer = threading.Timer(milliseconds / 1000, lambda: future.cancel() and self.answer(identity, then()))
            timer.daemon = True
            timers.append(timer)

        def done(future):
            for timer in timers:
                timer.cancel()
            if not future.cancelled():
                self.answer(identity, error_of(future.exception()) if future.exception() else outcome_of(future.result()))

        if command["timeout_ms"] >= 0:
            after(command["timeout_ms"], lambda: {"timeout": True})
        if command["cancel_after_ms"] is not None:
            due = begun + command["cancel_after_ms"] / 1000
            after(command["cancel_after_ms"], lambda: {"cancelled": True, "after_ms": max(0, time.monotonic() - due) * 1000})
        for timer in timers:
            timer.start()
        future.add_done_callback(done)

    def fork(self, when):
        application = self.application
        if when == "prepare":
            application.forking = (threading.Event(), threading.Event())
            ticket = self.ss.replace('[{"targets":["10.9.9.9:9"],"labels":{"id":"forked"}}]')
            application.forking[0].wait()
            go_on, application.forking = application.forking[1], None  # before the fork: the child's threads begin at once
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                generation = self.ss.nodes.generation
                outcome = self.ss.outcome(self.ss.request(), 20)
                os.write(writer, json.dumps(child_answer(outcome, self.ss, generation)).encode())
                self.ss.close()
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writer)
        if when == "prepare":
            go_on.set()
            self.ss.outcome(ticket, 20)
        return answer_of_child(pid, reader)

    def obey(self, command):
        do = command["do"]
        if do == "open":
            self.ss = safestart.Safestart(self.application.prepare, self.application.restart, **command["settings"])
            return {}
        if do == "outcome":
            self.outcome(command)
            return None
        if do == "counts":
            beats, self.beats = self.beats, 0
            return counts(self.application, beats)
        if do == "fork":
            return self.fork(command["when"])
        if do == "close":
            begun = time.monotonic()
            self.ss.close()
            return {"ms": (time.monotonic() - begun) * 1000}
        return simple(self.ss, self.application, command)

    def run(self):
        threading.Thread(target=self.beat, daemon=True).start()
        for line in sys.stdin:
            command = json.loads(line)
            if command["do"] == "end":
                if command["how"] == "drop":
                    self.ss = None
                return end(command["how"])
            try:
                answer = self.obey(command)
                if answer is not None:
                    self.answer(command["id"], answer)
            except OSError as error:
                self.answer(command["id"], error_of(error))


class Loop:
    """With safestart.aio.Safestart: everything in one loop."""

    def __init__(self):
        self.application, self.ss, self.beats, self.tasks = Application(), None, 0, set()

    async def beat(self):
        while True:
            await asyncio.sleep(0.01)
            self.beats += 1

    async def outcome(self, command):
        timeout = command["timeout_ms"] / 1000 if command["timeout_ms"] >= 0 else None
        wait = asyncio.ensure_future(self.ss.outcome(command["ticket"], timeout))
        if command["cancel_after_ms"] is not None:
            await asyncio.sleep(command["cancel_after_ms"] / 1000)
            begun = time.monotonic()
            wait.cancel()
            await asyncio.wait({wait})
            if wait.cancelled():
                return {"cancelled": True, "after_ms": (time.monotonic() - begun) * 1000}
        try:
            return outcome_of(await wait)
        except TimeoutError:
            return {"timeout": True}

    async def in_child(self, writer):
        generation = self.ss.nodes.generation
        await self.ss.after_fork()
        outcome = await self.ss.outcome(self.ss.request(), 20)
        os.write(writer, json.dumps(child_answer(outcome, self.ss, generation)).encode())
        await self.ss.close()

    async def fork(self, when):
        application = self.application
        if when == "prepare":
            application.forking = (asyncio.Event(), asyncio.Event())
            ticket = self.ss.replace('[{"targets":["10.9.9.9:9"],"labels":{"id":"forked"}}]')
            await application.forking[0].wait()
            go_on, application.forking = application.forking[1], None  # before the fork: the child's threads begin at once
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                asyncio._set_running_loop(None)
                asyncio.run(self.in_child(writer))
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writer)
        if when == "prepare":
            go_on.set()
            await self.ss.outcome(ticket, 20)
        return answer_of_child(pid, reader)

    async def obey(self, command):
        do = command["do"]
        if do == "open":
            self.ss = safestart.aio.Safestart(self.application.prepare_in_loop, self.application.restart_in_loop, **command["settings"])
            return {}
        if do == "outcome":
            return await self.outcome(command)
        if do == "counts":
            beats, self.beats = self.beats, 0
            return counts(self.application, beats)
        if do == "fork":
            return await self.fork(command["when"])
        if do == "close":
            begun = time.monotonic()
            await self.ss.close()
            return {"ms": (time.monotonic() - begun) * 1000}
        return simple(self.ss, self.application, command)

    async def answer(self, command):
        try:
            write(command["id"], await self.obey(command))
        except OSError as error:
            write(command["id"], error_of(error))

    async def commands(self):
        self.tasks.add(asyncio.ensure_future(self.beat()))
        reader = asyncio.StreamReader(limit=2**26)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            if command["do"] == "end":
                if command["how"] == "drop":
                    self.ss = None
                return end(command["how"])
            task = asyncio.ensure_future(self.answer(command))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            if command["do"] != "outcome":
                await task

    def run(self):
        asyncio.run(self.commands())


{"threads": Threads, "loop": Loop}[sys.argv[1]]().run()
