# SPDX-License-Identifier: LGPL-2.1-or-later
"""part.py - shared by all three ways to play the day: setting up, the clock, the timeline, the measurements."""
import os
import signal
import threading
import time

from stage import PAYMENTS, ApiServer, Load, NodeFile, Redis, wait_for


class Part:
    """One way to play the day. `events` gets what happened, `result` what was measured."""

    def __init__(self, title, binary, folder, extra):
        os.mkdir(folder)
        self.title, self.events, self.restarts, self.by_hand, self.in_use_at = title, [], [], 0, {}
        self.reloads, self.alarmed_at, self.held, self.announced_at = 0, None, 0, 0.0
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

    def write_inventory(self):
        """Writes the expected nodes, for the monitor."""
        path = os.path.join(self.folder, "inventory.json")
        everything = NodeFile(path)
        everything.add_in_place(*self.redis)
        return path

    def let_in(self, before):
        """The load begins; in `before` seconds the clock shows 0."""
        self.loads = [Load(server, self.folder) for server in self.servers]
        self.begin = time.monotonic() + before

    def runs(self):
        """How many sets went live so far."""
        return int(sum(server.metric("safestart_runs_total", 'verdict="applied"') or 0 for server in self.servers))

    def all_in_use(self):
        """On both servers every node is live, and a real request to it has worked."""
        return all(server.proven() == len(self.redis) for server in self.servers)

    def watch_nodes(self):
        """Notes for each server the time when all six nodes are in use."""
        threading.Thread(target=self.look_at_nodes, daemon=True).start()

    def look_at_nodes(self):
        while not self.over.is_set() and len(self.in_use_at) < len(self.servers):
            for server in self.servers:
                if server.name not in self.in_use_at and server.proven() == len(self.redis):
                    self.in_use_at[server.name] = self.clock()
                    self.say(f"{server.name}: all three nodes are live and in use", f"{server.name}: all nodes in use")
            time.sleep(0.04)

    def wait_until(self, at):
        time.sleep(max(0, self.begin + at - time.monotonic()))

    def restart(self, server, number):
        """One restart command, and what a person at a prompt would see."""
        process = server.restart()
        words = process.communicate()[1].strip().split(": ", 1)[-1].replace(self.folder + "/", "")
        self.restarts.append(process.returncode)
        self.say(f"restart {number} of {server.name} " + (f"FAILED: {words}" if process.returncode else "reports success"))

    def start_by_hand(self, server):
        """A person starts a server that is down, with the same script, and checks that it serves."""
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
            "in_use": max(self.in_use_at.values()) - self.announced_at if len(self.in_use_at) == len(self.servers) else None,
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
