# SPDX-License-Identifier: LGPL-2.1-or-later
"""Old generations of workers piled up with every reload until the machine was full (ingress controllers, log routers). [P13 P19]"""
import os
import time

from scene import Host, check, document, eventually, repeat

READERS = 6


def footprint(host):
    pid = host.process.pid
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        rows = dict(line.split(":", 1) for line in status)
    return int(rows["VmRSS"].split()[0]), len(os.listdir(f"/proc/{pid}/fd")), int(rows["Threads"])


def at_rest(host):
    """Without the thread and the socket of a command that has just been answered: the least that is seen."""
    seen = []
    for _ in range(20):
        seen.append(footprint(host))
        time.sleep(0.005)
    return tuple(map(min, zip(*seen)))


def reload_many(host, count):
    """Every reload adds two nodes and removes two, of eight."""
    for number in range(count):
        names = [f"n{(number * 2 + offset) % 64}" for offset in range(8)]
        check(host.push(document(*names)).verdict == "applied", "a reload")


def settle(host, held):
    """What is hung is what the live generation has, and what the one that is owned has."""
    def flat():
        figures = host.figures()
        return figures["handed"] - figures["retired"] == 9 * (1 + held)
    eventually("old generations to be given back", flat)


def play(scene):
    host = Host(scene, "debounce=0", "max_shrink=100%")
    host.push(document("first"))
    host.tell(f"readers {READERS} 3")
    reload_many(host, 300)  # everything that is allocated once has been
    settle(host, 0)
    memory, descriptors, threads = at_rest(host)

    # One reader keeps what it has, the others come and go.
    owned = int(host.tell("own"))
    reloads = repeat(3000)
    reload_many(host, reloads)
    oldest = eventually("the owner to be reported", lambda: host.status()["oldest_reader"])
    check(oldest["generation"] == owned and oldest["by"] == "owner", f"reported is {oldest}")
    settle(host, 1)
    host.tell("disown")
    settle(host, 0)
    eventually("nobody to be reported", lambda: host.status()["oldest_reader"] is None)
    later = at_rest(host)
    check(later[1:] == (descriptors, threads), f"descriptors and threads: {descriptors, threads}, later {later[1:]}")
    check(later[0] < memory + 4096 or scene.sanitizer(), f"resident {memory} KiB, after {reloads} reloads {later[0]} KiB")
    figures = host.figures()
    host.stop()
    return (f"{reloads} reloads, {READERS} slow readers, one that kept generation {owned}: {figures['retired']} pools given back, "
            f"{descriptors} descriptors, {threads} threads and {memory // 1024} MiB before and after ({later[0] - memory:+d} KiB)")
