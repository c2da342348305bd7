# SPDX-License-Identifier: LGPL-2.1-or-later
"""safestart run: many callers, one run. Whatever process is killed, a command never runs twice at the same time, and every outcome is true."""
import fcntl
import os
import pty
import pwd
import random
import re
import shutil
import signal
import struct
import subprocess
import time

from stage import Skip, eventually, repeat

F_OFD_SETLK = 37

# Notices when it is not alone. At its end it writes down which callers had asked before it began.
COMMAND = """#!/bin/sh
mkdir "$WORLD/in" 2>/dev/null || echo overlap >>"$WORLD/overlaps"
begun=$WORLD/$$.$(date +%s%N)
ls "$WORLD/asked" >"$begun.begun"
while [ -e "$WORLD/hold" ]; do sleep 0.02; done
sleep "${TAKES:-0.02}"
rmdir "$WORLD/in"
mv "$begun.begun" "$begun.run"
exit "${CODE:-0}"
"""


class World:
    def __init__(self, scene):
        self.scene, self.path, self.locks = scene, os.path.join(scene.folder, "world"), os.path.join(scene.folder, "locks")
        os.makedirs(os.path.join(self.path, "asked"))
        self.command = os.path.join(self.path, "command")
        with open(self.command, "w", encoding="utf-8") as f:
            f.write(COMMAND)
        os.chmod(self.command, 0o755)
        self.errors = os.path.join(self.path, "errors")
        self.asked = 0

    def environment(self, **more):
        return {**os.environ, "WORLD": self.path, "SAFESTART_LOCKS": self.locks, **{key: str(value) for key, value in more.items()}}

    def call(self, *options, command=None, **more):
        """A caller; its request can be found again."""
        caller = str(self.asked)
        self.asked += 1
        with open(os.path.join(self.path, "asked", caller), "w", encoding="utf-8"):
            pass
        with open(self.errors, "a", encoding="utf-8") as errors:
            process = subprocess.Popen([self.scene.command, "run", "--name", "it", *options, "--", *(command or [self.command])], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                                       env=self.environment(**more))
        self.scene.ends.append(lambda: (process.kill(), process.wait()))
        process.caller = caller
        return process

    def runs(self):
        """What each finished run saw when it began."""
        found = []
        for name in os.listdir(self.path):
            if name.endswith(".run"):
                with open(os.path.join(self.path, name), encoding="utf-8") as f:
                    found.append(set(f.read().split()))
        return found

    def leader(self):
        """The holder of the lock, from its file."""
        try:
            with open(os.path.join(self.locks, "it.lock"), "rb") as f:
                found = re.search(rb"^held by it \(pid (\d+)\)", f.read(200), re.M)
        except OSError:
            found = None
        return int(found.group(1)) if found else 0

    def are_in(self, requests):
        """So many requests are in the open batch."""
        with open(os.path.join(self.locks, "it.lock"), "rb") as f:
            return b": %d requests," % requests in f.read()[8192:]

    def told(self):
        with open(self.errors, encoding="utf-8") as f:
            return f.read()

    def must_be_true(self, callers):
        """Each of them was covered by a run that began after it had asked, and no two runs overlapped."""
        assert not os.path.exists(os.path.join(self.path, "overlaps")), "the command ran beside itself"
        runs = self.runs()
        for process in callers:
            assert any(process.caller in run for run in runs), f"caller {process.caller} was told {process.returncode}, and no run has seen it: {self.told()[-2000:]}"


def test_p3_a_thousand_callers_are_two_runs(scene):
    """Under a sanitizer each is ten times as large and slow, and a hundred are a crowd, too."""
    plain = os.path.exists(os.path.join(os.path.dirname(scene.server), "libmeanwhile.so"))
    others = 999 if plain or repeat(1) > 1 else 99
    world = World(scene)
    scene.write("", world.path + "/hold")
    callers = [world.call("--debounce", "0", CODE=7)]
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "in")))
    callers += [world.call("--debounce", "0", CODE=7) for _ in range(others)]
    eventually("all to be in the next one", lambda: world.are_in(others))
    os.remove(world.path + "/hold")
    assert {process.wait() for process in callers} == {7}
    world.must_be_true(callers)
    assert len(world.runs()) == 2
    # On a busy machine it takes so long that some say after half a minute what they wait for.
    lines = [line for line in world.told().splitlines() if "waiting" not in line]
    assert len(lines) == others + 1 and sum("ran for 1 request:" in line for line in lines) == 1 and sum(f"ran for {others} requests:" in line for line in lines) == 1, world.told()
    assert all(re.fullmatch(r"safestart run: (ran for |covered by a run of pid \d+ \()\d+ requests?\)?: exit 7", line) for line in lines), world.told()


def test_p4_the_quiet_after_the_newest_request_is_waited_for(scene):
    world = World(scene)
    began = time.monotonic()
    caller = world.call("--debounce", "500ms")
    assert caller.wait() == 0 and time.monotonic() - began >= 0.5
    world.must_be_true([caller])


