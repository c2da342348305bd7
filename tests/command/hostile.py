# SPDX-License-Identifier: LGPL-2.1-or-later
"""Any kind of program behind a socket in the control directory: the others are shown, and the terminal is safe."""
import json
import os
import re
import signal
import socket
import threading
import time

from stage import Skip, answers, document, nodes_answer, repeat


def status_of(name="api", pid=1, digest="a1b2" * 4, message="", **more):
    return {"ok": True, "pid": pid, "name": name, "status": {"generation": 1, "digest": digest, "desired_digest": digest, "behind_seconds": 0, "nodes": [], "last": {"verdict": "applied", "message": message}, **more}}


def hang_up(connection):
    connection.close()


def silent(connection):
    threading.Event().wait(60)


def endless(connection):
    while True:
        connection.sendall(b"x" * 65536)


def slow(connection):
    for byte in b'{"ok":true,':
        connection.sendall(bytes([byte]))
        time.sleep(0.02)
    threading.Event().wait(60)


def half(connection):
    connection.sendall(b'{"ok":true')
    connection.close()


GARBAGE = [b"\n", b"hello\n", b"[]\n", b"null\n", b"\xff\xfe\n", b"{}\n", b'{"ok":1}\n', b'{"ok":true}\n', b'{"ok":false}\n', b'{"ok":true,"status":[]}\n', b'{"ok":true,"status":{"nodes":{}}}\n',
           b'{"ok":true,"name":7,"status":{"generation":"x","digest":[],"last":3,"nodes":[1,null,{"id":3,"state":[]}],"run":1,"lock":"x"}}\n', b'{"ok":true,"nodes":[[],{}]}\n',
           b"[" * 100000 + b"\n", b'{"a":' * 5000 + b"\n", b"\0\0\0\n", b'{"ok":true,"metrics":"# HELP\\n# TYPE x\\nx{\\nx{} 1\\n{} 1\\n\\u001b[31m 1\\n# \\n"}\n',
           b'{"ok":true,"status":{"generation":1,"digest":"a1b2","desired_digest":"a1b2","behind_seconds":1e308,"nodes":[]}}\n']


def test_garbage_is_reported_and_the_others_are_shown(scene):
    server = scene.start("api")
    server.push(document("a"))
    for n, bytes_ in enumerate(GARBAGE):
        fake = scene.fake(f"api.{100000 + n}.sock", answers(lambda request, said=bytes_: said))
        rarely = [["request", "--wait", "--timeout", "100ms"], ["events", "--no-follow"]]  # they wait for more
        for verb in [["status"], ["status", "--json"], ["nodes"], ["nodes", "--json"], ["metrics"], ["request"], ["wait", "a", "--roster", "api=1", "--timeout", "0"], ["complete", "wait", ""],
                     *(rarely if n % 6 == 0 else [])]:
            told = scene.safestart(*verb)
            assert 0 <= told.code <= 7, f"{verb} {bytes_[:40]!r}: {told.code} {told.err}"
            assert "\x1b" not in told.out + told.err, f"{verb} {bytes_[:40]!r}"
            if verb == ["status"]:
                assert str(server.pid) in told.out, told.out
        fake.close()
        os.remove(os.path.join(scene.control, f"api.{100000 + n}.sock"))


def test_a_slow_or_silent_process_costs_no_more_than_the_timeout(scene):
    server = scene.start("api")
    server.push(document("a"))
    for n, act in enumerate([silent, endless, slow, hang_up, half] * 4):
        scene.fake(f"bad.{100000 + n}.sock", act)
    for verb in ["status", "nodes", "metrics"]:
        told = scene.safestart(verb, "--timeout", "500ms").must(4)
        assert "api" in told.out, told.out
    scene.safestart("status", "--timeout", "500ms").must(4, "no answer within 0.5 s", "closed the connection without an answer")
    scene.safestart("status", "api", "--timeout", "100s").must(0)


