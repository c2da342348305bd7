// SPDX-License-Identifier: LGPL-2.1-or-later
'use strict';
const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { Safestart } = require('..');
const { folderOf, groups, open, push } = require('./tools.js');

const A = { a: '10.0.0.1:1' };
const AB = { a: '10.0.0.1:1', b: '10.0.0.2:1' };

test('a wrong setting is refused in the words of the library', () => {
  assert.throws(() => new Safestart({ debonce: '1s' }), { code: 'EINVAL', errno: -22, message: /debounce/ });
  assert.throws(() => new Safestart({ debounce: 5 }), { code: 'EINVAL', message: /debounce=5/ });
  assert.throws(() => new Safestart({ name: 'a\0b' }), { code: 'EINVAL', message: /NUL/ });
  assert.throws(() => new Safestart({ thread: 'no' }), { name: 'TypeError', message: /thread/ });
  assert.match(Safestart.version, /^\d+\.\d+\.\d+$/);
});

test('nodes that are pushed are live, with what prepare hung on them', async (t) => {
  let changes;
  const handle = open(
    t,
    {},
    {
      prepare(run) {
        changes = run.changes;
        for (const { id } of changes) run.setNodeData(id, { of: id });
        run.setData([1, 2, 3]);
        assert.deepEqual(
          run.nodes.list.map((node) => node.data.of),
          ['10.0.0.2:3', '[::1]:2'],
        );
      },
    },
  );
  assert.equal(handle.nodes.generation, 0);
  assert.equal(handle.nodes.size, 0);
  const outcome = await handle.outcome(handle.replace([{ targets: ['[::1]:2', '10.0.0.2:3'], labels: { zone: 'Köln 🐧' } }]));
  assert.equal(outcome.verdict, 'applied');
  assert.equal(outcome.generation, 1);
  assert.deepEqual(changes[1], { change: 'added', id: '[::1]:2', host: '::1', port: 2, labels: { zone: 'Köln 🐧' } });
  const { nodes } = handle;
  assert.equal(nodes, handle.nodes, 'it is made once a generation');
  assert.deepEqual(nodes.data, [1, 2, 3]);
  const [first, second] = nodes;
  assert.deepEqual({ ...second }, { id: '[::1]:2', host: '::1', port: 2, labels: { zone: 'Köln 🐧' }, data: { of: '[::1]:2' } });
  assert.equal(nodes.get('10.0.0.2:3'), first);
  assert.equal(nodes.get('nobody'), undefined);
  assert.throws(() => handle.replace('[{'), { code: 'EINVAL' });
  assert.throws(() => handle.withdraw('nobody'), { code: 'ENOENT' });
});

test('nodes are announced and withdrawn', async (t) => {
  const handle = open(t);
  await handle.outcome(handle.announce('a', '10.0.0.1:1'));
  await handle.outcome(handle.announce('a', '10.0.0.1:2', 'boot-7'));
  assert.deepEqual(
    { ...handle.nodes.get('a') },
    { id: 'a', host: '10.0.0.1', port: 2, labels: { incarnation: 'boot-7' }, data: undefined },
  );
  await handle.outcome(handle.withdraw('a'));
  assert.equal(handle.nodes.size, 0);
  assert.throws(() => handle.announce('c', 'nowhere'), { code: 'EINVAL' });
});

test('nodes come from a file', async (t) => {
  const file = path.join(folderOf(t), 'nodes.json');
  fs.writeFileSync(file, JSON.stringify(groups(A)));
  const handle = open(t, { source: `file:${file}` });
  await handle.ready();
  assert.equal(handle.nodes.size, 1);
  fs.writeFileSync(`${file}.new`, JSON.stringify(groups(AB)));
  const committed = once(handle, 'committed');
  fs.renameSync(`${file}.new`, file);
  await committed;
  assert.equal(handle.nodes.size, 2);
  assert.throws(() => handle.replace([]), { code: 'ENOTSUP' });
});

