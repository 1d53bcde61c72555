/** A node whose disk has lost what says of which cluster it is, or that it is a member: nothing ends for that. */
import path from 'node:path';
import t from 'tap';
import type { Log } from '../../../daemon/log.ts';
import type { ShoalNode } from '../../../daemon/node.ts';
import { damage, damageValue, dropValue } from './disk-damage.ts';
import { eventually } from './eventually.ts';
import { MemoryCluster } from './memory-cluster.ts';

// Members find each other and notice losses in seconds; a loaded machine needs more.
t.setTimeout(180_000);

const hash = (node: ShoalNode) => node.cluster!.ledger.machine.ledger.hash;

function listening(messages: string[]): Log {
  return (_level, message) => void messages.push(message);
}

t.test('a node whose disk forgot its cluster finds it among the records, and keeps it again', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  await eventually('b has it all', () => hash(a!) === hash(b!));
  await cluster.stop('b');
  const data = path.join(cluster.directory, 'b');
  damageValue(data, 'genesis');
  const messages: string[] = [];
  const again = await cluster.start('b', {}, listening(messages));
  t.equal(again.cluster?.id, a!.cluster!.id);
  await eventually('its disk is whole again', () =>
    messages.some((message) => message.includes('has come from other members')),
  );
  await cluster.stop('b');
  const later = await cluster.start('b', {}, listening(messages));
  t.equal(later.cluster?.id, a!.cluster!.id, 'the start after that one knows it too');
  await t.rejects(later.backend.init({}), { code: 'E_ALREADY_CLUSTER' });
  await cluster.stop('b');

  // As a version left it that found the record and did not keep the value.
  dropValue(data, 'genesis');
  t.equal((await cluster.start('b')).cluster?.id, a!.cluster!.id);
});

t.test('records of which nobody can say to what cluster they belong are told of', async (t) => {
  const cluster = await MemoryCluster.create(t);
  await cluster.grow('a');
  await cluster.stop('a');
  const data = path.join(cluster.directory, 'a');
  damageValue(data, 'genesis');
  damage(data, ({ kind }) => kind === 'genesis');
  const isTold = (message: string) => message.includes('holds records of a cluster');
  for (const time of ['first', 'second']) {
    const messages: string[] = [];
    const again = await cluster.start('a', {}, listening(messages));
    t.equal(again.cluster, undefined);
    t.ok(messages.some(isTold), `the ${time} time`);
    await cluster.stop('a');
  }
});
