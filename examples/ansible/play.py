#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""play.py BUILD_DIR WORK_DIR - plays reboot-nodes.yml for real, with all steps and with a step left out. Called by `run`, which prepares everything."""
import json
import os
import re
import subprocess
import sys
import threading
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "incident"))
from stage import PAYMENTS, ApiServer, Command, Load, NodeFile, Redis, fail, perform, wait_for  # noqa: E402

CLEARED = "Barrier: no server uses it any more"
BOOTED = "Barrier: it is back, and it is another boot"
IN_USE = "Barrier: every server on the roster uses it"


class Machine(Redis):
    """A node that starts again when it was shut down, as another boot. Its data survives."""

    def __init__(self, name, folder):
        self.boot_path, self.over = os.path.join(folder, f"{name}.boot_id"), False
        super().__init__(name, folder, lasting=True)
        threading.Thread(target=self.live, daemon=True).start()

    def live(self):
        while not self.over:
            wait_for(f"{self.name} to answer", self.answers, 60)
            with open(self.boot_path + ".new", "w", encoding="ascii") as f:
                f.write(str(uuid.uuid4()) + "\n")
            os.rename(self.boot_path + ".new", self.boot_path)
            self.process.wait()
            if not self.over:
                self.start()

    def boot_id(self):
        try:
            with open(self.boot_path, encoding="ascii") as f:
                return f.read().strip()
        except FileNotFoundError:
            return None

    def stop(self):
        self.over = True
        super().stop()


