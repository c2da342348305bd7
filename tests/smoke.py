#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls every public function once, through ctypes, as a language binding does. usage: smoke.py LIBRARY MAP"""
import ctypes as c
import os
import re
import select
import sys
import tempfile

library, symbol_map = sys.argv[1:]
exported = set(re.findall(r"^\s+(safestart_\w+);", open(symbol_map).read(), re.M))
called = set()


class Outcome(c.Structure):
    _fields_ = [("size", c.c_size_t), ("run", c.c_uint64), ("generation", c.c_uint64), ("requests", c.c_uint64),
                ("attempts", c.c_uint32), ("quarantined", c.c_uint32), ("verdict", c.c_int32), ("error", c.c_int32),
                ("message", c.c_char * 256), ("ticket", c.c_uint64), ("status", c.c_int32), ("pid", c.c_int32),
                ("merged", c.c_uint64)]


RUN = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p)
DATA = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)
LOG = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)
OUTCOME = c.CFUNCTYPE(None, c.POINTER(Outcome), c.c_void_p)


class Callbacks(c.Structure):
    _fields_ = [("size", c.c_size_t), ("prepare", RUN), ("retire", DATA), ("log", LOG), ("outcome", OUTCOME),
                ("retire_node", DATA), ("restart", RUN)]


OPEN = c.CFUNCTYPE(c.c_int, c.POINTER(c.c_void_p), c.c_void_p, c.c_void_p, c.c_size_t, c.c_void_p)
GATHER = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p)
CLOSE = c.CFUNCTYPE(None, c.c_void_p)


class Setting(c.Structure):
    _fields_ = [("key", c.c_char_p), ("value", c.c_char_p), ("help", c.c_char_p)]


class Source(c.Structure):
    _fields_ = [("size", c.c_size_t), ("scheme", c.c_char_p), ("settings", c.POINTER(Setting)), ("open", OPEN),
                ("gather", GATHER), ("close", CLOSE), ("fd", c.c_void_p), ("hint", c.c_void_p)]


dll = c.CDLL(library)
POINTERS = {"conf_new", "snapshot_acquire", "read_lock", "snapshot_at", "snapshot_find", "snapshot_data", "node_data", "run_current",
            "run_candidate", "run_change", "run_changes_json", "generation_address", "snapshot_json", "status_json", "metrics_text"}
STRINGS = {"version", "strerror", "node_id", "node_host", "node_label", "node_label_at", "source_argument", "source_value"}
NUMBERS = {"request_restart", "request", "generation", "snapshot_generation", "run_number", "snapshot_size", "gather_max_bytes", "node_key", "snapshot_key"}
NOTHING = {"conf_free", "free", "read_unlock", "snapshot_release", "run_set_data", "run_set_status", "gather_warn"}


def call(name, *arguments):
    function = dll["safestart_" + name]
    function.restype = (c.c_void_p if name in POINTERS else c.c_char_p if name in STRINGS else c.c_uint64 if name in NUMBERS
                        else None if name in NOTHING else c.c_int)
    called.add("safestart_" + name)
    return function(*[c.c_void_p(a) if isinstance(a, int) and a > 0xffffffff else a for a in arguments])


def fine(name, *arguments):
    result = call(name, *arguments)
    assert result is not None and result >= 0, f"{name}: {result} {call('strerror', result)}"
    return result


def text(name, *arguments):
    pointer = call(name, *arguments)
    assert pointer, name
    value = c.string_at(pointer)
    call("free", pointer)
    return value


NODES = b'[{"targets":["10.0.0.1:1"],"labels":{"id":"a","zone":"z"}},{"targets":["10.0.0.2:1"],"labels":{"id":"b"}}]'
seen = []


@RUN
def prepare(run, _):
    kind, other = c.c_int(), c.c_int()
    assert call("run_number", run) >= 1 and call("run_cancelled", run) == 0
    assert call("run_current", run)
    candidate = call("run_candidate", run)
    node = call("run_change", run, c.c_size_t(0), c.byref(kind))
    assert node and kind.value == 1 and not call("run_change", run, c.c_size_t(99), c.byref(other))
    fine("run_set_node_data", run, node, c.c_void_p(1))
    call("run_set_data", run, c.c_void_p(2))
    fine("run_reject", run, b"b", b"not this one")
    assert call("snapshot_size", candidate) == 2
    return 1  # SAFESTART_LATER: finished below


