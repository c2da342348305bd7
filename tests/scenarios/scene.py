# SPDX-License-Identifier: LGPL-2.1-or-later
"""Shared by the scenarios: processes that end with the scenario, nodes, files that change, a registry, waiting."""
import collections
import ctypes
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "examples", "incident"))
import stage  # noqa: E402  the incident's: Redis, API server, load

EMPTY = "[]"
FORCE, URGENT = 1, 2


class Failed(Exception):
    """A condition that should be true is false."""


def check(condition, words):
    if not condition:
        raise Failed(words)


def repeat(times):
    """How often to repeat: `times` in the suite, `times` x $SAFESTART_SOAK in a soak."""
    soak = os.environ.get("SAFESTART_SOAK", "")
    return times * int(soak) if soak.isdigit() and int(soak) > 0 else times


def eventually(what, condition, seconds=60.0):
    """Waits until the condition is true; the limit is generous and only for hangs. Returns what the condition returned."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < until, f"never came true: {what}")
        time.sleep(0.005)


# ---- Documents ----

def document(*nodes):
    """A file_sd document of "id" or ("id", "host:port")."""
    pairs = [node if isinstance(node, tuple) else (node, f"10.0.0.1:{8000 + index}") for index, node in enumerate(nodes)]
    return json.dumps([{"targets": [address], "labels": {"id": name}} for name, address in pairs])


def write(path, text):
    """In place."""
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def replace(path, text):
    """By rename."""
    write(path + ".new", text)
    os.rename(path + ".new", path)


# ---- Processes ----

def before_exec(block=(), without=()):
    """Runs in the child: blocks signals, and drops capabilities of a root process."""
    def act():
        libc = ctypes.CDLL(None)
        for capability in without:
            libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; without root it fails and is not needed
        signal.pthread_sigmask(signal.SIG_BLOCK, block)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # in case nohup ignores it
    return act


class Outcome(collections.namedtuple("Outcome", "verdict ticket run generation requests attempts quarantined error message")):
    """One outcome, as `host` prints it."""

    @classmethod
    def parse(cls, line):
        verdict, *numbers, message = line.rstrip("\n").split("\t", 8)
        return cls(verdict, *map(int, numbers), message)


class Host:
    """tests/scenarios/host: an application that obeys commands. $HOST_SETTINGS come last, such as thread=no."""
    count = 0

    def __init__(self, scene, *settings, block=(), environment=None, started=True):
        Host.count += 1
        self.socket = os.path.join(scene.folder, f"host-{Host.count}.sock")
        self.log = os.path.join(scene.folder, f"host-{Host.count}.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([scene.program("host"), self.socket, *settings, *os.environ.get("HOST_SETTINGS", "").split()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=dict(os.environ, **(environment or {})), preexec_fn=before_exec(block))
        if started:
            self.await_start()

    def await_start(self):
        def answers():
            check(self.process.poll() is None, f"the host ended with {self.process.returncode} while it started")
            try:
                return self.tell("figures")
            except OSError:
                return None
        eventually("the host to start", answers)

    def tell(self, line):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(90)
            s.connect(self.socket)
            s.sendall(line.encode() + b"\n")
            with s.makefile("r", encoding="utf-8") as answer:
                return answer.read().strip()

    def request(self, flags=0):
        return int(self.tell(f"request {flags}"))

    def ask(self, flags=0):
        return Outcome.parse(self.tell(f"ask {flags}"))

    def wait(self, ticket):
        return Outcome.parse(self.tell(f"wait {ticket}"))

    def push(self, text):
        return Outcome.parse(self.tell(f"replace {text}"))

    def generation(self):
        return int(self.tell("nodes").split()[0])

    def ids(self):
        return self.tell("nodes").split()[1:]

    def status(self):
        return json.loads(self.tell("status"))

    def runs(self):
        return sum(self.status()["runs"].values())

    def prepare(self, how):
        check(self.tell(f"prepare {how}") == "ok", f"prepare {how}")

    def figures(self):
        return json.loads(self.tell("figures"))

    def hang_up(self):
        self.process.send_signal(signal.SIGHUP)

    def history(self):
        """All generations so far: [(number, [id, ...])]."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            rows = [line.split()[1:] for line in log if line.startswith("live ")]
        return [(int(row[0]), row[1:]) for row in rows]

    def logged(self, words):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return words in log.read()

    def stop(self):
        """Ends it; exit code 0 means that all data attached to nodes and generations was retired once."""
        self.process.terminate()
        code = self.process.wait(60)
        check(code == 0, f"the host ended with {code}")


