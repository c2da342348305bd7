# SPDX-License-Identifier: LGPL-2.1-or-later
"""status, nodes, events, metrics, request, check: state, events and requests."""
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

from stage import Server, Skip, answers, document, eventually, repeat

TEN = document(*(f"n{i}" for i in range(10)))
FIVE = document(*(f"n{i}" for i in range(5)))


# ---- status ----

def test_when_all_is_well_the_first_line_says_so(scene):
    scene.write(TEN)
    scene.start_on_file(3)
    told = scene.safestart("status").must(0)
    assert re.match(r"api: 3 of 3 on generation [0-9a-f]{4} \(10 nodes\), nothing pending\n\nNAME +PROCESS +SET +NODES +STATE\n(api +\d+ +[0-9a-f]{4} +10 +ok\n){3}$", told.out), told.out
    whole = scene.safestart("status", "--json", "api").must(0).json()["names"][0]
    assert whole["ok"] and whole["on_it"] == whole["count"] == 3 and whole["next"] == "" and len(whole["digest"]) == 16
    assert [p["status"]["generation"] for p in whole["processes"]] == [1, 1, 1]


def test_a_process_that_is_behind_is_named_with_reason_and_remedy(scene):
    scene.write(TEN)
    old = scene.nodes + ".old"
    scene.write(TEN, old)
    scene.start_on_file(3)
    behind = scene.start("api", source=f"file:{old}")
    eventually("all of them to be live", lambda: scene.safestart("status").code == 0)
    scene.write(document("n0"), old)
    told = eventually("it to be refused", lambda: (lambda told: told if told.code == 3 else None)(scene.safestart("status")))
    first = told.out.splitlines()[0]
    assert re.search(rf"^api: REFUSED new nodes on 1 of 4, still serving the old 10: would lose 9 of 10 nodes, max_shrink is 50%; 4 of 4 on generation [0-9a-f]{{4}} \(10 nodes\); {behind.pid} behind [\d.]+ s: refused the nodes of file:{old}. Next: to apply it anyway: safestart request --force api$", first), first
    assert told.out.splitlines()[3].split()[1] == str(behind.pid), "those in trouble come first"
    scene.safestart("request", "--force", "--wait", "api").must(0, "generation 2 is live: 1 nodes")
    # Nothing is due there: it was started with another file.
    first = scene.safestart("status").must(1).out.splitlines()[0]
    assert re.search(rf"^api: 3 of 4 on generation [0-9a-f]{{4}} \(10 nodes\); {behind.pid}: on generation [0-9a-f]{{4}}, as file:{old} was when last read; the others read file:{scene.nodes}. Next: safestart nodes api$", first), first
    assert scene.safestart("status", "--json").must(1).json()["names"][0]["ok"] is False


def test_a_process_that_has_not_re_read_needs_a_request(scene):
    """If the file is not followed, and the next re-read is far away."""
    scene.write(FIVE)
    for process, digits in [(4312, "a1b2"), (4313, "a1b2"), (4314, "c3d4")]:
        status = {"generation": 1, "digest": digits * 4, "desired_digest": digits * 4, "source": f"file:{scene.nodes}", "nodes": [{"id": "a", "state": "proven"}], "last": {"verdict": "applied"}}
        scene.fake(f"api.{process}.sock", answers(lambda request, status=status: {"ok": True, "name": "api", "status": status}))
    scene.safestart("status").must(1, f"api: 2 of 3 on generation a1b2 (1 node); 4314: on generation c3d4, as file:{scene.nodes} was when last read. Next: safestart request api\n")
    pushed = {"generation": 1, "digest": "c3d4" * 4, "desired_digest": "c3d4" * 4, "source": "push", "nodes": []}
    scene.fake("api.4315.sock", answers(lambda request: {"ok": True, "name": "api", "status": pushed}))
    scene.safestart("status").must(1, "4315: on generation c3d4, the set it was given")


def test_p22_status_misses_processes_of_the_roster(scene):
    scene.write(TEN)
    scene.start_on_file(3)
    scene.write("api 4\n", f"{scene.control}/roster")
    told = scene.safestart("status").must(6)
    assert re.match(r"api: 3 of 4 on generation [0-9a-f]{4} \(10 nodes\); 1 missing \(roster expects 4\). Next: find out why", told.out), told.out
    assert scene.safestart("status", "--json").must(6).json()["names"][0]["missing"] == 1
    scene.write(" # as --roster takes it\n\napi=3\n", f"{scene.control}/roster")
    scene.safestart("status").must(0, "nothing pending")
    scene.write("api 2\n", f"{scene.control}/roster")
    scene.safestart("status").must(0, " (10 nodes); 1 more than the roster expects (2), nothing pending")
    for wrong in "api", "api four", "4", "=4", "api4", "api 4 5000000":
        scene.write(f"# first\n{wrong}  \n", f"{scene.control}/roster")
        scene.safestart("status").must(4, f'the roster has a wrong line, "{wrong}": expected a name and a number of processes, such as: api 4; it is line 2 of {scene.control}/roster')


