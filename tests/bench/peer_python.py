# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reading from Python by ctypes: prints nanoseconds for one. usage: peer_python.py LIBRARY PEERS empty|cached|json"""
import ctypes
import json
import sys
import time

NODES = [{"targets": [f"10.0.0.{i}:8087"], "labels": {"id": f"riak-{i}"}} for i in range(10)]
lib, peers = ctypes.CDLL(sys.argv[1]), ctypes.CDLL(sys.argv[2])
pointer = ctypes.c_void_p
lib.safestart_open.argtypes = [ctypes.POINTER(pointer), pointer, ctypes.c_char_p, ctypes.c_size_t]
lib.safestart_nodes_replace.argtypes = [pointer, ctypes.c_char_p, pointer, ctypes.c_char_p, ctypes.c_size_t]
lib.safestart_wait_ready.argtypes = [pointer, ctypes.c_int]
lib.safestart_generation.argtypes, lib.safestart_generation.restype = [pointer], ctypes.c_uint64
lib.safestart_snapshot_acquire.argtypes, lib.safestart_snapshot_acquire.restype = [pointer], pointer
lib.safestart_snapshot_release.argtypes, lib.safestart_snapshot_release.restype = [pointer], None
lib.safestart_snapshot_json.argtypes, lib.safestart_snapshot_json.restype = [pointer], pointer
lib.safestart_free.argtypes, lib.safestart_free.restype = [pointer], None
lib.safestart_close.argtypes = [pointer]
peers.bench_empty_enter.argtypes, peers.bench_empty_enter.restype = [pointer], pointer


class Nodes:
	"""The live nodes; parsed again only when there is a new generation."""

	def __init__(self, handle):
		self.handle, self.generation, self.nodes = handle, None, None

	def read(self):
		snapshot = lib.safestart_snapshot_acquire(self.handle)
		text = lib.safestart_snapshot_json(snapshot)
		nodes = json.loads(ctypes.string_at(text))
		lib.safestart_free(text)
		lib.safestart_snapshot_release(snapshot)
		return nodes

	def live(self):
		generation = lib.safestart_generation(self.handle)
		if generation != self.generation:
			self.nodes, self.generation = self.read(), generation
		return self.nodes


def measure(work, times):
	begun = time.thread_time_ns()
	for _ in range(times):
		work()
	return (time.thread_time_ns() - begun) / times


handle = pointer()
assert lib.safestart_open(ctypes.byref(handle), None, None, 0) == 0
assert lib.safestart_nodes_replace(handle, json.dumps(NODES).encode(), None, None, 0) == 0
assert lib.safestart_wait_ready(handle, 10000) == 0
nodes = Nodes(handle)
ways = {"empty": (lambda: peers.bench_empty_enter(handle), 100000), "cached": (nodes.live, 100000), "json": (nodes.read, 2000)}
print(measure(*ways[sys.argv[3]]))
lib.safestart_close(handle)
