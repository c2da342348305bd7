#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""day.py BUILD_DIR WORK_DIR SVG - the day three storage nodes came back, twice. Called by `run`, which prepares everything."""
import ctypes
import os
import signal
import sys
import threading
import time

import picture
from stage import PAUSE_MS, CONNECTIONS, PAYMENTS, WARMUP_MS, ApiServer, Load, NodeFile, Redis, wait_for

# The incident, played at a minute a second.
ANNOUNCE_AT = [0.0, 0.5, 1.0]   # "within a minute"
NOTICED_AT = 8.0                # somebody notices and starts the service; with the start it is back after 11 "minutes"
BEFORE, AFTER = 3.0, 15.0       # what is drawn, around the first announcement


class Half:
    """One way to play the day. What happened ends up in `events`, what was measured in `result`."""

    def __init__(self, title, binary, folder, extra):
        os.mkdir(folder)
        self.title, self.events, self.restarts, self.by_hand, self.in_use_at = title, [], [], 0, {}
        self.begin = time.monotonic()
        self.redis = [Redis(f"node-{n}", folder) for n in range(1, 7)]
        self.file = NodeFile(os.path.join(folder, "nodes.json"))
        self.servers = [ApiServer(f"api-{n}", folder, binary, self.file.path, extra) for n in (1, 2)]
        self.folder, self.loads, self.over = folder, [], threading.Event()

    def clock(self):
        return time.monotonic() - self.begin

    def say(self, text, mark=None):
        """A line of the timeline; with `mark` also one in the picture."""
        now = self.clock()
        if mark:
            self.events.append((now, mark))
        print(f"  {now:+7.2f} s  {text}", flush=True)

    def set_the_stage(self):
        for node in self.redis:
            wait_for(f"{node.name} to answer", node.answers)
        self.file.add_atomically(*self.redis[:3])
        for process in [server.restart() for server in self.servers]:
            process.communicate()
        for server in self.servers:
            wait_for(f"{server.name} to serve", lambda s=server: s.get("/healthz"))
        for n in range(PAYMENTS):
            self.servers[0].put(f"seed-{n + 1}")
        self.loads = [Load(server, self.folder) for server in self.servers]
        self.begin = time.monotonic() + BEFORE + 0.5 # the first half second is not drawn
        self.say("2 API servers on 3 nodes, under load; node-4, node-5 and node-6 are back, but nobody was told")
        watch = threading.Thread(target=self.watch_nodes, daemon=True)
        watch.start()
        time.sleep(max(0, self.begin - time.monotonic()))

    def watch_nodes(self):
        """Notes for each server when all six nodes were proven: live, and a real request to each has worked."""
        while not self.over.is_set() and len(self.in_use_at) < len(self.servers):
            for server in self.servers:
                if server.name not in self.in_use_at and server.proven() == len(self.redis):
                    self.in_use_at[server.name] = self.clock()
                    self.say(f"{server.name}: all three new nodes are live and in use", f"{server.name}: all nodes in use")
            time.sleep(0.04)

    def wait_until(self, at):
        time.sleep(max(0, self.begin + at - time.monotonic()))

    def restart(self, server, number):
        """One restart command, as somebody at a prompt would see it."""
        process = server.restart()
        words = process.communicate()[1].strip().split(": ", 1)[-1].replace(self.folder + "/", "")
        self.restarts.append(process.returncode)
        self.say(f"restart {number} of {server.name} " + (f"FAILED: {words}" if process.returncode else "says it has started"))

    def start_by_hand(self, server):
        """Somebody at a prompt starts what is down, with the same script, and looks whether it serves."""
        server.restart().communicate()
        self.by_hand += 1
        wait_for(f"{server.name} to serve again", lambda: server.get("/healthz"))
        self.say(f"{server.name} serves again")

    def strike(self):
        for load in self.loads:
            load.stop()
        self.over.set()
        for server in self.servers:
            try:
                os.kill(server.pid(), signal.SIGTERM)
            except OSError:
                pass
        for node in self.redis:
            node.stop()
        self.measure()

    def measure(self):
        sums = [load.summary() for load in self.loads]
        probes = [load.probes() for load in self.loads]
        failed = [sum(s["not_2xx"] + s["socket_errors"] + s["timeouts"] for s in sums),
                  sum(not worked for rows in probes for _, worked, _, _ in rows)]
        answered = sum(s["answered"] - s["not_2xx"] for s in sums) + sum(worked for rows in probes for _, worked, _, _ in rows)
        self.down = [down_spans(rows, self.begin) for rows in probes]
        self.rates = [[(t - self.begin, n) for t, n in load.rates()] for load in self.loads]
        self.result = {
            "answered": answered, "failed": sum(failed),
            "down": max(sum(b - a for a, b in spans) for spans in self.down),
            "restarts": len(self.restarts), "restarts_failed": sum(code != 0 for code in self.restarts),
            "by_hand": self.by_hand,
            "in_use": max(self.in_use_at.values()) if len(self.in_use_at) == len(self.servers) else None,
            "p99": max(s["latency_p99_us"] for s in sums) / 1000, "slowest": max(s["latency_max_us"] for s in sums) / 1000,
        }


