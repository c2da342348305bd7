// SPDX-License-Identifier: LGPL-2.1-or-later
'use strict';
// The conformance program: see ../conformance/README.md.

const fs = require('node:fs');
const { createInterface } = require('node:readline');
const { Safestart } = require('safestart');

const VERDICTS = ['applied', 'unchanged', 'refused', 'failed', 'timed-out', 'cancelled'];
const STATES = ['unknown', 'announced', 'applied', 'proven', 'failing', 'quarantined', 'retired'];

const counts = { made: 0, retired: 0, used_after_retire: 0, made_sets: 0, retired_sets: 0, told: 0 };
let heartbeat = 0;
let handle;
let script = { prepare: 'ok', restart: 'ok' };
let leaveOpen = false;

class Connection {
  closed = false;
  number = ++counts.made;
  close() {
    this.closed = true;
    counts.retired++;
  }
}

class ConnectionSet {
  constructor() {
    counts.made_sets++;
  }
  close() {
    counts.retired_sets++;
  }
}

function play(words, run) {
  const [what, argument] = [words.split(':', 1)[0], words.slice(words.indexOf(':') + 1)];
  switch (what) {
    case 'reject':
      return run.reject(argument, 'not this one');
    case 'throw':
      throw new Error(argument);
    case 'hang':
      return new Promise((resolve) =>
        run.signal.addEventListener('abort', () => {
          counts.told++;
          resolve();
        }),
      );
    case 'status':
      return run.setStatus(Number(argument));
    case 'crash':
      return process.abort(); // JavaScript has no null pointer that crashes
  }
}

const application = {
  prepare(run) {
    for (const { change, id } of run.changes) if (change !== 'removed') run.setNodeData(id, new Connection());
    run.setData(new ConnectionSet());
    return leaveOpen ? new Promise(() => {}) : play(script.prepare, run);
  },
  restart: (run) => play(script.restart, run),
};

function dataOf(node) {
  if (node.data?.closed) counts.used_after_retire++;
  return node.data?.number ?? null;
}

async function outcome({ ticket, timeout_ms, cancel_after_ms }) {
  const controller = new AbortController();
  const timers = [];
  let cancelledAt;
  const cancel = (reason) => {
    cancelledAt = performance.now();
    controller.abort(reason);
  };
  if (cancel_after_ms !== null) timers.push(setTimeout(cancel, cancel_after_ms));
  if (timeout_ms >= 0) timers.push(setTimeout(cancel, timeout_ms, new DOMException('', 'TimeoutError')));
  try {
    const { verdict, errno, message, run, generation, requests, status } = await handle.outcome(ticket, { signal: controller.signal });
    return { verdict: VERDICTS.indexOf(verdict), code: errno, words: message, run, generation, requests, status };
  } catch (error) {
    if (error.name === 'TimeoutError') return { timeout: true };
    if (error.name === 'AbortError') return { cancelled: true, after_ms: performance.now() - cancelledAt };
    throw error;
  } finally {
    timers.forEach(clearTimeout);
  }
}

function perLook(times, look) {
  const begun = process.hrtime.bigint();
  look(times);
  return Number(process.hrtime.bigint() - begun) / times;
}

function read({ times }) {
  const own = { nodes: handle.nodes };
  let seen = 0;
  const ns = perLook(times, (n) => {
    for (let i = 0; i < n; i++) seen += handle.nodes.size;
  });
  const own_ns = perLook(times, (n) => {
    for (let i = 0; i < n; i++) seen += own.nodes.size;
  });
  return { ns, own_ns, seen };
}

function end({ how }) {
  switch (how) {
    case 'exit':
      return process.exit(3);
    case 'throw':
      return setImmediate(() => {
        throw new Error('thrown by the application');
      });
    case 'drop':
      handle = undefined;
      global.gc();
  }
  // Nothing is left to wait for: neither the heartbeat's timer nor an open handle keeps the process alive.
  lines.close();
  process.stdin.destroy();
}

const commands = {
  hello: () => ({ language: 'node', version: process.version, library: Safestart.version, forks: false }),
  open({ settings }) {
    handle = new Safestart(settings, application);
  },
  replace: ({ json }) => ({ ticket: handle.replace(json) }),
  announce: ({ node, address, incarnation }) => ({ ticket: handle.announce(node, address, incarnation) }),
  withdraw: ({ node }) => ({ ticket: handle.withdraw(node) }),
  request: ({ force, urgent, reason }) => ({ ticket: handle.request({ force, urgent, reason }) }),
  outcome,
  burst({ count }) {
    const tickets = new Set();
    for (let i = 0; i < count; i++) tickets.add(handle.request());
    return { tickets: [...tickets] };
  },
  script({ prepare, restart }) {
    script = { prepare, restart };
  },
  nodes() {
    const { generation, list } = handle.nodes;
    return {
      generation,
      nodes: list.map((node) => ({ id: node.id, host: node.host, port: node.port, labels: node.labels, data: dataOf(node) })),
    };
  },
  report({ node, code }) {
    handle.nodes.get(node).report(code);
  },
  state({ node }) {
    const { state, why } = handle.state(node);
    return { state: STATES.indexOf(state), why };
  },
  status: () => ({ status: handle.status() }),
  metrics: () => ({ text: handle.metrics() }),
  counts() {
    const beats = heartbeat;
    heartbeat = 0;
    global.gc(); // the memory that is in use, not what V8 has not collected yet
    return {
      ...counts,
      heartbeat: beats,
      threads: fs.readdirSync('/proc/self/task').length,
      descriptors: fs.readdirSync('/proc/self/fd').length,
      rss_kib: Math.round(process.memoryUsage.rss() / 1024),
    };
  },
  read,
  later() {
    leaveOpen = true;
  },
  shutdown: () => handle.shutdown(),
  async close() {
    const begun = performance.now();
    await handle.close();
    return { ms: performance.now() - begun };
  },
  end,
};

async function answer(line) {
  const { id, do: name, ...command } = JSON.parse(line);
  let result;
  try {
    result = { id, ...(await commands[name](command)) };
  } catch (error) {
    result = { id, error: error.errno ?? -22, message: error.message };
  }
  if (name !== 'end') fs.writeSync(1, `${JSON.stringify(result)}\n`);
}

setInterval(() => heartbeat++, 10).unref();
const lines = createInterface({ input: process.stdin }).on('line', answer);