class Site:
    """Three nodes, two API servers under load, and Ansible's inventory of them."""

    def __init__(self, build, folder):
        self.folder = folder
        self.nodes = [Machine(f"node-{n}", folder) for n in (1, 2, 3)]
        self.file = NodeFile(os.path.join(folder, "nodes.json"))
        control = os.path.join(folder, "control")
        self.command = Command(build, control, self.file.path)
        extra = ["--warmup", "0", "--set", "name=api", "--set", f"control={control}"]
        self.servers = [ApiServer(f"api-{n}", folder, os.path.join(build, "examples", "apiserver"), self.file.path, extra) for n in (1, 2)]
        for node in self.nodes:
            wait_for(f"{node.name} to have booted", node.boot_id)
        self.file.add_atomically(*self.nodes)
        os.mkdir(control, 0o700)
        with open(os.path.join(control, "roster"), "w", encoding="ascii") as roster:
            roster.write("api 2\n")
        self.write_inventory(control)
        for process in [server.restart() for server in self.servers]:
            process.communicate()
        for server in self.servers:
            wait_for(f"{server.name} to serve", lambda s=server: s.get("/healthz"))
        for n in range(PAYMENTS):
            self.servers[0].put(f"seed-{n + 1}")
        self.loads = [Load(server, folder) for server in self.servers]
        wait_for("all nodes to be in use", self.all_in_use, 60)

    def write_inventory(self, control):
        hosts = {node.name: {"node_address": node.address, "boot_id_command": f"cat {node.boot_path}",
                             "reboot_command": f"redis-cli -h 127.0.0.1 -p {node.port} shutdown"} for node in self.nodes}
        common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "api_host": "localhost", "nodes_file": self.file.path,
                  "control": control, "min_available": 2, "safestart": self.command.binary}
        self.inventory = os.path.join(self.folder, "inventory.json") # JSON is YAML
        with open(self.inventory, "w", encoding="utf-8") as f:
            json.dump({"all": {"vars": common, "hosts": {"localhost": None}, "children": {"storage": {"hosts": hosts}}}}, f, indent=1)

    def all_in_use(self):
        return all(server.proven() == len(self.nodes) for server in self.servers)

    def boots(self):
        return [node.boot_id() for node in self.nodes]

    def incarnations(self):
        with open(self.file.path, encoding="utf-8") as f:
            labels = [group["labels"] for group in json.load(f)]
        return {label["id"]: label.get("incarnation") for label in labels}

    def play(self, name, *arguments):
        """(exit code, (task, node) that failed or None, output)"""
        environment = dict(os.environ, ANSIBLE_NOCOLOR="1", ANSIBLE_HOME=os.path.join(self.folder, "ansible"), ANSIBLE_LOCALHOST_WARNING="False",
                           ANSIBLE_RETRY_FILES_ENABLED="False", ANSIBLE_STDOUT_CALLBACK="default", LC_ALL="C.UTF-8")
        began = time.monotonic()
        done = subprocess.run(["ansible-playbook", "-i", self.inventory, *arguments, os.path.join(HERE, "reboot-nodes.yml")], env=environment,
                              cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        with open(os.path.join(self.folder, f"{name}.out"), "w", encoding="utf-8") as log:
            log.write(done.stdout)
        before, fatal, after = done.stdout.partition("\nfatal: [")
        failed = (re.findall(r"^TASK \[(.*)\] ", before, re.M)[-1], re.match(r"[\w-]+", after)[0]) if fatal else None
        print(f"  {time.monotonic() - began:4.1f} s  exit {done.returncode}" + (f", stopped on {failed[1]} by \"{failed[0]}\"" if failed else ""), flush=True)
        return done.returncode, failed, done.stdout

    def strike(self):
        """Ends everything. (requests answered, requests failed)"""
        for load in self.loads:
            load.stop()
        for server in self.servers:
            os.kill(server.pid(), 15)
        for node in self.nodes:
            node.stop()
        sums = [load.summary() for load in self.loads]
        probes = [worked for load in self.loads for _, worked, _, _ in load.probes()]
        failed = sum(s["not_2xx"] + s["socket_errors"] + s["timeouts"] for s in sums) + probes.count(False)
        return sum(s["answered"] - s["not_2xx"] for s in sums) + probes.count(True), failed


def check(condition, words, said=""):
    if not condition:
        fail(f"FAILED: {words}" + (f"\n{said}" if said else ""))


def whole(site):
    print("All steps: every node is drained, rebooted, announced, and in use before the next one.")
    before = site.boots()
    code, failed, said = site.play("whole")
    check(code == 0 and failed is None, "the play should have gone through", said)
    check(all(old != new for old, new in zip(before, site.boots())), "every node should have been rebooted", said)
    check(site.incarnations() == {node.name: node.boot_id() for node in site.nodes}, "every node should be announced as it booted", said)
    check(len(re.findall(r"^changed: \[", said, re.M)) == 3 * len(site.nodes), "three steps a node change something", said)
    check(site.all_in_use(), "all nodes should be in use", said)


def left_out(site, step, barrier, how, *arguments):
    """The barrier after the step stops the play; the other nodes are left alone, and the first node can be announced by hand."""
    print(f"Without the step \"{step}\" ({' '.join(how)}):")
    before, first = site.boots(), site.nodes[0]
    code, failed, said = site.play(f"without-{step}", *how, *arguments)
    check(code != 0 and failed == (barrier, first.name), f"\"{barrier}\" should have stopped the play on {first.name}", said)
    check(before[1:] == site.boots()[1:], "the other nodes should have been left alone", said)
    check(len(site.incarnations()) >= len(site.nodes) - 1, "the other nodes should still be announced", said)
    site.command.must("announce", first.name, first.address, "--incarnation", first.boot_id(), "--wait")
    return said


def too_few(site):
    print("With fewer nodes than have to stay in use:")
    before, announced = site.boots(), site.incarnations()
    code, failed, said = site.play("too-few", "--extra-vars", "min_available=3")
    check(code != 0 and failed == ("Step: drain", "node-1"), "the drain should have been refused", said)
    check(before == site.boots() and announced == site.incarnations(), "nothing should have changed", said)


def play(build, work):
    site = Site(build, work)
    whole(site)
    for how in (["--skip-tags", "announce"], ["--tags", "drain,reboot"]):
        said = left_out(site, "announce", IN_USE, how, "--extra-vars", "available_within=1s")
        check("not in its node set" in said, "it should say what every server lacks", said)
    left_out(site, "reboot", BOOTED, ["--tags", "drain,announce"], "--extra-vars", "boot_seconds=1")
    left_out(site, "drain", CLEARED, ["--tags", "reboot,announce"], "--extra-vars", "available_within=1s")
    too_few(site)
    answered, failed = site.strike()
    print(f"{answered:,} requests answered meanwhile, {failed} failed")
    check(failed == 0, "no request may fail")
    return 0


perform(play, *sys.argv[1:3])
