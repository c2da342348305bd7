# SPDX-License-Identifier: LGPL-2.1-or-later
"""wait: the playbook's barrier. "On all that answered" would be true even with no process."""
import os
import signal
import socket
import subprocess

from stage import Skip, answers, document, eventually, nodes_answer


def test_p22_available_is_proven_everywhere_and_failing_nowhere(scene):
    scene.write(document("a", "b"))
    one, two = scene.start_on_file(2)
    wait = ["wait", "a", "--roster", "api=2", "--timeout", "0"]
    scene.safestart(*wait).must(1, f"api {one.pid}: applied, not proven", f"api {two.pid}: applied, not proven", "send them one, or wait with --applied")
    scene.safestart(*wait, "--applied").must(0, "a is applied everywhere")
    one.tell("report a 0")
    told = scene.safestart(*wait).must(1, f"api {two.pid}: applied, not proven")
    assert str(one.pid) not in told.err
    two.tell("report a 5")
    scene.safestart(*wait).must(1, f"api {two.pid}: failing: live, but the newest request to it failed")
    scene.safestart(*wait, "--applied").must(1, "failing")
    two.tell("report a 0")
    scene.safestart(*wait).must(0, "a is available")
    assert scene.safestart(*wait, "--json").must(0).json()["available"] is True
    scene.safestart("wait", "c", "--roster", "api=2", "--timeout", "0").must(1, "not in its node set")


def test_p22_one_that_is_down_is_missed(scene):
    scene.write(document("a"))
    one, two, three = scene.start_on_file(3)
    wait = ["wait", "a", "--applied", "--timeout", "0"]
    scene.safestart(*wait, "--roster", "api=3").must(0)
    three.end()
    scene.safestart(*wait, "--roster", "api=3").must(6, "api: 2 of 3 processes of the roster are running")
    two.kill()
    scene.safestart(*wait, "--roster", "api=3").must(6, "api: 1 of 3 processes of the roster are running; 1 was killed")
    one.kill()
    told = scene.safestart(*wait, "--roster", "api=3", "--json").must(6).json()
    assert told["available"] is False and told["lacking"] == [{"name": "api", "why": "0 of 3 processes of the roster are running; 2 were killed"}]


def test_p22_one_that_does_not_answer_has_it_not(scene):
    scene.write(document("a"))
    one, _ = scene.start_on_file(2)
    one.stop()
    scene.safestart("wait", "a", "--applied", "--roster", "api=2", "--timeout", "300ms").must(1, f"api {one.pid}: no answer")
    # More than the roster asks for have to have it as well.
    scene.safestart("wait", "a", "--applied", "--roster", "api=1", "--timeout", "300ms").must(1, f"api {one.pid}: no answer")


def test_p22_without_a_roster_nothing_is_available(scene):
    scene.write(document("a"))
    scene.start_on_file(2)
    scene.safestart("wait", "a", "--applied", "--timeout", "0").must(6, "--roster api=4", f"{scene.control}/roster", "--no-roster")
    scene.safestart("wait", "a", "--applied", "--timeout", "0", "--no-roster").must(0, "a process that is down is not noticed")
    scene.safestart("wait", "a", "--no-roster", "--timeout", "0", SAFESTART_CONTROL="/nowhere").must(4, "there is no control directory")


def test_p22_nothing_is_available_without_processes(scene):
    """All processes were killed, or serve no clients; or the roster, written by a template, expects none."""
    scene.write(document("a"))
    server, = scene.start_on_file(1)
    scene.start("master", serves="no", source="none")
    wait = ["wait", "a", "--applied", "--timeout", "0"]
    scene.safestart(*wait, "--no-roster").must(0)
    scene.safestart(*wait, "--roster", "worker=0").must(6, "no serving process is running")
    server.kill()
    scene.safestart(*wait, "--no-roster").must(6, "no serving process is running")
    scene.safestart("drain", "a", "--for", "1m", "--reason", "x", "--min-available", "0", "--no-roster").must(0)
    scene.safestart("announce", "a", "10.0.0.1:8087").must(0)
    scene.safestart("announce", "b", "10.0.0.2:8087").must(0)
    scene.safestart("drain", "a", "--for", "1m", "--reason", "x", "--min-available", "1", "--applied", "--no-roster").must(3, "only 0 nodes", "no serving process is running")


def test_a_directory_that_can_not_be_looked_into_is_no_empty_one(scene):
    """With the roster on the command line, "0 of 2" is not enough of a message."""
    wait = ["wait", "a", "--applied", "--roster", "api=2", "--timeout", "0"]
    scene.safestart(*wait, SAFESTART_CONTROL="/nowhere").must(6, "0 of 2 processes of the roster are running", "  there is no control directory /nowhere", "--control")
    scene.write(document("a"))
    scene.start_on_file(2)
    if os.getuid() == 0:
        scene.safestart(*wait, user="nobody").must(6, f"cannot read the control directory: Permission denied", "as root")
    scene.safestart(*wait).must(0)


