# SPDX-License-Identifier: LGPL-2.1-or-later
"""Shared by the tests of the command: a folder, the command, servers, fake servers, waiting."""
import glob
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

LIMIT_S = 120


class Skip(Exception):
    """It cannot be tested here."""


def repeat(times):
    """How often to repeat: `times` in the suite, `times` x $SAFESTART_SOAK in a soak."""
    soak = os.environ.get("SAFESTART_SOAK", "")
    return times * int(soak) if soak.isdigit() and int(soak) > 0 else times


def eventually(what, condition, seconds=LIMIT_S):
    """Waits until the condition is true; the limit is generous and only for hangs. Returns what the condition returned."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"never came true: {what}"
        time.sleep(0.005)


def document(*nodes):
    """A file_sd document, one group per line; nodes are "id" or ("id", "host:port")."""
    pairs = [node if isinstance(node, tuple) else (node, f"10.0.0.{index + 1}:8087") for index, node in enumerate(nodes)]
    rows = [json.dumps({"targets": [address], "labels": {"id": name}}) for name, address in pairs]
    return "[" + ",\n ".join(rows) + "]\n"


class Told:
    """How the command ended."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def json(self):
        return json.loads(self.out)

    def must(self, code, *words):
        """Checks that it exited with this code, and printed all of these texts."""
        assert self.code == code, f"ended with {self.code}, not {code}: {self.out}{self.err}"
        for word in words:
            assert word in self.out + self.err, f"does not say {word!r}: {self.out}{self.err}"
        return self


class Server:
    """tests/command/server: a real server."""

    def __init__(self, scene, name="api", before=(), **settings):
        settings = {"name": name, "control": scene.control, "debounce": "0", **settings}
        self.process = subprocess.Popen([*before, scene.server, *(f"{key}={value}" for key, value in settings.items())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=scene.before_exec)
        self.pid, self.name = self.process.pid, name
        assert self.process.stdout.readline() == "open\n"

    def tell(self, order):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def push(self, text):
        return self.tell("push " + " ".join(text.split()))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """All its threads are stopped when this returns."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def end(self):
        """Ends it normally."""
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait(LIMIT_S)


class Fake:
    """A fake server: a socket in the control directory; `act` gets each connection."""

    def __init__(self, scene, file, act, mode=0o600):
        os.makedirs(scene.control, exist_ok=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(os.path.join(scene.control, file))
        os.chmod(os.path.join(scene.control, file), mode)
        self.socket.listen(64)
        self.act, self.held = act, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.held.append(connection)
            threading.Thread(target=self.one, args=[connection], daemon=True).start()

    def one(self, connection):
        try:
            self.act(connection)
        except OSError:
            pass

    def close(self):
        for each in [self.socket, *self.held]:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()


def answers(reply):
    """For Fake: every line is answered by reply(request), an object or raw bytes."""
    def act(connection):
        with connection.makefile("rb") as lines:
            for line in lines:
                said = reply(json.loads(line))
                connection.sendall(said if isinstance(said, bytes) else json.dumps(said).encode() + b"\n")
    return act


def nodes_answer(states, name="api", pid=1, serves=True, incarnation=None, old=False):
    """For Fake: the answer of a server with these nodes, {id: state}, of a version that says which entry is live, or an old one."""
    entry = {} if old else {"entry_digest": "e1" * 8, "desired_entry_digest": "e1" * 8}
    nodes = [{"id": node, "address": "10.0.0.1:1", "state": state, "why": f"because {state}", "held": False, **entry, **({"incarnation": incarnation} if incarnation else {})}
             for node, state in states.items()]

    def reply(request):
        if request["do"] == "nodes":
            return {"ok": True, "pid": pid, "name": name, "serves": serves, "generation": 1, "digest": "a1b2" * 4, "desired_digest": "a1b2" * 4, "nodes": [n for n in nodes if request.get("id") in (None, n["id"])]}
        return {"ok": True, "pid": pid, "name": name, "ticket": 1}
    return reply


class Scene:
    def __init__(self, command, server, folder):
        self.command, self.server, self.folder = command, server, folder
        self.control, self.nodes = os.path.join(folder, "control"), os.path.join(folder, "nodes.json")
        self.ends = []

    @staticmethod
    def before_exec():
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    def environment(self, **more):
        return {**os.environ, "SAFESTART_CONTROL": self.control, "SAFESTART_NODES": self.nodes, **more}

    def for_others(self):
        """The program where another user finds it, and the library: the build may be in a directory of ours alone."""
        place = tempfile.mkdtemp(prefix="command-")
        self.ends.append(lambda: shutil.rmtree(place, ignore_errors=True))
        os.chmod(place, 0o755)
        for file in [self.command, *glob.glob(os.path.join(os.path.dirname(self.command), "..", "libsafestart", "libsafestart.so*"))]:
            if os.path.isfile(file):
                shutil.copy(file, place)
        return os.path.join(place, os.path.basename(self.command)), {"LD_LIBRARY_PATH": place}

    def safestart(self, *words, text=None, user=None, before=(), **more):
        """Runs it to its end."""
        command = self.command
        if user:
            command, there = self.for_others()
            more = {**there, **more}
        identity = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
        given = {"input": text.encode()} if text is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run([*before, command, *map(str, words)], capture_output=True, env=self.environment(**more), timeout=LIMIT_S, preexec_fn=self.before_exec, **identity, **given)
        return Told(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def begin(self, *words, before=(), **more):
        """Runs it in the background."""
        process = subprocess.Popen([*before, self.command, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment(**more),
                                   preexec_fn=self.before_exec)
        self.ends.append(lambda: (process.kill(), process.communicate()))
        return process

    def start(self, name="api", **settings):
        server = Server(self, name, **settings)
        self.ends.append(lambda: (server.process.kill(), server.process.wait()))
        eventually("its socket to be there", lambda: os.path.exists(os.path.join(self.control, f"{name}.{server.pid}.sock")))
        return server

    def start_on_file(self, count, name="api", **settings):
        """Starts servers that follow self.nodes, and waits until all have it live."""
        servers = [self.start(name, source=f"file:{self.nodes}", **settings) for _ in range(count)]
        eventually("all of them to have their nodes", lambda: self.safestart("status", name).code == 0)
        return servers

    def fake(self, file, act, **more):
        fake = Fake(self, file, act, **more)
        self.ends.append(fake.close)
        return fake

    def write(self, text, path=None):
        with open(path or self.nodes, "w", encoding="utf-8") as f:
            f.write(text)

    def read(self, path=None):
        with open(path or self.nodes, encoding="utf-8") as f:
            return f.read()

    def end(self):
        for end in reversed(self.ends):
            end()