def test_what_they_say_does_not_steer_the_terminal(scene):
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egpj.exe\u200b\r\nx"
    reply = nodes_answer({}, name=evil)

    def act(request):
        if request["do"] == "status":
            return status_of(evil, digest="\x1b[31m" + "a" * 40, behind_seconds=5, last={"verdict": "refused", "message": evil}, source="file:" + evil,
                             nodes=[{"id": evil, "state": evil, "why": evil}], lock={"state": "waiting", "holder": evil})
        if request["do"] == "nodes":
            return {"ok": True, "name": evil, "nodes": [{"id": evil, "address": evil, "incarnation": evil, "state": evil, "why": evil}]}
        if request["do"] == "events":
            return {"event": "log", "at": evil, "name": evil, "level": 3, "message": evil}
        if request["do"] == "request":
            return {"ok": True, "name": evil, "ticket": 1, "outcome": {"verdict": evil, "message": evil}}
        return reply(request)
    scene.fake("api.1.sock", answers(act))
    scene.fake("api.2.sock", answers(lambda request: {"ok": False, "name": evil, "message": evil}))
    scene.fake("\x1b]0;x\x07\u202e.3.sock", hang_up)
    for verb in [["status"], ["status", "nobody"], ["nodes"], ["events", "--no-follow"], ["request", "--force"], ["request", "--wait"], ["wait", evil, "--no-roster", "--timeout", "0"],
                 ["metrics"], ["status", "--json"], ["complete", "wait", ""]]:
        told = scene.safestart(*verb)
        for forbidden in ["\x1b", "\x07", "\x9b", "\u202e", "\u200b", "\r", "\0"]:
            assert forbidden not in told.out + told.err, f"{verb}: {forbidden!r} in {told.out!r} {told.err!r}"


