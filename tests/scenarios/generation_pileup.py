# SPDX-License-Identifier: LGPL-2.1-or-later
"""Old generations of workers piled up with every reload until the machine was full (ingress controllers, log routers). [P13 P19]"""
import os
import socket
import time

from scene import ApiServer, Host, Load, begin, check, document, eventually, in_parallel, repeat, replace

READERS = 6


def footprint(host):
    pid = host.process.pid
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        rows = dict(line.split(":", 1) for line in status)
    return int(rows["VmRSS"].split()[0]), len(os.listdir(f"/proc/{pid}/fd")), int(rows["Threads"])


def at_rest(host):
    """The least of several measurements: without the thread and the socket of a command that was just answered."""
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
    """The data that is not retired is that of the live generation and of the owned one."""
    def flat():
        figures = host.figures()
        return figures["handed"] - figures["retired"] == 9 * (1 + held)
    eventually("old generations to be given back", flat)


def library(scene):
    host = Host(scene, "debounce=0", "max_shrink=100%")
    host.push(document("first"))
    host.tell(f"readers {READERS} 3")
    reload_many(host, 300)  # what is allocated only once has been allocated by then
    settle(host, 0)
    memory, descriptors, threads = at_rest(host)

    # One reader keeps its generation, the others come and go.
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

    # A borrower that stays, which is forbidden: no reload waits for it, and the status names it.
    borrowed = begin(lambda: host.tell("borrow 6500"))
    eventually("the borrower to be inside", lambda: host.figures()["borrowing"])
    before = host.figures()["retired"]
    reload_many(host, 50)
    check(host.figures()["retired"] == before, "data was retired while a reader used it")
    eventually("the borrower to be named", lambda: host.logged("has not called safestart_read_unlock()"))
    oldest = host.status()["oldest_reader"]
    check(oldest is not None and oldest["by"] == "borrower", f"reported is {oldest}")
    borrowed()
    settle(host, 0)
    host.stop()
    return (f"{reloads} reloads, {READERS} slow readers, one that kept generation {owned}: {figures['retired']} pools given back, "
            f"{descriptors} descriptors, {threads} threads and {memory // 1024} MiB before and after ({later[0] - memory:+d} KiB); one that borrowed for 6.5 s: reported, 50 reloads meanwhile")


def clients(node):
    """How many connections a storage node has, without this one."""
    with socket.create_connection(("127.0.0.1", node.port), 5) as s:
        s.sendall(b"INFO clients\r\nQUIT\r\n")
        with s.makefile("r") as answer:
            return next(int(line.split(":")[1]) for line in answer if line.startswith("connected_clients:")) - 1


def pools(scene):
    """Real connections: those to a node that comes and goes are closed each time."""
    nodes = scene.redis(4)
    replace(scene.nodes_path, scene.document(nodes))
    server = ApiServer(scene, scene.nodes_path, "debounce=2ms", "reconcile=0")
    descriptors, per_node = footprint(server)[1], clients(nodes[3])
    load = Load(scene, server)
    reloads = repeat(40)
    for number in range(reloads):
        replace(scene.nodes_path, scene.document(nodes[:3 + number % 2]))
        server.hang_up()
        eventually("the reload", lambda: len(server.ids()) == 3 + number % 2)
        if number % 2 == 0:
            eventually("the connections to be closed", lambda: clients(nodes[3]) == 0)
    answered = load.end()
    eventually(f"{descriptors} descriptors again", lambda: footprint(server)[1] <= descriptors)
    eventually(f"{per_node} connections again", lambda: clients(nodes[3]) <= per_node)
    server.stop()
    return f"an API server, {reloads} reloads, {answered} requests answered: {descriptors} descriptors and {per_node} connections to a node before and after"


def play(scene):
    parts = [lambda: library(scene)] + [lambda: pools(scene)] * scene.has_api_server()
    return "; ".join(in_parallel(*parts))
