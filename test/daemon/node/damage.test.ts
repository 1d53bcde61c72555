/** Records that went bad on one node's disk: it comes up without them, gets them from others, and gives no number twice. */
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Log } from '../../../daemon/log.ts';
import type { ShoalNode } from '../../../daemon/node.ts';
import { type LedgerRecord, openRecord } from '../../../protocols/ledger/record.ts';
import { eventually } from './eventually.ts';
import { IMAGE, MemoryCluster } from './memory-cluster.ts';

// Members find each other and notice losses in seconds; a loaded machine needs more.
t.setTimeout(120_000);

/** Flips a bit of each record that `which` chooses, as a failing disk would. @returns how many. */
function damage(data: string, which: (record: LedgerRecord) => boolean): number {
  const database = new DatabaseSync(path.join(data, 'state.db'));
  let count = 0;
  for (const { digest, envelope } of database.prepare('SELECT digest, envelope FROM records').all()) {
    const bytes = Uint8Array.from(envelope as Uint8Array);
    if (!which(openRecord(bytes, nodeCrypto))) continue;
    bytes[bytes.length - 70]! ^= 1;
    database.prepare('UPDATE records SET envelope = ? WHERE digest = ?').run(bytes, digest as Uint8Array);
    count += 1;
  }
  database.close();
  return count;
}

const hash = (node: ShoalNode) => node.cluster!.ledger.machine.ledger.hash;

function listening(messages: string[]): Log {
  return (_level, message) => void messages.push(message);
}

t.test('damaged records are told of, left out, and fetched again from a member', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  await a!.backend.run({ name: 'web', image: IMAGE });
  await eventually('b has it all', () => hash(a!) === hash(b!));
  await cluster.stop('b');
  const bad = damage(path.join(cluster.directory, 'b'), ({ kind }) =>
    ['workload', 'image', 'tag'].includes(kind),
  );
  t.equal(bad, 3);
  const messages: string[] = [];
  const again = await cluster.start('b', {}, listening(messages));
  t.ok(messages.some((message) => message.includes('damaged')));
  await eventually('b has the workload again', async () => (await again.backend.workloads()).length === 1);
  await eventually('both have the same', () => hash(a!) === hash(again));
  await cluster.stop('b');
  const later: string[] = [];
  await cluster.start('b', {}, listening(later));
  t.notOk(
    later.some((message) => message.includes('damaged')),
    'once',
  );
});

t.test(
  'a node with damaged records that is alone writes under new numbers: nothing of it is lost later',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const [a, b] = await cluster.grow('a', 'b');
    for (const name of ['one', 'two', 'three']) await b!.backend.run({ name, image: IMAGE });
    await eventually('a has it all', () => hash(a!) === hash(b!));
    await cluster.stop('a');
    await cluster.stop('b');
    t.equal(
      damage(path.join(cluster.directory, 'b'), ({ key }) => key === 'default/one'),
      1,
    );
    const messages: string[] = [];
    const alone = await cluster.start('b', {}, listening(messages));
    await alone.backend.run({ name: 'four', image: IMAGE });
    await alone.backend.scale({ namespace: 'default', name: 'two' }, 2);
    const back = await cluster.start('a', {}, listening(messages));
    for (const node of [alone, back]) {
      await eventually(`${node.name} has all four, and the change`, async () => {
        const workloads = await node.backend.workloads();
        return (
          workloads.length === 4 && workloads.some(({ name, spec }) => name === 'two' && spec.replicas === 2)
        );
      });
    }
    await eventually('both have the same', () => hash(alone) === hash(back));
    t.notOk(messages.some((message) => message.includes('signed two records with one number')));
  },
);

t.test('a node whose own grant is damaged says so, and leaves its disk as it is', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [, b] = await cluster.grow('a', 'b');
  await cluster.stop('b');
  const data = path.join(cluster.directory, 'b');
  t.equal(
    damage(data, ({ kind, key }) => kind === 'grant' && key.startsWith(b!.id)),
    1,
  );
  await t.rejects(cluster.start('b'), { code: 'E_DATA_CORRUPT' });
  await t.rejects(cluster.start('b'), { code: 'E_DATA_CORRUPT' }, 'again');
});
