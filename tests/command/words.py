# SPDX-License-Identifier: LGPL-2.1-or-later
"""Help texts and the command line."""
import json
import os
import re
import shutil
import subprocess

from stage import Skip, document

VERBS = "status nodes events metrics request wait announce withdraw drain monitor check run help".split()
COMPLETIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "command", "completions")


def test_every_verb_explains_itself(scene):
    overview = scene.safestart("--help").must(0, "exit codes", "$SAFESTART_CONTROL", "/run/safestart").out
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", overview, re.M), f"{verb} is not in the overview"
        told = scene.safestart("help", verb).must(0, f"usage: safestart {verb}").out
        if verb not in ("help", "run"):
            assert told == scene.safestart(verb, "--help").must(0).out
            assert told.count("    $ safestart") >= 2 and "exit codes" in told, f"{verb} does not teach"
        assert all(len(line) < 100 for line in told.splitlines() if not line.startswith("    $")), f"{verb} has long lines"
    assert scene.safestart("-h").out == overview == scene.safestart("help").out


def examples(scene):
    for verb in VERBS:
        yield from re.findall(r"^    \$ (.*)", scene.safestart("help", verb).must(0).out, re.M)


def test_every_example_is_right_as_typed(scene):
    """In zsh a bracket, a star or a question mark outside of quotes is a pattern, and one that matches nothing is an error."""
    assert len(list(examples(scene))) > 20
    for example in examples(scene):
        assert not re.search(r"[][*?(){}]", re.sub(r"'[^']*'|\"[^\"]*\"", "", example)), f"to be quoted: {example}"
        assert subprocess.run(["bash", "-n", "-c", example], capture_output=True, check=False).stderr == b"", example


def test_every_filter_of_an_example_does_what_is_said(scene):
    """jq takes null for less than 0."""
    if not shutil.which("jq"):
        raise Skip("there is no jq")
    filters = {example.split()[1]: (re.search(r"jq(?: -\w)* '(.*)'", example)[1]) for example in examples(scene) if " jq " in example}
    assert set(filters) == {"events", "status"}, filters
    events = [{"event": "log", "message": "x"}, {"event": "outcome", "outcome": {"error": 0}}, {"event": "outcome", "outcome": {"error": -5}}, {"event": "end"}]

    def jq(wanted, text):
        return subprocess.run(["jq", "-c", wanted], input=text, capture_output=True, text=True, check=True).stdout
    assert jq(filters["events"], "\n".join(map(json.dumps, events))) == '{"event":"outcome","outcome":{"error":-5}}\n'
    scene.write(document("a"))
    scene.start_on_file(1)
    assert jq(filters["status"], scene.safestart("status", "--json").out) == "true\n"


def test_used_wrongly_it_says_how_it_is_used(scene):
    scene.write(document("a"))
    scene.safestart().must(2, "usage: safestart VERB")
    scene.safestart("statsu").must(2, 'unknown verb "statsu"', "did you mean safestart status?")
    scene.safestart("xyzzyx").must(2, "for the list: safestart help")
    scene.safestart("complet").must(2)
    scene.safestart("help", "anounce").must(2, "did you mean safestart announce?")
    scene.safestart("status", "--jsn").must(2, "unknown option --jsn", "did you mean --json?")
    scene.safestart("status", "--zzzzzzzz").must(2, "safestart help status")
    scene.safestart("status", "-json").must(2, "unknown option -json", "did you mean --json?")
    scene.safestart("status", "-x").must(2, "unknown option -x;")
    scene.safestart("status", "--json=yes").must(2, "--json takes no value")
    scene.safestart("status", "--control").must(2, "--control needs a value")
    scene.safestart("status", "a", "b").must(2, "unexpected argument b", "usage: safestart status [NAME]")
    scene.safestart("wait").must(2, "an argument is missing", "safestart wait NODE")
    for span in ["5", "s", "5 s", "-1s", "1d", "", "99999999999999999999s", "9999999h"]:
        scene.safestart("wait", "a", "--timeout", span).must(2, "is not a duration")
    scene.safestart("drain", "a", "--for", "1m", "--reason", "x", "--min-available", "-1").must(2, "is not a whole number")
    scene.safestart("drain", "a").must(2, "--for 30m --reason")
    scene.safestart("drain", "a", "--for", "0", "--reason", "x").must(2)
    scene.safestart("drain", "a", "--for", "1m", "--reason", "").must(2)
    scene.safestart("announce", "a").must(2, "ID ADDRESS")
    scene.safestart("announce", "a", "a:1", "--label", "zone").must(2, "--label")
    scene.safestart("announce", "a", "a:1", "--label", "id=b").must(2, "give the id as the first argument")
    scene.safestart("announce", "a", "a:1", "--incarnation", "x", "--no-incarnation").must(2, "contradict")
    scene.safestart("announce", "a", "a").must(2, "the servers would not accept it", "host:port")
    scene.safestart("announce", "", "a:1").must(2)
    scene.safestart("announce", os.fsdecode(b"\xff"), "a:1").must(2, "UTF-8")
    scene.safestart("withdraw", os.fsdecode(b"\xff")).must(2, "UTF-8")
    scene.safestart("drain", os.fsdecode(b"\xff"), "--for", "1m", "--reason", "x").must(2, "UTF-8")
    scene.safestart("withdraw", "a", SAFESTART_NODES="").must(2, "--file", "$SAFESTART_NODES")
    scene.safestart("monitor").must(2, "--inventory")
    scene.safestart("monitor", "--inventory", scene.nodes, SAFESTART_NODES="").must(2, "--file")
    scene.safestart("monitor", "--inventory", scene.nodes, "--max-inflight", "0").must(2, "--max-inflight")
    scene.safestart("check", scene.nodes, "--set", "min_node=1").must(2, "min_nodes")
    scene.safestart("check", scene.nodes, "--set", "min_nodes").must(2, "KEY=VALUE")
    scene.safestart("wait", "a", "--gone", "--applied").must(2, "--gone")
    scene.safestart("wait", "a", "--available", "--applied").must(2, "contradict")
    assert scene.read() == document("a")


