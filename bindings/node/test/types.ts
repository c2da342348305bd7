// SPDX-License-Identifier: LGPL-2.1-or-later
// Checked by tsc, never run: the types say what users write, and refuse what they should not.
import { Safestart, type Outcome, type SafestartError } from '../lib/index.js';

class Pool {
  close(): void {}
}

async function main(): Promise<void> {
  const handle = new Safestart<Pool, string[]>(
    { source: 'push', debounce: 0, allow_empty: true },
    {
      async prepare(run) {
        for (const change of run.changes) if (change.change !== 'removed') run.setNodeData(change.id, new Pool());
        run.setData(run.nodes.list.map((node) => node.host));
        run.signal.throwIfAborted();
        // @ts-expect-error a Pool is wanted
        run.setNodeData('a', 7);
      },
      restart: (run) => run.setStatus(7),
    },
  );
  handle.on('log', (level, text) => console.log(level.toUpperCase(), text));
  handle.on('outcome', (outcome: Outcome) => outcome.verdict === 'applied');
  // @ts-expect-error there is no such event
  handle.on('logs', () => {});
  const outcome = await handle.outcome(handle.request({ force: true }), { signal: AbortSignal.timeout(1000) });
  // @ts-expect-error there is no such verdict
  outcome.verdict === 'fine';
  const pool: Pool | undefined = handle.nodes.get('a')?.data;
  const hosts: string[] = await handle.use((nodes) => [...nodes].map((node) => node.host));
  handle.nodes.list[0]?.report(new Error('no route'));
  try {
    handle.withdraw('nobody');
  } catch (error) {
    console.log((error as SafestartError).errno, pool, hosts, Safestart.version);
  }
  await handle.close();
}

void main;
