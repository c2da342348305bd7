// SPDX-License-Identifier: LGPL-2.1-or-later
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { runFile } = require('./tools.js');

test("the README's first example runs", async (t) => {
  const [, example] = fs.readFileSync(path.join(__dirname, '..', 'README.md'), 'utf8').match(/```js\n([^]*?)```/);
  const file = path.join(__dirname, 'example.mjs'); // inside the package, which it imports by its name
  fs.writeFileSync(file, example);
  t.after(() => fs.rmSync(file));
  const { stdout, stderr, code } = await runFile([file]);
  assert.equal(stderr, '');
  assert.equal(
    stdout,
    'applied generation 1 is live: 2 nodes (2 added, 0 removed, 0 changed)\n' +
      '10.0.0.1:8087 connection 1\n10.0.0.2:8087 connection 2\nclosed 1\nclosed 2\n',
  );
  assert.equal(code, 0);
});
