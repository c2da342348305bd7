# SPDX-License-Identifier: LGPL-2.1-or-later
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

import safestart

# A shell's job in the background ignores SIGINT, and so would Python.
signal.signal(signal.SIGINT, signal.default_int_handler)

QUICK = {"debounce": "0", "retry_min": "0", "max_shrink": "100%"}
LONG = 60  # seconds: what comes at all comes sooner, however busy the machine is


class Connection:
    """Counts what becomes of a node's data."""

    def __init__(self, id):
        self.id, self.closed, self.gone = id, 0, threading.Event()

    def close(self):
        self.closed += 1
        self.gone.set()


def document(*ids, **addresses):
    nodes = {**{id: f"10.0.0.{sum(id.encode()) % 250}:1" for id in ids}, **addresses}
    return [{"targets": [address], "labels": {"id": id}} for id, address in nodes.items()]


def connect(run):
    """A `prepare` that hangs a Connection on each node."""
    for change in run.changes:
        if change.change != "removed":
            run.set_data(change.id, Connection(change.id))


def run_program(text, *arguments, timeout=LONG):
    """Another Python that runs this program, in the same folder as these tests."""
    head = "import conftest, safestart, safestart.aio, os, sys, threading\nfrom conftest import *\n"
    return subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(text), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=os.path.dirname(__file__),
        check=False,
    )


def in_child(function):
    """What function() returns in a forked child, as JSON."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(function()).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0
    return json.loads(text)


@pytest.fixture
def opened():
    """Opens handles that are closed when the test ends."""
    handles = []

    def open_handle(prepare=connect, **more):
        handles.append(safestart.Safestart(prepare, **{**QUICK, **more}))
        return handles[-1]

    yield open_handle
    for handle in handles:
        handle.close()
