// SPDX-License-Identifier: LGPL-2.1-or-later
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { Worker } = require('node:worker_threads');
const { Safestart } = require('..');
const { folderOf, groups, open, push, run, runFile } = require('./tools.js');

const A = { a: '10.0.0.1:1' };

test('close ends what is open: a prepare, a wait, a second close', async (t) => {
  let entered;
  const inside = new Promise((resolve) => (entered = resolve));
  const data = { closed: 0, close: () => data.closed++ };
  const handle = open(
    t,
    { run_timeout: '1h' },
    {
      prepare(run) {
        run.setNodeData('a', data);
        entered(run);
        return new Promise(() => {});
      },
    },
  );
  const waiting = handle.outcome(handle.replace(groups(A)));
  const { signal } = await inside;
  const closed = handle.close();
  assert.equal(handle.close(), closed);
  assert.equal((await waiting).verdict, 'cancelled');
  assert.equal(signal.aborted, true);
  await closed;
  assert.equal(data.closed, 1);
  assert.throws(() => handle.request(), { code: 'EBADF', message: /closed/ });
  assert.throws(() => handle.nodes, { code: 'EBADF' });
  await assert.rejects(handle.outcome(1), { code: 'EBADF' });
});

test('threads and descriptors are the same after 300 handles', async () => {
  const seen = () => fs.readdirSync('/proc/self/task').length + fs.readdirSync('/proc/self/fd').length;
  const one = async () => {
    const handle = new Safestart({ debounce: 0 });
    await push(handle, A);
    await handle.close();
  };
  for (let i = 0; i < 10; i++) await one();
  const before = seen();
  for (let i = 0; i < 300; i++) await one();
  assert.ok(seen() <= before, `${seen()} threads and descriptors, before: ${before}`);
});

test('memory is the same after 10,000 reloads', async (t) => {
  const handle = open(t, {}, { prepare: (run) => run.setData({ generation: run.number, close() {} }) });
  const used = async (reloads) => {
    for (let i = 0; i < reloads; i++) {
      await push(handle, { a: `10.0.${i % 250}.1:1` });
      if (i % 100 === 0) assert.equal(handle.nodes.size, 1);
    }
    global.gc();
    return process.memoryUsage().heapUsed;
  };
  const before = await used(5000);
  const after = await used(5000);
  assert.ok(after < before * 1.1 + 512 * 1024, `${before} bytes of heap, then ${after}`);
});

test('an idle handle does not keep the process alive, a wait does', async () => {
  assert.deepEqual(
    await run(`const handle = new Safestart({ debounce: 0 });
      push(handle, '10.0.0.1:1').then(({ verdict }) => console.log(verdict));`),
    { stdout: 'applied\n', stderr: '', code: 0, signal: null },
  );
});

test('a handle that nothing refers to goes on', async (t) => {
  const file = path.join(folderOf(t), 'nodes.json');
  fs.writeFileSync(file, JSON.stringify(groups(A)));
  const { stdout } = await run(`(() => {
      const beat = setInterval(() => global.gc(), 1);
      new Safestart({ source: 'file:${file}', debounce: 0 }, { prepare(run) {
        console.log(run.changes[0].id);
        if (run.number > 1) clearInterval(beat);
      } }).once('committed', () => require('node:fs').writeFileSync('${file}', '[{"targets":["10.0.0.1:1"]}]'));
    })();`);
  assert.equal(stdout, 'a\n10.0.0.1:1\n');
});

for (const [how, program, code] of [
  ['return', ';', 0],
  ['exit', 'process.exit(3);', 3],
  ['an error', 'throw new Error("x");', 1],
  ['a rejected promise', 'Promise.reject(new Error("x"));', 1],
  ['exit while close is on its way', 'handle.close(); process.exit(3);', 3],
]) {
  test(`the process ends by ${how}, busy and inside prepare`, async () => {
    const busy = `const handle = new Safestart({ debounce: 0 });
      let i = 0;
      const again = () => handle.replace([{ targets: ['10.0.0.' + (++i % 200) + ':1'] }]);
      handle.on('outcome', () => i < 20 ? again() : end());
      again();
      const hold = setInterval(() => {}, 1000);
      function end() { handle.removeAllListeners(); again(); clearInterval(hold); ${program} }`;
    const inside = `const handle = new Safestart({ debounce: 0, run_timeout: '1h' }, {
        prepare() { clearInterval(hold); end(); return new Promise(() => {}); } });
      const hold = setInterval(() => {}, 1000);
      handle.replace([{ targets: ['10.0.0.1:1'] }]);
      function end() { setImmediate(() => { ${program} }); }`;
    for (const one of [busy, inside]) {
      const ended = await run(one);
      assert.equal(ended.signal, null, ended.stderr);
      assert.equal(ended.code, code, ended.stderr);
    }
  });
}

