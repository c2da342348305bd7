# SPDX-License-Identifier: LGPL-2.1-or-later
"""announce, withdraw, drain: a file that others read and write is edited."""
import json
import os
import pwd
import random
import re
import shutil
import signal
import struct
import subprocess
import time

from stage import Skip, document, eventually, repeat

WRITTEN = """[
  {"targets": ["10.0.0.1:8087"], "labels": {"id": "riak-1", "zone": "a"}, "weight": 1.10, "big": 123456789012345},
  { "targets" : ["10.0.0.2:8087", "10.0.0.3:8087"],
    "labels": {"zone": "b\\u00e4", "id": "none of them"} },

  {"labels": {"id": "riak-4 \\"]}"}, "targets": ["10.0.0.4:8087"]}
]
"""
LINES = WRITTEN.splitlines(keepends=True)


def ids(scene):
    return [group["labels"].get("id", group["targets"][0]) for group in json.loads(scene.read())]


def files(folder):
    """What is in a folder besides the lock, which stays."""
    return sorted(name for name in os.listdir(folder) if name != ".nodes.json.lock")


def preload(scene, name):
    shim = os.path.join(os.path.dirname(scene.server), f"lib{name}.so")
    if not os.path.exists(shim):
        raise Skip("nothing can be preloaded under a sanitizer")
    return shim


