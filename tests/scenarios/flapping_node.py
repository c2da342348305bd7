# SPDX-License-Identifier: LGPL-2.1-or-later
"""A node came and went ten times a second: a reload each time or, with a simple debounce, no reload at all. [P3 P4]"""
import time

from scene import ApiServer, Load, check, eventually, repeat, replace

API_SERVER = True
MIN_INTERVAL = 2.0


def play(scene):
    nodes = scene.redis(4)
    replace(scene.nodes_path, scene.document(nodes[:3]))
    server = ApiServer(scene, scene.nodes_path, "debounce=1s", "max_delay=1s", f"min_interval={int(MIN_INTERVAL * 1000)}ms", "reconcile=0")
    load = Load(scene, server)
    before, began, toggles = server.runs(), time.monotonic(), repeat(60)
    for number in range(toggles):
        replace(scene.nodes_path, scene.document(nodes[:3 + number % 2]))
        server.hang_up()
        time.sleep(0.1)
    lasted = time.monotonic() - began
    during = server.runs() - before
    eventually("the last state to be live", lambda: len(server.ids()) == 3 + (toggles - 1) % 2)
    eventually("nothing to be due", server.is_quiet)
    runs, most = server.runs() - before, int((time.monotonic() - began) / MIN_INTERVAL) + 1
    check(runs <= most, f"{runs} runs in {lasted:.1f} s with {MIN_INTERVAL} s between them")
    check(during > 0, "debounced without limit: no run while the node flapped")
    check(runs - during <= 2, f"{runs - during} runs came after the node had settled")
    answered = load.end()
    server.stop()
    return f"{toggles} changes, one each 100 ms: {runs} reloads (at most {most}), the last state is live; {answered} requests answered, 0 failed"
