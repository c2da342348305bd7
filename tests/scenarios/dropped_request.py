# SPDX-License-Identifier: LGPL-2.1-or-later
"""A request that came while a reload was inside its callback was silently dropped (log shippers, service managers). [P2 P3]"""
from scene import Host, Registry, check, document, eventually, in_parallel, repeat

HOOKS = 3


def play(scene):
    registry = Registry(document("n0"))
    host = Host(scene, registry.source, "debounce=0", "reconcile=0", "retry_min=0")
    host.ask()
    rounds = repeat(25)
    for number in range(1, rounds + 1):
        registry.text = document("n0", f"early-{number}")
        host.prepare("hold")
        first = host.request()
        eventually("prepare to be inside", lambda: host.figures()["inside"])
        before = host.runs()
        # The source is read already: a change from now on is seen by a further run, or never.
        registry.text = document("n0", f"late-{number}")
        late = in_parallel(*[host.request] * HOOKS)
        check(len(set(late)) == 1 and late[0] != first, f"tickets {late} during the run of {first}")
        check(host.runs() == before, "a run ended while its callback was still in progress")
        host.prepare("ok")
        answers = [host.wait(ticket) for ticket in late]
        check({answer.verdict for answer in answers} == {"applied"}, f"answered {answers}")
        check(host.ids() == ["late-%d" % number, "n0"], f"live is {host.ids()}")
        check(host.wait(first).run + 1 == answers[0].run, f"{first} and {late} are not neighbouring runs")
        check(answers[0].requests == HOOKS, f"the further run covers {answers[0].requests} requests")
        check(host.runs() == before + 2 and host.figures()["most_inside"] == 1, f"{host.runs() - before} runs")
    host.stop()
    return f"{rounds} reloads, in each {HOOKS} hooks asked while prepare was inside: {rounds} further runs, every late change live, 0 requests lost"
