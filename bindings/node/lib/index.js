// SPDX-License-Identifier: LGPL-2.1-or-later
'use strict';
// The handle. The library puts events into a queue; the event loop calls #wake() while there are some, on this thread. So everything
// here happens between two turns of the application's own code, and nothing needs a lock.

const { EventEmitter } = require('node:events');
const { debuglog } = require('node:util');
const native = require('./native.js');
const { NodeSet } = require('./node_set.js');
const { Objects } = require('./objects.js');
const { Run } = require('./run.js');

const PREPARE = 1;
const RESTART = 2;
const COMMITTED = 3;
const CANCELLED = 4;
const RETIRE = 5;
const RETIRE_NODE = 6;
const OUTCOME = 7;
const LOG = 8;

const LEVELS = ['emergency', 'alert', 'critical', 'error', 'warning', 'notice', 'info', 'debug'];
const VERDICTS = ['applied', 'unchanged', 'refused', 'failed', 'timed-out', 'cancelled'];
const STATES = ['unknown', 'announced', 'applied', 'proven', 'failing', 'quarantined', 'retired'];
const FORCE = 1;
const URGENT = 2;
/** So that the application's own timers and sockets get their turn, however many nodes are retired at once. */
const EVENTS_AT_A_TIME = 1000;

const debug = debuglog('safestart');

function failure(code, errno, message) {
  return Object.assign(new Error(message), { code, errno });
}

function named(outcome) {
  return { ...outcome, verdict: VERDICTS[outcome.verdict] };
}

class Safestart extends EventEmitter {
  #handle;
  #application;
  #objects = new Objects((error) => this.#log('warning', `close of a node's data failed: ${error}`));
  #view; // {nodes, owned, users}: the newest generation that was looked at; undefined: look again
  #uses = 0; // calls of use() in progress
  #runs = new Map(); // number → Run
  #waiters = new Set();
  #closing; // the promise of close()
  #stopped = false; // close takes no more events
  #closed = false;

