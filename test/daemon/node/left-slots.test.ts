/** What is left on a host of which nobody else can tell, or of which another daemon tells otherwise. */
import { cp, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { ShoalNode } from '../../../daemon/node.ts';
import { eventually } from './eventually.ts';
import { containersOf, forget, hash, isHealthy, remove, twoNodes } from './host-slots.ts';
import { IMAGE, MemoryCluster } from './memory-cluster.ts';

// Members find each other and notice losses in seconds; a loaded machine needs more.
t.setTimeout(400_000);

t.test('a node that is alone takes up what it can justify, and leaves the rest to people', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [b] = (await cluster.grow('b')) as [ShoalNode];
  const names = ['one', 'two', 'three', 'four'];
  for (const name of names) await b.backend.run({ name, image: IMAGE });
  for (const name of names) await eventually(`${name} is healthy`, () => isHealthy(b, name));
  const containers = await containersOf(cluster, 'b');
  await cluster.stop('b');
  t.equal(forget(cluster, 'alloc', 'one', 'two') + forget(cluster, 'workload', 'two', 'four'), 4);
  let again = await cluster.start('b');
  await eventually('one is healthy again', () => isHealthy(again, 'one'));
  await sleep(11_000);
  t.same(await containersOf(cluster, 'b'), containers);
  t.match((await again.backend.status()).problems, [
    { kind: 'disk', message: /nobody who could bring them.*nothing tells run on \(2\)/ },
  ]);
  const c = await cluster.start('c');
  await c.backend.join({ token: (await again.backend.createToken({})).token });
  await eventually('the two have the same', () => hash(again) === hash(c));
  await sleep(11_000);
  t.same(await containersOf(cluster, 'b'), containers, 'a newcomer has nothing to bring');
  await cluster.stop('b');
  again = await cluster.start('b');
  await eventually('the two have the same again', () => hash(again) === hash(c));
  await sleep(11_000);
  t.same(await containersOf(cluster, 'b'), containers, 'nor at the next start');
  for (const name of ['two', 'four']) {
    await again.backend.run({ name, image: IMAGE, constraints: { name: 'b' } });
    await eventually(`${name} is healthy again`, () => isHealthy(again, name));
  }
  t.same(await containersOf(cluster, 'b'), containers, 'it was taken up');
  for (const name of names) await remove(cluster, again, name);
  await eventually('nothing is missing any more', () => again.cluster!.problems.missing === null);
});

t.test('a node that is alone and has lost its state keeps what runs on it', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = (await cluster.grow('b')) as [ShoalNode];
  await a.backend.run({ name: 'web', image: IMAGE });
  await eventually('it is healthy', () => isHealthy(a, 'web'));
  const containers = await containersOf(cluster, 'b');
  await cluster.stop('b');
  await rm(path.join(cluster.directory, 'b', 'state.db'));
  for (const life of [1, 2]) {
    const again = await cluster.start('b');
    await sleep(11_000);
    t.same(await containersOf(cluster, 'b'), containers, `life ${life}`);
    t.equal((await again.backend.status()).problems.length, 1);
    await cluster.stop('b');
  }
});

t.test('a first node that has lost its state ends the wait by removing who is gone for good', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = (await cluster.grow('a', 'b')) as [ShoalNode];
  await a.backend.run({ name: 'web', image: IMAGE, constraints: { name: 'a' } });
  await eventually('it is healthy', () => isHealthy(a, 'web'));
  const containers = await containersOf(cluster, 'a');
  // Longer than from one look of the housekeeping to the next: it keeps where b is.
  await sleep(6_000);
  await cluster.stop('b');
  await cluster.stop('a');
  await rm(path.join(cluster.directory, 'a', 'state.db'));
  const again = await cluster.start('a');
  const message = async () =>
    (await again.backend.status()).problems.map((problem) => problem.message).join();
  t.match(await message(), /1 remembered: b\).*nothing tells run on \(1\).*shoal node rm/);
  await again.backend.removeNode('b', {});
  t.match(await message(), /nobody who could bring them.*nothing tells run on \(1\)/);
  await again.backend.buildImage(
    { directory: import.meta.dirname, name: IMAGE, entrypoint: ['run-forever'] },
    { signal: AbortSignal.timeout(20_000) },
  );
  await again.backend.run({ name: 'web', image: IMAGE });
  await eventually('it is healthy again', () => isHealthy(again, 'web'));
  t.same(await containersOf(cluster, 'a'), containers, 'it was taken up');
  await eventually('nothing is missing any more', () => again.cluster!.problems.missing === null);
});

t.test('what runs on a host goes on while it joins its cluster again', async (t) => {
  const { cluster, a, containers } = await twoNodes(t, 'web');
  await cluster.stop('b');
  for (const name of ['state.db', 'state.db.spare']) await rm(path.join(cluster.directory, 'b', name));
  const again = await cluster.start('b');
  await again.backend.join({ token: (await a.backend.createToken({})).token });
  await eventually('both have the same', () => hash(a) === hash(again));
  await eventually('there is an instance of it', () => again.cluster!.instances.get('default/web/0'));
  await eventually('it is healthy', () => isHealthy(a, 'web'));
  await eventually('nothing is missing any more', () => again.cluster!.problems.missing === null);
  await sleep(6_000);
  t.same(await containersOf(cluster, 'b'), containers);
  await remove(cluster, a, 'web');
});

t.test('two daemons with one key do not answer one another for ever', async (t) => {
  const { cluster, b } = await twoNodes(t, 'web');
  await cluster.stop('b');
  const data = path.join(cluster.directory, 'b');
  await cp(data, path.join(cluster.directory, 'clone'), { recursive: true });
  const one = await cluster.start('b');
  await eventually('it is healthy', () => isHealthy(one, 'web'));
  const clone = await cluster.start('clone', { name: 'b' });
  t.equal(clone.id, b.id);
  await sleep(15_000);
  const number = () => {
    const [record] = [...one.cluster!.ledger.machine.ledger.siblings('alloc', `${b.id}/default/web/0`)];
    return `${record?.epoch}/${record?.seq}`;
  };
  const seen = new Set<string>();
  for (let at = 0; at < 100; at += 1) {
    seen.add(number());
    await sleep(50);
  }
  t.ok(seen.size < 5, `${seen.size} records in five seconds`);
});

t.test('a node with an older disk begins again what others know to be on it', async (t) => {
  const { cluster, a } = await twoNodes(t);
  await cluster.stop('b');
  const data = path.join(cluster.directory, 'b');
  await cp(data, `${data}-snapshot`, { recursive: true });
  const future = await cluster.start('b');
  await a.backend.run({ name: 'web', image: IMAGE, constraints: { name: 'b' } });
  await eventually('it is healthy', () => isHealthy(a, 'web'));
  await eventually('both have the same', () => hash(a) === hash(future));
  await cluster.stop('a');
  await cluster.stop('b');
  await rm(data, { recursive: true });
  await cp(`${data}-snapshot`, data, { recursive: true });
  // Lives are told apart by the second in which they begin.
  await sleep(1100);
  const restored = await cluster.start('b');
  t.same(await containersOf(cluster, 'b'), [], 'nothing there tells of it');
  const back = await cluster.start('a');
  await eventually('both have the same', () => hash(back) === hash(restored));
  await eventually('it runs again', async () => (await containersOf(cluster, 'b')).length === 1);
  await eventually('and is healthy', () => isHealthy(back, 'web'));
  await remove(cluster, back, 'web');
});
