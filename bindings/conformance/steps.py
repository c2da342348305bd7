# SPDX-License-Identifier: LGPL-2.1-or-later
"""The steps. Each gets a fresh program, and raises Failed; what it returns is shown in the table instead of "pass"."""
import os
import signal
import time

from program import Unsupported, document, expect

APPLIED, UNCHANGED, REFUSED, FAILED, TIMED_OUT, CANCELLED = range(6)
UNKNOWN, ANNOUNCED, LIVE, PROVEN, FAILING, QUARANTINED, RETIRED = range(7)
ENODATA, ERANGE = 61, 34
A = {"a": "10.0.0.1:1"}
AB = {"a": "10.0.0.1:1", "b": "10.0.0.2:1"}


def is_applied(outcome):
    expect(outcome.get("verdict") == APPLIED and outcome["code"] == 0, "not applied:", outcome)
    return outcome


def until(condition, what, seconds=20):
    limit = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < limit, "never came:", what)
        time.sleep(0.01)


def a_bad_setting_is_refused_in_words(program):
    refused = program.refuse("open", settings={"debonce": "1s"})
    expect(refused.code == -22 and "debounce" in refused.message, refused)
    refused = program.refuse("open", settings={"debounce": "soon"})
    expect(refused.code == -22 and "debounce=soon" in refused.message, refused)
    program.open()


def nodes_are_pushed(program):
    program.open()
    outcome = is_applied(program.push({"a": ("10.0.0.1:1", {"zone": "z"}), "b": "[::1]:2"}))
    expect(outcome["generation"] == 1 and outcome["run"] == 1, outcome)
    nodes = program.nodes()
    expect(list(nodes) == ["a", "b"], nodes)
    expect((nodes["a"]["host"], nodes["a"]["port"], nodes["a"]["labels"]) == ("10.0.0.1", 1, {"zone": "z"}), nodes)
    expect((nodes["b"]["host"], nodes["b"]["port"], nodes["b"]["labels"]) == ("::1", 2, {}), nodes)
    expect(sorted([nodes["a"]["data"], nodes["b"]["data"]]) == [1, 2], "an object for each:", nodes)
    refused = program.refuse("replace", json="[{")
    expect(refused.code == -22 and refused.message, refused)


def nodes_come_from_a_file(program):
    path = os.path.join(program.folder, "nodes.json")

    def write(nodes):
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(document(nodes))
        os.rename(path + ".new", path)

    write(A)
    program.open(source=f"file:{path}")
    until(lambda: list(program.nodes()) == ["a"], "the file's nodes")
    write(AB)
    until(lambda: list(program.nodes()) == ["a", "b"], "what the file has now")
    refused = program.refuse("replace", json=document(A))
    expect(refused.code == -95, refused)


def a_node_is_announced_and_withdrawn(program):
    program.open()
    is_applied(program.outcome(program.ask("announce", node="a", address="10.0.0.1:1", incarnation=None)["ticket"]))
    is_applied(program.outcome(program.ask("announce", node="b", address="10.0.0.2:1", incarnation="boot-7")["ticket"]))
    expect(program.nodes()["b"]["labels"] == {"incarnation": "boot-7"}, program.nodes())
    is_applied(program.outcome(program.ask("withdraw", node="a")["ticket"]))
    expect(list(program.nodes()) == ["b"], program.nodes())
    expect(program.refuse("withdraw", node="a").code == -2)
    expect(program.refuse("announce", node="c", address="nowhere", incarnation=None).code == -22)


def force_lifts_a_guard_rail(program):
    program.open(max_shrink="50%")
    is_applied(program.push({name: f"10.0.0.{i}:1" for i, name in enumerate("abcd", 1)}))
    refused = program.push(A)
    expect(refused["verdict"] == REFUSED and refused["code"] == -ERANGE and "SAFESTART_FORCE" in refused["words"], refused)
    is_applied(program.outcome(program.request(force=True, reason="they are gone")))
    expect(list(program.nodes()) == ["a"], program.nodes())


def a_rejected_node_is_left_out(program):
    program.open()
    program.ask("script", prepare="reject:b", restart="ok")
    is_applied(program.push(AB))
    expect(list(program.nodes()) == ["a"], program.nodes())
    state = program.ask("state", node="b")
    expect(state["state"] == QUARANTINED and "not this one" in state["why"], state)


def what_is_thrown_arrives_in_words(program):
    program.open()
    words = "no route to riak-2 – ä"
    program.ask("script", prepare=f"throw:{words}", restart="ok")
    outcome = program.push(A)
    expect(outcome["verdict"] == FAILED and "prepare failed" in outcome["words"] and words in outcome["words"], outcome)
    expect(program.nodes() == {}, program.nodes())
    program.ask("script", prepare="ok", restart=f"throw:{words}")
    outcome = program.push(A)
    expect(outcome["verdict"] == FAILED and "restart failed" in outcome["words"] and words in outcome["words"], outcome)
    program.ask("script", prepare="ok", restart="ok")
    is_applied(program.outcome(program.request()))


