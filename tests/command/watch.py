# SPDX-License-Identifier: LGPL-2.1-or-later
"""monitor: nodes that run and are not announced, and nodes that are announced and do not run."""
import json
import mmap
import os
import signal
import socket
import subprocess
import threading

from stage import Skip, document, eventually


class Node:
    """Listens on a port of its own."""

    def __init__(self, scene):
        self.socket, self.times = socket.socket(), 0  # how often it was reached
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(64)
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()
        scene.ends.append(self.end)

    def serve(self):
        try:
            while True:
                self.socket.accept()[0].close()
                self.times += 1
        except OSError:
            pass

    def end(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # who is inside accept() keeps it listening otherwise
        except OSError:
            pass
        self.socket.close()


def free_address():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"


def inventory(scene, *nodes):
    path = os.path.join(scene.folder, "all.json")
    scene.write(document(*nodes), path)
    return ["monitor", "--inventory", path]


def test_what_runs_and_is_not_announced_is_found(scene):
    a, b, dead = Node(scene), Node(scene), free_address()
    monitor = inventory(scene, ("a", a.address), ("b", b.address), ("c", dead))
    scene.write(document(("a", a.address)))
    told = scene.safestart(*monitor, "--once").must(5, f"unannounced: b answers at {b.address}", f"Next: safestart announce b {b.address} --file {scene.nodes}",
                                                    "3 expected: 2 reachable, 1 unannounced, 0 missing, 0 draining")
    assert "c" not in [line.split()[1] for line in told.out.splitlines()[:-1]], "one that is off and not announced is as it should be"
    scene.write(document(("a", a.address), ("b", b.address)))
    scene.safestart(*monitor, "--once").must(0)
    scene.write(document(("a", a.address), ("b", b.address), ("c", dead)))
    scene.safestart(*monitor, "--once").must(1, f"missing: c is announced, but does not answer at {dead}: Connection refused")
    scene.write(document(("a", a.address), ("c", dead)))
    told = scene.safestart(*monitor, "--once", "--json").must(5).json()
    assert told == {"expected": 3, "reachable": 2, "draining": 0, "unannounced": ["b"], "missing": ["c"], "returned": []}


def test_the_same_node_with_two_ids_is_not_to_be_announced_again(scene):
    """An inventory with addresses as ids (one group of several targets), and a file with names."""
    a = Node(scene)
    monitor = inventory(scene, ("x", a.address))
    scene.write(document(("a", a.address)))
    told = scene.safestart(*monitor, "--once").must(5, f"unannounced: x answers at {a.address} and is expected, but {scene.nodes} has that address with another id, a. Next: use the same id")
    assert "no server uses it" not in told.out and "safestart announce" not in told.out, told.out
    running = scene.begin(*monitor, "--json", "--interval", "50ms", "--after", "0")
    assert json.loads(running.stdout.readline())["why"] == "announced with another id: a"


def test_where_it_is_announced_it_is_looked_for(scene):
    a, other = Node(scene), free_address()
    monitor = inventory(scene, ("a", a.address))
    scene.write(document(("a", other)))
    scene.safestart(*monitor, "--once").must(1, f"does not answer at {other}")
    scene.write(document(("a", "no-such-host.invalid:1")))
    scene.safestart(*monitor, "--once").must(1, "missing: a")


def test_what_is_drained_is_no_alarm_until_its_time_has_passed(scene):
    a, b = Node(scene), Node(scene)
    monitor = inventory(scene, ("a", a.address), ("b", b.address))
    scene.write(document(("a", a.address), ("b", b.address)))
    scene.safestart("drain", "b", "--for", "30m", "--reason", "reboot").must(0)
    scene.safestart(*monitor, "--once").must(0, "1 draining")
    note = json.loads(scene.read(scene.nodes + ".draining"))
    note["b"]["until"] = "2020-01-01T00:00:00Z"
    scene.write(json.dumps(note), scene.nodes + ".draining")
    scene.safestart(*monitor, "--once").must(5, "unannounced: b", "; its drain ended at 2020-01-01T00:00:00Z: reboot, by ", "Next: if that is not finished: safestart drain b", f"else: safestart announce b {b.address}")
    running = scene.begin(*monitor, "--json", "--interval", "50ms", "--after", "0")
    assert json.loads(running.stdout.readline())["drain"] == {"until": "2020-01-01T00:00:00Z", "reason": "reboot", "by": note["b"]["by"]}


def test_a_drained_node_that_is_written_back_is_an_alarm(scene):
    a, b, metrics = Node(scene), Node(scene), os.path.join(scene.folder, "safestart.prom")
    monitor = inventory(scene, ("a", a.address), ("b", b.address))
    whole = document(("a", a.address), ("b", b.address))
    scene.write(whole)
    scene.safestart("drain", "b", "--for", "30m", "--reason", "reboot").must(0)
    running = scene.begin(*monitor, "--after", "0", "--interval", "50ms")
    scene.write(whole, scene.nodes + ".new")
    os.replace(scene.nodes + ".new", scene.nodes)  # one that begins to watch half a file ends
    line = running.stdout.readline()
    assert line.startswith("returned: b is drained until ") and f"(reboot), but in the file {scene.nodes}: the servers use it. Next: find the program that wrote it back" in line, line
    scene.safestart(*monitor, "--once", "--metrics-file", metrics).must(1, "returned: b", "0 missing, 0 draining, 1 returned")
    assert 'safestart_monitor_returned{id="b"} 1' in scene.read(metrics)
    assert scene.safestart(*monitor, "--once", "--json").must(1).json()["returned"] == ["b"]
    b.end()  # that it does not answer is as it should be; that it is in the file is not
    scene.safestart(*monitor, "--once").must(1, "returned: b", "0 missing")
    scene.safestart("drain", "b", "--for", "30m", "--reason", "reboot").must(0)
    assert running.stdout.readline().startswith("no longer returned: b, after")


def test_a_store_through_a_mapping_is_noticed(scene):
    """No time stamp says so, for the page has been written to before."""
    a, b = Node(scene), Node(scene)
    assert len(a.address) == len(b.address), "ports of five digits"
    scene.write(document(("a", a.address)))
    with open(scene.nodes, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0:1] = b"["
        running = scene.begin(*inventory(scene, ("a", a.address), ("b", b.address)), "--after", "0s", "--interval", "50ms")
        assert running.stdout.readline().startswith("unannounced: b answers")
        memory[:] = document(("b", b.address)).encode()
        told = running.stdout.readline() + running.stdout.readline()
        assert "no longer unannounced: b, after" in told and "unannounced: a answers" in told, told


def test_an_edit_during_a_check_raises_no_alarm(scene):
    """At each instant at which it looks at a file (the preloaded library lets the edit happen there), a node that is up stays announced or drained."""
    shim = os.path.join(os.path.dirname(scene.server), "libmeanwhile.so")
    if not os.path.exists(shim):
        raise Skip("nothing can be preloaded under a sanitizer")
    a, hit = Node(scene), os.path.join(scene.folder, "hit")
    monitor = inventory(scene, ("a", a.address))
    announce, drain = (f"LD_PRELOAD= {scene.command} {words} >{hit}" for words in [f"announce a {a.address}", "drain a --for 1h --reason reboot"])
    scene.write(document(("a", a.address)))
    for before, do, then in [(drain, announce, "true"), (announce, drain, "true"), (announce, drain, announce), (drain, announce, drain)]:
        for at in range(1, 100):
            assert subprocess.run(before, shell=True, env=scene.environment()).returncode == 0
            os.remove(hit)
            scene.safestart(*monitor, "--once", LD_PRELOAD=shim, MEANWHILE_PATH="nodes.json", MEANWHILE_AT=str(at), MEANWHILE_DO=do, MEANWHILE_THEN=then).must(0, "0 unannounced, 0 missing")
            if not os.path.exists(hit):
                break
        assert at > 6, "it looks at both files at the start and at the end"


def test_a_note_of_drains_that_can_not_be_read_is_said(scene):
    """Otherwise a node that is away on purpose looks forgotten, without a known reason."""
    a = Node(scene)
    metrics = os.path.join(scene.folder, "safestart.prom")
    monitor = inventory(scene, ("a", a.address))
    scene.write("[]")
    scene.write('{"a": {"until', scene.nodes + ".draining")
    told = scene.safestart(*monitor, "--once", "--metrics-file", metrics).must(5, "cannot read the notes of drained nodes", f"{scene.nodes}.draining: ")
    assert "safestart_monitor_files_readable 0" in scene.read(metrics) and told.err.count("cannot read") == 1, told.err


def test_alarms_begin_and_end(scene):
    a, b = Node(scene), Node(scene)
    metrics = os.path.join(scene.folder, "safestart.prom")
    monitor = inventory(scene, ("a", a.address), ("b", b.address))
    scene.write(document(("a", a.address)))
    running = scene.begin(*monitor, "--after", "300ms", "--interval", "50ms", "--metrics-file", metrics)
    lines = iter(running.stdout.readline, "")

    def says(words):
        line = next(lines)
        assert line.startswith(words), line
    says("unannounced: b answers")
    eventually("the metrics to say so", lambda: os.path.exists(metrics) and 'safestart_monitor_unannounced{id="b"} 1' in scene.read(metrics))
    scene.safestart("announce", "b", b.address).must(0)
    says("no longer unannounced: b, after")
    a.end()
    says("missing: a is announced, but does not answer")
    scene.safestart("drain", "a", "--for", "1m", "--reason", "off").must(0)
    says("no longer missing: a")
    eventually("the metrics to say so", lambda: 'safestart_monitor_nodes{state="draining"} 1' in scene.read(metrics) and "{id=" not in scene.read(metrics))
    assert os.stat(metrics).st_mode & 0o777 == 0o644 and sorted(os.listdir(scene.folder)) == [".nodes.json.lock", "all.json", "nodes.json", "nodes.json.draining", "safestart.prom"]
    # What is malformed leaves things as they were, and is said.
    scene.write("[")
    assert "nothing was changed in" in running.stderr.readline()
    eventually("the metrics to say so", lambda: "safestart_monitor_files_readable 0" in scene.read(metrics))
    scene.write(document(("b", b.address)))
    eventually("it to be read again", lambda: "safestart_monitor_files_readable 1" in scene.read(metrics))
    # The inventory changes too.
    inventory(scene, ("b", b.address), ('c "x"', Node(scene).address))
    says('unannounced: c "x"')
    eventually("a label to be escaped", lambda: '{id="c \\"x\\""} 1' in scene.read(metrics))
    inventory(scene, ("b", b.address))
    says('no longer unannounced: c "x"')
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 0


def test_want_of_memory_for_a_new_node_costs_no_other(scene):
    """A new address is kept and watched: each allocation of its size fails once, while an old one is probed all the time."""
    shim = os.path.join(os.path.dirname(scene.server), "libpoor.so")
    if not os.path.exists(shim):
        raise Skip("nothing can be preloaded under a sanitizer")
    a, hit, errors, metrics = Node(scene), *(os.path.join(scene.folder, name) for name in ["hit", "errors", "safestart.prom"])
    new = "0" * 222 + "177." + a.address.partition(".")[2]  # the same place, in octal: nothing else is as long
    scene.write(document(("a", a.address)))
    for which in range(1, 100):
        monitor, before = inventory(scene, ("a", a.address)), a.times
        poor = [f"LD_PRELOAD={shim}", f"POOR={which}", f"POOR_SIZE={len(new) + 1}", f"POOR_HIT={hit}"]
        running = scene.begin(*monitor, "--interval", "20ms", "--after", "0", "--metrics-file", metrics, before=["sh", "-c", f'exec env "$@" 2>{errors}', "sh", *poor])
        eventually("it to begin", lambda: running.poll() is not None or (a.times > before + 1 and os.path.exists(metrics)))
        inventory(scene, ("b", new), ("a", a.address))

        def ended_or_knows():
            if "out of memory" in scene.read(errors):  # that was said, and waits for the next change
                os.truncate(errors, 0)
                inventory(scene, ("b", new), ("a", a.address))
            return running.poll() is not None or '{id="b"} 1' in scene.read(metrics)
        eventually("b to be known", ended_or_knows)
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) == 0, f"allocation {which}"
        assert running.returncode in (0, 4), f"allocation {which}: {running.returncode}"  # 4: jansson's own; it ends rather than have bytes lost
        os.remove(metrics)
        if not os.path.exists(hit):
            break
        os.remove(hit)
    assert which > 2, "it is kept, and watched"


