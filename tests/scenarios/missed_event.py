# SPDX-License-Identifier: LGPL-2.1-or-later
"""The only event about a change was missed, and the client stayed wrong for ever (database drivers, platforms). [P15]"""
from scene import Host, Registry, check, document, eventually, repeat


def play(scene):
    registry = Registry(document("n0"))
    host = Host(scene, registry.source, "reconcile=300ms", "retry_max=300ms", "max_shrink=100%")
    eventually("the first load", lambda: host.ids() == ["n0"])
    rounds = repeat(6)
    for number in range(rounds):
        if number % 3 == 2:  # an outage in between, and the node disappears without an event
            before = len(registry.reads)
            registry.answer = lambda: (503, "")
            eventually("the outage to be met", lambda: len(registry.reads) > before + 1)
            check(len(host.ids()) == 2, "an outage changed the set")
        registry.answer, registry.text = None, document("n0", f"silent-{number}")
        eventually("the change to be found", lambda: host.ids() == ["n0", f"silent-{number}"])
    check(host.status()["requests"] == 0, "there was a request")
    host.stop()
    return f"{rounds} changes nobody told of: each found by the periodic re-read, 0 requests"