@RUN
def restart(run, _):
    seen.append("restart")
    call("run_set_status", run, 3)
    return 0


callbacks = Callbacks(c.sizeof(Callbacks), prepare, DATA(lambda d, _: seen.append(("retire", d))), LOG(lambda l, m, _: seen.append(m)),
                      OUTCOME(lambda o, _: seen.append(("outcome", o.contents.verdict))), DATA(lambda d, _: seen.append(("retire_node", d))), restart)
runs = []
inner_prepare = prepare


@RUN
def remember(run, user_data):
    result = inner_prepare(run, user_data)
    runs.append(run)
    return result


callbacks.prepare = remember
assert re.match(rb"\d+\.\d+\.\d+$", call("version"))
assert call("strerror", -34) == call("strerror", 34) == b"a guard rail refused the set"
assert call("setting", c.c_size_t(0), None, None, None) == 0 and call("setting", c.c_size_t(999), None, None, None) == -2

conf, ss, why = call("conf_new"), c.c_void_p(), c.create_string_buffer(256)
for key, value in ((b"debounce", b"0"), (b"thread", b"no"), (b"retry_min", b"0")):
    fine("conf_set", conf, key, value, why, c.c_size_t(256))
assert call("conf_set", conf, b"debonce", b"1s", why, c.c_size_t(256)) == -22 and b"debounce" in why.value
fine("conf_set_callbacks", conf, c.byref(callbacks), None)
assert call("check", conf, NODES, why, c.c_size_t(256)) == 0
assert call("target_id", conf, b"H:01", why, c.c_size_t(256)) == 3 and why.value == b"h:1"
fine("open", c.byref(ss), conf, why, c.c_size_t(256))
handle, ticket, outcome = ss.value, c.c_uint64(), Outcome(c.sizeof(Outcome))
assert call("fd", handle) >= 0 and call("last_outcome", handle, c.byref(outcome)) == -11
fine("nodes_replace", handle, NODES, c.byref(ticket), why, c.c_size_t(256))
while not runs:
    fine("dispatch", handle, 1000)
assert call("run_fail", None, -5, b"no run") == -22
fine("run_finish", runs[0], 0)
fine("wait", handle, ticket, 10000, c.byref(outcome))
assert (outcome.verdict, outcome.quarantined, outcome.ticket) == (0, 1, 1), outcome.message
assert (outcome.status, outcome.pid) == (3, os.getpid())
fine("wait_ready", handle, 0)
assert call("generation", handle) == 1 and c.c_uint64.from_address(call("generation_address", handle)).value == 1
fine("try_wait", handle, ticket, c.byref(outcome))
assert call("forked", handle) == 0
snapshot = call("read_lock", handle)
assert call("snapshot_generation", snapshot) == 1 and call("snapshot_data", snapshot) == 2
call("read_unlock", handle)
snapshot = call("snapshot_acquire", handle)
node = call("snapshot_at", snapshot, c.c_size_t(0))
assert node == call("snapshot_find", snapshot, b"a") and call("node_data", node) == 1
assert (call("node_id", node), call("node_host", node), call("node_port", node) & 0xffff) == (b"a", b"10.0.0.1", 1)
assert call("node_label", node, b"zone") == b"z" == call("node_label_at", node, c.c_size_t(0), None)
fine("node_report", node, 0)
assert call("node_state", handle, b"a", why, c.c_size_t(256)) == 3, why.value
assert b'"a"' in text("snapshot_json", snapshot) and b'"generation":1' in text("status_json", handle)
assert b"safestart_generation{" in text("metrics_text", handle)
call("snapshot_release", snapshot)
assert call("request_restart", handle) == 2 and call("request", handle, 2, b"why not") == 2
fine("node_announce", handle, b"a", b"10.0.0.1:1", None, None)
fine("node_withdraw", handle, b"b", None)
fine("after_fork", handle)
assert call("after_fork_set", handle, b"name", b"x", why, c.c_size_t(256)) == -16 and b"forked child" in why.value
fine("shutdown", handle)
fine("close", handle)
call("conf_free", conf)
assert "restart" in seen and ("retire", 2) in seen and ("retire_node", 1) in seen and ("outcome", 0) in seen, seen