def test_p22_status_misses_a_name_without_any_process(scene):
    """All processes ended normally and removed their sockets: only the roster shows that they are missing."""
    scene.write(TEN)
    scene.start_on_file(2)
    worker, = scene.start_on_file(1, "worker")
    scene.write("api 2\nworker 3\nnone 0\n", f"{scene.control}/roster")
    scene.safestart("status").must(6, "worker: 1 of 3 on generation", "2 missing (roster expects 3)", "Next: find out why they are not running")
    worker.end()
    told = scene.safestart("status").must(6, "api: 2 of 2 on generation", "\nworker: 0 processes, no node set; 3 missing (roster expects 3). Next: find out why they are not running")
    assert "none" not in told.out, told.out
    api, worker = scene.safestart("status", "--json").must(6).json()["names"]
    assert api["ok"] and worker["name"] == "worker" and worker["missing"] == 3 and not worker["ok"] and worker["processes"] == []
    assert "worker" not in scene.safestart("status", "api").must(0).out, "it was not asked for"


def test_a_set_that_is_refused_everywhere_is_not_what_serves(scene):
    scene.write(TEN)
    scene.start_on_file(2)
    scene.write(document("n0"))
    scene.safestart("request", "--wait").must(3, "Next: to apply it anyway: safestart request --force api")
    first = scene.safestart("status").must(3).out.splitlines()[0]
    assert re.match(r"api: REFUSED new nodes, still serving the old 10: would lose 9 of 10 nodes, max_shrink is 50%; 0 of 2 on generation [0-9a-f]{4}; \d+, \d+ behind up to [\d.]+ s: refused the nodes of file:.*; still serving [0-9a-f]{4} \(10 nodes\). Next: to apply it anyway: safestart request --force api$", first), first


def test_nodes_says_that_a_set_was_refused(scene):
    """Its table is that of the old set, and looks as if all were well."""
    scene.write(TEN)
    server, = scene.start_on_file(1)
    assert "refused" not in scene.safestart("nodes").must(0).out
    scene.write(document("n0"))
    scene.safestart("request", "--wait").must(3)
    told = scene.safestart("nodes").must(0).out.splitlines()
    assert told[1].startswith(f"api {server.pid}: behind ") and "would lose 9 of 10 nodes" in told[1] and told[1].endswith("; the states below are those of the set that is live"), told


def test_a_malformed_file_leads_to_check(scene):
    scene.write(TEN)
    scene.start_on_file(2)
    scene.write("[{")
    told = eventually("both to have refused it", lambda: (lambda told: told if "and" in told.out or "," in told.out.splitlines()[0] and told.code == 3 else None)(scene.safestart("status")))
    assert f"Next: safestart check {scene.nodes}" in eventually("the reason", lambda: (lambda t: t if "check" in t.out else None)(scene.safestart("status"))).out, told.out


def test_nodes_that_fail_are_in_the_first_line(scene):
    """A node that is down is the most frequent reason to look, and then every process has all its nodes."""
    scene.write(TEN)
    first, second, _ = scene.start_on_file(3)
    assert first.tell("report n3 5") == second.tell("report n3 5") == "ok"
    told = scene.safestart("status").must(0).out.splitlines()[0]
    assert re.match(r"api: 3 of 3 on generation [0-9a-f]{4} \(10 nodes\), nothing pending; n3 is failing on 2 of 3. Next: safestart nodes api$", told), told
    first.tell("report n5 5"), first.tell("report n7 5")
    scene.safestart("status").must(0, "n3 and 2 more are failing on 2 of 3. Next: safestart nodes api")
    first.tell("report n3 0"), first.tell("report n5 0"), first.tell("report n7 0"), second.tell("report n3 0")
    scene.safestart("status").must(0, "(10 nodes), nothing pending\n")


def test_a_process_without_a_set_and_a_failing_one(scene):
    scene.start("api", source=f"file:{scene.nodes}")
    told = eventually("its first run to fail", lambda: (lambda told: told if told.code == 4 else None)(scene.safestart("status")))
    assert "1 process, no node set" in told.out and ", no node set yet: " in told.out and f". Next: restore the file {scene.nodes}\n" in told.out, told.out
    pushed = scene.start("worker")
    assert pushed.push(TEN).startswith("0 ")
    pushed.tell("prepare fail 5")
    assert pushed.push(FIVE).startswith("3 ")
    scene.safestart("status", "worker").must(4, f"{pushed.pid} behind", "Next: safestart events worker")


def test_a_run_in_progress_is_not_yet(scene):
    server = scene.start("api")
    server.push(TEN)
    server.tell("prepare hold")
    scene.write("")
    server.process.stdin.write("push " + " ".join(FIVE.split()) + "\n")
    server.process.stdin.flush()
    told = eventually("the run to be in prepare", lambda: (lambda told: told if "a run is in progress (prepare)" in told.out else None)(scene.safestart("status")))
    assert told.code == 1, told.out
    assert scene.safestart("request", "--wait", "--timeout", "10ms", "api").code == 1
    scene.safestart("request", "--wait", "--timeout", "0", "api").must(1)