def test_no_link_leads_elsewhere(scene):
    """Root asks in a directory that others write to."""
    reached = []
    elsewhere = os.path.join(scene.folder, "elsewhere.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(elsewhere)
    listener.listen(8)
    listener.setblocking(False)
    os.mkdir(scene.control)
    os.symlink(elsewhere, os.path.join(scene.control, "api.1.sock"))
    with open(os.path.join(scene.control, "api.2.sock"), "w", encoding="utf-8"):
        pass
    os.mkdir(os.path.join(scene.control, "api.3.sock"))
    for odd in [".api.4.sock", "api.sock", "api.5x.sock", ".5.sock", "5.sock", "api.-5.sock"]:
        with open(os.path.join(scene.control, odd), "w", encoding="utf-8"):
            pass
    told = scene.safestart("status").must(4, "cannot be asked")
    assert "4 " not in told.out.split() and "5x" not in told.out
    try:
        reached.append(listener.accept())
    except BlockingIOError:
        pass
    assert not reached and len(os.listdir(scene.control)) == 9, "nothing but dead sockets is swept"
    listener.close()


def test_paths_longer_than_an_address_work(scene):
    scene.control = os.path.join(scene.folder, "x" * 120)
    os.mkdir(scene.control)
    server = scene.start("api")
    server.push(document("a"))
    scene.safestart("status").must(0, "1 of 1 on generation")


def test_two_hundred_processes_are_asked_at_once(scene):
    """Sockets of one process stand for many processes: this tests the questions."""
    count = repeat(20)
    for n in range(count):
        scene.fake(f"api.{n + 1}.sock", answers(lambda request, n=n: status_of(pid=n + 1) if request["do"] == "status" else nodes_answer({"a": "proven" if n else "failing"}, pid=n + 1)(request)))
    scene.safestart("status", "--timeout", "100s").must(0, f"{count} of {count} on generation a1b2")
    assert len(scene.safestart("status", "--timeout", "100s").out.splitlines()) == count + 3
    told = scene.safestart("nodes", "--timeout", "100s").must(0, f"1 × failing (1), {count - 1} × proven")
    assert len(told.out.splitlines()) <= 5, told.out
    # With few descriptors fewer are asked at a time, or it is said who was not.
    told = scene.safestart("status", before=["prlimit", "--nofile=12"])
    assert told.code in (0, 4) and f"of {count}" in told.out, told.out


STRANGER = 23456


def stranger(scene, *files, user=STRANGER, own_pid=True):
    """Another user with write access to the control directory. Its process listens at NAME.PID.sock for each "NAME ACT" and serves until the end."""
    if os.geteuid() != 0:
        raise Skip("needs root to be somebody else")
    os.makedirs(scene.control, exist_ok=True)
    os.chmod(scene.control, 0o777)
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            for name, act in files:
                scene.fake(f"{name}.{os.getpid()}.sock" if own_pid else name, act)
            os.write(told, b"x")
            threading.Event().wait()
        finally:
            os._exit(1)
    os.close(told)
    scene.ends.append(lambda: (os.kill(pid, signal.SIGKILL), os.waitpid(pid, 0)))
    assert os.read(ready, 1) == b"x"
    return pid


def test_p22_a_process_that_pretends_to_be_another_one_is_ignored(scene):
    """A socket of another user counts only if the process that listens is the one after which it is named."""
    server = scene.start("api")
    server.push(document("a"))
    # Such a process is asked, as one of the user api would be by root.
    pid = stranger(scene, ("other", answers(lambda request: status_of("other") if request["do"] == "status" else nodes_answer({"a": "proven"}, "other")(request))))
    scene.safestart("status", "other").must(0)
    scene.safestart("wait", "a", "--roster", "other=1", "--applied", "--timeout", "0").must(0)
    # Not so if it claims to be process 1, or any other.
    for number in (1, server.pid, pid):
        stranger(scene, (f"api.{number}-2.sock", answers(lambda request: status_of() if request["do"] == "status" else nodes_answer({"a": "proven"})(request))), own_pid=False)
        words = f"belongs to user {STRANGER}"
        scene.safestart("status").must(4, words, "ignored", str(server.pid))
        scene.safestart("wait", "a", "--roster", "api=2", "--applied", "--timeout", "0").must(1, words)
        scene.safestart("events", "--no-follow").must(0, words)
        os.remove(os.path.join(scene.control, f"api.{number}-2.sock"))
    # Nor if it took a name that a process of somebody else has.
    stranger(scene, ("api", answers(lambda request: status_of() if request["do"] == "status" else nodes_answer({"a": "proven"})(request))))
    scene.safestart("wait", "a", "--roster", "api=2", "--applied", "--timeout", "0").must(1, "one of them is not genuine")


def test_no_signal_is_advised_for_a_process_that_may_be_another_one(scene):
    pid = stranger(scene, ("api", silent))
    scene.safestart("status", "--timeout", "0").must(4, f"kill -CONT {pid}")
    stranger(scene, ("api.1.sock", silent), own_pid=False)
    os.kill(pid, signal.SIGKILL)
    told = scene.safestart("status", "--timeout", "0").must(4)
    assert "kill -" not in told.out, told.out


def test_p23_answers_of_other_users_are_bounded(scene):
    """200 processes that send without end, and some with a short text that is a large tree."""
    tree = b'{"ok":true,"x":[' + b"{}," * 1300000 + b"{}]}\n"
    before = ["python3", "-c", "import os, resource, sys; pid = os.spawnvp(os.P_NOWAIT, sys.argv[1], sys.argv[1:]); code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]); "
              "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, file=sys.stderr); sys.exit(code)"]
    for count, act, words in [(200, endless, "the answer is too long"), (12, answers(lambda request: tree), "of other users' processes are too long")]:
        pid = stranger(scene, *[(f"a{n}", act) for n in range(count)])
        told = scene.safestart("status", "--timeout", "10s", before=before).must(4, words)
        peak = int(re.search(r"^peak (\d+)", told.err, re.M).group(1))
        plain = os.path.exists(os.path.join(os.path.dirname(scene.server), "libmeanwhile.so"))  # a sanitizer takes more
        assert peak < 700 or not plain, f"{peak} MiB"
        os.kill(pid, signal.SIGKILL)
        for name in os.listdir(scene.control):
            os.remove(os.path.join(scene.control, name))


def test_a_planted_roster_is_not_read(scene):
    """Whatever stands in its place: this user's, root's and the directory owner's are read, and only files."""
    scene.write(document("a"))
    scene.start_on_file(1)
    roster = os.path.join(scene.control, "roster")
    wait = ["wait", "a", "--applied", "--timeout", "0"]
    scene.write("api 1\n", roster)
    scene.safestart(*wait).must(0)
    os.rename(roster, roster + ".real")
    for plant, words in [(lambda: os.mkfifo(roster), "not a file"), (lambda: os.symlink(roster + ".real", roster), "symbolic link"), (lambda: os.symlink("/dev/zero", roster), "symbolic link"),
                         (lambda: os.mkdir(roster), "not a file")]:
        plant()
        scene.safestart(*wait).must(4, words, "--roster")
        scene.safestart(*wait, "--roster", "api=1").must(0)
        os.rmdir(roster) if os.path.isdir(roster) and not os.path.islink(roster) else os.remove(roster)
    scene.write("#" * (1 << 20) + "\napi 1\n", roster)
    scene.safestart(*wait).must(4, "File too large")
    scene.write("api 1\n", roster)
    if os.geteuid() == 0:
        os.chown(roster, STRANGER, STRANGER)
        scene.safestart(*wait).must(4, f"belongs to user {STRANGER}", "ignored")
        scene.safestart("status").must(4, f"belongs to user {STRANGER}", "ignored")
        os.chown(scene.control, STRANGER, STRANGER)
        scene.safestart(*wait).must(0)


def test_a_queue_that_is_full_is_waited_for(scene):
    os.mkdir(scene.control)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(scene.control, "api.1.sock"))
    listener.listen(0)
    first = socket.socket(socket.AF_UNIX)
    first.connect(listener.getsockname())
    waiting = scene.begin("status", "--timeout", "100s")
    while True:  # it may have been quick enough to get the one place that is left
        try:
            waiting.wait(0.2)
        except Exception:
            pass
        assert waiting.poll() is None
        break
    listener.accept()

    def serve():
        connection, _ = listener.accept()
        answers(lambda request: status_of())(connection)
    threading.Thread(target=serve, daemon=True).start()
    out, err = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, out + err
    first.close()
    listener.close()