def test_the_roster_is_a_file_too(scene):
    scene.write(document("a"))
    scene.start_on_file(2)
    scene.start_on_file(1, "worker")
    scene.start("batch", source="none")  # not on the roster: not asked for
    roster = os.path.join(scene.control, "roster")
    wait = ["wait", "a", "--applied", "--timeout", "0"]
    scene.write("# who serves\n\napi 2\n  worker\t1 \n", roster)
    scene.safestart(*wait).must(0)
    scene.write("api 3\nworker 1\n", roster)
    scene.safestart(*wait).must(6, "api: 2 of 3")
    scene.safestart(*wait, "--roster", "api=2").must(0)
    scene.write("api two\n", roster)
    scene.safestart(*wait).must(4, "such as: api 4; it is line 1 of ")
    scene.write("#\n", roster)
    scene.safestart(*wait).must(6)
    os.remove(roster)
    os.mkdir(roster)
    scene.safestart(*wait).must(4)
    for word in ["api", "=3", "api=", "api=x", "api=-1", "api=9999999"]:
        scene.safestart(*wait, "--roster", word).must(2, "such as api=4")


def test_a_process_without_clients_does_not_count(scene):
    scene.write(document("a"))
    scene.start_on_file(1)
    scene.start("api", serves="no", source="none")
    scene.safestart("wait", "a", "--applied", "--timeout", "0", "--roster", "api=1").must(0)
    scene.safestart("wait", "a", "--applied", "--timeout", "0", "--roster", "api=2").must(6, "1 of 2")


def test_p22_the_workers_of_a_preforked_server_meet_a_roster(scene):
    """examples/prefork: the master opens the handle with start=after_fork, and forks."""
    program = os.path.join(os.path.dirname(scene.command), "..", "examples", "prefork")
    if not os.path.exists(program):
        raise Skip("the examples are not built")
    with socket.create_server(("127.0.0.1", 0)) as node:
        scene.write(document(("a", f"127.0.0.1:{node.getsockname()[1]}")))
        master = subprocess.Popen([program, scene.nodes, "2"], env=scene.environment(), stdout=subprocess.DEVNULL)
        scene.ends.append(lambda: (master.terminate(), master.wait()))
        scene.safestart("wait", "a", "--roster", "prefork=2", "--timeout", "100s").must(0, "a is available")
        scene.safestart("wait", "a", "--roster", "prefork=3", "--timeout", "0").must(6, "2 of 3 processes of the roster")

        def workers():
            processes = scene.safestart("status", "--json").json()["names"][0]["processes"]
            return {int(peer["process"]) for peer in processes if peer["state"] == "answered"}
        killed = min(workers())
        os.kill(killed, signal.SIGKILL)
        eventually("it to be replaced", lambda: killed not in workers() and len(workers()) == 2)
        scene.safestart("wait", "a", "--roster", "prefork=2", "--timeout", "100s").must(0)


def test_the_incarnation_that_is_asked_for_is_the_one(scene):
    scene.write('[{"targets": ["a:1"], "labels": {"id": "a", "incarnation": "boot-7"}}]')
    server, = scene.start_on_file(1)
    server.tell("report a 0")
    wait = ["wait", "a", "--roster", "api=1", "--timeout", "0", "--incarnation"]
    scene.safestart(*wait, "boot-7").must(0)
    scene.safestart(*wait, "boot-8").must(1, 'has incarnation "boot-7", not "boot-8" (proven)')
    scene.safestart("announce", "a", "a:1", "--incarnation", "boot-8").must(0)
    eventually("the new one to be live", lambda: scene.safestart(*wait, "boot-8", "--applied").code == 0)
    scene.safestart(*wait, "boot-8").must(1, "applied, not proven")
    server.tell("report a 0")
    scene.safestart(*wait, "boot-8").must(0)


def test_p22_another_entry_under_the_id_is_not_available(scene):
    """The old address, or the old labels, are live and proven, and the incarnation is the same."""
    scene.write(document("a", "b"))
    server, = scene.start_on_file(1)
    server.tell("report a 0")
    server.tell("report b 0")
    wait = ["wait", "a", "--roster", "api=1", "--timeout", "0"]
    scene.safestart(*wait).must(0)
    server.tell("prepare fail 111")
    announce = ["announce", "a", "10.0.0.99:80", "--no-incarnation", "--roster", "api=1", "--wait", "--timeout", "300ms"]
    scene.safestart(*announce).must(1, "a is not available")
    eventually("it to be read", lambda: "the announced entry is not live yet, the old one is: at 10.0.0.1:8087 (proven)" in scene.safestart(*wait).must(1).err)
    scene.safestart(*wait, "--applied").must(1, "the announced entry is not live yet")
    scene.safestart("drain", "b", "--for", "1m", "--reason", "x", "--min-available", "1", "--roster", "api=1").must(3, "a is not available", "the announced entry is not live yet")
    server.tell("prepare ok")
    scene.safestart("request", "--wait").must(0)
    scene.safestart(*wait).must(1, "applied, not proven")
    server.tell("report a 0")
    scene.safestart(*wait).must(0)
    scene.safestart(*announce).must(0, "already announced", "a is available")
    server.tell("prepare fail 111")
    scene.safestart(*announce, "--label", "zone=c").must(1, "a is not available")
    eventually("it to be read", lambda: "the announced entry is not live yet" in scene.safestart(*wait).must(1).err)