def test_a_run_in_progress_does_not_hide_how_the_one_before_ended(scene):
    """If runs take long and fail, one is nearly always in progress."""
    server = scene.start("api", retry_min="1ms", retry_max="1ms")
    server.push(TEN)
    server.tell("prepare fail 5")
    assert server.push(FIVE).startswith("3 ")
    server.tell("prepare hold")
    told = eventually("a retry to be in prepare", lambda: (lambda told: told if "a run is in progress (prepare)" in told.out else None)(scene.safestart("status")))
    assert re.search(r"behind [\d.]+ s: a run is in progress \(prepare\), the previous one: prepare failed: Input/output error", told.out.splitlines()[0]), told.out
    server.process.stdin.write("prepare ok\n")
    server.process.stdin.flush()


def test_quarantined_nodes_are_reported(scene):
    server = scene.start("api")
    server.push('[{"targets": ["a:1", "b:99999"]}]')
    scene.safestart("status").must(7, "1 node quarantined", "Next: safestart nodes api")
    scene.write("api 2\n", f"{scene.control}/roster")
    scene.safestart("status").must(6, "1 node quarantined", "Next: find out why it is not running")
    os.remove(f"{scene.control}/roster")
    scene.safestart("nodes").must(7, f"b:99999 on {server.pid}: quarantined: the port")
    scene.safestart("request", "--wait").must(7)


def test_a_process_that_could_not_use_a_node_has_no_other_set(scene):
    """All read the same file; some of them cannot reach one of its nodes."""
    scene.write(FIVE)
    whole, *poor = [scene.start("api", source="push", retry_min="0") for _ in range(3)]
    for server in poor:
        server.tell("prepare reject n3")
    for server in [whole, *poor]:
        assert server.push(FIVE).startswith("0 ")
    first = scene.safestart("status").must(7).out.splitlines()[0]
    named = ", ".join(str(server.pid) for server in sorted(poor, key=lambda server: server.pid))
    assert re.match(rf"api: 1 of 3 on generation [0-9a-f]{{4}} \(5 nodes\); {named}: 1 node quarantined. Next: safestart nodes api$", first), first


def found_gone_before(scene, server, seconds):
    """As if it had been found so long ago. The socket is older."""
    now = time.time()
    os.utime(os.path.join(scene.control, f"api.{server.pid}.sock"), (now - seconds, now - 2 * seconds))


def test_one_that_was_killed_is_shown_for_ten_minutes(scene):
    """The second person who looks, perhaps after a cron job, has to see it too."""
    scene.write(TEN)
    first, _ = scene.start_on_file(2)
    scene.safestart("status", "--strict").must(0, "2 of 2 on generation")
    first.kill()
    for _ in range(2):
        name = scene.safestart("status", "--json").must(0).json()["names"][0]
        assert [p["state"] for p in name["processes"]].count("gone") == 1 and name["gone"] == 1 and name["ok"] is True
        scene.safestart("status").must(0, f"{first.pid} gone", "1 of 1 on generation", "find out why process")
        scene.safestart("status", "--strict").must(1, f"{first.pid} gone", " ago")
        assert scene.safestart("status", "--strict", "--json").must(1).json()["names"][0]["ok"] is False
    found_gone_before(scene, first, 590)
    scene.safestart("status", "--strict").must(1, "; found 9m5")
    found_gone_before(scene, first, 601)
    assert scene.safestart("status", "--json").must(0).json()["names"][0]["gone"] == 0
    scene.safestart("status", "--strict").must(0, f"{first.pid} gone")
    assert str(first.pid) not in scene.safestart("status").must(0).out
    assert len(os.listdir(scene.control)) == 1


def test_one_that_was_killed_is_shown_though_its_successor_has_its_number(scene):
    """In a container each process is number 1."""
    def before_exec(deaths):
        def stale(name):
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(os.path.join(scene.control, name))
        type(scene).before_exec()
        for death in range(deaths):
            stale(f"api.{os.getpid()}{f'-0{death}' if death else ''}.sock")

    def start(deaths):
        scene.before_exec = lambda: before_exec(deaths)
        server = scene.start("api", source=f"file:{scene.nodes}")
        del scene.before_exec
        eventually("its nodes to be live", lambda: scene.safestart("status").code == 0)
        return server
    os.mkdir(scene.control)
    scene.write(TEN)
    server = start(1)
    scene.safestart("status").must(0, "1 of 1 on generation", f"{server.pid}-01 gone")
    scene.safestart("status", "--strict").must(1, f"{server.pid}-01 gone")
    scene.safestart("wait", "n1", "--roster", "api=1", "--applied").must(0)
    server.kill()
    server = start(10)
    files = os.listdir(scene.control)
    assert f"api.{server.pid}.sock" in files and len(files) == 9, f"the newest eight are kept: {files}"