def hold(scene, *words):
    """flock(1) with these words holds a lock until it gets a line."""
    if not shutil.which("flock"):
        raise Skip("there is no flock(1)")
    holder = subprocess.Popen(["flock", *words, "sh", "-c", "echo held; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    scene.ends.append(lambda: (holder.kill(), holder.communicate()))
    assert holder.stdout.readline() == "held\n"
    return holder


def waits(path):
    """Does a process wait for a lock of that file?"""
    with open("/proc/locks", encoding="utf-8") as locks:
        return any("->" in line and f":{os.stat(path).st_ino} " in line for line in locks)


# ---- Addresses ----

def test_an_address_that_another_node_has_and_one_that_changes_are_reported(scene):
    scene.write(document(("a", "10.0.0.1:1"), ("b", "Host-2:02")))
    scene.safestart("announce", "c", "host-2:2").must(0, "c is announced at host-2:2", "warning: b has the same address, Host-2:02", "safestart withdraw b")
    scene.safestart("announce", "a", "10.0.0.9:1").must(0, "a is announced, moved from 10.0.0.1:1 to 10.0.0.9:1, incarnation ")
    assert scene.safestart("announce", "--json", "a", "10.0.0.8:1").must(0).json()["before"] == "10.0.0.9:1"


def test_an_address_in_another_spelling_is_the_same(scene):
    scene.write(document(("a", "[fd00::1]:80")))
    before = scene.read()
    scene.safestart("announce", "a", "[FD00:0::1]:080", "--no-incarnation").must(0, "unchanged")
    assert scene.read() == before
    # As its own id it goes by the library's spelling.
    scene.safestart("announce", "DB-1:01", "DB-1:01").must(0, "db-1:1 is announced at DB-1:01")
    scene.safestart("withdraw", "db-1:1").must(0, "db-1:1 is withdrawn")
    assert scene.read() == before


def test_what_servers_accept_and_this_program_cannot_write_back_is_not_called_malformed(scene):
    for member in ['"serial": 123456789012345678901234567890', '"x": {"a": 1, "a": 2}']:
        scene.write('[{"targets": ["10.0.0.1:1"], "labels": {"id": "a"}, ' + member + "}]")
        before = scene.read()
        scene.safestart("check", scene.nodes).must(0, "valid")
        scene.safestart("announce", "b", "10.0.0.2:1").must(3, "cannot write back what is at line 1, column ", "nothing was changed in", "edit it by hand")
        assert scene.read() == before


# ---- What stays ----

def test_every_other_byte_stays(scene):
    scene.write(WRITTEN)
    scene.safestart("announce", "riak-9", "10.0.0.9:8087", "--incarnation", "b1", "--label", "zone=c").must(0, "riak-9 is announced at 10.0.0.9:8087, incarnation b1")
    assert scene.read() == WRITTEN[:-3] + ',\n\n  {"targets": ["10.0.0.9:8087"], "labels": {"id": "riak-9", "zone": "c", "incarnation": "b1"}}\n]\n', scene.read()
    scene.safestart("withdraw", "riak-9").must(0)
    assert scene.read() == WRITTEN
    scene.safestart("withdraw", "riak-1").must(0)
    assert scene.read() == LINES[0] + "".join(LINES[2:])
    scene.write(WRITTEN)
    scene.safestart("withdraw", 'riak-4 "]}').must(0)
    assert scene.read() == "".join(LINES[:4]).rstrip()[:-1] + "\n]\n", scene.read()


def test_a_group_that_is_changed_keeps_what_is_not_known(scene):
    scene.write(WRITTEN)
    scene.safestart("announce", "riak-1", "10.0.0.7:8087", "--incarnation", "b2").must(0)
    group = json.loads(scene.read())[0]
    assert group["weight"] == 1.1 and group["big"] == 123456789012345 and group["labels"] == {"id": "riak-1", "zone": "a", "incarnation": "b2"}
    assert group["targets"] == ["10.0.0.7:8087"] and scene.read().endswith("".join(LINES[2:]))


def test_one_of_several_targets_is_taken_out_of_its_group(scene):
    scene.write(WRITTEN)
    scene.safestart("announce", "10.0.0.2:8087", "10.0.0.2:8087", "--incarnation", "b2").must(0)
    groups = json.loads(scene.read())
    # A label that was not an id in a group of several must not become the id of the one that is left.
    assert groups[1] == {"targets": ["10.0.0.3:8087"], "labels": {"zone": "b\u00e4"}}
    assert groups[3] == {"targets": ["10.0.0.2:8087"], "labels": {"zone": "b\u00e4", "incarnation": "b2"}}


def test_entries_with_the_same_id_become_one(scene):
    scene.write('[{"targets":["a:1"],"labels":{"id":"x","n":"1"}},{"targets":["a:2"],"labels":{"id":"x"}},{"targets":["x","b:1"]}]')
    scene.safestart("announce", "x", "a:3", "--no-incarnation").must(0)
    assert scene.read() == '[{"targets":["a:3"],"labels":{"id":"x","n":"1"}},{"targets":["b:1"]}]', scene.read()
    scene.write('[{"targets": ["a:1"], "labels": {"id": "x"}}, {"targets": ["a:1"], "labels": {"id": "x"}}]')
    scene.safestart("announce", "x", "a:1", "--no-incarnation").must(0)
    assert ids(scene) == ["x"]


def test_files_of_every_style_are_written_in_theirs(scene):
    dense = '[{"targets":["a:1"],"labels":{"id":"a"}}]'
    for text in [dense, dense + "\n", json.dumps(json.loads(dense)), json.dumps(json.loads(dense), indent=4), json.dumps(json.loads(dense), indent=2) + "\n"]:
        scene.write(text)
        scene.safestart("announce", "b", "b:1", "--no-incarnation").must(0)
        indent = 4 if "\n    {" in text else 2 if "\n  {" in text else None
        expected = json.dumps(json.loads(dense) + [{"targets": ["b:1"], "labels": {"id": "b"}}], indent=indent, separators=(",", ":") if text.startswith(dense) else None)
        assert json.loads(scene.read()) == json.loads(expected)
        if indent or text.startswith("[{\"targets\": "):
            assert scene.read().strip() == expected, scene.read()
        scene.safestart("withdraw", "b").must(0)
        assert scene.read() == text
    scene.write("[]\n")
    scene.safestart("announce", "a", "a:1", "--no-incarnation").must(0)
    assert scene.read() == '[{"targets": ["a:1"], "labels": {"id": "a"}}]\n'
    scene.safestart("withdraw", "a").must(0, "no node is announced any more")
    assert scene.read() == "[]\n"


def test_whatever_is_done_it_means_what_it_should(scene):
    """Random edits of a random file, against a model."""
    chance = random.Random(5)
    for _ in range(repeat(30)):
        groups, known = [], {}
        for n in range(chance.randrange(6)):
            node = chance.choice([f"n{n}", f"h{n}:1", f"\u00e9\u4e2d{n}"])
            labels = {"id": node} if ":" not in node else {}
            groups.append({"targets": [f"h{n}:1"], **({"labels": labels} if labels or chance.random() < 0.5 else {})})
            known[node] = f"h{n}:1"
        scene.write(json.dumps(groups, indent=chance.choice([None, 1, 3]), ensure_ascii=chance.random() < 0.5) + chance.choice(["", "\n", " \n\n"]))
        for _ in range(4):
            node = chance.choice([*known, "new"])
            if chance.random() < 0.5:
                known.pop(node, None)
                scene.safestart("withdraw", node).must(0)
            else:
                known[node] = f"other{chance.randrange(3)}:1"
                scene.safestart("announce", node, known[node], "--no-incarnation").must(0)
            found = {group.get("labels", {}).get("id", group["targets"][0]): group["targets"][0] for group in json.loads(scene.read())}
            assert found == known, f"{found} is not {known}: {scene.read()}"


# ---- The same twice ----

def test_announcing_what_is_there_changes_nothing(scene):
    scene.write(WRITTEN)
    assert scene.safestart("announce", "riak-1", "10.0.0.1:8087", "--incarnation", "b1", "--json").must(0).json()["changed"] is True
    before, status = scene.read(), os.stat(scene.nodes)
    told = scene.safestart("announce", "riak-1", "10.0.0.1:8087", "--incarnation", "b1", "--json").must(0).json()
    assert told == {"id": "riak-1", "address": "10.0.0.1:8087", "incarnation": "b1", "file": scene.nodes, "changed": False}
    scene.safestart("announce", "riak-1", "10.0.0.1:8087", "--no-incarnation").must(0, "is already announced with this address; unchanged")
    scene.safestart("withdraw", "nobody").must(0, "is not in")
    assert scene.safestart("withdraw", "nobody", "--json").must(0).json()["changed"] is False
    assert scene.read() == before and os.stat(scene.nodes).st_ino == status.st_ino
    assert scene.safestart("announce", "riak-1", "10.0.0.1:8087", "--label", "zone=b", "--incarnation", "b1", "--json").must(0).json()["changed"] is True


def test_every_incarnation_that_is_made_is_another(scene):
    scene.write("[]")
    made = [scene.safestart("announce", "a", "a:1", "--json").must(0).json()["incarnation"] for _ in range(3)]
    assert len(set(made)) == 3 and all(re.fullmatch(r"[0-9a-f]{8}-\d+\.\d{3}", one) for one in made), made
    assert json.loads(scene.read())[0]["labels"]["incarnation"] == made[-1]


# ---- The file ----

def test_mode_owner_and_link_are_kept(scene):
    real = os.path.join(scene.folder, "real", "nodes.json")
    os.mkdir(os.path.dirname(real))
    scene.write(WRITTEN, real)
    os.chown(real, 65534, 65534) if os.getuid() == 0 else None
    os.chmod(real, 0o640)
    os.symlink("real/nodes.json", scene.nodes)
    before = os.stat(real)
    scene.safestart("withdraw", "riak-1").must(0, real)
    after = os.stat(real)
    assert os.path.islink(scene.nodes) and (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid) and before.st_ino != after.st_ino
    assert files(os.path.dirname(real)) == ["nodes.json"], "nothing is left lying about"


def test_what_is_no_such_file_is_left_alone(scene):
    scene.safestart("announce", "a", "a:1").must(4, "there is no file", "echo '[]' >")
    for text, words in [("", ":"), ("{}", "not an array of groups"), ("[1]", "group 1 is a number"), ('[{"targets": "a:1"}]', "a group is wrong"), ('[{"targets": [1]}]', "safestart check"),
                        ('[{"targets": [], "labels": []}]', "labels is an array"), ('[{"targets": ["b:1"], "labels": {"a": 1}}]', "a group is wrong"), ("[\n {]", "line 2, column 3"),
                        ('[{"targets": [], "targets": []}]', "targets is there twice"), ("[] []", "line 1")]:
        scene.write(text)
        scene.safestart("announce", "a", "a:1").must(3, words)
        scene.safestart("drain", "a", "--for", "1m", "--reason", "x").must(3)
        assert scene.read() == text and files(scene.folder) == ["nodes.json"]
    scene.safestart("withdraw", "a", "--file", scene.folder).must(4, "Is a directory")
    os.mkfifo(scene.nodes + ".fifo")
    scene.safestart("withdraw", "a", "--file", scene.nodes + ".fifo").must(4, "nothing was changed")
    scene.safestart("withdraw", "a", "--file", "/dev/null/x").must(4, "Not a directory")


def test_without_permission_nothing_changes(scene):
    if os.getuid() != 0:
        raise Skip("it takes root to become another user")
    scene.write(WRITTEN)
    scene.safestart("withdraw", "riak-1", user="nobody").must(4, "no permission to write in the directory of", "as the owner of the directory or as root")
    os.chmod(scene.folder, 0o777)
    scene.safestart("withdraw", "riak-1", user="nobody").must(4, "cannot keep the file's owner, user 0")
    os.chmod(scene.nodes, 0o600)
    scene.safestart("withdraw", "riak-1", user="nobody").must(4, "no permission to read")
    assert scene.read() == WRITTEN and files(scene.folder) == ["nodes.json"]


def test_a_full_disk_changes_nothing(scene):
    place = os.path.join(scene.folder, "small")
    os.mkdir(place)
    inside = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k none "$1" || exit 77; cp "$2" "$1/nodes.json"; head -c 1000000 /dev/zero >"$1/filler" 2>/dev/null; shift 2; '
              '"$@"; code=$?; cat "$(dirname "$SAFESTART_NODES")/nodes.json"; rm -f "$(dirname "$SAFESTART_NODES")/.nodes.json.lock"; ls -A "$(dirname "$SAFESTART_NODES")"; exit $code', "sh", place, scene.nodes]
    text = document(*(f"node-{n}" for n in range(300)))
    scene.write(text)
    for words in [["announce", "riak-9", "10.0.0.9:8087"], ["drain", "node-7", "--for", "1m", "--reason", "x"]]:
        told = scene.safestart(*words, before=inside, SAFESTART_NODES=os.path.join(place, "nodes.json"))
        if told.code == 77 or "unshare" in told.err:
            raise Skip("a tmpfs can't be mounted here")
        told.must(4, "no space left", "nothing was changed")
        assert told.out == text + "filler\nnodes.json\n", told.out[-300:]


def test_a_limit_of_file_size_is_an_error_like_any_other(scene):
    text = document(*(f"node-{n}" for n in range(300)))
    scene.write(text)
    scene.safestart("withdraw", "node-7", before=["prlimit", "--fsize=4096"]).must(4, "nothing was changed")
    assert scene.read() == text and files(scene.folder) == ["nodes.json"]


def test_many_at_once_lose_nothing(scene):
    scene.write(document("first"))
    count = repeat(100)
    others = [scene.begin("announce", f"n{n}", f"10.1.0.{n % 200}:1") for n in range(count)]
    for other in others:
        assert other.wait() == 0, other.stderr.read()
    assert sorted(ids(scene)) == sorted(["first", *(f"n{n}" for n in range(count))])
    others = [scene.begin("withdraw", f"n{n}") if n % 2 else scene.begin("drain", f"n{n}", "--for", "1m", "--reason", "x") for n in range(count)]
    for other in others:
        assert other.wait() == 0, other.stderr.read()
    assert ids(scene) == ["first"] and len(json.loads(scene.read(scene.nodes + ".draining"))) == (count + 1) // 2


def test_readers_see_a_whole_file_always(scene):
    """While editors are killed at random, too."""
    scene.write(document(*(f"n{n}" for n in range(200))))
    chance = random.Random(7)
    for n in range(repeat(40)):
        other = scene.begin("announce", f"m{n}", "10.2.0.1:1")
        time.sleep(chance.random() * 0.01)
        other.send_signal(signal.SIGKILL)
        assert len(json.loads(scene.read())) >= 200
        other.wait()
    scene.safestart("withdraw", "n0").must(0)
    assert files(scene.folder) == ["nodes.json"], "what the killed ones left is gone"


def test_the_holder_of_the_lock_is_waited_for(scene):
    """Also one that locks the node file itself, as flock(1) does."""
    scene.write(document("a", "b"))
    scene.safestart("withdraw", "b").must(0)
    for path in [scene.nodes, os.path.join(scene.folder, ".nodes.json.lock")]:
        scene.write(document("a"))
        holder = hold(scene, path)
        other = scene.begin("withdraw", "a")
        eventually("it to wait for the lock", lambda: waits(path))
        assert other.poll() is None and scene.read() == document("a")
        holder.communicate("\n")
        assert other.wait() == 0 and scene.read() == "[]\n"


def test_p18_the_wait_for_the_lock_ends_without_a_signal(scene):
    """A process that starts it may have blocked SIGALRM. Half a minute passes at once (preloaded)."""
    later = os.path.join(scene.folder, "later")
    blocked = ["python3", "-c", "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); os.execvp(sys.argv[1], sys.argv[1:])"]
    scene.write(document("a"))
    scene.safestart("announce", "b", "b:1", "--no-incarnation").must(0)
    before, path = scene.read(), os.path.join(scene.folder, ".nodes.json.lock")
    assert os.stat(path).st_mode & 0o777 == 0o600, "only the owner can hold it"
    holder = hold(scene, path)
    other = scene.begin("withdraw", "b", before=blocked, LD_PRELOAD=preload(scene, "later"), LATER=later)
    eventually("it to wait for the lock", lambda: waits(path))
    scene.write("", later)
    assert other.wait() == 1 and "has held the lock for 30 s" in other.stderr.read() and scene.read() == before
    holder.communicate("\n")
    # A lock of the file itself can be a reader's: it is not waited for without end.
    os.unlink(later)
    hold(scene, scene.nodes)
    other = scene.begin("withdraw", "b", before=blocked, LD_PRELOAD=preload(scene, "later"), LATER=later)
    eventually("it to wait for the lock", lambda: waits(scene.nodes))
    scene.write("", later)
    assert other.wait() == 0 and "going on without waiting" in other.stderr.read() and ids(scene) == ["a"]


def test_a_reader_that_locks_the_file_holds_up_nobody(scene):
    scene.write(document("a"))
    hold(scene, "-s", scene.nodes)
    scene.safestart("announce", "b", "b:1").must(0)
    scene.safestart("withdraw", "b").must(0)
    assert ids(scene) == ["a"]


def test_an_editor_that_does_not_lock_is_not_overwritten(scene):
    """A template engine that puts its file in place while we write ours (the preloaded library does, at our fsync), or even between our last
    look and our rename."""
    shim = preload(scene, "meanwhile")
    for how in [{"MEANWHILE": scene.nodes}, {"MEANWHILE_RENAME": f"mv {scene.nodes}.new {scene.nodes}"}]:
        scene.write(document("a"))
        scene.write(document("theirs"), scene.nodes + ".new")
        scene.safestart("announce", "mine", "10.9.9.9:1", LD_PRELOAD=shim, **how).must(1, "another program replaced the file meanwhile, without its lock")
        assert ids(scene) == ["theirs"] and files(scene.folder) == ["nodes.json"]
    scene.safestart("announce", "mine", "10.9.9.9:1", LD_PRELOAD=shim, MEANWHILE=scene.nodes).must(0)
    assert ids(scene) == ["theirs", "mine"]


def test_p18_a_file_that_is_written_without_another_stamp_is_not_overwritten(scene):
    """As by a store through a mapping, or on a file server with a coarse clock: time, size and inode stay as they were."""
    shim, script = preload(scene, "meanwhile"), os.path.join(scene.folder, "script")
    scene.write(f"cp -p {scene.nodes} stamp\nprintf %s '{document('b')}' 1<>{scene.nodes}\ntouch -r stamp {scene.nodes}\n", script)
    scene.write(document("a"))
    scene.safestart("announce", "mine", "10.9.9.9:1", LD_PRELOAD=shim, MEANWHILE_RENAME=f"cd {scene.folder}; sh script").must(1, "another program replaced the file meanwhile")
    assert ids(scene) == ["b"]
    for at in range(1, 100):
        scene.write(document("a"))
        told = scene.safestart("announce", "mine", "10.9.9.9:1", LD_PRELOAD=shim, MEANWHILE_PATH="nodes.json", MEANWHILE_AT=str(at), MEANWHILE_DO=f"export LD_PRELOAD=; cd {scene.folder}; sh script")
        if ids(scene) == ["a", "mine"]:
            break
        assert (told.code, ids(scene)) in [(0, ["b", "mine"]), (1, ["b"])], told.err
    assert at > 2 and told.code == 0, "it looks at the file more than once"


def test_p18_a_file_that_is_replaced_between_look_and_rename_excludes_others_still(scene):
    """One editor stops before its rename, another program replaces the file, a second editor comes: it waits, and nothing is lost."""
    shim, lock, here, go = preload(scene, "meanwhile"), *(os.path.join(scene.folder, name) for name in [".nodes.json.lock", "here", "go"])
    scene.write(document("a"))
    first = scene.begin("announce", "first", "f:1", LD_PRELOAD=shim, MEANWHILE_RENAME=f"touch {here}; until test -e {go}; do sleep 0.01; done")
    eventually("the first to be before its rename", lambda: os.path.exists(here))
    scene.write(document("theirs"), scene.nodes + ".new")
    os.rename(scene.nodes + ".new", scene.nodes)
    second = scene.begin("announce", "second", "s:1")
    eventually("the second to wait, or to end", lambda: second.poll() is not None or (os.path.exists(lock) and waits(lock)))
    scene.write("", go)
    assert (first.wait(), second.wait()) == (1, 0), first.stderr.read() + second.stderr.read()
    assert ids(scene) == ["theirs", "second"] and files(scene.folder) == ["go", "here", "nodes.json"]


def test_p18_what_is_left_is_removed_unless_its_process_lives(scene):
    scene.write(document("a"))
    left, lives = (os.path.join(scene.folder, f".nodes.json.safestart.{n}.0") for n in [1, 2])
    for path in [left, lives]:
        scene.write("half", path)
    hold(scene, lives)
    scene.safestart("announce", "b", "b:1").must(0)
    assert files(scene.folder) == [os.path.basename(lives), "nodes.json"]


# ---- What belongs to a file besides its contents ----

def acl(*entries):
    """As the kernel keeps it: tag, rights, id."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def set_attribute(path, name, value):
    try:
        os.setxattr(path, name, value)
    except OSError as why:
        raise Skip(f"{name} can't be set here: {why.strerror}") from why


def attributes(path):
    return os.stat(path).st_mode & 0o7777, {name: os.getxattr(path, name) for name in os.listxattr(path)}


def test_acl_and_attributes_stay(scene):
    """The group bits of a file with an ACL are its mask: without the ACL they would be rights of the group."""
    none = 0xffffffff
    scene.write(document("a", "b"))
    os.chmod(scene.nodes, 0o600)
    # user::rw-, user:1234:rw-, group::---, mask::rw-, other::---
    set_attribute(scene.nodes, "system.posix_acl_access", acl((1, 6, none), (2, 6, 1234), (4, 0, none), (16, 6, none), (32, 0, none)))
    set_attribute(scene.nodes, "user.origin", b"playbook")
    before = attributes(scene.nodes)
    scene.safestart("withdraw", "a").must(0)
    scene.safestart("drain", "b", "--for", "1m", "--reason", "x").must(0)
    assert attributes(scene.nodes) == before and attributes(scene.nodes + ".draining") == before, attributes(scene.nodes)


def test_a_default_acl_of_the_directory_gives_nobody_more_rights(scene):
    none = 0xffffffff
    scene.write(document("a", "b"))
    os.chmod(scene.nodes, 0o640)
    set_attribute(scene.folder, "system.posix_acl_default", acl((1, 7, none), (2, 6, 1234), (4, 5, none), (16, 7, none), (32, 5, none)))
    before = attributes(scene.nodes)
    scene.safestart("withdraw", "a").must(0)
    assert attributes(scene.nodes) == before, attributes(scene.nodes)


def test_an_attribute_that_can_not_be_kept_is_lost_only_if_asked(scene):
    if os.getuid() != 0:
        raise Skip("it takes root to become another user")
    scene.write(document("a", "b"))
    set_attribute(scene.nodes, "security.label", b"theirs")
    for path in [scene.folder, scene.nodes]:
        os.chown(path, pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
    before = scene.read()
    scene.safestart("withdraw", "a", user="nobody").must(4, "cannot keep the attribute security.label", "--lose-attributes", "nothing was changed")
    assert scene.read() == before and files(scene.folder) == ["nodes.json"]
    scene.safestart("withdraw", "a", "--lose-attributes", user="nobody").must(0)
    assert ids(scene) == ["b"] and attributes(scene.nodes)[1] == {}


def test_other_names_of_the_file_are_reported(scene):
    scene.write(document("a", "b"))
    other = os.path.join(scene.folder, "other")
    os.link(scene.nodes, other)
    scene.safestart("withdraw", "a", "--in-place").must(0)
    assert os.path.samefile(scene.nodes, other) and ids(scene) == ["b"]
    scene.safestart("announce", "c", "c:1").must(0, "2 names (hard links)", "--in-place")
    assert json.loads(scene.read(other))[0]["labels"]["id"] == "b" and len(json.loads(scene.read(other))) == 1 and ids(scene) == ["b", "c"]


def test_a_mounted_file_is_written_in_place(scene):
    there = os.path.join(scene.folder, "there")
    inside = ["unshare", "-m", "sh", "-c", 'mount --bind "$1" "$2" || exit 77; shift 2; exec "$@"', "sh", there, scene.nodes]
    scene.write(document("a", "b"))
    scene.write(document("a", "b"), there)
    told = scene.safestart("withdraw", "a", before=inside)
    if told.code == 77 or "unshare" in told.err:
        raise Skip("a file can't be mounted here")
    told.must(4, "mount its directory", "--in-place", "nothing was changed")
    assert scene.read(there) == document("a", "b")
    scene.safestart("withdraw", "a", "--in-place", before=inside).must(0)
    assert document("a") not in scene.read(there) and len(json.loads(scene.read(there))) == 1 and scene.read() == document("a", "b") and files(scene.folder) == ["nodes.json", "there"]


def test_in_place_fails_without_half_a_file(scene):
    text = document(*(f"node-{n}" for n in range(300)))
    scene.write(text)
    scene.safestart("announce", "new", "new:1", "--in-place", before=["prlimit", f"--fsize={len(text)}"]).must(4, "the old contents were written again")
    assert scene.read() == text


# ---- Draining ----

def test_what_is_done_is_printed_before_the_wait(scene):
    """Through a pipe, too: the wait can take minutes, or be interrupted."""
    scene.write(document("a"))
    scene.start("api").stop()  # or a wait could end at once: nobody has what is taken out before it is applied
    for words in [["announce", "b", "b:1"], ["drain", "b", "--for", "1m", "--reason", "x"], ["announce", "c", "c:1"]]:
        waiting = scene.begin(*words, "--wait", "--roster", "api=2", "--timeout", "5s")
        assert words[1] in waiting.stdout.readline()
        waiting.kill()
        assert waiting.wait() == -signal.SIGKILL, "it was printed after the wait"


def test_a_drain_is_noted_and_ended_by_the_announcement(scene):
    scene.write(WRITTEN)
    told = scene.safestart("drain", "riak-1", "--for", "30m", "--reason", "kernel update", "--json").must(0).json()
    note = json.loads(scene.read(scene.nodes + ".draining"))["riak-1"]
    assert told["changed"] and told["until"] == note["until"] and note["reason"] == "kernel update" and "@" in note["by"] and note["address"] == "10.0.0.1:8087"
    until = time.mktime(time.strptime(note["until"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    assert 1700 < until - time.time() <= 1801
    assert scene.safestart("drain", "riak-1", "--for", "2h", "--reason", "it takes longer", "--json").must(0).json()["changed"] is False
    note = json.loads(scene.read(scene.nodes + ".draining"))["riak-1"]
    assert note["reason"] == "it takes longer" and note["labels"] == {"id": "riak-1", "zone": "a"}, "what it was is kept"
    scene.safestart("drain", "riak-1", "--for", "2h", "--reason", "x").must(0, "was already withdrawn", "to bring it back: safestart announce riak-1 10.0.0.1:8087")
    scene.safestart("announce", "riak-1", "10.0.0.1:8087", "--incarnation", "b2").must(0)
    assert json.loads(scene.read())[-1]["labels"] == {"id": "riak-1", "zone": "a", "incarnation": "b2"}
    assert files(scene.folder) == ["nodes.json"]


def test_a_note_that_can_not_be_written_does_not_undo_an_announcement(scene):
    """The message does not say so either: the node is in use already."""
    scene.write(WRITTEN)
    for node in ["riak-1", "10.0.0.2:8087"]:
        scene.safestart("drain", node, "--for", "30m", "--reason", "x" * 5000).must(0)  # no room for the other's note
    told = scene.safestart("announce", "riak-1", "10.0.0.1:8087", before=["prlimit", "--fsize=4096"]).must(0, "only the note of the drain could not be removed", f"{scene.nodes} is written as intended", "riak-1 is announced at")
    assert ids(scene)[-1] == "riak-1", told.out
    scene.safestart("announce", "riak-1", "10.0.0.1:8087", "--no-incarnation").must(0)
    assert list(json.loads(scene.read(scene.nodes + ".draining"))) == ["10.0.0.2:8087"]


def test_a_drained_node_that_is_written_back_is_said(scene):
    """A generator writes the whole file anew, and knows nothing of drains: the servers use a node that somebody is about to switch off."""
    scene.write(document("a", "b", "c"))
    scene.start_on_file(1, max_shrink="100%")
    scene.safestart("drain", "a", "--for", "30m", "--reason", "kernel update").must(0)
    until = json.loads(scene.read(scene.nodes + ".draining"))["a"]["until"]
    words = f"a: drained until {until} by "
    assert "drained" not in scene.safestart("check", scene.nodes).must(0).out
    for verb in "status", "nodes":
        told = scene.safestart(verb).must(0, words, "(kernel update): ", scene.nodes).out
        assert "but in the file" not in told, told
        drained, = scene.safestart(verb, "--json").must(0).json()["drained"]
        assert drained["id"] == "a" and drained["until"] == until and drained["reason"] == "kernel update" and "@" in drained["by"] and drained["file"] == scene.nodes and not drained["in_file"]
    assert scene.safestart("nodes", "--json", "--node", "b").must(0).json()["drained"] == []
    scene.write(document("a", "b", "c"))
    for verb in ["status"], ["nodes"], ["check", scene.nodes], ["check", "--quiet", scene.nodes], ["announce", "b", "10.0.0.2:8087"], ["withdraw", "x"], ["drain", "c", "--for", "1m", "--reason", "y"]:
        scene.safestart(*verb).must(0, words, "(kernel update), but in the file: the servers use it")
    assert scene.safestart("status", "--json").must(0).json()["drained"][0]["in_file"] is True
    assert scene.safestart("check", "--json", scene.nodes).must(0).json()[0]["drained"][0]["id"] == "a"
    assert "drained" not in scene.safestart("check", "-", text=scene.read()).must(0).out, "there is nothing beside it"
    scene.safestart("drain", "a", "--for", "1m", "--reason", "again").must(0)
    assert "in the file" not in scene.safestart("status").must(0, "(again)").out
    note = json.loads(scene.read(scene.nodes + ".draining"))
    scene.write(json.dumps({name: {**its, "until": "2020-01-01T00:00:00Z"} for name, its in note.items()}), scene.nodes + ".draining")
    assert "drained" not in scene.safestart("status").must(0).out, "its time is over"


def test_notes_that_are_no_file_block_nobody(scene):
    scene.write(document("a"))
    scene.start_on_file(1)
    os.mkfifo(scene.nodes + ".draining")
    for verb in ["status"], ["nodes"], ["check", scene.nodes]:
        scene.safestart(*verb).must(0)
    scene.safestart("drain", "a", "--for", "1m", "--reason", "x").must(4, "Invalid argument")


def test_what_is_not_there_can_not_be_drained(scene):
    scene.write(WRITTEN)
    scene.safestart("drain", "riak-7", "--for", "30m", "--reason", "x").must(4, 'there is no node "riak-7"')
    assert files(scene.folder) == ["nodes.json"]


def test_a_note_that_can_not_be_read_is_not_overwritten(scene):
    scene.write(WRITTEN)
    for text in ["{", "[]"]:
        scene.write(text, scene.nodes + ".draining")
        scene.safestart("drain", "riak-1", "--for", "30m", "--reason", "x").must(4, "draining")
        assert scene.read() == WRITTEN
        scene.safestart("announce", "riak-1", "10.0.0.1:8087", "--no-incarnation").must(0, "which stay unchanged")
        assert scene.read(scene.nodes + ".draining") == text


def test_a_drain_that_leaves_too_few_is_refused(scene):
    scene.write(document("a", "b", "c"))
    servers = scene.start_on_file(2)
    drain = ["drain", "a", "--for", "1m", "--reason", "x", "--min-available"]
    scene.safestart(*drain, 2).must(6, "--roster api=4")
    scene.safestart(*drain, 2, "--roster", "api=2").must(3, "without a only 0 nodes would be available, but 2 are required; nothing was changed; b is not available: api ", ": applied, not proven")
    for server in servers:
        for node in "ab":
            assert server.tell(f"report {node} 0") == "ok"
    scene.safestart(*drain, 2, "--roster", "api=2").must(3, "only 1 node would")
    scene.safestart(*drain, 1, "--roster", "api=3").must(3, "only 0 nodes", "b is not available: api: 2 of 3 processes of the roster are running")
    scene.safestart(*drain, 3, "--roster", "api=2", "--applied").must(3, "only 2 nodes")
    assert scene.read() == document("a", "b", "c")
    scene.safestart(*drain, 2, "--no-roster", "--applied").must(0)
    assert ids(scene) == ["b", "c"]
    scene.safestart(*["drain", "b", *drain[2:]], 1, "--roster", "api=2").must(3, "only 0 nodes")
    scene.safestart("drain", "b", "--for", "1m", "--reason", "x", "--min-available", 1, SAFESTART_CONTROL="/nowhere").must(6)
    scene.safestart("drain", "b", "--for", "1m", "--reason", "x", "--min-available", 1, "--no-roster", SAFESTART_CONTROL="/nowhere").must(4, "there is no control directory")
    scene.safestart(*drain, 99).must(0, "was already withdrawn")  # it is away; nothing more is lost
