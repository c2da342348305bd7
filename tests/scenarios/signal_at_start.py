# SPDX-License-Identifier: LGPL-2.1-or-later
"""A SIGHUP that came while the service was starting killed it (service registries, schedulers, monitoring servers). [P5 P2]"""
import os
import random
import signal
import subprocess
import time

from scene import ApiServer, Host, Registry, check, document, eventually, repeat, replace



def some_time():
    """Up to 30 ms after exec, mostly much less: a start takes only a few ms."""
    return 0.03 * random.random() ** 4


def start_hit(scene, registry, number, block):
    """Starts it; at a random instant after exec one to three signals announce a change. Returns how it ended, or None."""
    registry.text = document("n0", f"before-{number}")
    host = Host(scene, registry.source, "debounce=1ms", "reconcile=0", "retry_min=0", block=block, started=False)
    time.sleep(some_time())
    registry.text = document("n0", f"after-{number}")
    for _ in range(random.randint(1, 3)):
        host.hang_up()
    if not block:  # a process that was not killed has its handler by now
        time.sleep(0.03)
        code = host.process.poll()
        host.process.kill()
        host.process.wait()
        return code
    host.await_start()
    # Only the request can show the change: no reconcile, no notification.
    eventually("the change to be live", lambda: f"after-{number}" in host.ids())
    host.process.terminate()
    host.hang_up()  # also while it stops
    code = host.process.wait(60)
    check(code == 0, f"ended with {code}")
    return code


def by_pid_file(scene, rounds):
    """A hook finds the process by its PID file, which an API server writes once a signal cannot kill it any more. One hook
    waits for the file; another one runs at a random instant, after a change."""
    nodes = scene.redis(2)
    for _ in range(rounds):
        replace(scene.nodes_path, scene.document(nodes[:1]))
        path = os.path.join(scene.folder, f"api-{scene.servers + 1}.pid")
        waiting = subprocess.Popen(["sh", "-c", f"until read pid < {path}; do :; done; kill -HUP $pid"], stderr=subprocess.DEVNULL)
        server = ApiServer(scene, scene.nodes_path, "debounce=1ms", "reconcile=0", started=False)
        time.sleep(some_time())
        replace(scene.nodes_path, scene.document(nodes))
        subprocess.run(["sh", "-c", f"kill -HUP $(cat {path})"], check=False, stderr=subprocess.DEVNULL)
        check(waiting.wait() == 0, "the process had ended when its PID file existed")
        eventually("the API server to serve", server.serves)
        eventually("both nodes to be live", lambda: len(server.ids()) == 2)
        server.stop()


def play(scene):
    registry = Registry("")
    rounds = repeat(50)
    for number in range(rounds):
        start_hit(scene, registry, number, (signal.SIGHUP,))
    unprotected = [start_hit(scene, registry, number, ()) for number in range(20)]
    told = f"hit while starting: {rounds} of {rounds} live on and have the change (SIGHUP blocked by who starts it; without that {sum(code == -signal.SIGHUP for code in unprotected)} of 20 die)"
    if scene.has_api_server():
        some = repeat(12)
        by_pid_file(scene, some)
        told += f"; {some} API servers hit the moment they had written their PID file, and later: none died"
    return told