def restart_sets_a_status(program):
    program.open()
    program.ask("script", prepare="ok", restart="status:7")
    expect(is_applied(program.push(A))["status"] == 7)


def a_prepare_that_hangs_is_told_and_timed_out(program):
    program.open(run_timeout="300ms")
    program.ask("script", prepare="hang", restart="ok")
    outcome = program.push(A)
    expect(outcome["verdict"] == TIMED_OUT and "`prepare`" in outcome["words"], outcome)
    until(lambda: program.ask("counts")["told"] == 1, "prepare is told that its run was cancelled")
    program.ask("script", prepare="ok", restart="ok")
    is_applied(program.push(AB))


def a_burst_is_one_run(program):
    program.open(debounce="300ms", max_delay="1m")
    before = program.request()
    tickets = program.ask("burst", count=1000, threads=8)["tickets"]
    outcome = program.outcome(tickets[-1])
    expect(tickets == [before], "one ticket:", tickets)
    expect(outcome["requests"] == 1001 and outcome["run"] == 1, outcome)


def a_wait_ends_by_its_time_or_by_cancellation(program):
    program.open(debounce="1h", max_delay="1h")
    ticket = program.request()
    program.ask("counts")
    begun = time.monotonic()
    waits = [program.send("outcome", ticket=ticket, timeout_ms=1000, cancel_after_ms=None) for _ in range(50)]
    cancelled = program.ask("outcome", ticket=ticket, timeout_ms=-1, cancel_after_ms=50)
    expect(cancelled.get("cancelled") is True and cancelled["after_ms"] <= 100, cancelled)
    for number in waits:
        expect(program.answer(number).get("timeout") is True)
    took = time.monotonic() - begun
    expect(0.9 < took < 10, "waiting for 1 s took", took)
    beats = program.ask("counts")["heartbeat"]
    expect(beats >= took * 20, "the runtime's own timer came only", beats, "times in", took, "s")
    expect(program.outcome(ticket, timeout_ms=0).get("timeout") is True)


def tickets_are_known_before_and_for_a_while(program):
    program.open()
    is_applied(program.push(A))
    tickets = []
    for _ in range(1100):
        tickets.append(program.request())
        program.outcome(tickets[-1])
    expect(program.outcome(tickets[-1])["run"] > 1)
    expect(program.refuse("outcome", ticket=1, timeout_ms=1000, cancel_after_ms=None).code == -ENODATA)
    expect(program.refuse("outcome", ticket=tickets[-1] + 9, timeout_ms=1000, cancel_after_ms=None).code == -22)


def a_look_after_the_wait_sees_the_new_set(program):
    program.open()
    for i in range(300):
        outcome = is_applied(program.push({"a": f"10.0.{i % 250}.1:1"}))
        answer = program.ask("nodes")
        expect(answer["generation"] >= outcome["generation"] and answer["nodes"][0]["host"] == f"10.0.{i % 250}.1", i, answer)


def objects_are_made_and_retired_once_each(program):
    """And memory, threads and descriptors stay as they were."""
    reloads = int(os.environ.get("RELOADS", "10000"))
    program.open()
    half = None
    for i in range(reloads):
        is_applied(program.push({"a": f"10.0.{i % 250}.1:1", "b": "10.0.0.2:1"}))
        if i == reloads // 2:
            half = program.ask("counts")
    until(lambda: program.ask("counts")["made"] - program.ask("counts")["retired"] == 2, "all objects but those of the live nodes are retired")
    counts = program.ask("counts")
    expect(counts["made"] == reloads + 1 and counts["used_after_retire"] == 0, counts)
    expect(counts["made_sets"] - counts["retired_sets"] <= 2, counts)
    # A runtime may start a thread more when it is busy, but none a reload.
    expect(counts["threads"] <= half["threads"] + 4 and counts["descriptors"] <= half["descriptors"], half, counts)
    expect(counts["rss_kib"] <= half["rss_kib"] * 1.1 + 4096, "memory grows:", half, counts)
    program.ask("close")
    counts = program.ask("counts")
    expect(counts["made"] == counts["retired"] and counts["made_sets"] == counts["retired_sets"], "close gives all back:", counts)


def reports_make_nodes_proven_or_failing(program):
    program.open()
    is_applied(program.push(A))
    expect(program.ask("state", node="a")["state"] == LIVE)
    program.ask("report", node="a", code=0)
    expect(program.ask("state", node="a")["state"] == PROVEN)
    program.ask("report", node="a", code=-111)
    state = program.ask("state", node="a")
    expect(state["state"] == FAILING and "refused" in state["why"], state)
    expect(program.ask("state", node="nobody")["state"] == UNKNOWN)
    expect(program.ask("status")["status"]["generation"] == 1)
    expect("safestart_generation{" in program.ask("metrics")["text"])