test('what prepare and restart throw arrives in the outcome', async (t) => {
  const script = {};
  const handle = open(t, {}, { prepare: (run) => script.prepare?.(run), restart: (run) => script.restart?.(run) });
  script.prepare = () => {
    throw new TypeError('no route to riak-2 – ä');
  };
  let outcome = await push(handle, A);
  assert.equal(outcome.verdict, 'failed');
  assert.match(outcome.message, /prepare failed: TypeError: no route to riak-2 – ä/);
  script.prepare = async () => fs.promises.readFile('/nowhere/at all');
  outcome = await push(handle, A);
  assert.equal(outcome.errno, -2, 'errors of the system keep their number');
  script.prepare = () => Promise.reject('with a\0 and no Error');
  assert.match((await push(handle, A)).message, /with a\uFFFD and no Error/);
  assert.equal(handle.nodes.size, 0);
  script.prepare = undefined;
  script.restart = () => {
    throw new Error('worn out');
  };
  outcome = await push(handle, A);
  assert.match(outcome.message, /restart failed: Error: worn out/);
  script.restart = (run) => run.setStatus(7);
  outcome = await handle.outcome(handle.request());
  assert.equal(outcome.status, 7);
});

test('a rejected node is left out, and its data closed', async (t) => {
  const closed = [];
  const handle = open(
    t,
    {},
    {
      prepare(run) {
        for (const { id } of run.changes) run.setNodeData(id, { close: () => closed.push(id) });
        run.reject('b', 'not this one');
        assert.throws(() => run.reject('nobody'), { code: 'ENOENT' });
        assert.throws(() => run.setNodeData('nobody', { close: () => assert.fail('it never hung there') }), { code: 'ENOENT' });
      },
    },
  );
  const outcome = await push(handle, AB);
  assert.equal(outcome.quarantined, 1);
  assert.deepEqual(
    handle.nodes.list.map((node) => node.id),
    ['a'],
  );
  assert.deepEqual(handle.state('b').state, 'quarantined');
  assert.match(handle.state('b').why, /not this one/);
  await handle.close();
  assert.deepEqual(closed.sort(), ['a', 'b']);
});