def test_large_answers_are_read(scene):
    count = 20000
    nodes = [{"id": f"n{n}", "address": f"10.0.0.1:{n % 65535 + 1}", "state": "proven", "why": "x" * 100, "held": False} for n in range(count)]
    scene.fake("api.1.sock", answers(lambda request: {"ok": True, "pid": 1, "name": "api", "nodes": nodes}))
    told = scene.safestart("nodes", "--timeout", "100s").must(0, f"{count} nodes on 1 process; proven on all of them: {count}")
    assert len(told.out.splitlines()) == count + 2
    assert len(json.loads(scene.safestart("nodes", "--json", "--timeout", "100s").must(0).out)["processes"][0]["nodes"]) == count


def test_without_memory_it_ends_in_words(scene):
    """Each allocation fails once; all of them in a soak, in the suite every so many, beginning anywhere. (Left out is what looks up who
    asks, for a drain and a request without a reason: glibc's NSS does not survive it.)"""
    shim = os.path.join(os.path.dirname(scene.server), "libpoor.so")
    if not os.path.exists(shim):
        raise Skip("nothing can be preloaded under a sanitizer, and what counts lines wants memory")
    step, hit = max(1, 29 // repeat(1)), os.path.join(scene.folder, "hit")
    scene.write(document("a", "b"))
    server, = scene.start_on_file(1)
    server.tell("report a 5")
    scene.write(document("a", "b", "c"), scene.folder + "/all")
    scene.write('[{"targets": ["a:1", "b"]}, {"targets": ["c:1"], "labels": {"id": "x"}}, {"targets": ["c:2"], "labels": {"id": "x"}}, {"targets": ["d:1"], "labels": {"id": ""}}]', scene.folder + "/bad")
    for verb in [["status"], ["status", "--json"], ["nodes"], ["nodes", "--json"], ["metrics"], ["request", "--wait", "--timeout", "1s", "--reason", "x"],
                 ["wait", "a", "--roster", "api=1", "--timeout", "0"], ["wait", "a", "--gone", "--timeout", "0", "--json"], ["announce", "n", "n:1", "--label", "z=1"],
                 ["withdraw", "n", "--json"], ["check", scene.nodes], ["check", "--json", scene.nodes], ["check", scene.folder + "/bad"], ["check", "--json", scene.folder + "/bad"],
                 ["monitor", "--inventory", scene.folder + "/all", "--once", "--probe-timeout", "10ms", "--metrics-file", scene.folder + "/prom"], ["complete", "wait", ""], ["help", "wait"]]:
        which = 1 + os.getpid() % step
        while True:
            told = scene.safestart(*verb, LD_PRELOAD=shim, POOR=str(which), POOR_HIT=hit)
            assert 0 <= told.code <= 7, f"{verb}, allocation {which}: {told.code} {told.out} {told.err}"
            assert told.code != 0 or verb[0] != "wait", f"{verb}, allocation {which}: the server has it, and it fails: {told.out}"
            assert verb[0] != "check" or told.out != "[]\n" or told.code == 4, f"{verb}, allocation {which}: {told.code}, and nothing is said of the file"
            assert {"a", "b"} <= {group["labels"]["id"] for group in json.loads(scene.read())}, f"{verb}, allocation {which}: {scene.read()}"
            if not os.path.exists(hit):
                break
            os.remove(hit)
            which += step