def test_strict_fails_where_nodes_fail(scene):
    """All processes have the newest set: so it is 0 without it, however many nodes of it fail."""
    scene.write(document("a", "b"))
    one, two = scene.start_on_file(2)
    for server in one, two:
        server.tell("report a 0")
    scene.safestart("status", "--strict").must(0)
    two.tell("report a 111")
    scene.safestart("status").must(0, "a is failing on 1 of 2")
    scene.safestart("status", "--strict").must(1, "a is failing on 1 of 2")
    assert scene.safestart("status", "--strict", "--json").must(1).json()["names"][0]["failing"] == 1
    one.kill()
    scene.safestart("status", "--strict", "api").must(1, "a is failing on 1 of 1")


def test_when_all_were_killed_no_process_is_there(scene):
    scene.write(TEN)
    servers = scene.start_on_file(2)
    for server in servers:
        server.kill()
    scene.safestart("request", "--wait", "api").must(4, " gone: ", "no process left to ask")
    scene.safestart("metrics").must(4, "no process left to ask")
    assert scene.safestart("status", "--json").must(4).json()["names"][0]["ok"] is False
    scene.safestart("status").must(4, "api: 0 processes, no node set", " gone. Next: find out why process")
    for server in servers:
        found_gone_before(scene, server, 601)
    scene.safestart("status").must(4, "api: 0 processes, no node set")
    scene.safestart("status").must(4, "no process has a socket in")


def test_one_that_ended_in_order_leaves_nothing(scene):
    scene.start("api", source="none").end()
    scene.safestart("status").must(4, "no process has a socket in", "are the servers running")


def test_one_that_is_stopped_does_not_answer(scene):
    # A thread of its own answers, whatever else hangs; a whole process that is stopped has none.
    scene.write(TEN)
    first, second = scene.start_on_file(2)
    first.stop()
    told = scene.safestart("status", "--timeout", "200ms").must(4, f"{first.pid}: no answer within 0.2 s: is it stopped? Next: see what process", f"kill -CONT {first.pid}")
    assert told.out.startswith("api: 1 of 2 on generation"), told.out
    scene.safestart("nodes", "--timeout", "200ms").must(4, f"api {first.pid}: no answer", "?")
    scene.safestart("request", "--wait", "--timeout", "50ms").must(1, f"api {first.pid}: no answer within 0.05 s: is it stopped?")
    scene.safestart("events", "--no-follow").must(0, f"api {first.pid}: nothing received for 2 s: is it stopped? See: safestart status api", "generation 1 is live")
    scene.safestart("metrics", "--timeout", "200ms").must(4, f"{first.pid}: no answer", "safestart_generation", f'safestart_answers{{process="{first.pid}",name="api"}} 0\n', f'safestart_answers{{process="{second.pid}",name="api"}} 1\n')
    first.process.send_signal(signal.SIGCONT)
    eventually("it to answer again", lambda: scene.safestart("status").code == 0)
    scene.safestart("status", "--timeout", "0").must(0, "2 of 2")


def test_a_process_of_another_pid_namespace_is_told_by_its_number_here(scene):
    """In a container it is process 1 to itself; kill -CONT 1 would be for another one."""
    alone = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        raise Skip("no pid namespace to be had")
    server = Server(scene, before=alone)
    scene.ends.append(lambda: (server.process.kill(), server.process.wait()))
    server.push(document("a"))
    (here,) = (int(pid) for pid in open(f"/proc/{server.pid}/task/{server.pid}/children", encoding="ascii").read().split())
    scene.safestart("status").must(0, f" 1 ({here} here) ")
    os.kill(here, signal.SIGSTOP)
    told = scene.safestart("status", "--timeout", "0").must(4, f"Next: see what process 1 ({here} here) is doing; if it is stopped: kill -CONT {here}\n")
    assert told.out.count("kill") == 1
    # From a sibling container the process is not to be seen at all.
    told = scene.safestart("status", "--timeout", "0", before=alone).must(4, "Next: see what process 1 (not in this pid namespace) is doing\n")
    assert "kill" not in told.out
    os.kill(here, signal.SIGKILL)
    server.process.wait()
    scene.safestart("status").must(4, "gone")


def test_a_last_good_set_that_is_not_saved_is_reported(scene):
    """It does no harm before the next start, and then it is too late."""
    scene.write(TEN)
    kept = os.path.join(scene.folder, "kept")
    os.mkdir(kept)
    scene.start_on_file(1, last_good=os.path.join(kept, "nodes", "good.json"))
    eventually("it to be told", lambda: "ok; last_good file is not up to date: " in scene.safestart("status").must(0).out)
    os.mkdir(os.path.join(kept, "nodes"))
    scene.write(FIVE)
    eventually("it to be kept", lambda: "last_good" not in scene.safestart("status").out)