def test_p22_what_is_no_longer_announced_is_not_available(scene):
    """Withdrawing it was refused, so it is still live and proven."""
    server = scene.start("api", max_shrink="10%")
    server.push(document("a", "b"))
    server.tell("report a 0")
    wait = ["wait", "a", "--roster", "api=1", "--timeout", "0"]
    scene.safestart(*wait).must(0)
    server.push(document("b"))
    scene.safestart(*wait).must(1, f"api {server.pid}: live at 10.0.0.1:8087, but not announced any more")


def test_p22_a_process_that_has_not_read_the_change_does_not_have_it(scene):
    scene.write(document("a"))
    scene.fake("api.1.sock", answers(nodes_answer({"a": "proven"})))
    wait = ["wait", "a", "--roster", "api=1", "--timeout", "0"]
    scene.safestart(*wait).must(0)
    scene.safestart(*wait, "--announced-in", scene.nodes).must(1, "api 1: has not read the announced entry yet, or was given another one; live at 10.0.0.1:1 (proven)")
    scene.safestart("announce", "a", "b:1", "--no-incarnation", "--wait", "--roster", "api=1", "--timeout", "0").must(1, "has not read the announced entry yet")
    scene.safestart("drain", "x", "--for", "1m", "--reason", "x").must(4)
    scene.safestart("wait", "x", "--roster", "api=1", "--announced-in", scene.nodes).must(1, 'there is no usable node "x" in')
    scene.safestart("wait", "a", "--gone", "--announced-in", scene.nodes).must(2, "--gone cannot be combined")
    # To be read only, a file needs to be no better than a server needs it.
    scene.write('[{"targets": ["10.0.0.1:1"], "labels": {"id": "a"}, "serial": 123456789012345678901234567890}, {"target": ["b:1"]}]')
    scene.safestart(*wait, "--announced-in", scene.nodes).must(1, "has not read the announced entry yet")
    scene.write("[")
    scene.safestart(*wait, "--announced-in", scene.nodes).must(3, "malformed")


def test_p22_an_older_server_cannot_tell(scene):
    scene.fake("api.1.sock", answers(nodes_answer({"a": "proven"}, old=True)))
    for more in [], ["--applied"]:
        scene.safestart("wait", "a", "--roster", "api=1", "--timeout", "0", *more).must(1, "api 1: cannot tell whether the announced entry is live", "older than this command")


def test_the_file_says_which_entry_is_waited_for(scene):
    scene.write(document("a"))
    server, = scene.start_on_file(1)
    server.tell("report a 0")
    scene.safestart("wait", "a", "--roster", "api=1", "--announced-in", scene.nodes).must(0, "a is available")


def test_a_process_that_reads_another_file_is_named(scene):
    """Otherwise the node is announced, no process has it, and everything looks right."""
    scene.write(document("a"))
    scene.write(document("a"), f"{scene.folder}/other.json")
    server, = scene.start_on_file(1)
    scene.safestart("announce", "b", "b:1", "--file", f"{scene.folder}/other.json", "--wait", "--roster", "api=1", "--timeout", "0").must(
        1, f"api {server.pid}: not in its node set; its nodes come from file:{scene.nodes}\n")


def test_what_is_quarantined_is_said_so(scene):
    server = scene.start("api")
    server.tell("prepare reject a")
    server.push(document("a", "b"))
    scene.safestart("wait", "a", "--roster", "api=2", "--timeout", "0").must(6, "quarantined: it does not answer")
    scene.safestart("wait", "a", "--roster", "api=1", "--timeout", "0").must(7, "quarantined: it does not answer")
    other = scene.start("api")
    other.push(document("b"))
    scene.safestart("wait", "a", "--roster", "api=2", "--timeout", "0").must(7)


def test_it_waits_until_it_is_so(scene):
    scene.write(document("a"))
    waiting = scene.begin("wait", "a", "--roster", "api=2", "--timeout", "110s")
    one, two = scene.start_on_file(2)
    one.tell("report a 0")
    assert waiting.poll() is None
    two.tell("report a 0")
    out, err = waiting.communicate(timeout=120)
    assert waiting.returncode == 0 and out.startswith("a is available (after "), out + err


