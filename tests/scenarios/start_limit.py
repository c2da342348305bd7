# SPDX-License-Identifier: LGPL-2.1-or-later
"""Too many failed reloads in a row, and the service manager refused every further one until it was reset by hand (switches). [P5 P9]"""
import time

from scene import URGENT, Host, Registry, check, document, repeat


def play(scene):
    registry = Registry(document("n0", "n1"))
    host = Host(scene, registry.source, "debounce=10ms", "retry_max=30s", "reconcile=0")
    host.ask()
    failures = repeat(400)
    registry.text = "[{"
    for number in range(failures):
        if number == failures // 2:
            registry.answer = lambda: (500, "")
        outcome = host.ask(URGENT if number % 4 else 0)
        check(outcome.verdict in ("refused", "failed") and outcome.ticket == number + 2, f"{outcome}")
    # By now the pause before the next retry is at least 15 s; a request does not wait for it.
    check(host.status()["next_run_in_seconds"] > 5, f"{host.status()['next_run_in_seconds']}")
    last = outcome.run
    registry.answer, registry.text = None, document("n0", "n2")
    began = time.monotonic()
    outcome = host.ask()
    took = time.monotonic() - began
    check(outcome.verdict == "applied" and host.ids() == ["n0", "n2"], f"{outcome}")
    check(outcome.run == last + 1, f"it was not the next run: {outcome}")
    host.stop()
    return f"{failures} failing requests in a row, each answered; the good one after them applied by its own run, {took * 1000:.0f} ms later"
