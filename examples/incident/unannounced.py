# SPDX-License-Identifier: LGPL-2.1-or-later
"""unannounced.py - the third part of the day: three nodes are drained and rebooted, but not announced."""
import os
import threading
import time

from part import Part
from stage import Command, fail, wait_for

# One second stands for a minute, as in the rest of the day.
REBOOT_TAKES = 2.0      # from the drain until the node is back
DRAIN_FOR = "4s"        # no alarm before
ALARM_AFTER = "2s"      # an alarm after so long unannounced
PATIENCE = "6s"         # how long a playbook waits


class Watch:
    """safestart monitor; its output goes into the timeline."""

    def __init__(self, part, command, inventory):
        self.part, self.alarms = part, 0
        self.process = command.start("monitor", "--inventory", inventory, "--after", ALARM_AFTER, "--interval", "200ms")
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            words = line.replace(self.part.folder + "/", "").strip()
            raised = words.startswith("unannounced:")
            self.part.say(f"monitor: {words}", "alarm" if raised else None)
            if raised and self.part.alarmed_at is None:
                self.part.alarmed_at = self.part.clock()
            self.alarms += raised


def playbook(part, command, node, back_at):
    """One play, of one node; it skips the announcement. Another node would come next."""
    part.wait_until(back_at - REBOOT_TAKES)
    command.must("drain", node.name, "--for", DRAIN_FOR, "--reason", "kernel update", "--min-available", "3", "--roster", "api=2", "--wait")
    part.say(f"{node.name} is drained, {node.name} reboots", f"drained: {node.name}")
    node.stop()
    part.wait_until(back_at)
    node.start()
    wait_for(f"{node.name} to be back", node.answers)
    part.say(f"{node.name} is back, and the step that announces it is skipped", f"back: {node.name}")
    code, said = command.run("wait", node.name, "--available", "--roster", "api=2", "--timeout", PATIENCE)
    part.held += code == 1
    part.say(f"the playbook of {node.name} " + (f"stops, exit {code}:" if code else "goes on"), "playbooks stop" if code else None)
    for line in said.splitlines():
        part.say(f"  {line}")


def announce(part, command, node):
    code, said = command.run("announce", node.name, node.address, "--roster", "api=2", "--wait")
    part.say(f"{said.splitlines()[-1]}" if code == 0 else f"safestart announce FAILED, exit {code}: {said.strip()}")


def side_by_side(function, rows):
    def guarded(part, *row):
        try:
            function(part, *row)
        except SystemExit as error: # in a thread it would not be seen
            part.say(f"{error}")

    threads = [threading.Thread(target=guarded, args=row) for row in rows]
    for thread in threads:
        thread.start()
    return threads


def set_the_stage(part, command, before):
    """All six nodes are in use. The payments are also on the first three: nothing here moves data when a node leaves."""
    part.set_the_stage()
    for node in part.redis[3:]:
        command.must("announce", node.name, node.address, "--no-incarnation")
    part.let_in(before)
    wait_for("all six nodes to be in use", part.all_in_use, 60)
    part.begin = time.monotonic() + before
    part.say("2 API servers on 6 nodes, under load; three playbooks are about to reboot node-4, node-5 and node-6")


def not_announced(build, folder, back_at, noticed_at, after):
    control = os.path.join(folder, "control")
    part = Part("Rebooted and not announced: an alarm, and no playbook goes on; then all three are announced at once",
                os.path.join(build, "examples", "apiserver"), folder, ["--set", "name=api", "--set", f"control={control}"])
    command = Command(build, control, part.file.path)
    set_the_stage(part, command, REBOOT_TAKES + 1.5)
    before = part.runs()
    inventory = part.write_inventory()
    watch = Watch(part, command, inventory)
    plays = side_by_side(playbook, [(part, command, node, at) for node, at in zip(part.redis[3:], back_at)])
    part.wait_until(back_at[-1] + 0.5)
    part.watch_nodes()
    for play in plays:
        play.join()
    wait_for("an alarm for each node that was not announced", lambda: watch.alarms == len(back_at), 60)
    part.wait_until(noticed_at)
    part.announced_at = part.clock()
    part.say("a person has seen the alarm, and announces all three at once", "announced")
    for thread in side_by_side(announce, [(part, command, node) for node in part.redis[3:]]):
        thread.join()
    part.wait_until(after + 0.3)
    part.reloads = part.runs() - before
    watch.process.terminate()
    if watch.process.wait(10) != 0:
        fail(f"safestart monitor ended with {watch.process.returncode}")
    part.strike()
    return part