def test_options_may_stand_anywhere(scene):
    scene.write(document("a"))
    scene.safestart("withdraw", "a", f"--file={scene.nodes}", SAFESTART_NODES="").must(0)
    scene.write(document("a", "--b"))
    scene.safestart("withdraw", "--file", scene.nodes, "--", "--b").must(0)
    assert scene.read() == document("a")


def test_the_version_is_the_librarys(scene):
    assert re.fullmatch(r"safestart \d+\.\d+\.\d+\n", scene.safestart("--version").must(0).out)


def test_output_that_can_not_be_written_is_a_failure(scene):
    with open("/dev/full", "wb") as full:
        assert subprocess.run([scene.command, "--help"], stdout=full, stderr=subprocess.DEVNULL, check=False).returncode == 4


def test_the_man_page_is_clean_and_has_every_option(scene):
    page = os.path.join(scene.folder, "safestart.1")
    scene.write(scene.safestart("help", "--man").must(0).out, page)
    text = scene.read(page).replace("\\-", "-")
    for verb in VERBS[:-1]:
        for option in re.findall(r"^  --([a-z-]+)", scene.safestart("help", verb).out, re.M):
            assert f".It Fl Fl {option}" in text, f"the page does not have --{option} of {verb}"
    if shutil.which("mandoc"):
        told = subprocess.run(["mandoc", "-Tlint", "-W", "warning", page], capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout
    if shutil.which("man"):
        told = subprocess.run(["man", "--warnings", "-l", page], capture_output=True, text=True, env={**os.environ, "MANPAGER": "cat"}, check=False)
        assert told.returncode == 0 and not told.stderr, told.stderr


# ---- Completion ----

def offered(scene, *words):
    return [line.split("\t")[0] for line in scene.safestart("complete", *words).must(0).out.splitlines()]


def test_what_may_stand_next_is_offered(scene):
    scene.write(document("riak-1", "riak-2"))
    server = scene.start("api", source=f"file:{scene.nodes}")
    scene.start("worker", source="none")
    assert set(VERBS) | {"--help", "--version"} == set(offered(scene, ""))
    assert offered(scene, "status", "") == ["api", "worker"]
    assert offered(scene, "status", "api", "") == []
    assert "--force" in offered(scene, "request", "api", "--")
    assert offered(scene, "help", "") == VERBS
    assert offered(scene, "wait", "--timeout", "") == []
    assert offered(scene, "status", "--control", "") == ["@directories"]
    assert offered(scene, "check", "a", "") == offered(scene, "announce", "--file", "") == ["@files"]
    assert offered(scene, "run", "--", "") == offered(scene, "run", "") == ["@commands"]
    assert offered(scene, "withdraw", "") == ["riak-1", "riak-2"]
    assert offered(scene, "withdraw", "--file", "/dev/null", "") == []
    assert offered(scene, "announce", "x", "") == []
    assert offered(scene, "nothing", "") == []
    while "riak-1" not in offered(scene, "wait", ""):
        assert server.process.poll() is None
    assert offered(scene, "wait", "--control", scene.folder, "") == []


def test_bash_completes(scene):
    scene.write(document("riak-1", "riak-2"))
    scene.start("api", source="none")
    script = f'source "{COMPLETIONS}/safestart.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _safestart; printf "%s\\n" "${{COMPREPLY[@]}}"'

    def complete(*words):
        told = subprocess.run(["bash", "-c", script, "bash", scene.command, *words], capture_output=True, text=True, env=scene.environment(), check=True)
        assert told.stderr == "", told.stderr
        return told.stdout.split()
    assert complete("with") == ["withdraw"]
    assert complete("status", "a") == ["api"]
    assert complete("withdraw", "") == ["riak-1", "riak-2"]
    assert complete("request", "--f") == ["--force"]
    assert complete("check", scene.folder + "/nod") == [scene.nodes]
    assert complete("events", "--control", scene.folder + "/") == [scene.control]


def test_zsh_completes(scene):
    if not shutil.which("zsh"):
        raise Skip("there is no zsh")
    scene.start("api", source="none")
    os.mkdir(os.path.join(scene.folder, "bin"))
    os.symlink(scene.command, os.path.join(scene.folder, "bin", "safestart"))
    # The terminal of a zsh that completes is a thing of its own: zpty is how zsh tests itself.
    script = f"""zmodload zsh/zpty; zpty z "env PATH={scene.folder}/bin:$PATH zsh -f -i"
        zpty -w z "fpath=({os.path.abspath(COMPLETIONS)} \\$fpath); autoload -Uz compinit; compinit -u -d {scene.folder}/dump; PS1='>'; bindkey '^I' complete-word; echo re''ady"
        zpty -r z line '*ready*'; zpty -w -n z $'safestart request --forc\\t'; zpty -r z line '*--force*' && print found-force
        zpty -w -n z $'ap\\t'; zpty -r z line '*api*' && print found-api; zpty -d z"""
    told = subprocess.run(["timeout", "60", "zsh", "-f", "-c", script], capture_output=True, text=True, env=scene.environment(TERM="xterm"), stdin=subprocess.DEVNULL, check=False)
    assert "found-force" in told.stdout and "found-api" in told.stdout, f"{told.stdout}{told.stderr}"
