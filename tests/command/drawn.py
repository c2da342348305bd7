# SPDX-License-Identifier: LGPL-2.1-or-later
"""The output on a terminal, read from a real one (tmux), 80 and 200 columns wide."""
import os
import re
import shutil
import subprocess
import tempfile
import unicodedata

from stage import Skip, document, eventually

EMBLEM = "\u4e2d\u6587-n\u00f6de"


def draw(scene, columns, words, **environment):
    """The screen, as text, and with its colours."""
    if not shutil.which("tmux"):
        raise Skip("there is no tmux")
    tmux = ["tmux", "-S", tempfile.mktemp(prefix="tmux-", dir=scene.folder), "-f", "/dev/null"]  # a server of its own, each time
    settings = " ".join(f"{key}='{value}'" for key, value in {"SAFESTART_CONTROL": scene.control, "SAFESTART_NODES": scene.nodes, **environment}.items())
    # The last line shows that it has ended: the screen is read again and again until then.
    command = f"env {settings} '{scene.command}' {words}; echo dra''wn; cat"
    subprocess.run([*tmux, "-u", "new-session", "-d", "-x", str(columns), "-y", "60", command], check=True, env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"})

    def screen(*more):
        return subprocess.run([*tmux, "capture-pane", "-p", *more], capture_output=True, text=True, check=False).stdout
    try:
        eventually("it to be drawn", lambda: "drawn" in screen())
        return screen().split("drawn")[0].splitlines(), screen("-e")
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, stderr=subprocess.DEVNULL)


def width(line):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in line)


def make_servers(scene):
    scene.write(document("riak-1", EMBLEM, "riak-3"))
    one, two = scene.start_on_file(2)
    two.tell("report riak-1 0"), one.tell("report riak-1 5")
    return one, two


def test_nothing_is_wider_than_the_terminal(scene):
    one, two = make_servers(scene)
    for columns in [80, 200]:
        lines, _ = draw(scene, columns, "status")
        rows = [line.split() for line in lines]
        head = rows.index(["NAME", "PROCESS", "SET", "NODES", "STATE"])
        assert all(row[0] == "api" for row in rows[head + 1:head + 3]), lines
        lines, _ = draw(scene, columns, "nodes")
        rows = [line.split() for line in lines]
        assert ["NODE", "ADDRESS", "INCARNATION", *sorted([str(one.pid), str(two.pid)], key=int)] in rows, lines
        starts = {line.index("10.0.0.") if EMBLEM not in line else width(line[:line.index("10.0.0.")]) for line in lines if "10.0.0." in line}
        assert len(starts) == 1, f"columns do not stand under each other: {lines}"


def test_a_long_line_of_a_table_is_cut_not_wrapped(scene):
    one, _ = make_servers(scene)
    scene.write("[" + " " * 20)
    eventually("both to have refused it", lambda: scene.safestart("status").out.count("refused") >= 3)
    lines, _ = draw(scene, 80, "status")
    table = [line for line in lines if re.match(rf"api +(\d+) +[0-9a-f]{{4}} ", line)]
    assert len(table) == 2 and all(width(line) <= 80 and line.endswith("…") for line in table), lines
    assert all(re.search(r"behind [^:]*: [^:/]*(line|column|end)", line) for line in table), f"the cause is cut: {table}"
    wide = scene.safestart("status").out.splitlines()[-1]
    assert "…" not in wide and width(wide) > 80, "in a pipe nothing is cut"
    lines, _ = draw(scene, 30, "nodes")
    assert any("2 PROCES" in line or "…" in line for line in lines), lines
    assert str(one.pid) in scene.safestart("status").out


def test_colour_is_for_terminals(scene):
    make_servers(scene)
    for verb in ["status", "nodes", "events --no-follow", "check " + scene.nodes]:
        _, coloured = draw(scene, 100, verb)
        assert "\x1b[" in coloured, f"{verb} is drawn without colour"
        assert "\x1b[" not in scene.safestart(*verb.split()).out, f"{verb}: colour in a pipe"
        assert "\x1b[" not in draw(scene, 100, verb, NO_COLOR="1")[1]
        assert "\x1b[" not in draw(scene, 100, verb, TERM="dumb")[1]
