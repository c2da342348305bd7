# SPDX-License-Identifier: LGPL-2.1-or-later
"""A list that could not be read was treated as an empty one, and every backend was removed (load balancers, service meshes). [P9 P12]"""
import os

from scene import ApiServer, Host, Load, Registry, check, document, eventually, in_parallel, repeat, replace, write

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def mishaps(scene, folder, path, good):
    """[(what, how to cause it, how to undo it)]"""
    def put(text):
        return lambda: write(path, text)

    def undo():
        replace(path, good)

    def unmount():
        os.rename(folder, folder + ".unmounted")

    def mount_empty():
        unmount()
        os.mkdir(folder)

    def mount_again():
        if os.path.isdir(folder):
            os.rmdir(folder)
        os.rename(folder + ".unmounted", folder)
        replace(path, good)

    two = scene.document(scene.nodes[:2])
    return [
        ("missing", lambda: os.unlink(path), undo),
        ("its directory gone", unmount, mount_again),
        ("nothing mounted there", mount_empty, mount_again),
        ("permission denied", lambda: os.chmod(path, 0), undo),
        ("half written", put(good[:len(good) // 2]), undo),
        ("cut to nothing", put(""), undo),
        ("null", put("null"), undo),
        ("[]", put("[]"), undo),
        ("{}", put("{}"), undo),
        ("targets null", put('[{"targets":null}]'), undo),
        ("no group has a target", put('[{"targets":[],"labels":{}}]'), undo),
        ("a web page", put("<html>502 Bad Gateway</html>"), undo),
        ("four of six gone", put(two), undo),
    ]


def files(scene):
    nodes = scene.redis(6)
    folder = os.path.join(scene.folder, "mounted")
    path, good = os.path.join(folder, "nodes.json"), scene.document(nodes)
    os.mkdir(folder)
    replace(path, good)
    server = ApiServer(scene, path, "retry_max=200ms", "debounce=20ms", without=(CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH))
    load = Load(scene, server)
    generation, seen = server.status()["generation"], 0
    for what, happen, undo in mishaps(scene, folder, path, good) * repeat(1):
        def bad_run():
            return server.status()["last"]["verdict"] in ("failed", "refused")
        happen()
        server.hang_up()
        eventually(f"a run to meet: {what}", bad_run)
        status = server.status()
        check(status["generation"] == generation and len(server.ids()) == 6, f"{what}: {status['summary']}")
        undo()
        server.hang_up()
        eventually(f"a good run after: {what}", lambda: server.status()["last"]["verdict"] == "unchanged")
        check(server.status()["generation"] == generation, f"{what}: a new generation of the same nodes")
        seen += 1
    check(not server.logged("seen only when asked"), "an unreadable file was reported as a lack of inotify watches")
    answered = load.end()
    server.stop()
    return f"{seen} ways of a file to be unknown or empty: 6 nodes stay, {answered} requests answered, 0 failed"


def services(scene):
    good = document("n0", "n1", "n2", "n3")
    registry = Registry(good)
    host = Host(scene, registry.source, "debounce=0", "retry_min=0", "reconcile=0")
    host.ask()
    answers = [(500, good), (404, ""), (503, "[]"), (200, "null"), (200, "[]"), (200, good[:-7]), (200, ""), (200, "{\"nodes\":[]}"), (204, ""), (None, "")]
    for answer in answers:
        registry.answer = lambda: answer
        outcome = host.ask()
        check(outcome.verdict in ("failed", "refused"), f"{answer}: {outcome}")
        check(outcome.generation == 1 and len(host.ids()) == 4, f"{answer}: {outcome}")
        registry.answer = None
        check(host.ask().verdict == "unchanged", f"after {answer}")
    host.stop()
    return f"{len(answers)} wrong answers of a registry: 4 nodes stay"


def play(scene):
    parts = [lambda: services(scene)] + [lambda: files(scene)] * scene.has_api_server()
    return "; ".join(in_parallel(*parts))