class ApiServer(stage.ApiServer):
    """The example API server, started directly: no restart script, no warm-up."""

    def __init__(self, scene, nodes_path, *settings, without=(), environment=None, started=True):
        scene.servers += 1
        super().__init__(f"api-{scene.servers}", scene.folder, scene.example("apiserver"), nodes_path, [])
        command = [self.command[0], "--port", str(self.port), "--nodes", nodes_path, "--pid-file", self.pid_file]
        for setting in settings:
            command += ["--set", setting]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(os.environ, **(environment or {})),
                                            preexec_fn=before_exec(without=without))
        if started:
            # All of its threads run, and the first load is live and has its outcome.
            eventually("the API server to have started", lambda: self.serves() and self.logged("serving on") and self.runs() > 0)

    def logged(self, words):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return words in log.read()

    def serves(self):
        check(self.process.poll() is None, f"the API server ended with {self.process.returncode}")
        return self.get("/healthz")

    def status(self):
        page = self.get("/status")
        check(page is not None, "the API server does not show its status")
        return json.loads(page)

    def runs(self):
        return sum(self.status()["runs"].values())

    def is_quiet(self):
        """No run is in progress, and at most the next periodic one is due."""
        status = self.status()
        return status["run"] is None and (status["next_run_in_seconds"] or 60) > 10

    def ids(self):
        """The ids of the live nodes."""
        return [node["id"] for node in self.status()["nodes"] if node["state"] in ("applied", "proven", "failing")]

    def after_next_run(self, act):
        """Does it; returns the status when a run that began later has ended."""
        before = self.runs()
        act()
        return eventually("a run to end", lambda: (lambda s: s if sum(s["runs"].values()) > before else None)(self.status()))

    def stop(self):
        self.process.terminate()
        code = self.process.wait(60)
        check(code == 0, f"the API server ended with {code}")


class Load:
    """wrk and a prober with a new connection each time, from begin to end."""

    def __init__(self, scene, server):
        for n in range(stage.PAYMENTS):
            server.put(f"seed-{n + 1}")
        self.load = stage.Load(server, scene.folder)
        eventually("the load to begin", lambda: os.path.exists(self.load.out + ".probe") and self.load.probes())

    def end(self):
        """Returns how many requests were answered; none may have failed."""
        self.load.stop()
        total, probes = self.load.summary(), self.load.probes()
        failed = total["not_2xx"] + total["socket_errors"] + total["timeouts"] + sum(not worked for _, worked, _, _ in probes)
        wrong = "; ".join(sorted({words for _, worked, _, words in probes if not worked}))
        check(failed == 0, f"{failed} requests failed ({total} {wrong})")
        return total["answered"] + len(probes)


class Registry:
    """A service that serves the nodes by HTTP. registry.answer, a function of the request number, says how."""

    def __init__(self, text):
        self.text, self.reads, self.answer, self.lock = text, [], None, threading.Lock()
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                with registry.lock:
                    registry.reads.append((time.monotonic(), self.headers.get("X-Pid", "")))
                    text, answer = registry.text, registry.answer
                status, body = answer() if answer else (200, text)
                if status is None:  # close the connection
                    return
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True

            def handle_error(self, *_):  # the client has disconnected
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.source = f"source=registry:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class Scene:
    """The folder of one scenario, and the built programs."""

    def __init__(self, build, folder):
        self.build, self.folder, self.servers, self.nodes = build, folder, 0, []
        self.nodes_path = os.path.join(folder, "nodes.json")

    def program(self, name):
        return os.path.join(self.build, "tests", "scenarios", name)

    def example(self, name):
        return os.path.join(self.build, "examples", name)

    def sanitizer(self):
        """The sanitizer of the build: its library uses memory of its own, and has to be loaded first."""
        with open(self.program("host"), "rb") as program:
            code = program.read()
        return b"__asan_init" in code or b"__tsan_init" in code

    def has_api_server(self):
        """Under the sanitizers the examples are not built."""
        return os.access(self.example("apiserver"), os.X_OK)

    def redis(self, count):
        """That many real storage nodes, node-1, node-2, ..."""
        fresh = [stage.Redis(f"node-{len(self.nodes) + n + 1}", self.folder) for n in range(count)]
        for node in fresh:
            eventually(f"{node.name} to answer", node.answers)
        self.nodes += fresh
        return fresh

    @staticmethod
    def document(nodes):
        return document(*((node.name, f"127.0.0.1:{node.port}") for node in nodes))


def in_parallel(*calls):
    """Runs all of them at the same time; returns their results."""
    results = [None] * len(calls)

    def run(index):
        try:
            results[index] = calls[index]()
        except BaseException as error:  # raised where the result is waited for
            results[index] = error
    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def begin(call):
    """Starts it in the background. Returns a function that waits for it and returns its result."""
    box = []
    thread = threading.Thread(target=lambda: box.append(call()), daemon=True)
    thread.start()

    def result():
        thread.join(90)
        check(box, "it did not return")
        return box[0]
    return result