def test_p2_a_caller_during_a_run_is_covered_by_the_next(scene):
    world = World(scene)
    scene.write("", world.path + "/hold")
    first = world.call("--debounce", "0")
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "in")))
    later = [world.call("--debounce", "0") for _ in range(5)]
    eventually("all to be in the next one", lambda: world.are_in(5))
    os.remove(world.path + "/hold")
    assert {process.wait() for process in [first, *later]} == {0}
    world.must_be_true([first, *later])
    assert len(world.runs()) == 2


def test_p18_callers_killed_at_random_leave_the_others_true_outcomes(scene):
    world = World(scene)
    chance = random.Random(4711)
    survivors, killed = [], 0
    for _ in range(repeat(30)):
        callers = [world.call("--debounce", chance.choice(["0", "10ms", "50ms"])) for _ in range(6)]
        time.sleep(chance.random() * 0.15)  # any moment will do: this is what is tried
        leader = world.leader()
        victims = [process for process in callers if process.pid == leader] or [chance.choice(callers)]
        for victim in victims:
            victim.kill()
            killed += victim.wait() == -signal.SIGKILL
        for process in callers:
            code = process.wait()
            assert code == (0 if process not in victims or code == 0 else -signal.SIGKILL), (code, world.told()[-2000:])
            if code == 0:
                survivors.append(process)
    world.must_be_true(survivors)
    assert killed > 0


def left_running(scene):
    """A world in which the caller was killed, and its command runs until `hold` goes."""
    world = World(scene)
    scene.write("", world.path + "/hold")
    first = world.call("--debounce", "0")
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "in")))
    first.kill()
    first.wait()
    return world


def test_p1_a_command_left_running_by_a_killed_caller_is_waited_for(scene):
    world = left_running(scene)
    second = world.call("--debounce", "0")
    eventually("it to be waited for", lambda: "; waiting for it to end" in world.told())
    os.remove(world.path + "/hold")
    assert second.wait() == 0
    world.must_be_true([second])
    assert len(world.runs()) == 2


def test_p1_a_command_whose_lock_file_was_removed_is_waited_for(scene):
    """Nobody was killed, and nobody is said to have been for certain."""
    world = World(scene)
    scene.write("", world.path + "/hold")
    first = world.call("--debounce", "0")
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "in")))
    os.remove(os.path.join(world.locks, "it.lock"))
    second = world.call("--debounce", "0")
    eventually("it to be waited for", lambda: "its caller was killed, or the file NAME.lock was removed; waiting for it to end" in world.told())
    os.remove(world.path + "/hold")
    assert {first.wait(60), second.wait(60)} == {0}, world.told()
    world.must_be_true([first, second])


def test_p6_a_command_that_did_not_begin_in_time_is_not_said_to_have_been_ended(scene):
    world = left_running(scene)
    assert world.call("--debounce", "0", "--timeout", "200ms").wait() == 124
    assert "not started within its --timeout: the command of an earlier caller is still running" in world.told() and "was ended" not in world.told(), world.told()
    os.remove(world.path + "/hold")
    last = world.call("--debounce", "0")
    assert last.wait() == 0
    world.must_be_true([last])


def test_p6_a_caller_that_leaves_early_fails_no_other(scene):
    world = World(scene)
    scene.write("", world.path + "/hold")
    first = world.call("--debounce", "0")
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "in")))
    callers = [world.call("--debounce", "0") for _ in range(2)]
    eventually("both to be in the next one", lambda: world.are_in(2))
    first.kill()
    first.wait()
    eventually("one of them to wait for the command", lambda: "; waiting for it to end" in world.told())
    leader, other = sorted(callers, key=lambda process: process.pid != world.leader())
    leader.send_signal(signal.SIGTERM)
    assert leader.wait() == 128 + signal.SIGTERM
    os.remove(world.path + "/hold")
    assert other.wait() == 0, world.told()
    world.must_be_true([other])


def keeper_and_command(caller):
    def children(pid):
        return [int(child) for child in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()]
    keeper = eventually("a keeper", lambda: children(caller.pid))[0]
    return keeper, eventually("a command", lambda: children(keeper))[0]


def test_p1_a_command_whose_supervisor_is_killed_is_waited_for_by_its_caller(scene):
    world = World(scene)
    scene.write("", world.path + "/hold")
    caller = world.call("--debounce", "0")
    keeper, command = keeper_and_command(caller)
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "in")))
    os.kill(keeper, signal.SIGKILL)
    eventually("its keeper to be missed", lambda: "waiting for the command to end" in world.told())
    assert caller.poll() is None and os.path.exists(f"/proc/{command}")
    os.remove(world.path + "/hold")
    assert caller.wait() == 125
    assert "the supervisor of the command was killed, so it is not known how the command ended" in world.told() and "ran for" not in world.told(), world.told()
    assert len(world.runs()) == 1


