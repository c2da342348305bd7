# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stage: Redis nodes, API servers, load. What is started here ends with the process group."""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PAYMENTS = 300          # stored before the load begins, read and written by it
CONNECTIONS = 10        # of wrk, to each server
PAUSE_MS = 10           # between two requests of one connection
WARMUP_MS = 3000        # stands for what real API servers do before they listen


def free_port():
    """A port nobody has at the moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, condition, seconds=15.0):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"incident: gave up after {seconds:.0f} s waiting for {what}; "
                             "the machine may be too busy, try again, or use --keep and read the logs")
        time.sleep(0.02)


class Redis:
    """One storage node, in memory only."""

    def __init__(self, name, folder):
        self.name, self.port = name, free_port()
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             "--daemonize", "no", "--dir", folder, "--logfile", os.path.join(folder, f"{name}.log")],
            stdout=subprocess.DEVNULL)

    def answers(self):
        if self.process.poll() is not None:
            raise SystemExit(f"incident: redis-server for {self.name} ended with {self.process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                s.sendall(b"PING\r\n")
                return s.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait()


class NodeFile:
    """The announced nodes, as Prometheus file_sd JSON."""

    def __init__(self, path):
        self.path, self.nodes = path, []

    def text(self):
        return json.dumps([{"targets": [f"127.0.0.1:{n.port}"], "labels": {"id": n.name}} for n in self.nodes], indent=1)

    def add_in_place(self, *nodes):
        self.nodes += nodes
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(self.text())

    def add_atomically(self, *nodes):
        self.nodes += nodes
        with open(self.path + ".new", "w", encoding="utf-8") as f:
            f.write(self.text())
        os.rename(self.path + ".new", self.path)


class ApiServer:
    """One API server: how to start it, and what its pages say."""

    def __init__(self, name, folder, binary, nodes_path, extra):
        self.name, self.port = name, free_port()
        self.pid_file = os.path.join(folder, f"{name}.pid")
        self.log = os.path.join(folder, f"{name}.log")
        self.command = [binary, "--port", str(self.port), "--nodes", nodes_path, "--warmup", str(WARMUP_MS)] + extra

    def restart(self):
        """The restart command; returns at once."""
        return subprocess.Popen([os.path.join(HERE, "restart-as-it-was"), self.pid_file, self.log] + self.command,
                                stderr=subprocess.PIPE, text=True)

    def pid(self):
        with open(self.pid_file, encoding="ascii") as f:
            return int(f.read())

    def hang_up(self):
        """kill -HUP: look at the nodes anew."""
        os.kill(self.pid(), signal.SIGHUP)

    def get(self, path):
        """The page, or None when it isn't served."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
            return text if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def put(self, name):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        connection.request("PUT", f"/payments/{name}", f"the payment {name}")
        if connection.getresponse().status != 201:
            raise SystemExit(f"incident: {self.name} doesn't store payments; use --keep and read its log")
        connection.close()

    def metric(self, name, label):
        """Sum of a metric's values whose labels contain `label`; None when the server is down."""
        page = self.get("/metrics")
        if page is None:
            return None
        pattern = re.compile(rf"^{name}\{{[^}}]*{label}[^}}]*\}} ([0-9.e+]+)$", re.M)
        return sum(float(value) for value in pattern.findall(page))

    def proven(self):
        """How many nodes are in use: live, and a real request to them has worked."""
        return int(self.metric("safestart_nodes", 'state="proven"') or 0)


class Load:
    """wrk and the prober on one server."""

    def __init__(self, server, folder):
        self.out = os.path.join(folder, f"{server.name}.load")
        environment = dict(os.environ, LOAD_OUT=self.out, LOAD_CONNECTIONS=str(CONNECTIONS),
                           LOAD_PAYMENTS=str(PAYMENTS), LOAD_PAUSE_MS=str(PAUSE_MS))
        with open(self.out + ".wrk", "w", encoding="utf-8") as log:
            self.wrk = subprocess.Popen(["wrk", "-t1", f"-c{CONNECTIONS}", "-d600s", "-s", os.path.join(HERE, "load.lua"),
                                         f"http://127.0.0.1:{server.port}/"], env=environment, stdout=log, stderr=log)
        self.probe = subprocess.Popen(["python3", os.path.join(HERE, "probe.py"), str(server.port), str(PAYMENTS),
                                       self.out + ".probe"])

    def stop(self):
        self.probe.terminate()
        self.wrk.send_signal(signal.SIGINT) # it prints what it counted
        self.probe.wait()
        self.wrk.wait()

    def rates(self):
        """[(time, requests answered per second)], by quarters of a second."""
        with open(self.out + ".rate", encoding="ascii") as f:
            return [(float(t), int(count) * 4) for t, count in (line.split() for line in f)]

    def probes(self):
        """[(time, worked, latency in ms, what went wrong)]"""
        with open(self.out + ".probe", encoding="utf-8") as f:
            rows = [line.rstrip("\n").split(" ", 3) for line in f if line.endswith("\n")]
        return [(float(r[0]), r[1] == "1", float(r[2]), r[3]) for r in rows]

    def summary(self):
        with open(self.out + ".sum", encoding="ascii") as f:
            return json.load(f)