def test_a_process_without_clients_is_marked(scene):
    scene.start("api", source="none", serves="no")
    scene.safestart("status").must(0, "(serves=no)")


# ---- nobody there ----

def test_a_missing_process_is_reported_with_the_remedy(scene):
    for verb in ["status", "nodes", "metrics", "events", "request"]:
        scene.safestart(verb).must(4, f"there is no control directory {scene.control}", "--control", "$SAFESTART_CONTROL")
        scene.safestart(verb, "--control", "/dev/null").must(4, "Not a directory")
    os.mkdir(scene.control)
    scene.safestart("status").must(4, "no process has a socket in")
    scene.safestart("status", "api").must(4, "no process has a socket in")
    scene.start("api", source="none")
    scene.safestart("status", "apo").must(4, 'has the name "apo"', "did you mean api?")
    scene.safestart("status", "something").must(4, "there is api")
    scene.safestart("status", "--control", scene.control, SAFESTART_CONTROL="/nowhere").must(0)


def test_without_permission_it_says_which_user_may(scene):
    scene.start("api", source="none")
    scene.safestart("status", user="nobody").must(4, "no permission to read the control directory", "belongs to user 0")
    os.chmod(scene.control, 0o755)
    scene.safestart("status", user="nobody").must(4, "permission denied: it belongs to user 0")
    socket = os.path.join(scene.control, os.listdir(scene.control)[0])
    os.chmod(socket, 0o666)
    scene.safestart("status", user="nobody").must(0)
    scene.safestart("request", user="nobody").must(4, "may read, but only root")


# ---- nodes ----

def test_a_row_a_node_a_column_a_process(scene):
    one, two = scene.start("api"), scene.start("api")
    one.push('[{"targets": ["10.0.0.1:1"], "labels": {"id": "a", "incarnation": "boot-7"}}, {"targets": ["10.0.0.2:1"], "labels": {"id": "b"}}]')
    two.push(document("a"))
    one.tell("report a 0")
    two.tell("report a 5")
    told = scene.safestart("nodes").must(0)
    columns = sorted([(one.pid, "proven", "applied"), (two.pid, "failing", "-")])
    rows = [line.split() for line in told.out.splitlines()]
    assert rows[1] == ["NODE", "ADDRESS", "INCARNATION", *(str(c[0]) for c in columns)], told.out
    assert rows[2][0] == "a" and rows[2][3:] == [c[1] for c in columns] and rows[3][3:] == [c[2] for c in columns], told.out
    assert f"a on {two.pid}: failing: live, but the newest request to it failed" in told.out
    assert len(scene.safestart("nodes", "--node", "b", "--json").must(0).json()["processes"][0]["nodes"]) + len(scene.safestart("nodes", "--node", "b", "--json").json()["processes"][1]["nodes"]) == 1


def test_many_processes_are_counted_not_shown(scene):
    # A pre-forked server: the same nodes, one of them failing in two processes.
    scene.write(document("a", "b"))
    servers = scene.start_on_file(repeat(10))
    for server in servers:
        server.tell("report a 0")
    servers[0].tell("report b 5")
    told = scene.safestart("nodes").must(0)
    count = len(servers)
    assert f"{count} PROCESSES" in told.out and f"{count} × proven" in told.out, told.out
    assert f"1 × failing ({servers[0].pid}), {count - 1} × applied" in told.out, told.out


# ---- metrics ----

def test_metrics_are_one_exposition(scene):
    scene.start("api", source="none"), scene.start("worker", source="none")
    text = scene.safestart("metrics").must(0).out
    for kind in ["HELP", "TYPE"]:
        families = re.findall(rf"^# {kind} (\S+)", text, re.M)
        assert len(families) == len(set(families)) and "safestart_generation" in families
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r'safestart_\w+\{process="\d+",name="(api|worker)"(,\w+="\w+")*\} [\d.]+', line) for line in samples), text
    assert len(samples) == len(set(samples)) and len([s for s in samples if s.startswith("safestart_generation{")]) == 2
    families = [line.split("{")[0] for line in samples]
    assert sum(a != b for a, b in zip(families, families[1:])) == len(set(families)) - 1, "the samples of a family stand together"


# ---- request ----

def test_a_request_is_answered_by_the_worst(scene):
    one, two = scene.start("api"), scene.start("api")
    one.push(TEN), two.push(TEN)
    scene.safestart("request").must(0, "requested, ticket")
    scene.safestart("request", "--wait", "--urgent").must(0, "nothing to apply")
    two.tell("prepare fail 5")
    assert two.push(FIVE).startswith("3 ")
    scene.safestart("request", "--wait").must(4, "failed")
    two.tell("prepare ok")
    assert two.push(document("n0")).startswith("2 ")
    told = scene.safestart("request", "--wait", "--json").must(3).json()
    assert sorted(t["outcome"]["verdict"] for t in told) == ["refused", "unchanged"]
    scene.safestart("request", "--wait", "--force", "--reason", "rack 4 moves out").must(0, "generation 2 is live: 1 nodes")
    scene.safestart("events", "--no-follow").must(0, "generation 2 is live: 1 nodes")


