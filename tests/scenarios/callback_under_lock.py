# SPDX-License-Identifier: LGPL-2.1-or-later
"""A library called a callback under its own lock, and the callback called the library: deadlock (libraries with hooks of every kind). [P6]"""
import re
import subprocess

from scene import check, in_parallel, repeat


def run(scene, thread, runs):
    program = subprocess.run([scene.program("callback_under_lock"), thread, str(runs)], stdout=subprocess.PIPE, text=True, check=False)
    check(program.returncode == 0, f"thread={thread}: ended with {program.returncode}: {program.stdout}")
    return int(re.search(r"(\d+) calls", program.stdout).group(1))


def play(scene):
    runs = repeat(150)
    calls = in_parallel(lambda: run(scene, "yes", runs), lambda: run(scene, "no", runs))
    return f"{runs} reloads twice, {sum(calls)} calls from six callbacks and three threads, all under one lock of the application: no deadlock, waiting inside a callback refused at once"
