/** A daemon that starts while the link of its host is down. */
import type os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { ShoalNode } from '../../../daemon/node.ts';
import { eventually } from './eventually.ts';
import { containersOf, isHealthy } from './host-slots.ts';
import { IMAGE, MemoryCluster } from './memory-cluster.ts';

t.setTimeout(400_000);

const ADDRESS = '192.0.2.1';

/** A host with containers of another engine, whose link a test takes away. */
function switchable() {
  const state = { isUp: true };
  const at = (address: string) =>
    [{ address, family: 'IPv4', internal: false }] as ReturnType<typeof os.networkInterfaces>[string];
  const hostFacts = {
    interfaces: () => ({ docker0: at('172.17.0.1'), ...(state.isUp && { eth0: at(ADDRESS) }) }),
    defaultRoutes: () => (state.isUp ? ['eth0'] : []),
    isForContainers: (name: string) => name === 'docker0',
  };
  return { state, hostFacts };
}

t.test('its containers go on, then and when the link is back', async (t) => {
  const { state, hostFacts } = switchable();
  const cluster = await MemoryCluster.create(t);
  cluster.hostFacts = hostFacts;
  const [a] = (await cluster.grow('b')) as [ShoalNode];
  await a.backend.run({ name: 'web', image: IMAGE });
  await eventually('it is healthy', () => isHealthy(a, 'web'));
  const containers = await containersOf(cluster, 'b');
  await cluster.stop('b');

  state.isUp = false;
  const again = await cluster.start('b');
  const told = () => again.cluster!.view.members.get(again.id)?.host;
  await eventually('it is healthy again', () => isHealthy(again, 'web'));
  t.equal(told(), ADDRESS);
  t.same(await containersOf(cluster, 'b'), containers);
  state.isUp = true;
  await sleep(11_000);
  t.equal(told(), ADDRESS);
  t.ok(await isHealthy(again, 'web'));
  t.same(await containersOf(cluster, 'b'), containers);
});

t.test('where it listens is told once the link is back', async (t) => {
  const { state, hostFacts } = switchable();
  const cluster = await MemoryCluster.create(t);
  cluster.hostFacts = hostFacts;
  await cluster.grow('b');
  await cluster.stop('b');
  state.isUp = false;
  const again = await cluster.start('b');
  const record = () => again.cluster!.ledger.machine.ledger.get('member', again.id);
  const told = () => again.cluster!.view.members.get(again.id)?.addresses.join();
  await eventually('it has told where it is', () => told() === '/ip4/172.17.0.1/tcp/4747');
  state.isUp = true;
  await eventually('it tells better', () => told() === `/ip4/${ADDRESS}/tcp/4747`);
  const before = record();
  await sleep(11_000);
  t.equal(record(), before, 'once');
});
