# SPDX-License-Identifier: LGPL-2.1-or-later
"""As wsgi.py, for an ASGI server: uvicorn asgi:app"""

import itertools
import os

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

import safestart.aio

ss = None
at_once = Retry(NoBackoff(), 0)  # the next node is asked instead
turns = itertools.count()


async def prepare(run):
    for change in run.changes:
        if change.change == "removed":
            continue
        client = redis.asyncio.Redis(host=change.host, port=change.port, socket_connect_timeout=1, socket_timeout=1, retry=at_once)
        try:
            await client.ping()
        except redis.RedisError as error:
            await client.aclose()
            run.reject(change.id, str(error))
        else:
            run.set_data(change.id, client)


async def restart(run):
    for node in ss:
        await ask(node, "payment")


async def ask(node, key):
    try:
        value = await node.data.get(key)
    except redis.RedisError as error:
        node.report(error)
        return None
    node.report()
    return value


async def lifespan(receive, send):
    global ss
    await receive()
    ss = safestart.aio.Safestart(
        prepare=prepare,
        restart=restart,
        source="file:" + os.environ["SAFESTART_NODES"],
        control=os.environ["SAFESTART_CONTROL"],
        name="api",
    )
    await ss.ready(10)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await ss.close()
    await send({"type": "lifespan.shutdown.complete"})


async def answer(nodes):
    turn = next(turns)
    for i in range(len(nodes)):
        node = nodes[(turn + i) % len(nodes)]
        value = await ask(node, "payment")
        if value is not None:
            return 200, value
    return 503, b"no storage node answers"


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    status, body = await answer(ss.nodes)
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})
