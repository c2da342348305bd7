# SPDX-License-Identifier: LGPL-2.1-or-later
"""After one bad configuration the good ones that followed were never applied (operators, proxies). [P9]"""
import errno
import json
import os

from scene import Host, Registry, check, document, eventually, repeat


def failures(host, registry):
    """[(what, how to cause it, how to repair it)]"""
    def text(bad):
        def act():
            registry.text = bad
        return act

    def answer(*status_and_body):
        def act():
            registry.answer = lambda: status_and_body
        return act

    def mend():
        registry.answer = None
        host.prepare("ok")

    return [("a document cut in half", text(document("n0", "n1")[:40]), mend),
            ("null", text("null"), mend),
            ("an empty set", text("[]"), mend),
            ("only unusable entries", text('[{"targets":["nowhere"]}]'), mend),
            ("one id, two addresses", text('[{"targets":["10.0.0.1:1"],"labels":{"id":"n0"}},{"targets":["10.0.0.2:1"],"labels":{"id":"n0"}}]'), mend),
            ("the registry's error", answer(500, ""), mend),
            ("prepare out of memory", lambda: (text(document("n0", "bad"))(), host.prepare(f"fail {errno.ENOMEM}")), mend),
            ("prepare out of descriptors", lambda: (text(document("n0", "bad"))(), host.prepare(f"fail {errno.EMFILE}")), mend),
            ("all of it rejected", lambda: (text(document("bad"))(), host.prepare("reject bad")), mend)]


def play(scene):
    registry = Registry(document("n0"))
    kept, full = os.path.join(scene.folder, "kept"), os.path.join(scene.folder, "kept.full")
    # Preloaded, so that the disk can be full when last_good is written. Sanitizers have to be loaded first.
    environment = {"LD_PRELOAD": scene.program("libfull_disk.so"), "FULL_DISK": kept}
    if scene.sanitizer():
        environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    host = Host(scene, registry.source, "debounce=0", "reconcile=0", "retry_min=0", "max_shrink=100%", f"last_good={kept}", environment=environment)
    host.ask()
    number, all_failures = 0, failures(host, registry)
    for what, happen, mend in all_failures * repeat(3):
        number += 1
        before = host.generation(), host.ids()
        happen()
        bad = host.ask()
        check(bad.verdict in ("refused", "failed") and bad.error < 0, f"{what}: {bad}")
        check((host.generation(), host.ids()) == before, f"{what}: {host.ids()}")
        mend()
        registry.text = document("n0", f"good-{number}")
        good = host.ask()
        check(good.verdict == "applied" and good.attempts == 1, f"after {what}: {good}")
        check(f"good-{number}" in host.ids(), f"after {what}: {host.ids()}")

    # The disk is full: the set is still applied, the kept file stays complete, and the next change writes it.
    def keeps(name):
        with open(kept, encoding="utf-8") as f:
            return name in f.read()
    eventually("the last good set to be kept", lambda: keeps(f"good-{number}"))
    with open(full, "w", encoding="ascii"):
        registry.text = document("n0", "while-full")
    check(host.ask().verdict == "applied", "with a full disk a good set was not applied")
    eventually("the full disk to be said", lambda: "No space" in host.status()["last_good"]["error"] or "space" in host.status()["last_good"]["error"])
    with open(kept, encoding="utf-8") as f:
        check(len(json.load(f)) == 2 and not keeps("while-full"), "the kept file was damaged")
    litter = [name for name in os.listdir(scene.folder) if ".safestart." in name]
    check(not litter, f"left behind: {litter}")
    os.unlink(full)
    registry.text = document("n0", "after-full")
    check(host.ask().verdict == "applied", "after the disk was full")
    eventually("the set to be kept again", lambda: keeps("after-full") and not host.status()["last_good"]["error"])
    host.stop()
    return f"{number} failures of {len(all_failures)} kinds: each time the next good set applied at once; a full disk under last_good: applied, the kept file whole, written again when there was room"
