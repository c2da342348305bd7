# SPDX-License-Identifier: LGPL-2.1-or-later
"""libsafestart for Python: the storage nodes of a server, replaced while it serves. See README.md."""

from safestart._handle import Change, NodeAddress, Nodes, NodeState, Outcome, Run, State, Verdict
from safestart._native import Error, Node, version
from safestart._threads import Safestart

__all__ = [
    "Change",
    "Error",
    "Node",
    "NodeAddress",
    "NodeState",
    "Nodes",
    "Outcome",
    "Run",
    "Safestart",
    "State",
    "Verdict",
    "version",
]