def test_another_user_cannot_replace_a_process_that_is_down(scene):
    """In a control directory that other users may write to."""
    if os.getuid() != 0:
        return
    scene.write(document("a"))
    scene.start_on_file(1)
    scene.fake("api.99999.sock", answers(nodes_answer({"a": "proven"}, pid=99999)))
    os.chown(os.path.join(scene.control, "api.99999.sock"), 65534, 65534)
    told = scene.safestart("wait", "a", "--roster", "api=2", "--applied", "--timeout", "0").must(1, "api 99999: belongs to user 65534")
    assert "one of them is not genuine" in told.err


# ---- gone ----

def test_gone_means_no_process_holds_it(scene):
    scene.write(document("a", "b", "c"))
    one, _ = scene.start_on_file(2)
    gone = ["wait", "a", "--gone", "--timeout"]
    scene.safestart(*gone, 0).must(1, "a is not gone", f"api {one.pid}: still has it: applied")
    one.tell("own")
    told = scene.safestart("withdraw", "a", "--wait", "--timeout", "500ms").must(1, f"api {one.pid}: still has it: retired: removed from the node set; a reader still uses it")
    assert told.err.count("still has it") == 1
    waiting = scene.begin(*gone, "110s")
    one.tell("disown")
    out, err = waiting.communicate(timeout=120)
    assert waiting.returncode == 0 and "a is gone" in out, out + err


def test_a_killed_process_holds_nothing_and_a_stopped_one_may(scene):
    scene.write(document("a", "b"))
    one, two = scene.start_on_file(2)
    one.stop()
    scene.safestart("drain", "a", "--for", "1m", "--reason", "x", "--wait", "--timeout", "500ms").must(1, f"api {one.pid}: no answer")
    one.kill()
    eventually("it to be gone", lambda: scene.safestart("wait", "a", "--gone", "--timeout", 0).code == 0)
    two.kill()


def test_no_process_there_does_not_mean_gone(scene):
    scene.safestart("wait", "a", "--gone", "--timeout", 0).must(4, "there is no control directory")
    os.mkdir(scene.control)
    scene.safestart("wait", "a", "--gone", "--timeout", 0).must(4, "no process has a socket")


def test_only_processes_that_read_the_file_are_asked(scene):
    """If the file is not followed (no inotify left, a network file system), the change need not be waited for."""
    scene.write(document("a", "b"))
    scene.start_on_file(1)
    scene.write(document("c"), f"{scene.folder}/other.json")
    scene.start("other", source=f"file:{scene.folder}/other.json")

    def requests(name):
        return scene.safestart("status", "--json", name).json()["names"][0]["processes"][0]["status"]["requests"]
    eventually("the other one to be live", lambda: scene.safestart("status", "other").code == 0)
    before, others = requests("api"), requests("other")
    scene.safestart("withdraw", "a", "--wait", "--timeout", "100s").must(0)
    assert requests("api") > before and requests("other") == others


# ---- A whole round, as a playbook does it ----

def test_a_node_is_drained_rebooted_announced_and_used(scene):
    scene.write(document("a", "b"))
    servers = scene.start_on_file(2)
    for server in servers:
        assert server.tell("report a 0") == server.tell("report b 0") == "ok"
    told = scene.safestart("drain", "a", "--for", "30m", "--reason", "reboot", "--min-available", 1, "--roster", "api=2", "--wait", "--json").must(0).json()
    assert told["changed"] and told["gone"] and told["lacking"] == []
    scene.safestart("announce", "a", "10.0.0.1:8087", "--incarnation", "boot-8", "--wait", "--timeout", "1s", "--roster", "api=2").must(1, "is announced at", "applied, not proven")
    waiting = scene.begin("announce", "a", "10.0.0.1:8087", "--incarnation", "boot-8", "--wait", "--timeout", "110s", "--roster", "api=2", "--json")
    for server in servers:
        assert server.tell("report a 0") == "ok"
    out, err = waiting.communicate(timeout=120)
    assert waiting.returncode == 0 and '"changed":false' in out and '"available":true' in out, out + err
    scene.safestart("announce", "a", "10.0.0.1:8087", "--incarnation", "boot-8", "--wait").must(6, "--roster api=4")


def test_p22_a_directory_that_vanishes_does_not_make_a_node_gone(scene):
    reply = nodes_answer({"a": "applied"})

    def reply_and_vanish(request):
        if os.path.exists(scene.control):
            os.rename(scene.control, scene.control + ".away")
        return reply(request)
    scene.fake("api.1.sock", answers(reply_and_vanish))
    scene.safestart("wait", "a", "--gone", "--timeout", "500ms").must(1, "a is not gone", "there is no control directory")