test('an object is closed once, when it hangs nowhere any more', async (t) => {
  const warnings = [];
  let closed = 0;
  const shared = {
    async close() {
      closed++;
      throw new Error('already gone');
    },
  };
  const handle = open(
    t,
    {},
    {
      prepare(run) {
        for (const { change, id } of run.changes) if (change !== 'removed') run.setNodeData(id, shared);
        for (const { change, id } of run.changes) if (change !== 'removed') run.setNodeData(id, shared);
      },
    },
  );
  handle.on('log', (level, text) => level === 'warning' && warnings.push(text));
  await push(handle, AB);
  await push(handle, A);
  await push(handle, { a: '10.0.0.9:9' }); // changed, and has the same object again
  await push(handle, A);
  assert.equal(closed, 0);
  await push(handle, {});
  await handle.close();
  assert.equal(closed, 1);
  assert.match(warnings.join(), /close of a node's data failed: Error: already gone/);
});

test('use holds what hangs on the nodes, also beyond close', async (t) => {
  const closed = [];
  const handle = open(
    t,
    {},
    {
      prepare: (run) =>
        run.changes.forEach(({ change, id }) => change !== 'removed' && run.setNodeData(id, { close: () => closed.push(id) })),
    },
  );
  await push(handle, A);
  let finish;
  const held = handle.use((nodes) => new Promise((resolve) => (finish = () => resolve(nodes.get('a').data))));
  await push(handle, { b: '10.0.0.2:1' });
  await push(handle, { c: '10.0.0.3:1' });
  assert.equal(handle.state('a').state, 'retired', 'a reader still holds it');
  await handle.close();
  assert.equal(closed.includes('a'), false);
  finish();
  await held;
  assert.deepEqual(closed.sort(), ['a', 'b', 'c']);
  await assert.rejects(
    handle.use(() => {}),
    { code: 'EBADF' },
  );
});

test('a prepare that takes too long is told, and what it does later is refused', async (t) => {
  let told;
  const toldLater = new Promise((resolve) => (told = resolve));
  let late;
  const handle = open(
    t,
    { run_timeout: '50ms' },
    {
      prepare(run) {
        if (late !== undefined) return;
        late = run;
        return new Promise((resolve) => run.signal.addEventListener('abort', () => resolve(told(run.signal.reason))));
      },
    },
  );
  // On a busy machine any run may be too slow.
  while (late === undefined) assert.equal((await push(handle, A)).verdict, 'timed-out');
  assert.equal((await toldLater).code, 'ECANCELED');
  while ((await push(handle, AB)).verdict !== 'applied');
  assert.throws(() => late.changes, { code: 'ESTALE' });
  assert.throws(() => late.setNodeData('a', {}), { code: 'ESTALE' });
});

test('requests in close succession are one run', async (t) => {
  const handle = open(t, { debounce: '1h', max_delay: '1h' });
  const tickets = new Set();
  for (let i = 0; i < 1000; i++) tickets.add(handle.request());
  tickets.add(handle.request({ urgent: true, force: true, reason: 'the last one' }));
  assert.equal(tickets.size, 1);
  const [ticket] = tickets;
  const outcomes = await Promise.all([handle.outcome(ticket), handle.outcome(ticket)]);
  assert.equal(outcomes[0].requests, 1001);
  assert.deepEqual(outcomes[0], outcomes[1]);
});

test('a wait is ended by its signal, and by nothing else', async (t) => {
  const handle = open(t, { debounce: '1h', max_delay: '1h' });
  const ticket = handle.request();
  const controller = new AbortController();
  const waits = [handle.outcome(ticket, { signal: controller.signal }), handle.outcome(ticket)];
  controller.abort(new Error('had enough'));
  await assert.rejects(waits[0], /had enough/);
  await assert.rejects(handle.outcome(ticket, { signal: AbortSignal.abort() }), { name: 'AbortError' });
  await assert.rejects(handle.outcome(ticket, { signal: AbortSignal.timeout(1) }), { name: 'TimeoutError' });
  await assert.rejects(handle.outcome(ticket + 1), { code: 'EINVAL', message: /never issued/ });
  handle.shutdown();
  assert.equal((await waits[1]).verdict, 'cancelled');
  assert.throws(() => handle.request(), { code: 'ECANCELED' });
});

test('reports, states, status and metrics', async (t) => {
  const handle = open(t, { name: 'api' });
  await push(handle, A);
  const node = handle.nodes.get('a');
  assert.equal(handle.state('a').state, 'applied');
  node.report();
  assert.equal(handle.state('a').state, 'proven');
  node.report(Object.assign(new Error('connect ECONNREFUSED'), { errno: -111 }));
  assert.match(handle.state('a').why, /refused/);
  node.report(new Error('no number'));
  assert.equal(handle.state('a').state, 'failing');
  node.report(0);
  await push(handle, { a: '10.0.0.9:9' });
  node.report(1); // of a set that is gone: it says nothing about the new node
  assert.equal(handle.state('a').state, 'applied');
  assert.equal(handle.state('nobody').state, 'unknown');
  assert.equal(handle.status().generation, 2);
  assert.match(handle.metrics(), /safestart_generation\{name="api"\} 2/);
});

test('the log and the outcomes are events', async (t) => {
  const handle = open(t);
  const lines = [];
  handle.on('log', (level, text) => lines.push(`${level}: ${text}`));
  const event = once(handle, 'outcome');
  const outcome = await push(handle, A);
  assert.deepEqual((await event)[0], outcome);
  assert.match(lines.join('\n'), /^notice: .*generation 1 is live/m);
});

test('with start=after_fork nothing runs before it is said', async (t) => {
  const handle = open(t, { start: 'after_fork', name: 'master' });
  const ticket = handle.replace(groups(A));
  handle.afterFork({ name: 'worker-1' });
  await handle.outcome(ticket);
  assert.match(handle.metrics(), /name="worker-1"/);
  assert.throws(() => handle.afterFork({ name: 'late' }), { code: 'EBUSY' });
});
