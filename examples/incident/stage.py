# SPDX-License-Identifier: LGPL-2.1-or-later
"""The parts: Redis nodes, API servers, the command, load. All processes started here end with the process group."""
import ctypes
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ME = os.path.basename(os.path.dirname(os.path.abspath(sys.argv[0])))
PAYMENTS = 300          # stored before the load begins, read and written by it
CONNECTIONS = 10        # of wrk, to each server
PAUSE_MS = 10           # between two requests of one connection
WARMUP_MS = 3000        # stands for the start of a real API server, before it listens


def free_port():
    """A port that is free at the moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def fail(words):
    raise SystemExit(f"{ME}: {words}")


def wait_for(what, condition, seconds=15.0):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            fail(f"gave up after {seconds:.0f} s waiting for {what}; the machine may be too busy; try again, or use --keep and read the logs")
        time.sleep(0.02)


class Redis:
    """One storage node, in memory only; `lasting`: its data survives a reboot."""

    def __init__(self, name, folder, lasting=False):
        self.name, self.port = name, free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "3600 1" if lasting else "",
                        "--appendonly", "no", "--daemonize", "no", "--dir", folder, "--dbfilename", f"{name}.rdb",
                        "--logfile", os.path.join(folder, f"{name}.log")]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)

    def answers(self):
        if self.process.poll() is not None:
            fail(f"redis-server for {self.name} ended with {self.process.returncode}")
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
        return json.dumps([{"targets": [n.address], "labels": {"id": n.name}} for n in self.nodes], indent=1)

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
    """One API server: how to start it, and how to read its pages."""

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
        """kill -HUP: re-read the nodes."""
        os.kill(self.pid(), signal.SIGHUP)

    def get(self, path):
        """The page, or None if it is not served."""
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
            fail(f"{self.name} does not store payments; use --keep and read its log")
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


class Command:
    """The command `safestart`, with the directory of the servers' sockets and the node file that they read."""

    def __init__(self, build, control, nodes_path):
        self.binary = os.path.join(build, "command", "safestart")
        self.environment = dict(os.environ, SAFESTART_CONTROL=control, SAFESTART_NODES=nodes_path)

    def start(self, *arguments):
        return subprocess.Popen([self.binary, *arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def run(self, *arguments):
        """(exit code, output)"""
        process = self.start(*arguments)
        said = process.communicate()[0]
        return process.returncode, said

    def must(self, *arguments):
        code, said = self.run(*arguments)
        if code != 0:
            fail(f"safestart {' '.join(arguments)} ended with {code}: {said.strip()}")
        return said


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
        self.wrk.send_signal(signal.SIGINT) # it then prints its counts
        self.probe.wait()
        self.wrk.wait()

    def rates(self):
        """[(time, requests answered per second)], by quarters of a second."""
        with open(self.out + ".rate", encoding="ascii") as f:
            return [(float(t), int(count) * 4) for t, count in (line.split() for line in f)]

    def probes(self):
        """[(time, worked, latency in ms, error)]"""
        with open(self.out + ".probe", encoding="utf-8") as f:
            rows = [line.rstrip("\n").split(" ", 3) for line in f if line.endswith("\n")]
        return [(float(r[0]), r[1] == "1", float(r[2]), r[3]) for r in rows]

    def summary(self):
        with open(self.out + ".sum", encoding="ascii") as f:
            return json.load(f)


# ---- Everything ends with the player ----

def end_the_rest():
    """Ends the rest of the process group and waits until all of it is gone; the script kills what remains."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    until = time.monotonic() + 3
    try:
        while time.monotonic() < until:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.02)
    except ChildProcessError:
        pass


def perform(play, *arguments):
    """A server that a script starts in the background is an orphan. This process adopts orphans, as init would,
    while a child of it plays. Whatever ends the play, no process outlives this one."""
    PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.setpgid(0, 0)
    player = os.fork()
    if player == 0:
        sys.exit(play(*arguments))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        while True:
            pid, status = os.wait()
            if pid == player:
                sys.exit(os.waitstatus_to_exitcode(status))
    finally:
        end_the_rest()
