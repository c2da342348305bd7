# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs each server under load, while a node comes, one is drained and one dies: no request may fail. usage: run.py [SERVER …]"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.dirname(sys.executable)
WORKERS = 2
GUNICORN = "gunicorn -c gunicorn.conf.py --bind 127.0.0.1:{port} "
SERVERS = {
    "gunicorn sync": GUNICORN + "wsgi:app",
    "gunicorn sync --preload": GUNICORN + "--preload wsgi:app",
    "gunicorn gthread": GUNICORN + "--worker-class gthread --threads 4 wsgi:app",
    "gunicorn gthread --preload": GUNICORN + "--worker-class gthread --threads 4 --preload wsgi:app",
    "uvicorn": f"uvicorn --port {{port}} --workers {WORKERS} --log-level warning --no-access-log asgi:app",
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask_redis(port, *words):
    """None: it does not answer (yet)."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as s:
            s.sendall(" ".join(words).encode() + b"\r\n")
            return s.recv(64)
    except OSError:
        return None


def until(condition, what, seconds=30):
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise SystemExit(f"never came: {what}")
        time.sleep(0.02)


class Site:
    """Three Redis, the node file with the first two, the control directory."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.nodes = {name: free_port() for name in ("redis-1", "redis-2", "redis-3")}
        self.redis = {
            name: self.start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder])
            for name, port in self.nodes.items()
        }
        for name, port in self.nodes.items():
            until(lambda port=port: ask_redis(port, "SET", "payment", "12.50") == b"+OK\r\n", name)
        self.file = os.path.join(folder, "nodes.json")
        with open(self.file, "w", encoding="utf-8") as file:
            json.dump([{"targets": [self.address(name)], "labels": {"id": name}} for name in ("redis-1", "redis-2")], file)
        os.environ.update(SAFESTART_NODES=self.file, SAFESTART_CONTROL=os.path.join(folder, "control"))

    def address(self, name):
        return f"127.0.0.1:{self.nodes[name]}"

    def start(self, command, **more):
        process = subprocess.Popen(command, **{"stdout": subprocess.DEVNULL, **more})
        self.processes.append(process)
        return process

    def safestart(self, *words):
        done = subprocess.run(["safestart", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"safestart {' '.join(words)}: ended with {done.returncode}\n{done.stdout}")

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()


def play(site, port):
    roster = ["--roster", f"api={WORKERS}", "--timeout", "20s"]
    for name in ("redis-1", "redis-2"):
        site.safestart("wait", name, *roster)
    load = site.start(["wrk", "-t1", "-c4", "-d30s", "--timeout", "10s", f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True)
    site.safestart("announce", "redis-3", site.address("redis-3"), "--wait", *roster)
    site.safestart("drain", "redis-1", "--for", "1m", "--reason", "an upgrade", "--wait", *roster)
    site.redis["redis-1"].kill()  # nobody uses it any more
    site.safestart("wait", "redis-3", *roster)
    site.redis["redis-2"].kill()  # it is in use
    time.sleep(1)  # of load on what is left
    load.send_signal(signal.SIGINT)  # wrk tells what there was so far
    return load.communicate(timeout=30)[0]


def run(name, command):
    with tempfile.TemporaryDirectory() as folder:
        site, port, began = Site(folder), free_port(), time.monotonic()
        log_path = os.path.join(folder, "log")
        try:
            with open(log_path, "wb") as log:
                server = site.start(f"{BIN}/{command.format(port=port)}".split(), cwd=HERE, stdout=log, stderr=log)
            said = play(site, port)
            server.terminate()
            code = server.wait(30)
            requests = int(re.search(r"(\d+) requests in", said).group(1))
            failed = re.findall(r"Socket errors:.*|Non-2xx.*", said)
            if failed or requests == 0 or code not in (0, -signal.SIGTERM):
                raise SystemExit(f"{requests} requests, failed: {failed}, and it ended with {code}")
        except SystemExit as error:
            with open(log_path, encoding="utf-8", errors="replace") as log:
                raise SystemExit(f"{log.read()[-4000:]}\n{name}: {error}") from None
        finally:
            site.end()
    print(f"{name}: {requests} requests, 0 failed, in {time.monotonic() - began:.1f} s", flush=True)


for name in sys.argv[1:] or SERVERS:
    run(name, SERVERS[name])
