#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""day.py BUILD_DIR WORK_DIR SVG - the day on which three storage nodes came back, played three times. Called by `run`, which prepares everything."""
import os
import sys
import threading

import picture
from part import Part
from stage import CONNECTIONS, PAUSE_MS, WARMUP_MS, perform
from unannounced import not_announced

# The incident, played at a minute a second.
ANNOUNCE_AT = [0.0, 0.5, 1.0]   # "within a minute"
NOTICED_AT = 8.0                # a person notices and starts the service; it is back after 11 "minutes", the start included
BEFORE, AFTER = 3.0, 15.0       # the time that is drawn, around the first announcement


def set_the_stage(part):
    part.set_the_stage()
    part.let_in(BEFORE + 0.5) # the first half second is not drawn
    part.say("2 API servers on 3 nodes, under load; node-4, node-5 and node-6 are back, but nobody was told")
    part.watch_nodes()
    part.wait_until(0)


def as_it_was(binary, folder):
    part = Part("As it was: every announcement restarts every API server", binary, folder, ["--read-once"])
    set_the_stage(part)
    commands = []
    for number, (at, node) in enumerate(zip(ANNOUNCE_AT, part.redis[3:]), 1):
        part.wait_until(at)
        part.file.add_in_place(node)
        part.say(f"{node.name} is announced: restart {number} of both servers", f"{node.name}")
        commands += [threading.Thread(target=part.restart, args=(server, number)) for server in part.servers]
        for thread in commands[-2:]:
            thread.start()
    for thread in commands:
        thread.join()
    part.wait_until(NOTICED_AT)
    down = [server for server in part.servers if server.get("/healthz") is None]
    if down:
        part.say(f"somebody notices: {' and '.join(s.name for s in down)} down; starts by hand", "started by hand")
    hands = [threading.Thread(target=part.start_by_hand, args=(server,)) for server in down]
    for thread in hands:
        thread.start()
    for thread in hands:
        thread.join()
    part.wait_until(AFTER + 0.3)
    part.strike()
    return part


def with_libsafestart(binary, folder):
    part = Part("With libsafestart: every announcement is a SIGHUP", binary, folder, [])
    set_the_stage(part)
    before = part.runs()
    for at, node in zip(ANNOUNCE_AT, part.redis[3:]):
        part.wait_until(at)
        part.file.add_atomically(node)
        for server in part.servers:
            server.hang_up()
        part.say(f"{node.name} is announced: kill -HUP to both servers", f"{node.name}")
    part.wait_until(AFTER + 0.3)
    part.reloads = part.runs() - before
    part.strike()
    return part


def print_table(*parts):
    def seconds(value, none="never"):
        return none if value is None else f"{value:.1f} s"

    rows = [("", "as it was", "with libsafestart", "not announced")]
    for name, cell in (
            ("requests answered", lambda p: f"{p.result['answered']:,}"),
            ("requests failed", lambda p: f"{p.result['failed']:,}"),
            ("seconds down", lambda p: f"{p.result['down']:.1f}"),
            ("restart commands", lambda p: f"{p.result['restarts']}"),
            ("  of which failed", lambda p: f"{p.result['restarts_failed']}"),
            ("starts by hand", lambda p: f"{p.result['by_hand']}"),
            ("reloads in the process", lambda p: f"{p.reloads}"),
            ("alarm after", lambda p: seconds(p.alarmed_at, "-")),
            ("playbooks held", lambda p: f"{p.held}" if p.held else "-"),
            ("in use after announcement", lambda p: seconds(p.result["in_use"])),
            ("99 % of requests within", lambda p: f"{p.result['p99']:.1f} ms"),
            ("slowest answer", lambda p: f"{p.result['slowest']:.1f} ms")):
        rows.append((name, *(cell(part) for part in parts)))
    print()
    for name, *cells in rows:
        print(f"  {name:<28}{cells[0]:>14}{cells[1]:>20}{cells[2]:>16}")
    print()


def play(build, work, svg):
    binary = os.path.join(build, "examples", "apiserver")
    print(f"""
Played at a minute a second: three announcements within {ANNOUNCE_AT[-1]:.0f} s, noticed after {NOTICED_AT:.0f} s, so that
the 11 minutes become 11 s. Not scaled: a server takes {WARMUP_MS / 1000:.0f} s to start, the restart script waits 1 s for it to stop.
Load on each server: wrk with {CONNECTIONS} connections, a pause of {PAUSE_MS} ms after each request, failed ones too; and a prober
with a new connection each 20 ms. Every figure is measured.
""")
    print("As it was: each announcement edits the node file and runs the restart script, on both servers.")
    was = as_it_was(binary, os.path.join(work, "as-it-was"))
    print("\nWith libsafestart: each announcement replaces the node file and sends SIGHUP.")
    now = with_libsafestart(binary, os.path.join(work, "with-libsafestart"))
    print("\nNot announced: three playbooks reboot a node each and do not announce it.")
    held = not_announced(build, os.path.join(work, "not-announced"), ANNOUNCE_AT, NOTICED_AT, AFTER)
    print_table(was, now, held)
    picture.draw(svg, (was, now, held), -BEFORE, AFTER)
    print(f"Picture: {svg}")
    wrong = [words for words, so in (
        ("with libsafestart a request failed", now.result["failed"] or held.result["failed"]),
        ("not all nodes are in use at the end", now.result["in_use"] is None or held.result["in_use"] is None),
        ("nodes that were not announced raised no alarm", held.alarmed_at is None),
        ("a playbook went on with a node that is not in use", held.held != len(ANNOUNCE_AT))) if so]
    if wrong:
        print(f"incident: FAILED: {'; '.join(wrong)}")
    return 1 if wrong else 0


perform(play, *sys.argv[1:4])
