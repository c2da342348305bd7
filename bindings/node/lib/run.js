// SPDX-License-Identifier: LGPL-2.1-or-later
'use strict';
// One call of `prepare` or `restart`. The run of the library may be used until it is finished or close begins; then the pointer to it
// is thrown away here, so that nothing of the application's reaches it any more.

const native = require('./native.js');
const { NodeSet } = require('./node_set.js');

const EIO = -5;

class Run {
  #run;
  #objects;
  #controller = new AbortController();

  constructor(run, number, objects) {
    this.#run = run;
    this.#objects = objects;
    this.number = number;
  }

  #open() {
    if (this.#run === undefined) throw Object.assign(new Error('this run has ended'), { code: 'ESTALE', errno: -116 });
    return this.#run;
  }

  get signal() {
    return this.#controller.signal;
  }

  get changes() {
    return JSON.parse(native.runChanges(this.#open()));
  }

  get nodes() {
    return new NodeSet(native.runNodes(this.#open()), this.#objects);
  }

  reject(id, reason) {
    native.runReject(this.#open(), id, reason);
  }

  setNodeData(id, data) {
    const run = this.#open();
    const key = this.#objects.add(data);
    try {
      native.runSetNodeKey(run, id, key);
    } catch (error) {
      this.#objects.takeBack(key);
      throw error;
    }
  }

  setData(data) {
    const run = this.#open();
    const key = this.#objects.add(data);
    try {
      native.runSetKey(run, key);
    } catch (error) {
      // Without memory the library keeps the key, and retires it with the run.
      if (error.code !== 'ENOMEM') this.#objects.takeBack(key);
      throw error;
    }
  }

  setStatus(status) {
    native.runSetStatus(this.#open(), status);
  }

  /** Its deadline has passed, or the handle was shut down. */
  _cancel() {
    this.#controller.abort(
      Object.assign(new Error('the run was cancelled: its deadline has passed, or the handle was shut down'), {
        code: 'ECANCELED',
        errno: -125,
      }),
    );
  }

  /** Close begins: it finishes the run. */
  _abandon() {
    this.#run = undefined;
    this._cancel();
  }

  /** With what the application's function threw, if it did. */
  _finish(failed, thrown) {
    const run = this.#run;
    this.#run = undefined;
    if (run === undefined) return;
    if (failed) native.runFinish(run, thrown?.errno < 0 ? thrown.errno : EIO, wordsOf(thrown));
    else native.runFinish(run, 0);
  }
}

function wordsOf(thrown) {
  // A NUL would end the words, and be refused.
  return String(thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : thrown).replaceAll('\0', '\uFFFD');
}

module.exports = { Run };