def test_p1_a_command_whose_caller_and_supervisor_are_killed_is_waited_for(scene):
    """A command is killed with neither, however many processes it consists of; the next caller finds it by the name of its process."""
    world = World(scene)
    both = ["sh", "-c", '"$0"; "$0"', world.command]
    for number in range(repeat(10)):
        scene.write("", world.path + "/hold")
        first = world.call("--debounce", "0", command=both)
        keeper, command = keeper_and_command(first)
        if number % 2 == 0:
            eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "in")))
        for pid in random.sample([first.pid, keeper], 2):
            os.kill(pid, signal.SIGKILL)
        first.wait()
        second = world.call("--debounce", "0", command=both)
        if number % 2 == 0:
            eventually("it to be waited for", lambda: f"still running (pid {command})" in world.told() or second.poll() is not None or os.path.exists(os.path.join(world.path, "overlaps")))
        os.remove(world.path + "/hold")
        assert second.wait(60) == 0, world.told()
        world.must_be_true([second])
    # Of a command that has ended, and of a file that says anything, nobody waits for anything.
    for wrong in ["", "1", "x" * 79 + "\n", f"{os.getpid()} 1 \n", f"{2**63} 5\n", "-1 7\n"]:
        with open(os.path.join(world.locks, "it.command"), "r+", encoding="utf-8") as f:
            f.write(wrong)
        assert world.call("--debounce", "0", command=both).wait(60) == 0, world.told()


# The first half of a command; it ends in order at a signal, when it is let go.
HALF = """trap 'until [ -e "$WORLD/let-go" ]; do sleep 0.02; done; rmdir "$WORLD/in"; exit 9' TERM
mkdir "$WORLD/in" || echo overlap >>"$WORLD/overlaps"
echo run >>"$WORLD/begun"
while [ -e "$WORLD/hold" ]; do sleep 0.02; done
rmdir "$WORLD/in"
"""


def test_p1_what_is_left_of_a_command_that_was_cut_off_is_waited_for(scene):
    """The shell of `sh -c 'a; b'` ends at a signal, and a goes on: it gets the signal too, and no run begins beside it."""
    for cut in [signal.SIGKILL, signal.SIGTERM]:
        shutil.rmtree(os.path.join(scene.folder, "world"), ignore_errors=True)
        world = World(scene)
        script = ["sh", "-c", 'sh -c "$0"; :', HALF]
        scene.write("", world.path + "/hold")
        first = world.call("--debounce", "0", command=script)
        eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "in")))
        _, shell = keeper_and_command(first)
        second = world.call("--debounce", "0", command=script)
        eventually("it to wait", lambda: world.are_in(1))
        if cut == signal.SIGKILL:
            os.kill(shell, cut)  # by somebody else: what is left goes on
        else:
            first.send_signal(cut)
        eventually("what is left to be waited for", lambda: "the command was ended by a signal, but not all that it has started; waiting for that" in world.told())
        assert first.poll() is None and not os.path.exists(f"/proc/{shell}")
        os.remove(world.path + "/hold")
        scene.write("", world.path + "/let-go")
        assert first.wait(60) == 128 + cut, world.told()
        assert second.wait(60) == 0, world.told()
        assert scene.read(world.path + "/begun") == "run\nrun\n" and not os.path.exists(world.path + "/overlaps")


def test_p1_the_timeout_ends_all_of_a_command(scene):
    """Children of children, one after the other; a daemon is not of them."""
    world = World(scene)
    deep = """trap ': >"$WORLD/told"; exit' TERM; echo $$ >"$WORLD/deep"; while :; do sleep 0.05; done"""
    script = """setsid sh -c 'echo $$ >"$WORLD/daemon"; exec sleep 600' & sh -c 'sh -c "$1"; :' sh "$1"; :"""
    caller = world.call("--debounce", "0", "--timeout", "1s", command=["sh", "-c", script, "sh", deep])
    files = [os.path.join(world.path, name) for name in ("daemon", "deep")]
    daemon, deep = (int(eventually("a process", lambda path=path: os.path.exists(path) and scene.read(path).strip())) for path in files)
    scene.ends.append(lambda: os.kill(daemon, signal.SIGKILL))
    assert caller.wait(60) == 124, world.told()
    assert not os.path.exists(f"/proc/{deep}") and os.path.exists(world.path + "/told") and os.path.exists(f"/proc/{daemon}")


def test_p6_a_killed_supervisor_fails_no_other_caller(scene):
    world = World(scene)
    scene.write("", world.path + "/hold")
    callers = [world.call("--debounce", "1s", command=["sh", "-c", 'echo run >>"$WORLD/begun"; while [ -e "$WORLD/hold" ]; do sleep 0.02; done']) for _ in range(3)]
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "begun")))
    pid = world.leader()
    leader = next(process for process in callers if process.pid == pid)
    keeper, _ = keeper_and_command(leader)
    os.kill(keeper, signal.SIGKILL)
    os.remove(world.path + "/hold")
    assert leader.wait(60) == 125
    assert {process.wait(60) for process in callers if process is not leader} == {0}, world.told()
    assert scene.read(world.path + "/begun") == "run\nrun\n"


