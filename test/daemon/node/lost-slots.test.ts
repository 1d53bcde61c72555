/** A node whose disk has lost what says what runs on it: nothing that is wanted ends for that, and nothing is a ghost. */
import { cp, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { ShoalNode } from '../../../daemon/node.ts';
import { StateStore } from '../../../daemon/store/state-store.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { damage } from './disk-damage.ts';
import { eventually } from './eventually.ts';
import { containersOf, forget, hash, isHealthy, listening, remove, twoNodes } from './host-slots.ts';
import { IMAGE, MemoryCluster, running } from './memory-cluster.ts';

// Members find each other and notice losses in seconds; a loaded machine needs more.
t.setTimeout(400_000);

t.test('what runs on a host goes on while its node is alone and has forgotten it', async (t) => {
  const names = ['both', 'slot', 'spec'];
  const { cluster, containers } = await twoNodes(t, 'gone', ...names);
  await cluster.stop('a');
  await cluster.stop('b');
  t.equal(forget(cluster, 'alloc', 'both', 'slot'), 2);
  t.equal(forget(cluster, 'workload', 'both', 'spec'), 2);
  const messages: string[] = [];
  const again = await cluster.start('b', {}, listening(messages));
  // Longer than from one look of the housekeeping to the next.
  await sleep(6_000);
  t.same((await containersOf(cluster, 'b')).sort(), containers, 'nothing has ended');
  await remove(cluster, again, 'gone');
  const left = containers.filter((id) => !id.startsWith('gone-'));
  const back = await cluster.start('a');
  await eventually('it says when all has come', () =>
    messages.some((message) => message.includes('has come from other members')),
  );
  for (const name of names) {
    await eventually(`there is an instance of ${name}`, () =>
      again.cluster!.instances.get(`default/${name}/0`),
    );
    await eventually(`${name} is healthy`, () => isHealthy(back, name));
  }
  await sleep(11_000);
  t.same((await containersOf(cluster, 'b')).sort(), left, 'and they are the same');
  await back.backend.scale({ namespace: 'default', name: 'both' }, 2);
  await eventually('it is scaled', async () => (await running(back.backend, 'both')).length === 2);
  t.same(left.filter((id) => id.startsWith('both-')).length, 1);
  const scaled = await containersOf(cluster, 'b');
  t.ok(
    left.every((id) => scaled.includes(id)),
    'and what ran goes on',
  );
  for (const name of names) await remove(cluster, back, name);
});

t.test(
  'a container of a newer revision than the disk tells of is neither ended nor begun beside',
  async (t) => {
    const { cluster, a } = await twoNodes(t, 'web');
    await cluster.stop('b');
    const data = path.join(cluster.directory, 'b');
    await cp(data, `${data}-snapshot`, { recursive: true });
    await cluster.start('b');
    await a.backend.run({ name: 'web', image: IMAGE, constraints: { name: 'b' }, env: { V: '2' } });
    await eventually('the second revision is healthy', async () => {
      const [one, ...others] = await running(a.backend, 'web');
      return others.length === 0 && one?.attempt === 2 && one.health === 'healthy';
    });
    const containers = await containersOf(cluster, 'b');
    await cluster.stop('a');
    await cluster.stop('b');
    // The end of its log is lost, and that is known.
    await rm(data, { recursive: true });
    await cp(`${data}-snapshot`, data, { recursive: true });
    const store = new StateStore(path.join(data, 'state.db'), nodeCrypto);
    store.write({ put: [], remove: [], streams: [], values: [['incomplete', 'since a damaged log']] });
    store.close();
    // Lives are told apart by the second in which they begin.
    await sleep(1100);
    const again = await cluster.start('b');
    await sleep(6_000);
    t.same(await containersOf(cluster, 'b'), containers);
    t.match((await again.backend.status()).problems, [
      { kind: 'disk', message: /until a member brings them again \(1 remembered: a\)/ },
    ]);
    const back = await cluster.start('a');
    await eventually('there is an instance of it', () => again.cluster!.instances.get('default/web/0'));
    await eventually('it is healthy', () => isHealthy(back, 'web'));
    await eventually('nothing is amiss', async () => (await again.backend.status()).problems.length === 0);
    await sleep(6_000);
    t.same(await containersOf(cluster, 'b'), containers);
    t.match(await running(back.backend, 'web'), [{ attempt: 2 }]);
  },
);

t.test('what a member runs here goes on while the disk has lost the grant of that member', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b, c] = (await cluster.grow('a', 'b', 'c')) as [ShoalNode, ShoalNode, ShoalNode];
  await c.backend.run({ name: 'web', image: IMAGE, constraints: { name: 'b' } });
  await eventually('it is healthy', () => isHealthy(a, 'web'));
  await eventually('all have the same', () => hash(a) === hash(b) && hash(b) === hash(c));
  const containers = await containersOf(cluster, 'b');
  for (const name of ['b', 'a', 'c']) await cluster.stop(name);
  const isGrant = ({ kind, key }: LedgerRecord) => kind === 'grant' && key.startsWith(c.id);
  t.equal(damage(path.join(cluster.directory, 'b'), isGrant), 1);
  const again = await cluster.start('b');
  t.equal((await again.backend.workloads()).length, 0);
  await sleep(6_000);
  t.same(await containersOf(cluster, 'b'), containers);
  const back = await cluster.start('a');
  await eventually('both have the same', () => hash(back) === hash(again));
  await eventually('it is healthy', () => isHealthy(back, 'web'));
  t.same(await containersOf(cluster, 'b'), containers);
});

t.test('what was removed while a node had forgotten it ends once others have told', async (t) => {
  const { cluster, a } = await twoNodes(t, 'web', 'other');
  await cluster.stop('b');
  await a.backend.remove({ namespace: 'default', name: 'web' });
  t.equal(forget(cluster, 'alloc', 'web', 'other') + forget(cluster, 'workload', 'web', 'other'), 4);
  await cluster.stop('a');
  const again = await cluster.start('b');
  t.equal((await containersOf(cluster, 'b')).length, 2);
  const back = await cluster.start('a');
  await eventually('both have the same', () => hash(back) === hash(again));
  await eventually('what was removed has ended', async () => {
    const left = await containersOf(cluster, 'b');
    return left.length === 1 && left[0]!.startsWith('other-');
  });
});
