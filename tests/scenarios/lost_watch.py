# SPDX-License-Identifier: LGPL-2.1-or-later
"""A file was replaced by rename, as every careful tool does, and its watch was lost for good (configuration reloaders). [P15]"""
import ctypes
import os
import shutil
import signal
import time

from scene import Host, check, document, eventually, in_parallel, repeat, replace, write

LIBC = ctypes.CDLL(None, use_errno=True)


def exchange(a, b):
    """renameat2(RENAME_EXCHANGE)"""
    check(LIBC.renameat2(-100, a.encode(), -100, b.encode(), 2) == 0, f"exchange {a}, {b}")


class Plain:
    """above/folder/nodes.json"""

    def __init__(self, root):
        self.above, self.folder = os.path.join(root, "above"), os.path.join(root, "above", "folder")
        self.path = os.path.join(self.folder, "nodes.json")

    def make(self):
        os.makedirs(self.folder)

    def in_place(self, text):
        write(self.path, text)

    def by_rename(self, text):
        replace(self.path, text)

    def deleted_and_made(self, text):
        os.unlink(self.path)
        write(self.path, text)

    def away_and_back(self, text):
        os.rename(self.path, self.path + ".away")
        write(self.path + ".away", text)
        os.rename(self.path + ".away", self.path)

    def by_link(self, text):
        write(self.path + ".new", text)
        os.unlink(self.path)
        os.link(self.path + ".new", self.path)
        os.unlink(self.path + ".new")

    def other_folder(self, text):
        os.mkdir(self.folder + ".new")
        write(os.path.join(self.folder + ".new", "nodes.json"), text)
        os.rename(self.folder, self.folder + ".old")
        os.rename(self.folder + ".new", self.folder)
        shutil.rmtree(self.folder + ".old")

    def folder_exchanged(self, text):
        os.mkdir(self.folder + ".new")
        write(os.path.join(self.folder + ".new", "nodes.json"), text)
        exchange(self.folder, self.folder + ".new")
        shutil.rmtree(self.folder + ".new")

    def folder_deleted_and_made(self, text):
        shutil.rmtree(self.folder)
        os.mkdir(self.folder)
        write(self.path, text)

    def all_away_and_back(self, text):
        os.rename(self.above, self.above + ".away")
        write(os.path.join(self.above + ".away", "folder", "nodes.json"), text)
        os.rename(self.above + ".away", self.above)

    ways = (in_place, by_rename, deleted_and_made, away_and_back, by_link, other_folder, folder_exchanged, folder_deleted_and_made, all_away_and_back)


class ConfigMap:
    """As Kubernetes mounts it: nodes.json -> ..data/nodes.json, ..data -> a folder that is swapped."""

    def __init__(self, root):
        self.root, self.number = os.path.join(root, "mount"), 0
        self.path = os.path.join(self.root, "nodes.json")

    def make(self):
        os.mkdir(self.root)
        os.symlink("..data/nodes.json", self.path)

    def swap(self, text):
        self.number += 1
        # The old version stays until the next swap: only the change of the link shows the change.
        old, new = (os.path.join(self.root, f"..version-{number}") for number in (self.number - 2, self.number))
        os.mkdir(new)
        write(os.path.join(new, "nodes.json"), text)
        os.symlink(os.path.basename(new), os.path.join(self.root, "..data_tmp"))
        os.rename(os.path.join(self.root, "..data_tmp"), os.path.join(self.root, "..data"))
        shutil.rmtree(old, ignore_errors=True)

    in_place = by_rename = swap
    ways = (swap,)


def drown(host, layout, text):
    """So much happens in the folder while the process is stopped that the kernel drops the event of the important change."""
    with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as f:
        room = min(int(f.read()), 100000)
    host.process.send_signal(signal.SIGSTOP)
    folder = os.path.dirname(layout.path)
    for number in range(room // 2 + 100):
        name = os.path.join(folder, f"other-{number}")
        os.mkdir(name)
        os.rmdir(name)
    layout.by_rename(text)
    host.process.send_signal(signal.SIGCONT)


def follow(scene, layout, rounds):
    """Every way to replace the file, again and again; then many without waiting. Only the watch can notice them: no reconcile, no retry."""
    host = Host(scene, f"source=file:{layout.path}", "debounce=2ms", "reconcile=0", "retry_min=0")
    eventually("the first load to find nothing", lambda: host.status()["last"])
    layout.make()
    layout.by_rename(document("n0"))
    eventually("the first set", lambda: host.ids() == ["n0"])
    number, slowest = 0, 0.0
    for _ in range(rounds):
        for way in layout.ways:
            number += 1
            began = time.monotonic()
            way(layout, document("n0", f"change-{number}"))
            eventually(f"change {number} ({way.__name__}) to be live", lambda: f"change-{number}" in host.ids())
            slowest = max(slowest, time.monotonic() - began)
    for _ in range(rounds):
        for way in layout.ways:
            number += 1
            way(layout, document("n0", f"change-{number}"))
        eventually(f"the last of a burst ({number}) to be live", lambda: f"change-{number}" in host.ids())
    number += 1
    drown(host, layout, document("n0", f"change-{number}"))
    eventually("the change that was drowned to be live", lambda: f"change-{number}" in host.ids())
    check(not host.logged("seen only when asked"), "no watch could be set up")
    host.stop()
    return number, slowest


def play(scene):
    rounds = repeat(12)
    (plain, slow), (swapped, slow_too) = in_parallel(lambda: follow(scene, Plain(scene.folder), rounds), lambda: follow(scene, ConfigMap(scene.folder), rounds * 4))
    return (f"{plain} changes in {len(Plain.ways)} ways (rename, delete, move, exchange, links, whole folders) and {swapped} swaps of ..data, each once with a queue that overflowed: "
            f"all seen by the watch alone, the slowest live after {max(slow, slow_too) * 1000:.0f} ms")