def test_alarms_for_programs(scene):
    a = Node(scene)
    running = scene.begin(*inventory(scene, ("a", a.address)), "--after", "0", "--interval", "50ms", "--json", "--file", os.path.join(scene.folder, "all.json") + ".none")
    assert running.wait(60) == 4, "a file that is not there at the start is an error"
    scene.write("[]")
    running = scene.begin(*inventory(scene, ("a", a.address)), "--after", "0", "--interval", "50ms", "--json")
    row = json.loads(running.stdout.readline())
    assert row["alarm"] == "unannounced" and row["begins"] is True and row["id"] == "a" and row["address"] == a.address
    scene.safestart("announce", "a", a.address).must(0)
    row = json.loads(running.stdout.readline())
    assert row["begins"] is False and row["seconds"] >= 0
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 0


def test_once_with_after_looks_so_long(scene):
    a = Node(scene)
    scene.write("[]")
    scene.safestart(*inventory(scene, ("a", a.address)), "--once", "--after", "300ms", "--interval", "50ms").must(5)


def test_only_so_many_are_probed_at_a_time(scene):
    """Nodes that never answer take as long as the timeout; those that answer are still found."""
    a, full = Node(scene), socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    address = f"127.0.0.1:{full.getsockname()[1]}"
    fillers = []
    for _ in range(4):  # its queue is full: what comes now is not answered
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
        fillers.append(filler)
    names = [(f"n{n}", address) for n in range(5)]
    scene.write(document(*names))
    told = scene.safestart(*inventory(scene, ("a", a.address), *names), "--once", "--max-inflight", 2, "--probe-timeout", "300ms").must(5, "unannounced: a", "5 missing")
    assert "timed out" in told.out
    for s in [full, *fillers]:
        s.close()


