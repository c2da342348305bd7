// SPDX-License-Identifier: LGPL-2.1-or-later
// Reading from Node by koffi (npm install koffi, found by NODE_PATH): prints nanoseconds for one.
// usage: peer_node.js LIBRARY PEERS empty|cached|json
'use strict';
const koffi = require('koffi');
const lib = koffi.load(process.argv[2]);
const peers = koffi.load(process.argv[3]);
const open = lib.func('int safestart_open(_Out_ void **handle, void *conf, char *why, size_t why_size)');
const replace = lib.func('int safestart_nodes_replace(void *handle, const char *json, void *ticket, void *why, size_t why_size)');
const waitReady = lib.func('int safestart_wait_ready(void *handle, int timeout)');
const generationOf = lib.func('uint64_t safestart_generation(void *handle)');
const acquire = lib.func('void *safestart_snapshot_acquire(void *handle)');
const release = lib.func('void safestart_snapshot_release(void *snapshot)');
const toJson = lib.func('void *safestart_snapshot_json(void *snapshot)');
const free = lib.func('void safestart_free(void *memory)');
const close = lib.func('int safestart_close(void *handle)');
const empty = peers.func('void *bench_empty_enter(void *argument)');

const nodes = Array.from({length: 10}, (_, i) => ({targets: [`10.0.0.${i}:8087`], labels: {id: `riak-${i}`}}));
const out = [null];
if (open(out, null, null, 0) !== 0 || replace(out[0], JSON.stringify(nodes), null, null, 0) !== 0 || waitReady(out[0], 10000) !== 0)
	process.exit(1);
const handle = out[0];

function read() {
	const snapshot = acquire(handle);
	const text = toJson(snapshot);
	const set = JSON.parse(koffi.decode(text, 'char', -1));
	free(text);
	release(snapshot);
	return set;
}

/* Parsed again only when there is a new generation. */
let generation = -1;
let set = null;
function live() {
	const now = generationOf(handle);
	if (now !== generation) {
		set = read();
		generation = now;
	}
	return set;
}

function measure(work, times) {
	const begun = process.hrtime.bigint();
	for (let i = 0; i < times; i++)
		work();
	return Number(process.hrtime.bigint() - begun) / times;
}

const ways = {empty: [() => empty(handle), 200000], cached: [live, 200000], json: [read, 5000]};
const [work, times] = ways[process.argv[4]];
measure(work, times / 4); /* compiled before it is measured */
console.log(measure(work, times));
close(handle);
