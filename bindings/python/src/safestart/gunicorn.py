# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hooks for gunicorn, the same with and without --preload. In gunicorn.conf.py:

    from safestart.gunicorn import post_worker_init, pre_fork, worker_exit

The application opens its handle with start=after_fork. Then nothing of it runs in a master that has loaded the application, and each
worker starts it when it has loaded the application and dropped its privileges.
"""

from __future__ import annotations

from typing import Any

from safestart import _threads


def pre_fork(server: Any, worker: Any) -> None:
    """In the master: a worker starts its handles later than at the fork, where it is still the master's user."""
    _threads.children_start_later = True


def post_worker_init(worker: Any) -> None:
    """In the worker, ready to serve: its handles start, inherited ones and those that it has opened itself. It accepts connections when
    they have their nodes, or without them after 10 s: the log has the reason."""
    _threads.children_start_later = False
    mine = [handle for handle in _threads.open_handles() if isinstance(handle, _threads.Safestart)]
    for handle in mine:
        handle.start_here()
    for handle in mine:
        try:
            handle.ready(10)
        except TimeoutError as error:
            worker.log.warning("no storage nodes yet: %s", error)


def worker_exit(server: Any, worker: Any) -> None:
    """In the worker, after its last request."""
    _threads.close_all()
