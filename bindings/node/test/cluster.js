// SPDX-License-Identifier: LGPL-2.1-or-later
'use strict';
// Started by life.test.js with a folder: a cluster of three whose handles share a file and a lock.

const cluster = require('node:cluster');
const fs = require('node:fs');
const path = require('node:path');
const { Safestart } = require('..');

const folder = process.argv[2];

if (cluster.isPrimary) {
  // It serves no clients, and `safestart wait --roster` does not count it.
  new Safestart({ source: 'none', serves: false, control: path.join(folder, 'control'), name: 'api' });
  let live = 0;
  for (let i = 0; i < 3; i++)
    cluster
      .fork()
      .on('message', (id) => {
        console.log(id);
        if (++live === 3) cluster.disconnect();
      })
      .on('exit', (code, signal) => console.log(code, signal));
} else {
  const inside = path.join(folder, 'inside');
  const handle = new Safestart(
    {
      source: `file:${folder}/nodes.json`,
      lock: path.join(folder, 'lock'),
      debounce: 0,
      control: path.join(folder, 'control'),
      name: 'api',
    },
    {
      async prepare() {
        fs.writeFileSync(inside, '', { flag: 'wx' }); // it is refused while another process is inside
        await new Promise(setImmediate);
        fs.rmSync(inside);
      },
    },
  );
  handle.ready().then(() => process.send(handle.nodes.list[0].id));
  process.on('disconnect', () => handle.close());
}
