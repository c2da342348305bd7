# SPDX-License-Identifier: LGPL-2.1-or-later
"""Three nodes were announced at nearly the same moment, three restarts overlapped, and the service was down for 11 minutes (payments, 2017). [P1 P3]"""
import subprocess
import time

from scene import ApiServer, Load, check, eventually, repeat, replace

API_SERVER = True
HOOKS = 3
DEBOUNCE = 0.5


def play(scene):
    nodes = scene.redis(6)
    replace(scene.nodes_path, scene.document(nodes[:3]))
    server = ApiServer(scene, scene.nodes_path, f"debounce={int(DEBOUNCE * 1000)}ms", "max_delay=5s", "reconcile=0")
    load = Load(scene, server)
    before, hooks, rounds, together, coalesced = server.runs(), 0, repeat(6), 0, 0

    def announce(now):
        """One announcement: the file is replaced, then the hook runs; one playbook each, at the same time."""
        replace(scene.nodes_path, scene.document(now))
        return subprocess.Popen(["sh", "-c", f"kill -HUP $(cat {server.pid_file})"], start_new_session=False)

    for number in range(rounds):
        steps = (nodes[:4], nodes[:5], nodes) if number % 2 == 0 else (nodes[:5], nodes[:4], nodes[:3])
        runs, began = server.runs(), time.monotonic()
        commands = [announce(now) for now in steps]
        if number % 3 == 2:  # again, while the first are still in progress
            commands += [announce(steps[-1]) for _ in range(HOOKS)]
        hooks += len(commands)
        codes = [command.wait() for command in commands]
        check(not any(codes), f"hooks ended with {codes}")
        within = time.monotonic() - began
        eventually(f"{len(steps[-1])} nodes to be live", lambda: len(server.ids()) == len(steps[-1]))
        if len(steps[-1]) == len(nodes):
            eventually("all nodes to be in use", lambda: server.proven() == len(nodes))
        eventually("nothing to be due", server.is_quiet)
        together += within < DEBOUNCE / 2
        coalesced += within < DEBOUNCE / 2 and server.runs() == runs + 1
    verdicts = server.status()["runs"]
    runs = sum(verdicts.values()) - before
    check(verdicts["refused"] + verdicts["failed"] + verdicts["timed_out"] == 0, f"{verdicts}")
    check(runs <= 2 * hooks, f"{runs} runs for {hooks} hooks and as many changes of the file")
    # If the machine itself stopped for a while, a second run is right.
    check(2 * coalesced >= together, f"of {together} bursts within {DEBOUNCE / 2} s only {coalesced} became one run")
    answered = load.end()
    server.stop()
    return f"{hooks} hooks, up to {2 * HOOKS} at once: {runs} reloads one after another, none failed; {answered} requests answered meanwhile, 0 failed"