def test_forcing_needs_a_name_where_there_are_several(scene):
    scene.start("api"), scene.start("worker")
    scene.safestart("request", "--force").must(2, "api and worker")
    scene.safestart("request", "--force", "api").must(0)


# ---- events ----

def test_events_are_printed_as_they_happen(scene):
    server = scene.start("api")
    server.push(TEN)
    kept = scene.safestart("events", "--no-follow").must(0).out
    assert re.search(rf"^\d{{4}}-\d\d-\d\dT[\d:.]+Z api {server.pid} generation 1 is live: 10 nodes", kept, re.M), kept
    assert kept.count("generation 1 is live") == 1, "what the log says again is left out"
    rows = [json.loads(line) for line in scene.safestart("events", "--no-follow", "--json").must(0).out.splitlines()]
    assert {"outcome", "log"} == {row["event"] for row in rows}
    follower = scene.begin("events")
    lines = iter(follower.stdout.readline, "")
    assert any("generation 1 is live" in line for line in lines)
    server.push(FIVE)
    assert any("generation 2 is live: 5 nodes" in line for line in lines)
    later = scene.start("worker")
    assert any(f"worker {later.pid}" in line for line in lines), "who starts meanwhile is heard too"
    server.end()
    assert any("closing" in line for line in lines)
    later.kill()
    assert f"worker {later.pid}: closed the connection" in follower.stderr.readline()
    follower.send_signal(signal.SIGINT)
    assert follower.wait() == -signal.SIGINT


def test_kept_events_are_printed_until_every_process_has_sent_all(scene):
    """However long they take from line to line: their `end` ends it, at once, and not a pause."""
    hold, ended = threading.Event(), {"event": "end", "name": "slow"}

    def slowly(request):
        assert request == {"do": "events", "follow": False}
        hold.wait(60)
        return "".join(json.dumps(line) + "\n" for line in [{"event": "log", "name": "slow", "level": 5, "message": "late"}, ended]).encode()
    scene.fake("slow.1.sock", answers(slowly))
    scene.fake("refusing.2.sock", answers(lambda request: {"ok": False, "error": -11, "message": "try again"}))
    server = scene.start("api", source="none")  # it has said nothing yet
    told = scene.begin("events", "--no-follow")
    eventually("the one that refuses to be told", lambda: "refusing 2: try again" in told.stderr.readline())
    hold.set()
    out, err = told.communicate(timeout=60)
    assert told.returncode == 0 and "slow 1 late" in out and "closing" not in out and err == "", out + err
    scene.fake("dying.3.sock", lambda connection: connection.close())
    scene.safestart("events", "--no-follow").must(0, "dying 3: closed the connection", "slow 1 late")
    assert server.process.poll() is None


def test_events_end_with_a_pipe_that_closes(scene):
    server = scene.start("api")
    server.push(TEN)
    follower = scene.begin("events")
    follower.stdout.readline()
    follower.stdout.close()
    server.push(FIVE)
    assert follower.wait(120) in (-signal.SIGPIPE, 4)


# ---- check ----

def test_check_judges_as_the_library_does(scene):
    scene.write(TEN)
    scene.safestart("check", scene.nodes).must(0, "valid")
    assert scene.safestart("check", "--quiet", scene.nodes).must(0).out == ""
    scene.safestart("check", scene.nodes, "--set", "min_nodes=11").must(3, "min_nodes is 11")
    scene.safestart("check", scene.nodes, "--set", "max_nodes=9").must(3, "max_nodes (9)")
    scene.safestart("check", "-", text='[{"targets": ["a:1"]},\n  x]').must(3, "line 2, column")
    scene.safestart("check", "-", text='[{"targets": ["a:1"]}').must(3, "ends too early")
    scene.safestart("check", "-", text="[]\0").must(3, "a NUL byte, the first at byte 3")
    scene.safestart("check", "-", text="[]").must(3, "the set is empty")
    scene.safestart("check", "-", "--set", "allow_empty=yes", text="[]").must(0)
    scene.safestart("check", "-", text=document(*(f"n{i}" for i in range(5000)))).must(0)


def test_check_names_everything_that_would_be_left_out(scene):
    bad = '[{"targets": ["a:1", "b:99999"]}, {"targets": ["c:1"], "labels": {"id": "x"}}, {"targets": ["c:2"], "labels": {"id": "x"}}, {"targets": ["d:1"], "labels": {"id": ""}}]'
    scene.safestart("check", "-", text=bad).must(7, "would be accepted without 3 entries", "b:99999: the port", "x: several entries have this id and differ", "entry 5: group 4: target 1: the id is empty")
    told = scene.safestart("check", "--json", "-", text=bad).must(7).json()
    assert [entry["id"] for entry in told[0]["quarantined"]] == ["b:99999", "entry 5", "x"]
    scene.safestart("check", "-", text='[{"targets": ["b:99999"]}]').must(3, "b:99999: the port")


