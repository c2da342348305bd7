# SPDX-License-Identifier: LGPL-2.1-or-later
"""No slot was free for the new backends, so the dead ones were not removed either (chat service, 2020). [P11]"""
import json
import subprocess

from scene import ApiServer, Load, check, eventually, repeat, replace

API_SERVER = True


def play(scene):
    nodes = scene.redis(5)
    late = nodes[4]
    late.stop()
    replace(scene.nodes_path, scene.document(nodes[:4]))
    server = ApiServer(scene, scene.nodes_path, "debounce=10ms", "retry_max=200ms")
    load = Load(scene, server)
    rounds = repeat(5)
    for number in range(rounds):
        gone = nodes[number % 4]
        stay = [node for node in nodes[:4] if node is not gone]
        # One node leaves. Of three new ones, one refuses connections, one has an invalid port, and one id has two addresses.
        text = json.loads(scene.document(stay + [late]))
        text += [{"targets": ["127.0.0.1:99999"], "labels": {"id": "no-port"}}]
        text += [{"targets": [f"127.0.0.1:{port}"], "labels": {"id": "two"}} for port in (1, 2)]
        replace(scene.nodes_path, json.dumps(text))
        server.hang_up()
        eventually(f"{gone.name} to be removed", lambda: sorted(server.ids()) == sorted(node.name for node in stay))
        states = {node["id"]: node for node in server.status()["nodes"]}
        bad = [late.name, "no-port", "two"]
        check(all(states[name]["state"] == "quarantined" and states[name]["why"] for name in bad), f"{states}")
        replace(scene.nodes_path, scene.document(nodes[:4]))
        server.hang_up()
        eventually(f"{gone.name} to be back", lambda: len(server.ids()) == 4)
    # The node that refused is retried, and used when it answers, without a request.
    replace(scene.nodes_path, scene.document(nodes))
    eventually("it to be left out", lambda: server.status()["last"]["quarantined"] == 1)
    late.process = subprocess.Popen(late.process.args, stdout=subprocess.DEVNULL)
    eventually("it to be in use", lambda: server.proven() == 5)
    answered = load.end()
    server.stop()
    return f"{rounds} removals, each together with three unusable additions: applied, the three quarantined with their reasons; {answered} requests answered, 0 failed"