def test_a_signal_reaches_a_command_whose_supervisor_was_killed(scene):
    world = World(scene)
    script = ["sh", "-c", 'trap "exit 9" TERM; : >"$WORLD/ready"; while :; do sleep 0.05; done']
    caller = world.call("--debounce", "0", command=script)
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "ready")))
    keeper, command = keeper_and_command(caller)
    scene.ends.append(lambda: os.path.exists(f"/proc/{command}") and os.kill(command, signal.SIGKILL))
    os.kill(keeper, signal.SIGKILL)
    eventually("its keeper to be missed", lambda: "waiting for the command to end" in world.told() or caller.poll() is not None)
    assert caller.poll() is None and os.path.exists(f"/proc/{command}"), world.told()
    caller.send_signal(signal.SIGTERM)  # still passed on
    assert caller.wait() == 125, world.told()
    eventually("the command to be gone", lambda: not os.path.exists(f"/proc/{command}"))


def test_p1_a_command_that_stays_when_its_callers_group_is_killed_is_waited_for(scene):
    world = World(scene)
    scene.write("", world.path + "/hold")
    command = ["setsid", world.command]  # or sudo, for whom may not kill it
    first = subprocess.Popen([scene.command, "run", "--name", "it", "--debounce", "0", *command], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=world.environment(), start_new_session=True)
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "in")))
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    second = world.call("--debounce", "0", command=command)
    eventually("it to be waited for", lambda: "; waiting for it to end" in world.told() or second.poll() is not None or os.path.exists(os.path.join(world.path, "overlaps")))
    os.remove(world.path + "/hold")
    assert second.wait() == 0
    world.must_be_true([second])
    assert len(world.runs()) == 2


def test_p18_what_a_command_leaves_behind_holds_no_lock(scene):
    world = World(scene)
    script = 'ls -l /proc/self/fd >"$WORLD/descriptors"; setsid sleep 600 >/dev/null 2>&1 & echo $! >>"$WORLD/daemons"'
    before = subprocess.run(["sh", "-c", "ls -l /proc/self/fd"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
    for _ in range(2):
        assert world.call("--debounce", "0", command=["sh", "-c", script]).wait() == 0
    with open(os.path.join(world.path, "descriptors"), encoding="utf-8") as f:
        assert len(f.readlines()) == len(before.splitlines())
    with open(os.path.join(world.path, "daemons"), encoding="utf-8") as f:
        daemons = [int(line) for line in f]
    assert len(daemons) == 2
    for daemon in daemons:
        os.kill(daemon, signal.SIGKILL)


def test_signals_go_to_the_command_and_a_follower_just_leaves(scene):
    world = World(scene)
    script = 'trap "exit 9" TERM; : >"$WORLD/ready"; while :; do sleep 0.05; done'
    leader = world.call("--debounce", "0", command=["sh", "-c", script])
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "ready")))
    follower = world.call("--debounce", "0", command=["sh", "-c", script])
    eventually("it to wait", lambda: world.are_in(1))
    follower.send_signal(signal.SIGTERM)
    assert follower.wait() == 128 + signal.SIGTERM
    assert leader.poll() is None
    leader.send_signal(signal.SIGTERM)
    assert leader.wait() == 9


# Notes each of its runs, and ends in order at a signal.
INTERRUPTED = """trap 'rmdir "$WORLD/in"; exit 9' TERM INT
mkdir "$WORLD/in" || echo overlap >>"$WORLD/overlaps"
echo run >>"$WORLD/begun"
while [ -e "$WORLD/hold" ]; do sleep 0.02; done
rmdir "$WORLD/in"
"""


def test_p6_a_signal_to_the_leader_ends_no_other_caller_of_its_batch(scene):
    world = World(scene)
    scene.write("", world.path + "/hold")
    callers = [world.call("--debounce", "1s", command=["sh", "-c", INTERRUPTED]) for _ in range(20)]
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "begun")))
    pid = world.leader()
    leader = next(process for process in callers if process.pid == pid)
    leader.send_signal(signal.SIGTERM)
    assert leader.wait(60) == 9 and "interrupted by SIGTERM while it ran the command" in world.told(), world.told()
    os.remove(world.path + "/hold")
    assert {process.wait(60) for process in callers if process is not leader} == {0}, world.told()
    assert scene.read(world.path + "/begun") == "run\nrun\n" and not os.path.exists(os.path.join(world.path, "overlaps"))
    assert world.told().count("exit 9") == 0, world.told()


