// SPDX-License-Identifier: LGPL-2.1-or-later
'use strict';
// What several tests use.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Safestart } = require('..');

/** A handle that is closed at the end of the test, until when something keeps the process alive. */
function open(t, settings = {}, application = {}) {
  const handle = new Safestart({ debounce: 0, retry_min: 0, max_shrink: '100%', allow_empty: true, ...settings }, application);
  const alive = setInterval(() => {}, 1000);
  t.after(() => {
    clearInterval(alive);
    return handle.close();
  });
  return handle;
}

/** A folder of this test. */
function folderOf(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'safestart-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  return folder;
}

/** {a: '10.0.0.1:1'} as a document. */
function groups(nodes) {
  return Object.entries(nodes).map(([id, target]) => ({ targets: [target], labels: { id } }));
}

function push(handle, nodes) {
  return handle.outcome(handle.replace(groups(nodes)));
}

/** Runs node: {code, signal, stdout, stderr}. `started(child)` at each piece of its output. */
function runFile(parameters, started = () => {}) {
  const child = spawn(process.execPath, ['--expose-gc', ...parameters], { stdio: ['ignore', 'pipe', 'pipe'] });
  const result = { stdout: '', stderr: '' };
  child.stderr.on('data', (data) => (result.stderr += data));
  child.stdout.on('data', (data) => {
    result.stdout += data;
    started(child);
  });
  return new Promise((resolve) => child.on('close', (code, signal) => resolve({ ...result, code, signal })));
}

/** Runs a program with `Safestart` in reach. */
function run(program, started) {
  const source = `const { Safestart } = require(${JSON.stringify(require.resolve('..'))});
    const push = (handle, target) => handle.outcome(handle.replace([{ targets: [target], labels: { id: 'a' } }]));
    ${program}`;
  return runFile(['-e', source], started);
}

module.exports = { folderOf, groups, open, push, run, runFile };