def test_files_that_can_not_be_used_are_said(scene):
    scene.write(document("a"))
    scene.safestart("monitor", "--inventory", scene.folder + "/none", "--once").must(4, "there is no file")
    scene.write("{}", scene.folder + "/bad")
    scene.safestart("monitor", "--inventory", scene.folder + "/bad", "--once").must(4, "not an array of groups")
    for nodes in [[("x", "h:99999"), ("y", "nowhere")], [("x", "h:99999"), ("y", free_address())]]:
        scene.write(document(*nodes), scene.folder + "/unusable")
        scene.safestart("monitor", "--inventory", scene.folder + "/unusable", "--once", "--probe-timeout", "1s").must(0, "some nodes cannot be used, and will raise no alarm: ", "x", "safestart check")
    # What the servers leave out is no reason to watch nothing.
    live = Node(scene)
    scene.write('[{"targets": ["%s"], "labels": {"id": "a"}, "serial": 123456789012345678901234567890}, {"target": ["b:1"]}]' % live.address, scene.folder + "/wrong")
    scene.safestart("monitor", "--inventory", scene.folder + "/wrong", "--once").must(0, "some nodes cannot be used, and will raise no alarm: 1 of 2", "1 expected: 1 reachable")
    scene.write("[]", scene.folder + "/empty")
    scene.safestart("monitor", "--inventory", scene.folder + "/empty", "--once").must(0, "0 expected", "1 announced node, such as a, is not in the inventory and is not probed", "add it to")
    scene.safestart("monitor", "--inventory", scene.folder + "/empty", "--once", "--metrics-file", "/nowhere/x.prom").must(4, "cannot replace the file: No such file or directory; nothing was changed in /nowhere/x.prom")