def test_check_says_where_the_shape_is_wrong(scene):
    """As the library counts: a JSON error has the same line and column as JSON in the wrong place."""
    documents = ['[{"targets": ["a:1"]},\n @]', '[\n\n  {"targets": ["ä:1", "中]:2",\n\t"b\\"[:1", @ ]}]', '[{"labels": {"id": "a", "targets": "no"}, "x": [{"targets": [1]}], "targets": ["é:1",\r\n @]}]',
                 '@'.join(['[{"é": "' + 70 * "é" + '", "targets" : [', ']}]'])]
    for text in documents:
        no_json = scene.safestart("check", "--json", "-", text=text.replace("@", "?")).must(3, "not JSON").json()[0]
        assert f"line {no_json['line']}, column {no_json['column']}: " in no_json["why"]
        told = scene.safestart("check", "--json", "-", text=text.replace("@", "7")).must(3, "is a number").json()[0]
        wrong = next((entry for entry in told["quarantined"] if "is a number" in entry["why"]), told)
        assert (wrong["line"], wrong["column"]) == (no_json["line"], no_json["column"]), f"{wrong} {no_json}"
        lines = text.split("\n")
        assert lines[wrong["line"] - 1][wrong["column"] - 1] == "@"
        scene.safestart("check", "-", text=text.replace("@", "7")).must(3, f"line {wrong['line']}, column {wrong['column']}: " + ("" if wrong is told else "entry "))
    for group in ['{"targets": 7}', '{"labels": {}}', '{"targets": {}, "labels": []}', '{"target": 7}']:
        scene.safestart("check", "-", text='[{"targets": ["a:1"]},\n  ' + group + "]").must(3, "-: would be refused: line 2, column 3: group 2: ")
    # What has no place gets none.
    for text in ["{}", "[]", "", '[{"t\\u0061rgets": ["a:1", 7]}]']:
        told = scene.safestart("check", "--json", "-", text=text).json()[0]
        assert "line" not in told and "column" not in told and not any("line" in entry for entry in told["quarantined"]), told


def test_check_leaves_a_wrong_group_out_by_the_names_of_its_nodes(scene):
    for group, name in [('{"targets": "b:1"}', "b:1"), ('{"target": ["B:01"]}', "b:1"), ('{"targets": ["b:1"], "labels": {"id": "x", "rank": 1}}', "x"), ('{"labels": {"id": "x"}}', "x")]:
        scene.safestart("check", "-", text='[{"targets": ["a:1"]},\n  ' + group + "]").must(7, "would be accepted without 1 entry", f"\n  line 2, column 3: {name}: group 2: ")
    assert places_of(scene, '[{"targets": ["a:1"]},\n {"target": ["b:1", "c:1"]}]') == {"b:1": (2, 2, 0), "c:1": (2, 2, 0)}


def test_check_warns_of_what_was_probably_not_meant(scene):
    scene.safestart("check", "-", text='[{"targets": ["a:1"], "label": {"zone": "a"}}]').must(0, "-: valid\n  warning: group 1: the member \"label\" is unknown and is ignored")
    scene.safestart("check", "--quiet", "-", text='[{"targets": ["a:1"], "x": 1, "y": 2}]').must(0, "2 warnings, the first: group 1: the member \"x\"")
    both = '[{"targets": ["a:1"], "x": 1}, {"targets": ["b:0"]}]'
    scene.safestart("check", "-", text=both).must(7, "without 1 entry", "b:0: the port", "\n  warning: group 1: the member \"x\" is unknown")
    assert "is unknown" in scene.safestart("check", "--json", "-", text=both).must(7).json()[0]["warning"]
    same = '[{"targets": ["A:01"], "labels": {"id": "x"}}, {"targets": ["a:1"], "labels": {"id": "y"}}]'
    scene.safestart("check", "-", text=same).must(0, "warning: x and y have the same address, a:1")
    scene.safestart("check", "-", text='[{"targets": ["a"]}]').must(3, "has no port; write host:port, or set default_port")
    scene.safestart("check", "-", "--set", "default_port=80", text='[{"targets": ["a", "b:0"]}]').must(7, "without 1 entry", "b:0: the port")


def places_of(scene, text):
    return {entry["id"]: tuple(entry.get(key) for key in ("line", "column", "more")) for entry in scene.safestart("check", "--json", "-", text=text).json()[0]["quarantined"]}


