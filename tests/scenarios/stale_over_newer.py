# SPDX-License-Identifier: LGPL-2.1-or-later
"""A slow worker applied its old plan over a newer one, and the newer one was then removed as stale (cloud DNS, 2025). [P10 P14]"""
import threading

from scene import Host, Registry, check, document, repeat

SETTINGS = ("debounce=0", "reconcile=0", "retry_min=0", "run_timeout=150ms", "max_shrink=100%")


class Plans:
    """Plans as the registry has them, each newer than the one before."""

    def __init__(self):
        self.number = 0
        self.registry = Registry(self.next())

    def next(self):
        self.number += 1
        return document("n0", f"plan-{self.number}")

    def change(self):
        self.registry.text = self.next()


def check_newest(host, plans):
    """Asking once more joins or follows every run that is still due."""
    check(host.ask().verdict in ("applied", "unchanged"), "asking once more")
    check(f"plan-{plans.number}" in host.ids(), f"plan-{plans.number} is the newest, live is {host.ids()}")


def finished_late(host, plans):
    """prepare answered LATER, its run timed out, a newer set went live, then it finishes."""
    plans.change()
    host.prepare("later")
    check(host.ask().verdict == "timed out", "a run that is never finished did not time out")
    check(host.figures()["parked"] == 1, "not parked")
    host.prepare("ok")
    plans.change()
    check(host.ask().verdict == "applied", "the newer set")
    check(host.tell("finish") == "-116", "finishing late was not told that it is stale")
    check_newest(host, plans)


def returned_late(host, plans):
    """prepare hung beyond its deadline, the source changed, then it returns 0 as if nothing had been."""
    plans.change()
    host.prepare("hold")
    check(host.ask().verdict == "timed out", "a hung prepare did not time out")
    plans.change()
    ticket = host.request()
    host.prepare("ok")  # it returns; a run starts by itself
    host.wait(ticket)
    check_newest(host, plans)


def read_late(host, plans):
    """The source itself was slow: it hands over its old answer after the deadline, when a newer one is there."""
    release = threading.Event()
    old = plans.next()

    def slow():
        release.wait(60)
        return 200, old
    plans.registry.answer = slow
    check(host.ask().verdict == "timed out", "a hung source did not time out")
    plans.registry.answer = None
    plans.change()
    ticket = host.request()
    release.set()
    host.wait(ticket)
    check_newest(host, plans)


def play(scene):
    plans = Plans()
    host = Host(scene, plans.registry.source, *SETTINGS)
    host.ask()
    rounds = repeat(4)
    for _ in range(rounds):
        for way in (finished_late, returned_late, read_late):
            way(host, plans)
    # Then it was emptied: no.
    plans.registry.text = "[]"
    check(host.ask().verdict == "refused" and len(host.ids()) == 2, "an empty set was taken")
    host.stop()
    history = [(generation, next(int(name[5:]) for name in ids if name != "n0")) for generation, ids in host.history()]
    check(history == sorted(history), f"(generation, plan) went back: {history}")
    return f"{3 * rounds} results came too late (finished, returned, read late): none went live over a newer one, {history[-1][0]} generations and their plans in order"
