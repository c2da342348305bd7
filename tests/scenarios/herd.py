# SPDX-License-Identifier: LGPL-2.1-or-later
"""After a short outage every process asked for its membership at the same moment, which kept the service down (cloud database, 2015). [P15]"""
import collections
import re
import time

from scene import Host, Registry, check, document, eventually

PROCESSES = 50
RETRY_MIN, RETRY_MAX = 0.05, 1.0
OUTAGE_S = 5.0


def most_reads(lasted):
    """How many reads backoff allows one process: each pause is at least half of the doubled value."""
    reads, pause, spent = 1, RETRY_MIN, 0.0
    while spent <= lasted:
        spent += pause / 2
        pause = min(pause * 2, RETRY_MAX)
        reads += 1
    return reads


def capped_pauses(hosts):
    """The pauses of the outage, in seconds, from the log, from when they had doubled up to the limit."""
    pauses = []
    for host in hosts:
        with open(host.log, encoding="utf-8") as log:
            found = re.findall(r"answers with an error;.*retrying in ([0-9.]+) (ms|s)\b", log.read())
        pauses += [float(number) / (1000 if unit == "ms" else 1) for number, unit in found][6:]
    return pauses


def play(scene):
    registry = Registry(document("n0", "n1"))
    settings = ("debounce=10ms", "reconcile=0", f"retry_min={int(RETRY_MIN * 1000)}ms", f"retry_max={int(RETRY_MAX * 1000)}ms")
    hosts = [Host(scene, registry.source, *settings, started=False) for _ in range(PROCESSES)]
    for host in hosts:
        host.await_start()
        eventually("the first load", lambda: host.ids() == ["n0", "n1"])

    registry.answer = lambda: (503, "")
    before, began = len(registry.reads), time.monotonic()
    for host in hosts:
        host.hang_up()
    time.sleep(OUTAGE_S)
    registry.text = document("n0", "n2")
    registry.answer, lasted, returned = None, time.monotonic() - began, time.monotonic()
    during = [pid for at, pid in registry.reads[before:] if at < returned]
    busiest = max(collections.Counter(during).values())
    check(len(set(during)) == PROCESSES, f"{len(set(during))} of {PROCESSES} processes asked during the outage")
    check(busiest <= most_reads(lasted), f"one process asked {busiest} times in {lasted:.1f} s, {most_reads(lasted)} are allowed")
    for host in hosts:
        eventually("the process to have the change", lambda: host.ids() == ["n0", "n2"])
    converged = time.monotonic() - returned

    # When they asked depends on the machine too; which pauses they chose does not.
    pauses = capped_pauses(hosts)
    check(len(pauses) >= PROCESSES and min(pauses) >= RETRY_MAX / 2 - 0.001 and max(pauses) <= RETRY_MAX + 0.001, f"{len(pauses)} pauses from {min(pauses)} to {max(pauses)}")
    tenths = collections.Counter(int((pause - RETRY_MAX / 2) / (RETRY_MAX / 20)) for pause in pauses)
    check(max(tenths.values()) < 0.4 * len(pauses), f"pauses are not spread: {sorted(tenths.items())} of {len(pauses)}")
    after = [at - returned for at, _ in registry.reads if at >= returned]
    crowd = max(collections.Counter(int(at / 0.1) for at in after).values())
    for host in hosts:
        host.stop()
    return (f"{PROCESSES} processes, {lasted:.1f} s of outage: {len(during)} reads, {busiest} by the busiest (allowed: {most_reads(lasted)}); then {len(after)} reads, "
            f"at most {crowd} in a tenth of a second, all have the change after {converged:.1f} s")