def down_spans(rows, begin):
    """[(from, to)] in which a server's probes failed."""
    spans = []
    for (t, worked, _, _), following in zip(rows, rows[1:]):
        if worked:
            continue
        if spans and spans[-1][1] == t - begin:
            spans[-1] = (spans[-1][0], following[0] - begin)
        else:
            spans.append((t - begin, following[0] - begin))
    return spans


def as_it_was(binary, folder):
    half = Half("As it was: every announcement restarts every API server", binary, folder, ["--read-once"])
    half.set_the_stage()
    commands = []
    for number, (at, node) in enumerate(zip(ANNOUNCE_AT, half.redis[3:]), 1):
        half.wait_until(at)
        half.file.add_in_place(node)
        half.say(f"{node.name} is announced: restart {number} of both servers", f"{node.name}")
        commands += [threading.Thread(target=half.restart, args=(server, number)) for server in half.servers]
        for thread in commands[-2:]:
            thread.start()
    for thread in commands:
        thread.join()
    half.wait_until(NOTICED_AT)
    down = [server for server in half.servers if server.get("/healthz") is None]
    if down:
        half.say(f"somebody notices: {' and '.join(s.name for s in down)} down; starts by hand", "started by hand")
    hands = [threading.Thread(target=half.start_by_hand, args=(server,)) for server in down]
    for thread in hands:
        thread.start()
    for thread in hands:
        thread.join()
    half.wait_until(AFTER + 0.3)
    half.result_reloads = 0
    half.strike()
    return half


def with_libsafestart(binary, folder):
    half = Half("With libsafestart: every announcement is a SIGHUP", binary, folder, [])
    half.set_the_stage()
    before = sum(reloads(server) for server in half.servers)
    for at, node in zip(ANNOUNCE_AT, half.redis[3:]):
        half.wait_until(at)
        half.file.add_atomically(node)
        for server in half.servers:
            server.hang_up()
        half.say(f"{node.name} is announced: kill -HUP to both servers", f"{node.name}")
    half.wait_until(AFTER + 0.3)
    half.result_reloads = int(sum(reloads(server) for server in half.servers) - before)
    half.strike()
    return half


def reloads(server):
    """Generations put live so far."""
    return server.metric("safestart_runs_total", 'verdict="applied"') or 0


def print_table(was, now):
    def in_use(half):
        return "never" if half.result["in_use"] is None else f"{half.result['in_use']:.1f} s"

    rows = [("", "as it was", "with libsafestart")]
    for name, cell in (
            ("requests answered", lambda h: f"{h.result['answered']:,}"),
            ("requests failed", lambda h: f"{h.result['failed']:,}"),
            ("seconds down", lambda h: f"{h.result['down']:.1f}"),
            ("restart commands", lambda h: f"{h.result['restarts']}"),
            ("  of which failed", lambda h: f"{h.result['restarts_failed']}"),
            ("starts by hand", lambda h: f"{h.result['by_hand']}"),
            ("reloads in the process", lambda h: f"{h.result_reloads}"),
            ("all new nodes in use after", in_use),
            ("99 % of requests within", lambda h: f"{h.result['p99']:.1f} ms"),
            ("slowest answer", lambda h: f"{h.result['slowest']:.1f} ms")):
        rows.append((name, cell(was), cell(now)))
    print()
    for name, a, b in rows:
        print(f"  {name:<28}{a:>14}{b:>20}")
    print()


def play(build, work, svg):
    binary = os.path.join(build, "examples", "apiserver")
    print(f"""
Played at a minute a second: three announcements within {ANNOUNCE_AT[-1]:.0f} s, noticed after {NOTICED_AT:.0f} s, so that
the 11 minutes become 11 s. Not scaled: a server takes {WARMUP_MS / 1000:.0f} s to start, the restart script waits 1 s for it to stop.
Load on each server: wrk with {CONNECTIONS} connections, a pause of {PAUSE_MS} ms after each request, failed ones too; and a prober
with a new connection each 20 ms. Every figure is measured.
""")
    print("As it was: each announcement edits the node file and runs the restart script, on both servers.")
    was = as_it_was(binary, os.path.join(work, "as-it-was"))
    print("\nWith libsafestart: each announcement replaces the node file and sends SIGHUP.")
    now = with_libsafestart(binary, os.path.join(work, "with-libsafestart"))
    print_table(was, now)
    picture.draw(svg, was, now, -BEFORE, AFTER)
    print(f"The picture of it: {svg}")
    if now.result["failed"] or now.result["in_use"] is None:
        print("incident: FAILED: with libsafestart no request may fail, and all nodes have to be in use")
        return 1
    return 0


def end_the_rest():
    """Ends what is left of the process group and waits until all of it is gone; `run` has the last word."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    until = time.monotonic() + 3
    try:
        while time.monotonic() < until:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.02)
    except ChildProcessError:
        pass


def main():
    """A server that a script has started in the background is an orphan. This process takes the orphans in, as init
    would, while a child of it plays; whatever ends the play, nothing outlives this process."""
    PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.setpgid(0, 0)
    player = os.fork()
    if player == 0:
        sys.exit(play(*sys.argv[1:4]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        while True:
            pid, status = os.wait()
            if pid == player:
                sys.exit(os.waitstatus_to_exitcode(status))
    finally:
        end_the_rest()


main()
