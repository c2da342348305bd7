// SPDX-License-Identifier: LGPL-2.1-or-later
'use strict';
// One generation of nodes as JavaScript sees it: made once, when it is first looked at, from what the addon hands over.

const native = require('./native.js');

class Node {
  #owned;
  #index;

  constructor(group, data, owned, index) {
    const [target] = group.targets;
    const colon = target.lastIndexOf(':');
    // A node whose id is its address has no label `id`.
    const { id = target, ...labels } = group.labels;
    this.id = id;
    this.host = target.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
    this.port = Number(target.slice(colon + 1));
    this.labels = Object.freeze(labels);
    this.data = data;
    this.#owned = owned;
    this.#index = index;
    Object.freeze(this);
  }

  report(error) {
    if (this.#owned !== undefined) native.report(this.#owned, this.#index, codeOf(error));
  }
}

/** 0 for success; an errno where there is one; 1: it failed. */
function codeOf(error) {
  if (error === undefined || error === null) return 0;
  if (typeof error === 'number') return error;
  return Number.isInteger(error.errno) ? error.errno : 1;
}

class NodeSet {
  #byId;

  /** seen: {generation, key, json, keys} of the addon, of a live set also `owned`; objects: by key. */
  constructor(seen, objects) {
    const groups = JSON.parse(seen.json);
    this.generation = seen.generation;
    this.data = objects.get(seen.key);
    this.list = Object.freeze(groups.map((group, i) => new Node(group, objects.get(seen.keys[i]), seen.owned, i)));
    Object.freeze(this);
  }

  get size() {
    return this.list.length;
  }

  get(id) {
    this.#byId ??= new Map(this.list.map((node) => [node.id, node]));
    return this.#byId.get(id);
  }

  [Symbol.iterator]() {
    return this.list[Symbol.iterator]();
  }
}

module.exports = { NodeSet };
