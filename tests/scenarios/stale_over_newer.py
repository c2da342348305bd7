# SPDX-License-Identifier: LGPL-2.1-or-later
"""A slow worker applied its old plan over a newer one, and the newer one was then removed as stale (cloud DNS, 2025). [P10 P14]"""
import threading

from scene import Host, Registry, check, document, eventually, repeat

SETTINGS = ("debounce=0", "reconcile=0", "retry_min=0", "run_timeout=600ms", "max_shrink=100%")


class Plans:
    """The registry's plans, each newer than the one before."""

    def __init__(self):
        self.number, self.late = 0, set()
        self.registry = Registry(self.next())

    def next(self):
        self.number += 1
        return document("n0", f"plan-{self.number}")

    def change(self, late=False):
        """`late`: the run that reads this plan will be too late."""
        self.registry.text = self.next()
        if late:
            self.late.add(self.number)


def await_newest(host, plans):
    """A further request joins or follows every run that is still due; a slow machine may need one more."""
    eventually("a run to end well", lambda: host.ask().verdict in ("applied", "unchanged"))
    check(f"plan-{plans.number}" in host.ids(), f"plan-{plans.number} is the newest, live is {host.ids()}")


def time_out(host):
    outcome = host.ask()
    check(outcome.verdict == "timed out", f"the hanging run did not time out: {outcome}")


def finished_late(host, plans):
    """prepare returned LATER, its run timed out, a newer set went live, then it finishes."""
    plans.change(late=True)
    host.prepare("later")
    eventually("a run to be parked", lambda: time_out(host) or host.figures()["parked"])
    host.prepare("ok")
    plans.change()
    await_newest(host, plans)
    said = host.tell("finish").split()
    check(set(said) == {"-116"}, f"finishing late returned {said}, not -ESTALE")
    await_newest(host, plans)


def returned_late(host, plans):
    """prepare hung beyond its deadline, the source changed, then it returns 0 as if nothing had happened."""
    plans.change(late=True)
    host.prepare("hold")
    time_out(host)
    plans.change()
    ticket = host.request()
    host.prepare("ok")  # it returns; a run starts by itself
    host.wait(ticket)
    await_newest(host, plans)


def read_late(host, plans):
    """The source itself was slow: it hands over its old answer after the deadline, when a newer one is there."""
    release = threading.Event()
    plans.change(late=True)
    old = plans.registry.text

    def slow():
        release.wait(60)
        return 200, old
    plans.registry.answer = slow
    time_out(host)
    plans.registry.answer = None
    plans.change()
    ticket = host.request()
    release.set()
    host.wait(ticket)
    await_newest(host, plans)


def play(scene):
    plans = Plans()
    host = Host(scene, plans.registry.source, *SETTINGS)
    await_newest(host, plans)
    rounds = repeat(2)
    for _ in range(rounds):
        for way in (finished_late, returned_late, read_late):
            way(host, plans)
    # Then it was emptied: an empty set has to be refused.
    plans.registry.text = "[]"
    check(host.ask().verdict == "refused" and len(host.ids()) == 2, "an empty set was taken")
    host.stop()
    history = [(generation, next(int(name[5:]) for name in ids if name != "n0")) for generation, ids in host.history()]
    check(history == sorted(history), f"(generation, plan) went back: {history}")
    check(not plans.late & {plan for _, plan in history}, f"of the late plans {plans.late} one was live: {history}")
    return f"{3 * rounds} results came too late (finished, returned, read late): none went live, {history[-1][0]} generations and their plans in order"