def names_are_utf_8(program):
    program.open()
    is_applied(program.push({"knoten-ä-日本": ("10.0.0.1:1", {"zone": "Köln 🐧"})}))
    nodes = program.nodes()
    expect(nodes["knoten-ä-日本"]["labels"] == {"zone": "Köln 🐧"}, nodes)


def a_shutdown_answers_what_waits(program):
    program.open(debounce="1h", max_delay="1h")
    ticket = program.request()
    waiting = program.send("outcome", ticket=ticket, timeout_ms=-1, cancel_after_ms=None)
    program.ask("shutdown")
    expect(program.answer(waiting)["verdict"] == CANCELLED)
    program.ask("close")


def a_child_goes_on_by_itself(program, when="idle"):
    if not program.ask("hello")["forks"]:
        raise Unsupported
    program.open()
    is_applied(program.push(AB))
    child = program.ask("fork", when=when)["child"]
    expect(child.get("generation", 0) >= 1 and child["verdict"] in (APPLIED, UNCHANGED) and child["data"] is True, child)
    is_applied(program.push(A))
    counts = program.ask("counts")
    expect(counts["used_after_retire"] == 0, counts)
    program.ask("close")


def a_child_forked_inside_prepare_goes_on_by_itself(program):
    a_child_goes_on_by_itself(program, "prepare")


def close_does_not_wait_for_what_is_never_finished(program):
    program.open(run_timeout="1h")
    program.ask("later")
    program.ask("replace", json=document(A))
    until(lambda: program.ask("counts")["made"] == 1, "prepare")
    expect(program.ask("close")["ms"] < 5000)


def it_ends(program, how, code):
    program.open()
    is_applied(program.push(A))
    program.send("end", how=how)
    ended = program.wait()
    expect(ended == code if code is not None else ended > 0, f"`{how}` ended with {ended}\n{program.errors()}")


def it_ends_by_return(program):
    it_ends(program, "return", 0)


def it_ends_by_exit(program):
    it_ends(program, "exit", 3)


def it_ends_by_an_error(program):
    it_ends(program, "throw", None)


def it_ends_with_the_handle_dropped(program):
    it_ends(program, "drop", 0)


def it_ends_while_prepare_is_open(program):
    program.open(run_timeout="1h")
    program.ask("later")
    program.ask("replace", json=document(A))
    until(lambda: program.ask("counts")["made"] == 1, "prepare")
    program.send("end", how="exit")
    expect(program.wait() == 3, program.errors())


def it_ends_by_sigterm(program):
    program.open()
    is_applied(program.push(A))
    os.killpg(program.process.pid, signal.SIGTERM)
    expect(program.wait() in (-signal.SIGTERM, 128 + signal.SIGTERM, 0), program.errors())


def a_crash_in_prepare_is_the_runtime_s_own(program):
    program.open()
    program.ask("script", prepare="crash", restart="ok")
    program.send("replace", json=document(A))
    ended = program.wait()
    expect(ended != 0, "it went on")


def a_cached_look_is_cheap(program):
    """Shown, and judged by nobody: a busy machine is no fault."""
    program.open()
    is_applied(program.push(AB))
    times = [program.ask("read", times=300000) for _ in range(5)]
    ns, own = min(one["ns"] for one in times), min(one["own_ns"] for one in times)
    return f"pass {ns:.1f} / {own:.1f} ns"


STEPS = [
    a_bad_setting_is_refused_in_words, nodes_are_pushed, nodes_come_from_a_file, a_node_is_announced_and_withdrawn, force_lifts_a_guard_rail,
    a_rejected_node_is_left_out, what_is_thrown_arrives_in_words, restart_sets_a_status, a_prepare_that_hangs_is_told_and_timed_out,
    a_burst_is_one_run, a_wait_ends_by_its_time_or_by_cancellation, tickets_are_known_before_and_for_a_while,
    a_look_after_the_wait_sees_the_new_set, objects_are_made_and_retired_once_each, reports_make_nodes_proven_or_failing, names_are_utf_8,
    a_shutdown_answers_what_waits, a_child_goes_on_by_itself, a_child_forked_inside_prepare_goes_on_by_itself,
    close_does_not_wait_for_what_is_never_finished, it_ends_by_return, it_ends_by_exit, it_ends_by_an_error, it_ends_with_the_handle_dropped,
    it_ends_while_prepare_is_open, it_ends_by_sigterm, a_crash_in_prepare_is_the_runtime_s_own, a_cached_look_is_cheap,
]