def test_check_says_where_everything_is_that_would_be_left_out(scene):
    text = """[
  {"targets": ["a:1", "é", "b:99999"], "x": {"targets": ["no"]}, "labels": {"id": "meant for none"}},
  {"labels": {"id": "x"}, "targets": ["c:1"]}, {"targets": ["c:2"], "labels": {"id": "x"}},
  {"targets": ["d:1"], "labels": {"id": ""}},
  {"targets": ["e:1"], "labels": {"id": "y"}}, {"targets": ["e"], "labels": {"id": "y"}}, {"targets": ["e:3"], "labels": {"id": "y"}},
  {"targets": []}, {"targets": ["z:1"]}, {"targets": ["e"], "labels": {"id": "w"}}]"""
    told = scene.safestart("check", "-", text=text).must(7, "\n  line 2, column 23: é: ", "\n  line 2, column 28: b:99999: the port", "\n  line 4, column 16: entry 6: group 4: target 1: the id is empty",
                                                         "\n  line 3, column 39 (and 1 more with this id): x: several entries have this id and differ",
                                                         "\n  line 5, column 61 (and 2 more with this id): y: the address \"e\" has no port")
    assert told.out.count("\n  line ") == 6, told.out
    assert places_of(scene, text) == {"é": (2, 23, 0), "b:99999": (2, 28, 0), "entry 6": (4, 16, 0), "x": (3, 39, 1), "y": (5, 61, 2), "w": (6, 55, 0)}
    # Many are found in one walk.
    many = "[" + ",\n".join(f'{{"targets": ["n{i}"], "labels": {{"id": "{i}"}}}}' for i in range(3000)) + "]"
    places = places_of(scene, many)
    assert places["0"] == (1, 15, 0) and all(places[str(i)] == (i + 1, 14, 0) for i in range(1, 3000))
    # A thousand labels are as many as may be; the id is none of them.
    labels = json.dumps({f"l{i}": "" for i in range(1001)} | {"id": "x"})
    text = f'[{{"targets": ["a:1"]}}, {{"targets": ["a:1", "b:1"], "labels": {labels}}}, {{"targets": ["c:1"]}}]'
    assert places_of(scene, text) == {"a:1": (1, 24, 1), "b:1": (1, 24, 0)}
    # There an id that can't be used is no fault, and what differs in a label is one node.
    scene.safestart("check", "-", text='[{"targets": ["a:1"]}, {"targets": ["a:1", "b:1"], "labels": {"id": "", "zone": "1"}}]').must(0, "several entries for a:1 differ in the label \"zone\"")


def test_check_does_not_guess_where_something_is(scene):
    assert places_of(scene, '[{"t\\u0061rgets": ["a"]}, {"targets": ["b"]}]') == {"a": (None, None, None), "b": (1, 40, 0)}
    # Somebody is called what the library calls the nameless third.
    named = '[{"targets": ["b:1"], "labels": {"id": "entry 3"}}, {"targets": ["a:1"]}, {"targets": ["c:1"], "labels": {"id": "%s"}}, {"targets": ["b:%d"], "labels": {"id": "entry 3"}}]'
    scene.safestart("check", "-", text=named % ("", 2)).must(7, "\n  entry 3: ")
    assert set(places_of(scene, named % ("", 2)).values()) == {(None, None, None)}
    nameless = '[{"targets": ["b:1"], "labels": {"id": "entry 2"}}, {"targets": ["a:1"], "labels": {"id": ""}}]'
    scene.safestart("check", "-", text=nameless).must(7, "accepted without 1 entry\n", "  1 of them cannot be named by id: 1 of 2 entries would be left out: group 2: target 1: the id is empty")
    assert places_of(scene, named % ("c", 2)) == {"entry 3": (1, 15, 1)}
    assert places_of(scene, named % ("c", 0)) == {"entry 3": (1, 133, 1)}


def test_check_of_several_files_ends_by_the_worst(scene):
    scene.write(TEN)
    scene.write("[", scene.nodes + ".bad")
    scene.safestart("check", scene.nodes, scene.nodes + ".bad").must(3, "nodes.json: valid", "bad: would be refused")
    scene.safestart("check", scene.nodes + ".bad", "/nowhere/at/all").must(4, "cannot be read: No such file")
    scene.safestart("check", scene.folder).must(4, "Is a directory")
    os.chmod(scene.nodes, 0o600)
    scene.safestart("check", scene.nodes, user="nobody").must(4, "Permission denied")


# ---- The protocol, for other programs ----

def test_every_question_of_its_page_is_answered(scene):
    scene.write(document("riak-1", "riak-2"))
    server, = scene.start_on_file(1)
    page = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "doc", "control.md")
    with open(page, encoding="utf-8") as file:
        questions = [found for line in file for found in re.findall(r"`(\{\"do\".*?\})`", line)]
    assert len(questions) > 6, questions
    for question in questions:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.path.join(scene.control, f"api.{server.pid}.sock"))
            client.sendall(question.encode() + b"\n")
            answer = json.loads(client.makefile().readline())
        expected = {"status": "status", "nodes": "nodes", "metrics": "metrics", "request": "ticket", "events": "event"}[json.loads(question)["do"]]
        assert expected in answer and answer.get("ok", True), (question, answer)