  constructor(settings = {}, application = {}) {
    super();
    for (const key of ['events', 'thread'])
      if (key in settings) throw new TypeError(`${key}: set by this package, which takes the events in Node's event loop`);
    this.#application = application;
    this.#handle = native.open(
      Object.entries(settings).map(([key, value]) => [key, typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value)]),
      () => this.#wake(),
    );
  }

  static get version() {
    return native.version();
  }

  // ---- Nodes

  get nodes() {
    return (this.#view ?? this.#look()).nodes;
  }

  async use(work) {
    const view = this.#view ?? this.#look();
    view.users++;
    this.#uses++;
    try {
      return await work(view.nodes);
    } finally {
      this.#letGo(view);
      if (--this.#uses === 0 && this.#closed) this.#objects.retireAll();
    }
  }

  #look() {
    const seen = native.acquire(this.#handle);
    this.#view = { nodes: new NodeSet(seen, this.#objects), owned: seen.owned, users: 1 };
    return this.#view;
  }

  /** What its nodes hold is retired when the last user has let go, and no generation has them any more. */
  #letGo(view) {
    if (--view.users === 0) native.release(view.owned);
  }

  #forget() {
    const view = this.#view;
    this.#view = undefined;
    if (view !== undefined) this.#letGo(view);
  }

  #refresh() {
    if (this.#view !== undefined && native.generation(this.#handle) !== this.#view.nodes.generation) this.#forget();
  }

  replace(nodes) {
    return native.replace(this.#handle, typeof nodes === 'string' ? nodes : JSON.stringify(nodes));
  }

  announce(id, address, incarnation) {
    return native.announce(this.#handle, id, address, incarnation);
  }

  withdraw(id) {
    return native.withdraw(this.#handle, id);
  }

  // ---- Requests and their outcomes

  request({ force = false, urgent = false, reason } = {}) {
    return native.request(this.#handle, (force ? FORCE : 0) | (urgent ? URGENT : 0), reason);
  }

  outcome(ticket, { signal } = {}) {
    return this.#wait(() => {
      const outcome = native.tryWait(this.#handle, ticket);
      if (outcome === undefined) return undefined;
      this.#refresh(); // a look after the wait sees the new set
      return named(outcome);
    }, signal);
  }

  ready({ signal } = {}) {
    return this.#wait(() => native.ready(this.#handle), signal).then(() => {});
  }

  /** Looks now, and again after each event, until there is something. A wait keeps the process alive; an idle handle does not. */
  #wait(look, signal) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const found = look();
      if (found !== undefined) return resolve(found);
      const end = (settle, value) => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener('abort', aborted);
        if (this.#waiters.size === 0) native.hold(this.#handle, false);
        settle(value);
      };
      const aborted = () => end(reject, signal.reason);
      const waiter = {
        lookAgain() {
          try {
            const answer = look();
            if (answer !== undefined) end(resolve, answer);
          } catch (error) {
            end(reject, error);
          }
        },
        refuse: (error) => end(reject, error),
      };
      signal?.addEventListener('abort', aborted);
      if (this.#waiters.size === 0) native.hold(this.#handle, true);
      this.#waiters.add(waiter);
    });
  }

  // ---- What is known

  state(id) {
    const { state, why } = native.state(this.#handle, id);
    return { state: STATES[state], why };
  }

  status() {
    return JSON.parse(native.status(this.#handle));
  }

  metrics() {
    return native.metrics(this.#handle);
  }

  // ---- Events

  #wake(most = EVENTS_AT_A_TIME) {
    try {
      for (let i = 0; i < most && !this.#stopped; i++) {
        const event = native.nextEvent(this.#handle);
        if (!event) break;
        this.#take(event);
      }
    } finally {
      // Also when a listener has thrown.
      if (!this.#stopped) {
        this.#refresh();
        for (const waiter of [...this.#waiters]) waiter.lookAgain();
      }
    }
  }

  /** What has happened is told before close throws it away. */
  #takeTheRest() {
    for (;;)
      try {
        return this.#wake(Infinity);
      } catch (error) {
        process.nextTick(() => {
          throw error;
        });
      }
  }

  #take(event) {
    switch (event.kind) {
      case PREPARE:
        this.#execute('prepare', event);
        break;
      case RESTART:
        this.#execute('restart', event);
        break;
      case CANCELLED:
        this.#runs.get(event.runNumber)?._cancel();
        break;
      case COMMITTED:
        this.#refresh();
        this.emit('committed', event.runNumber);
        break;
      case RETIRE:
      case RETIRE_NODE:
        this.#objects.retire(event.key);
        break;
      case OUTCOME:
        this.emit('outcome', named(event.outcome));
        break;
      case LOG:
        this.#log(LEVELS[event.level], event.text);
        break;
    }
  }

  #log(level, text) {
    if (!this.emit('log', level, text)) debug('%s: %s', level, text);
  }

  /** Never rejected: what the application throws is the run's error. */
  async #execute(step, event) {
    const run = new Run(event.run, event.runNumber, this.#objects);
    let failed = false;
    let thrown;
    this.#runs.set(run.number, run);
    try {
      await this.#application[step]?.(run);
    } catch (error) {
      failed = true;
      thrown = error;
    }
    this.#runs.delete(run.number);
    run._finish(failed, thrown);
  }

  // ---- Its life

  afterFork(settings = {}) {
    for (const [key, value] of Object.entries(settings)) native.afterForkSet(this.#handle, key, String(value));
    native.afterFork(this.#handle);
  }

  shutdown() {
    native.shutdown(this.#handle);
  }

  close() {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close() {
    native.shutdown(this.#handle);
    await undefined; // a listener may call close(): it gets this promise, which has to be known by now
    this.#takeTheRest();
    this.#stopped = true;
    for (const waiter of [...this.#waiters]) waiter.refuse(failure('ECANCELED', -125, 'the handle was closed'));
    for (const run of this.#runs.values()) run._abandon();
    this.#runs.clear();
    this.#forget();
    const errno = await new Promise((resolve) => native.close(this.#handle, resolve));
    if (errno < 0) {
      this.#closing = undefined;
      throw failure('ETIMEDOUT', errno, 'close gave up waiting for the source of the nodes; call it again');
    }
    this.#closed = true;
    if (this.#uses === 0) this.#objects.retireAll();
  }

  [Symbol.asyncDispose]() {
    return this.close();
  }
}

module.exports = { Safestart };
