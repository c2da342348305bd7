// SPDX-License-Identifier: LGPL-2.1-or-later
'use strict';
// An API server: node:http in two processes of a cluster, Redis nodes behind it from the file that SAFESTART_NODES names. Each process
// follows the file by itself, and shows itself in the directory that SAFESTART_CONTROL names.
// usage: api.js PORT

const cluster = require('node:cluster');
const http = require('node:http');
const { Safestart } = require('safestart');
const { Connection } = require('./redis.js');

const PROCESSES = 2;

/** Whoever does not answer is left out, with the reason, and tried again; the others go live. */
async function prepare(run) {
  const added = run.changes.filter(({ change }) => change !== 'removed');
  await Promise.all(
    added.map(async ({ id, host, port }) => {
      const connection = new Connection(host, port);
      run.setNodeData(id, connection);
      try {
        await connection.connect(run.signal);
      } catch (error) {
        run.reject(id, error.message);
      }
    }),
  );
}

let turn = 0;

/** From the node whose turn it is; from the next one, if it does not answer. */
async function ask(nodes) {
  const first = turn++; // other requests go on meanwhile
  for (let i = 0; i < nodes.size; i++) {
    const node = nodes.list[(first + i) % nodes.size];
    try {
      const value = await node.data.get('greeting');
      node.report();
      return value;
    } catch (error) {
      node.report(error);
    }
  }
  throw new Error('no node answers');
}

async function serve() {
  const handle = new Safestart(
    {
      source: `file:${process.env.SAFESTART_NODES}`,
      control: process.env.SAFESTART_CONTROL,
      name: 'api',
      debounce: '20ms',
      max_shrink: '70%',
    },
    { prepare },
  );
  handle.on('log', (level, text) => console.error(`${process.pid} ${level}: ${text}`));
  await handle.ready();
  http
    .createServer(async (request, response) => {
      try {
        response.end(await handle.use(ask));
      } catch (error) {
        response.writeHead(503).end(error.message);
      }
    })
    .listen(Number(process.argv[2]), '127.0.0.1');
}

if (cluster.isPrimary) {
  let listening = 0;
  cluster.on('listening', () => ++listening === PROCESSES && console.log('listening'));
  for (let i = 0; i < PROCESSES; i++) cluster.fork();
} else {
  serve();
}