def test_p6_control_c_at_the_terminal_of_the_leader_ends_no_other_caller(scene):
    world = World(scene)
    scene.write("", world.path + "/hold")
    words = [scene.command, "run", "--name", "it", "--debounce", "1s", "--", "sh", "-c", INTERRUPTED]
    terminals = {}
    for _ in range(2):  # either may lead
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(scene.command, words, world.environment())
        terminals[pid] = terminal
        scene.ends.append(lambda terminal=terminal: os.close(terminal))  # hangs up
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "begun")))
    leader = world.leader()
    os.write(terminals[leader], b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1]) == 9
    os.remove(world.path + "/hold")
    assert {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in terminals if pid != leader} == {0}
    assert scene.read(world.path + "/begun") == "run\nrun\n" and not os.path.exists(os.path.join(world.path, "overlaps"))


def test_a_caller_behind_a_hanging_command_is_told_once_which_it_waits_for(scene):
    """After 30 s, which the preloaded library lets pass at once."""
    shim = os.path.join(os.path.dirname(scene.server), "liblater.so")
    if not os.path.exists(shim):
        raise Skip("nothing can be preloaded under a sanitizer")
    world = World(scene)
    hold, later = (os.path.join(world.path, name) for name in ["hold", "later"])
    for path in [hold, later]:
        with open(path, "w", encoding="utf-8"):
            pass
    os.remove(later)
    leader = world.call("--debounce", "0")
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "in")))
    shimmed = {"LD_PRELOAD": shim, "LATER": later}
    followers = [world.call("--debounce", "0", *more, **shimmed) for more in [[], ["--quiet"], ["--timeout", "1h"]]]
    eventually("them to wait", lambda: world.are_in(3))
    assert world.told() == ""
    with open(later, "w", encoding="utf-8"):
        pass
    eventually("the first to tell", lambda: re.search(rf"still waiting after \d+ s: the command is being run by it \(pid {leader.pid}\) and has not ended", world.told()))
    assert world.told().count("\n") == 1, world.told()
    for follower in followers:
        follower.send_signal(signal.SIGTERM)
        assert follower.wait() == 128 + signal.SIGTERM
    os.remove(hold)
    assert leader.wait() == 0 and world.told().count("still waiting after") == 1, world.told()


def test_a_signal_that_comes_as_the_window_ends_is_heard(scene):
    world = World(scene)
    caller = world.call("--debounce", "1s")
    eventually("it to be in the batch", lambda: os.path.exists(os.path.join(world.locks, "it.lock")) and world.are_in(1))
    caller.send_signal(signal.SIGSTOP)
    entered = time.monotonic()
    eventually("its window to be over", lambda: time.monotonic() - entered > 1.2)
    caller.send_signal(signal.SIGTERM)
    caller.send_signal(signal.SIGCONT)  # it finds the signal and the end of the window at once
    assert caller.wait() == 128 + signal.SIGTERM, world.told()
    assert not world.runs()


def test_the_command_finds_its_signals_as_its_caller_did(scene):
    world = World(scene)

    def signals(*words):
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=world.environment(), check=True,
                              preexec_fn=lambda: (signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])))
        return sorted(line for line in done.stdout.splitlines() if line.startswith("Sig") and not line.startswith("SigQ") and not line.startswith("SigPnd"))
    assert signals("cat", "/proc/self/status") == signals(scene.command, "run", "--debounce", "0", "cat", "/proc/self/status")


def test_exit_codes_are_those_of_env(scene):
    world = World(scene)
    os.makedirs(os.path.join(world.path, "not executable"))
    for code, words, *command in [(0, "exit 0", "true"), (3, "exit 3", "sh", "-c", "exit 3"), (137, "exit 137", "sh", "-c", "kill -9 $$"), (127, "cannot run", "/nowhere/to/be/found"),
                                  (126, "cannot run", world.path)]:
        scene.safestart("run", "--debounce", "0", *command, SAFESTART_LOCKS=world.locks).must(code, words)
    scene.safestart("run", "--debounce", "0", "--timeout", "200ms", "sleep", "600", SAFESTART_LOCKS=world.locks).must(124, "not finished within its --timeout")
    assert scene.safestart("run", "--quiet", "--debounce", "0", "--", "true", SAFESTART_LOCKS=world.locks).must(0).err == ""


def test_p14_a_command_that_does_not_end_is_killed_and_no_caller_waits_for_ever(scene):
    if repeat(1) == 1:
        raise Skip("takes more than 10 s; in a soak")
    world = World(scene)
    script = 'trap "" TERM; : >"$WORLD/ready"; while :; do sleep 0.05; done'
    leader = world.call("--debounce", "0", "--timeout", "500ms", command=["sh", "-c", script])
    assert leader.wait() == 124


def test_p14_the_wait_for_other_callers_is_limited_or_refused(scene):
    world = World(scene)
    scene.write("", world.path + "/hold")
    # Alone, a caller does not wait; its own command is no wait, however long it takes.
    first = world.call("--debounce", "0", "--no-wait", "--wait-timeout", "1m")
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "in")))
    assert world.call("--debounce", "0", "--no-wait").wait(60) == 124 and "not run: another caller with this name waits or runs" in world.told(), world.told()
    assert world.call("--debounce", "0", "--wait-timeout", "1s").wait(60) == 124 and "not run within --wait-timeout" in world.told(), world.told()
    patient = world.call("--debounce", "0", "--wait-timeout", "1h")
    eventually("it to wait", lambda: world.are_in(1) or world.are_in(2))  # with that of the one that left
    first.kill()  # its command goes on, and its supervisor is inside
    first.wait()
    assert world.call("--debounce", "0", "--no-wait").wait(60) == 124
    os.remove(world.path + "/hold")
    assert patient.wait(60) == 0, world.told()
    world.must_be_true([patient])


