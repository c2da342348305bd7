# SPDX-License-Identifier: LGPL-2.1-or-later
"""One conformance program: commands go in, answers come out in any order."""
import json
import os
import subprocess
import threading


class Failed(Exception):
    """A step went wrong, in words."""


class Unsupported(Exception):
    """The language cannot have this step."""


def expect(condition, *words):
    if not condition:
        raise Failed(" ".join(str(word) for word in words) or "not as expected")


class Refused(Exception):
    """The binding answered with an error."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Program:
    def __init__(self, script, environment, folder):
        self.folder = folder
        self.error_path = os.path.join(folder, "stderr")
        with open(self.error_path, "wb") as errors:
            self.process = subprocess.Popen(["bash", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment,
                                            start_new_session=True)
        self.changed = threading.Condition()
        self.answers, self.newest, self.ended = {}, 0, False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                answer = {"id": None, "garbage": line}
            with self.changed:
                self.answers[answer.get("id")] = answer
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def send(self, do, **more):
        """Returns the command's number."""
        self.newest += 1
        try:
            self.process.stdin.write(json.dumps(dict(more, id=self.newest, do=do)).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise Failed(f"`{do}` could not be sent: the program has ended") from None
        return self.newest

    def answer(self, number, seconds=60):
        if number == 1:
            seconds = max(seconds, 600)  # the program may have to be built
        with self.changed:
            self.changed.wait_for(lambda: number in self.answers or None in self.answers or self.ended, seconds)
            if None in self.answers:
                raise Failed(f"it printed what is no answer: {self.answers[None]}")
            if number not in self.answers:
                raise Failed(f"command {number} was not answered" + (": the program has ended" if self.ended else f" within {seconds} s"))
            answer = self.answers.pop(number)
        if "error" in answer:
            raise Refused(answer["error"], answer.get("message", ""))
        return answer

    def ask(self, do, seconds=60, **more):
        try:
            return self.answer(self.send(do, **more), seconds)
        except Refused as refused:
            raise Failed(f"`{do}` was refused: {refused}") from None

    def refuse(self, do, **more):
        """It has to be: returns the error."""
        try:
            answer = self.answer(self.send(do, **more))
        except Refused as refused:
            return refused
        raise Failed(f"`{do}` was not refused, but answered {answer}")

    def wait(self, seconds=20):
        """Until it has ended: its exit code, negative for a signal."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"it did not end within {seconds} s") from None

    def errors(self):
        with open(self.error_path, encoding="utf-8", errors="replace") as errors:
            return errors.read()[-2000:]

    def kill(self):
        try:
            os.killpg(self.process.pid, 9)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stdin.close()

    # ---- What most steps begin with

    def open(self, **settings):
        settings = dict({"source": "push", "debounce": "0", "retry_min": "0", "max_shrink": "100%", "run_timeout": "20s"}, **settings)
        self.ask("open", settings=settings)

    def outcome(self, ticket, **more):
        return self.ask("outcome", ticket=ticket, timeout_ms=more.pop("timeout_ms", 60000), cancel_after_ms=more.pop("cancel_after_ms", None),
                        **more)

    def push(self, nodes):
        return self.outcome(self.ask("replace", json=document(nodes))["ticket"])

    def request(self, force=False, urgent=False, reason=None):
        return self.ask("request", force=force, urgent=urgent, reason=reason)["ticket"]

    def nodes(self):
        answer = self.ask("nodes")
        return {node["id"]: node for node in answer["nodes"]}


def document(nodes):
    """{"a": "10.0.0.1:1"} or {"a": ("10.0.0.1:1", {labels})}"""
    groups = []
    for name, entry in nodes.items():
        address, labels = entry if isinstance(entry, tuple) else (entry, {})
        groups.append({"targets": [address], "labels": dict(labels, id=name)})
    return json.dumps(groups)
