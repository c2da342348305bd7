# SPDX-License-Identifier: LGPL-2.1-or-later
"""A reload that never ended silently blocked every later one (monitoring servers). [P14]"""
import os
import signal
import time

from scene import ApiServer, Host, Load, check, document, eventually, in_parallel, repeat, replace


def callback(scene):
    """prepare never returns."""
    host = Host(scene, "debounce=0", "retry_min=0", "run_timeout=400ms")
    host.push(document("n0"))
    host.tell("readers 2 1")
    slowest, rounds = 0.0, repeat(4)
    for number in range(rounds):
        host.prepare("hold")
        outcome = host.push(document("n0", f"n-{number + 1}"))
        check(outcome.verdict == "timed out", f"{outcome}")
        reads = host.figures()["reads"]
        began = time.monotonic()
        ticket, status = host.request(), host.status()
        slowest = max(slowest, time.monotonic() - began)
        check(status["callback"]["name"] == "prepare" and status["generation"] == number + 1, f"{status['callback']}")
        waited = host.wait(ticket)
        check(waited.verdict == "timed out" and waited.error == -16 and "prepare" in waited.message, f"{waited}")
        eventually("readers to go on", lambda: host.figures()["reads"] > reads)
        check(host.status()["callback"]["wedged"], "the status does not say that it is wedged")
        host.prepare("ok")  # it returns at last; there is no new request
        eventually("the change to be live by itself", lambda: f"n-{number + 1}" in host.ids())
        host.ask()  # joins a run that is still due
    check(host.figures()["most_inside"] == 1, "callbacks overlapped")
    host.stop()
    return f"{rounds} times a callback that stays: timed out, named in the answer and in status, request and status within {slowest * 1000:.0f} ms, applied by itself when it returned"


def node(scene):
    """A new node accepts connections and then sends nothing; the reload waits for it without success."""
    nodes = scene.redis(4)
    replace(scene.nodes_path, scene.document(nodes[:3]))
    server = ApiServer(scene, scene.nodes_path, "run_timeout=300ms", "retry_max=500ms", "debounce=10ms")
    load = Load(scene, server)
    os.kill(nodes[3].process.pid, signal.SIGSTOP)
    replace(scene.nodes_path, scene.document(nodes))
    server.hang_up()
    eventually("the reload to time out", lambda: server.status()["runs"]["timed_out"])
    check(len(server.ids()) == 3, "the three nodes are live")
    os.kill(nodes[3].process.pid, signal.SIGCONT)
    eventually("the node to be in use", lambda: server.proven() == 4)
    answered = load.end()
    server.stop()
    return f"a node that accepts and is silent: {answered} requests answered, 0 failed; in use once it speaks"


def play(scene):
    parts = [lambda: callback(scene)] + [lambda: node(scene)] * scene.has_api_server()
    return "; ".join(in_parallel(*parts))