def test_a_string_for_the_shell_is_a_command(scene):
    world = World(scene)
    scene.safestart("run", "--debounce", "0", "-c", "true && exit 5", SAFESTART_LOCKS=world.locks).must(5, "exit 5")
    for words in [["-c"], ["-c", "exit", "5"]]:
        scene.safestart("run", "--debounce", "0", *words, SAFESTART_LOCKS=world.locks).must(125, "-c takes one string for the shell")
    scene.safestart("run", "--debounce", "0", "--", "sh", "-c", "exit 6", SAFESTART_LOCKS=world.locks).must(6)


def test_where_no_thread_can_be_started_it_ends_with_words(scene):
    if os.geteuid() != 0:
        raise Skip("needs root to be a user without processes")
    if not os.path.exists(os.path.join(os.path.dirname(scene.server), "libmeanwhile.so")):
        raise Skip("a sanitizer has a thread of its own")
    world = World(scene)
    os.makedirs(world.locks)
    os.chmod(world.locks, 0o777)
    command, there = scene.for_others()
    words = ["prlimit", "--nproc=0", command, "run", "--name", "it", "--debounce", "0", "true"]
    done = subprocess.run(words, user=23456, group=23456, extra_groups=[], cwd="/", env=world.environment(**there), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 125 and "cannot create a process for the command" in done.stderr and "not run: exit 125" in done.stderr, done


def test_too_few_descriptors_are_told_before_anything_begins(scene):
    world = World(scene)
    codes = []
    for limit in range(5, 24):  # below that the program itself cannot be loaded
        words = ["prlimit", f"--nofile={limit}", scene.command, "run", "--name", "it", "--debounce", "0", "true"]
        done = subprocess.run(words, env=world.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
        told = "Too many open files: \\d+ more must be allowed \\(ulimit -n\\); not run: exit 125" if done.returncode == 125 else "ran for 1 request: exit 0"
        assert re.fullmatch(f"safestart run: {told}\n", done.stderr), (limit, done)
        codes.append(done.returncode)
    assert codes == sorted(codes, reverse=True) and set(codes) == {0, 125}, codes


def test_a_reason_is_told_once(scene):
    world = World(scene)
    os.makedirs(os.path.join(world.locks, "it.lock"))
    words = ["run", "--name", "it", "--debounce", "0", "true"]
    reason = "cannot use the lock: it is a directory; name a file in it"
    told = scene.safestart(*words, SAFESTART_LOCKS=world.locks).must(125, reason, "not run: exit 125").err
    assert told.count(reason) == 1, told
    scene.safestart("run", "--quiet", *words[1:], SAFESTART_LOCKS=world.locks).must(125, reason)


def test_bad_arguments_say_what_to_do(scene):
    world = World(scene)
    for words, *arguments in [("no command given",), ("no command given", "--debounce", "1s"), ("not a duration", "--debounce", "soon", "true"), ("did you mean --debounce", "--debonce", "1s", "true"),
                              ("a name is part of a file name", "--name", "a/b", "true"), ("a name is part of a file name", "--name", "..", "true"),
                              ("a name is part of a file name", "--name", "x" * 300, "true"), ("max_delay is shorter than debounce", "--max-delay", "1s", "true")]:
        scene.safestart("run", *arguments, SAFESTART_LOCKS=world.locks).must(125, words)
    # The command's own options are its own.
    scene.safestart("run", "--debounce", "0", "sh", "-c", "exit 4", SAFESTART_LOCKS=world.locks).must(4)
    scene.safestart("run", "--help").must(0, "usage: safestart run")


def test_one_name_is_one_command(scene):
    world = World(scene)
    scene.write("", world.path + "/hold")
    first = world.call("--debounce", "0")
    eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "in")))
    scene.safestart("run", "--name", "it", "--debounce", "0", "echo", "it's", "another one", SAFESTART_LOCKS=world.locks).must(
        125, "in use for another command", world.command, "echo 'it'\\''s' 'another one'", "--name")
    os.remove(world.path + "/hold")
    assert first.wait() == 0
    scene.safestart("run", "--name", "it", "--debounce", "0", "echo", "other", SAFESTART_LOCKS=world.locks).must(0, "other")  # nobody is inside