# A program that no thread of a library may call takes events. (Callbacks, above, is as it was before `committed`.)
class Event(c.Structure):
    _fields_ = [("size", c.c_size_t), ("kind", c.c_int32), ("level", c.c_int32), ("run_number", c.c_uint64), ("run", c.c_void_p),
                ("key", c.c_uint64), ("outcome", c.POINTER(Outcome)), ("text", c.c_char_p)]


PREPARE, RESTART, COMMITTED, CANCELLED, RETIRE, RETIRE_NODE, OUTCOME_EVENT, LOG_EVENT = range(1, 9)
conf = call("conf_new")
for key, value in ((b"events", b"pull"), (b"debounce", b"0")):
    fine("conf_set", conf, key, value, why, c.c_size_t(256))
assert call("open", c.byref(ss), conf, why, c.c_size_t(256)) == 0, why.value
handle, event, kinds = ss.value, Event(c.sizeof(Event)), []
fine("nodes_replace", handle, NODES, None, why, c.c_size_t(256))
while OUTCOME_EVENT not in kinds:
    assert select.select([call("event_fd", handle)], [], [], 60)[0]
    assert call("next_event", handle, c.byref(event)) == 1
    if event.kind != LOG_EVENT:
        kinds.append(event.kind)
    if event.kind == PREPARE:
        changes = text("run_changes_json", event.run)
        assert changes.startswith(b'[{"change":"added","id":"a","host":"10.0.0.1","port":1,'), changes
        fine("run_set_node_key", event.run, b"a", c.c_uint64(2**63 + 1))
        fine("run_set_key", event.run, c.c_uint64(5))
    if event.kind in (PREPARE, RESTART):
        fine("run_finish", event.run, 0)
assert kinds == [PREPARE, COMMITTED, RESTART, OUTCOME_EVENT] and event.outcome.contents.verdict == 0, kinds
snapshot = call("snapshot_acquire", handle)
assert call("snapshot_key", snapshot) == 5 and call("node_key", call("snapshot_find", snapshot, b"a")) == 2**63 + 1
call("snapshot_release", snapshot)
fine("close", handle)
call("conf_free", conf)


# A source in another language.
@OPEN
def source_open(state, source_conf, _why, _size, _user):
    assert call("source_argument", source_conf) == b"there" and call("source_value", source_conf, b"toy_mode") == b"slow"
    state[0] = 1
    return 0


pending = []


@GATHER
def source_gather(_state, gather):
    assert call("gather_forced", gather) == 0 and call("gather_cancelled", gather) == 0 and call("gather_max_bytes", gather) > 1000
    if not pending:
        pending.append(gather)
        assert call("gather_unchanged", gather) == -11
        call("gather_warn", gather, b"a word")
        fine("gather_json", gather, NODES, c.c_size_t(len(NODES)))
        return fine("gather_finish", gather, 0) or 1
    return call("gather_fail", gather, -5, b"no luck")


settings = (Setting * 2)(Setting(b"toy_mode", b"fast", b"how"), Setting(None, None, None))
source = Source(c.sizeof(Source), b"toy", settings, source_open, source_gather, CLOSE(lambda s: seen.append("closed")), None, None)
conf = call("conf_new")
fine("conf_add_source", conf, c.byref(source), None)
for key, value in ((b"source", b"toy:there"), (b"toy_mode", b"slow"), (b"thread", b"no"), (b"debounce", b"0")):
    fine("conf_set", conf, key, value, why, c.c_size_t(256))
assert call("open", c.byref(ss), conf, why, c.c_size_t(256)) == 0, why.value
fine("wait_ready", ss, 10000)
fine("wait", ss, c.c_uint64(call("request_restart", ss)), 10000, c.byref(outcome))
assert outcome.verdict == 3 and outcome.error == -5 and b"no luck" in outcome.message, outcome.message
fine("close", ss)
call("conf_free", conf)
assert "closed" in seen
missing = exported - called
assert not missing, f"never called: {sorted(missing)}"
print(f"{len(called)} functions called")