test('SIGTERM ends the process', async () => {
  const ended = await run(
    `const handle = new Safestart({ debounce: 0, run_timeout: '1h' }, {
       prepare() { console.log('inside'); return new Promise(() => {}); } });
     push(handle, '10.0.0.1:1');`,
    (child) => child.kill('SIGTERM'),
  );
  assert.equal(ended.signal, 'SIGTERM');
});

test('what a listener throws is an uncaught exception, and costs no event', async () => {
  const { stdout, code } = await run(`let seen = 0;
    process.on('uncaughtException', (error) => console.log(error.message));
    const handle = new Safestart({ debounce: 0 });
    handle.once('log', () => { throw new Error('from the listener'); });
    handle.on('outcome', ({ verdict }) => console.log(verdict));
    push(handle, '10.0.0.1:1').then(({ verdict }) => console.log('waited: ' + verdict)).then(() => setImmediate(() => handle.close()));`);
  assert.deepEqual(stdout.split('\n').sort(), ['', 'applied', 'from the listener', 'waited: applied']);
  assert.equal(code, 0);
});

/** Handles in a worker, which says 'ready' when all of them have a set live. */
const WORKER = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { Safestart } = require(workerData.module);
  const handles = [];
  (async () => {
    for (let i = 0; i < 3; i++) {
      handles[i] = new Safestart({ debounce: 0, run_timeout: '1h' }, {
        async prepare(run) {
          run.setData({ close() {} });
          if (run.number > 1) await new Promise(() => {});
        },
      });
      await handles[i].outcome(handles[i].replace([{ targets: ['10.0.0.1:' + (i + 1)] }]));
    }
    handles[1].replace([{ targets: ['10.0.0.2:1'] }]); // its prepare never returns
    if (workerData.close) await handles[0].close();
    if (workerData.closing) handles[0].close();
    parentPort.postMessage(handles[2].nodes.size);
    if (!workerData.leave) parentPort.on('message', () => {});
  })();
`;

for (const workerData of [{ leave: true }, { close: true, leave: true }, { leave: false }, { closing: true, leave: false }]) {
  test(`workers have handles of their own, and may end with them open: ${JSON.stringify(workerData)}`, async (t) => {
    const own = open(t);
    await push(own, A);
    const tasks = fs.readdirSync('/proc/self/task').length;
    const workers = Array.from(
      { length: 4 },
      () => new Worker(WORKER, { eval: true, workerData: { ...workerData, module: require.resolve('..') } }),
    );
    await Promise.all(
      workers.map(
        (worker) =>
          new Promise((resolve, reject) => {
            worker.on('error', reject);
            worker.on('exit', resolve);
            worker.on('message', (size) => {
              assert.equal(size, 1);
              if (!workerData.leave) worker.terminate();
            });
          }),
      ),
    );
    assert.ok(fs.readdirSync('/proc/self/task').length <= tasks, 'the threads of their handles are gone');
    assert.equal((await push(own, { b: '10.0.0.2:1' })).verdict, 'applied');
  });
}

test('the processes of a cluster take up a file, one at a time', async (t) => {
  const folder = folderOf(t);
  fs.writeFileSync(path.join(folder, 'nodes.json'), JSON.stringify(groups(A)));
  const { stdout, stderr, code } = await runFile([path.join(__dirname, 'cluster.js'), folder]);
  assert.equal(stdout, `${'a\n'.repeat(3)}${'0 null\n'.repeat(3)}`, stderr);
  assert.equal(code, 0);
});
