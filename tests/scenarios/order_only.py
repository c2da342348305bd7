# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same endpoints in another order caused a reload every few seconds, for ever (ingress controllers). [P7]"""
import json
import os
import random
import socket

from scene import ApiServer, check, repeat, replace

API_SERVER = True


def disguises(text):
    """The same set, written differently."""
    groups = json.loads(text)
    shuffled = random.sample(groups, len(groups))
    twice = groups + [groups[0]]
    return [lambda path: replace(path, json.dumps(shuffled)),
            lambda path: replace(path, json.dumps(twice)),
            lambda path: replace(path, json.dumps(groups, indent=3)),
            lambda path: replace(path, json.dumps([dict(reversed(group.items())) for group in groups])),
            lambda path: os.utime(path),
            lambda path: replace(path, text)]


def connections(nodes):
    """How many connections the storage nodes have accepted since their start."""
    def ask(node):
        with socket.create_connection(("127.0.0.1", node.port), 5) as s:
            s.sendall(b"INFO stats\r\nQUIT\r\n")
            with s.makefile("r") as answer:
                return next(int(line.split(":")[1]) for line in answer if line.startswith("total_connections_received:"))
    return sum(ask(node) for node in nodes)


def play(scene):
    nodes = scene.redis(4)
    text = scene.document(nodes)
    replace(scene.nodes_path, text)
    server = ApiServer(scene, scene.nodes_path, "debounce=10ms", "reconcile=0")
    before, generation = connections(nodes), server.status()["generation"]
    applied, asked = server.status()["runs"]["applied"], 0
    for disguise in disguises(text) * repeat(4):
        disguise(scene.nodes_path)
        status = server.after_next_run(server.hang_up)
        asked += 1
        check(status["last"]["verdict"] == "unchanged", f"{status['last']}")
    status = server.status()
    opened = connections(nodes) - before - len(nodes)  # each question is a connection too
    check(status["generation"] == generation and status["runs"]["applied"] == applied, status["summary"])
    check(opened == 0, f"{opened} connections were opened to nodes that had not changed")
    server.stop()
    return f"{asked} rewrites of the same set (order, duplicates, layout, touch): {asked} times unchanged, 0 new generations, 0 new connections to the nodes"
