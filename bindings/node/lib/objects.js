// SPDX-License-Identifier: LGPL-2.1-or-later
'use strict';
// The application's objects that hang on nodes and on generations. The library knows a number for each place where one hangs, and
// says when no reader can see that place any more; an object that is at no place any more is closed.

class Objects {
  #next = 1;
  #byKey = new Map();
  #places = new Map(); // object → how many keys it has
  #failed;

  /** failed(error): what `close` of an object threw. */
  constructor(failed) {
    this.#failed = failed;
  }

  /** The key of a new place; 0 for no object. */
  add(object) {
    if (object === undefined || object === null) return 0;
    this.#byKey.set(this.#next, object);
    this.#places.set(object, (this.#places.get(object) ?? 0) + 1);
    return this.#next++;
  }

  get(key) {
    return this.#byKey.get(key);
  }

  /** Take an object from a place where it never came to hang: it is the caller's again. */
  takeBack(key) {
    if (key === 0) return false;
    const object = this.#byKey.get(key);
    const places = this.#places.get(object) - 1;
    this.#byKey.delete(key);
    if (places > 0) this.#places.set(object, places);
    else this.#places.delete(object);
    return places === 0 ? object : undefined;
  }

  retire(key) {
    if (!this.#byKey.has(key)) return;
    const object = this.takeBack(key);
    if (typeof object?.close !== 'function') return;
    try {
      // Whatever it returns; a promise that is rejected is told like an exception.
      Promise.resolve(object.close()).catch(this.#failed);
    } catch (error) {
      this.#failed(error);
    }
  }

  retireAll() {
    for (const key of [...this.#byKey.keys()]) this.retire(key);
  }
}

module.exports = { Objects };