def test_p5_a_caller_that_writes_the_command_slowly_turns_no_other_away(scene):
    world = World(scene)
    os.makedirs(world.locks)
    with open(os.path.join(world.locks, "it.command"), "w", encoding="utf-8") as f:
        f.write("0123456789abcdef another command, which was here before\n")
        f.flush()
        fcntl.fcntl(f, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
        began = time.monotonic()
        caller = world.call("--debounce", "0")
        eventually("its patience to be over", lambda: time.monotonic() - began > 1.5)
        assert caller.poll() is None, world.told()
    assert caller.wait() == 0, world.told()
    world.must_be_true([caller])


def test_without_a_name_user_and_command_make_one(scene):
    world = World(scene)
    for directory, *command in [("/", "true"), ("/tmp", "true"), ("/", "true", "really"), ("/", "sh", "-c", "a b"), ("/", "sh", "-c", "a", "b")]:
        subprocess.run([scene.command, "run", "--debounce", "0", *command], cwd=directory, env=world.environment(), capture_output=True, check=False)
    names = [name for name in os.listdir(world.locks) if name.endswith(".lock")]
    assert len(names) == 4 and all(re.fullmatch(r"(true|sh)-[0-9a-f]{16}\.lock", name) for name in names), names


def test_p1_the_same_command_from_other_directories_or_with_another_path_never_overlaps(scene):
    world = World(scene)
    scene.write("", world.path + "/hold")
    for options in [["--name", "it"], []]:
        begin = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        words = [scene.command, "run", *options, "--debounce", "0", world.command]
        first = subprocess.Popen(words, cwd="/", env=world.environment(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        scene.ends.append(lambda first=first: (first.kill(), first.wait()))
        eventually("it to run", lambda: os.path.exists(os.path.join(world.path, "in")))
        for directory, more, say in [("/etc", {}, "in another directory; start both in the same directory (cd), or give yours another --name; inside: /; yours: /etc\n"), ("/tmp", {}, "yours: /tmp"),
                                     ("/", {"PATH": "/else:" + os.environ["PATH"]}, "with another PATH; ")]:
            done = subprocess.run(words, cwd=directory, env=world.environment(**more), **begin, check=False, timeout=60)
            assert done.returncode == 125 and say in done.stderr, (directory, done)
        os.remove(world.path + "/hold")
        assert first.wait() == 0
        assert subprocess.run(words, cwd="/etc", env=world.environment(), check=False, timeout=60, **begin).returncode == 0  # nobody is inside
        scene.write("", world.path + "/hold")
    assert not os.path.exists(os.path.join(world.path, "overlaps"))


def test_every_example_of_run_has_a_name(scene):
    examples = [line for line in scene.safestart("run", "--help").must(0).out.splitlines() if re.match(r"\s+\$ safestart run ", line)]
    assert len(examples) >= 2 and all("--name" in line for line in examples), examples


def test_a_call_inside_of_its_own_command_is_an_error(scene):
    world = World(scene)
    inner = [scene.command, "run", "--name", "it", "--debounce", "0"]
    for script in ['exec "$@"', '"$@"; exit $?', 'sh -c \'"$@"; exit $?\' sh "$@"; exit $?']:
        for words in [["true"], ["sh", "-c", script, "sh", "true"]]:
            caller = world.call("--debounce", "0", command=["sh", "-c", script, "sh", *inner, *words])
            assert caller.wait(60) == 125, world.told()
    assert re.search(r"called inside of the command of the same name \((sh|safestart), pid \d+\)", world.told()), world.told()
    # Another name inside is fine, and its command is inside of both.
    other = [scene.command, "run", "--name", "other", "--debounce", "0"]
    assert world.call("--debounce", "0", command=[*other, "true"]).wait(60) == 0
    assert world.call("--debounce", "0", command=[*other, *inner, "true"]).wait(60) == 125


def test_a_directory_taken_by_another_user_says_what_to_do(scene):
    if os.geteuid() != 0:
        raise Skip("needs root to be somebody else")
    nobody = pwd.getpwnam("nobody")
    taken = f"/tmp/safestart-{nobody.pw_uid}"
    shutil.rmtree(taken, ignore_errors=True)
    arguments = ["run", "--name", "it", "--debounce", "0", "true"]
    os.mkdir(taken)
    os.chown(taken, 1, 1)
    try:
        scene.safestart(*arguments, user="nobody", SAFESTART_LOCKS="").must(125, "belongs to user 1;", "remove it (as root)", "--lock-dir", taken)
        os.rmdir(taken)
        scene.write("", taken)
        scene.safestart(*arguments, user="nobody", SAFESTART_LOCKS="").must(125, "place is taken by a file of user 0;", "remove it (as root)")
    finally:
        shutil.rmtree(taken) if os.path.isdir(taken) else os.remove(taken)


def test_p3_several_users_share_a_name_that_root_has_prepared(scene):
    if os.geteuid() != 0:
        raise Skip("needs root to be somebody else")
    world = World(scene)
    os.makedirs(world.locks)
    for name in ["it.lock", "it.command"]:
        scene.write("", os.path.join(world.locks, name))
        os.chmod(os.path.join(world.locks, name), 0o666)
    os.chmod(world.path, 0o777)
    os.chmod(world.path + "/asked", 0o777)
    command, there = scene.for_others()
    nobody = pwd.getpwnam("nobody")
    scene.write("", world.path + "/hold")
    os.chmod(world.path + "/hold", 0o666)
    callers = []
    for user in [nobody.pw_uid, 0, nobody.pw_uid, 0]:
        callers.append(subprocess.Popen([command, "run", "--name", "it", "--debounce", "0", world.command], user=user, cwd="/", env=world.environment(**there), stdin=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL))
        scene.ends.append(lambda process=callers[-1]: (process.kill(), process.wait()))
        eventually("the first to run", lambda: os.path.exists(os.path.join(world.path, "in")))
    eventually("the others to be in the next one", lambda: world.are_in(3))
    os.remove(world.path + "/hold")
    assert {process.wait(60) for process in callers} == {0}
    assert len(world.runs()) == 2 and not os.path.exists(os.path.join(world.path, "overlaps"))


def test_directories_that_will_not_do_say_what_to_do(scene):
    world = World(scene)
    scene.safestart("run", "--debounce", "0", "--lock-dir", "/nowhere/at/all", "true").must(125, "cannot create the lock directory", "--lock-dir")
    scene.safestart("run", "--debounce", "0", "--lock-dir", "/proc/self", "true").must(125, "/proc/self")
    scene.write("precious\n", world.path + "/file")
    scene.safestart("run", "--debounce", "0", "--lock-dir", world.path + "/file", "true").must(125)
    for spoilt in ("it.lock", "it.command"):
        locks = os.path.join(scene.folder, "spoilt " + spoilt)
        os.makedirs(locks)
        os.symlink(world.path + "/file", os.path.join(locks, spoilt))
        scene.safestart("run", "--name", "it", "--debounce", "0", "--lock-dir", locks, "true").must(125, spoilt)
    assert scene.read(world.path + "/file") == "precious\n"


def test_another_user_is_told_the_owner(scene):
    if os.geteuid() != 0:
        raise Skip("needs root to be somebody else")
    world = World(scene)
    locks = os.path.join(scene.folder, "for all")
    os.makedirs(locks)
    os.chmod(locks, 0o1777)
    arguments = ["run", "--name", "it", "--debounce", "0", "--lock-dir", locks, "true"]
    scene.safestart(*arguments).must(0)
    scene.safestart(*arguments, user="nobody").must(125, "it.command")
    for name in os.listdir(locks):
        os.remove(os.path.join(locks, name))
    scene.safestart(*arguments, user="nobody").must(0)
    scene.safestart(*arguments).must(125, "not a plain file of this user or root")  # root does not trust it either
    scene.safestart("run", "--debounce", "0", "true", user="nobody", SAFESTART_LOCKS="", XDG_RUNTIME_DIR="").must(0)
    made = f"/tmp/safestart-{os.stat(os.path.join(locks, 'it.lock')).st_uid}"
    assert os.stat(made).st_mode & 0o777 == 0o700
    shutil.rmtree(made)
    assert world.asked == 0


def test_p1_with_a_session_and_without_one_the_locks_are_the_same(scene):
    if os.geteuid() != 0:
        raise Skip("needs root to be somebody else")
    runtime = os.path.join(scene.folder, "runtime")
    os.makedirs(runtime)
    os.chmod(runtime, 0o777)
    for given in ("", runtime):  # cron, and a shell
        scene.safestart("run", "--name", "it", "--debounce", "0", "true", user="nobody", SAFESTART_LOCKS="", XDG_RUNTIME_DIR=given).must(0)
    made = f"/tmp/safestart-{pwd.getpwnam('nobody').pw_uid}"
    assert sorted(os.listdir(made)) == ["it.command", "it.lock"] and not os.listdir(runtime)
    shutil.rmtree(made)


def test_p18_on_a_full_disk_it_runs_all_the_same(scene):
    world = World(scene)
    script = f"""set -e
mkdir {scene.folder}/disk
mount -t tmpfs -o size=32k none {scene.folder}/disk
touch {scene.folder}/disk/it.lock
{scene.command} run --name it --debounce 0 --lock-dir {scene.folder}/disk -- true
rm {scene.folder}/disk/it.*
cat /dev/zero >{scene.folder}/disk/filler || :
{scene.command} run --name it --debounce 0 --lock-dir {scene.folder}/disk -- sh -c 'exit 5'
"""
    done = subprocess.run(["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, env=world.environment(), check=False)
    if "unshare" in done.stderr:
        raise Skip("no mount namespace to be had")
    assert done.returncode == 5 and "each process makes its own" in done.stderr and "cannot write the command beside the lock" in done.stderr, (done.returncode, done.stderr)


def test_closed_standard_descriptors_are_not_reused(scene):
    world = World(scene)
    script = f'exec 0<&- 1>&- 2>&-; exec {scene.command} run --debounce 0 -- sh -c "exit 6"'
    assert subprocess.run(["sh", "-c", script], env=world.environment(), check=False, timeout=60).returncode == 6
