# SPDX-License-Identifier: LGPL-2.1-or-later
"""A WSGI application that answers from the storage nodes, whichever they are at the moment: gunicorn -c gunicorn.conf.py wsgi:app"""

import itertools
import os

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import safestart

at_once = Retry(NoBackoff(), 0)  # the next node is asked instead


def prepare(run):
    """Nothing is live yet: a node that does not answer is left out, and retried."""
    for change in run.changes:
        if change.change == "removed":
            continue
        client = redis.Redis(change.host, change.port, socket_connect_timeout=1, socket_timeout=1, retry=at_once)
        try:
            client.ping()
        except redis.RedisError as error:
            client.close()
            run.reject(change.id, str(error))
        else:
            run.set_data(change.id, client)


def restart(run):
    """Each worker proves its nodes, also one that gets no requests yet: `safestart wait` waits for that."""
    for node in ss:
        ask(node, "payment")


def ask(node, key):
    try:
        value = node.data.get(key)
    except redis.RedisError as error:
        node.report(error)
        return None
    node.report()
    return value


ss = safestart.Safestart(
    prepare=prepare,
    restart=restart,
    start="after_fork",
    source="file:" + os.environ["SAFESTART_NODES"],
    control=os.environ["SAFESTART_CONTROL"],
    name="api",
)
turns = itertools.count()


def app(environ, start_response):
    nodes, turn = ss.nodes, next(turns)
    for i in range(len(nodes)):
        node = nodes[(turn + i) % len(nodes)]
        value = ask(node, "payment")
        if value is not None:
            start_response("200 OK", [("Content-Type", "text/plain"), ("Node", node.id)])
            return [value]
    start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
    return [b"no storage node answers"]
