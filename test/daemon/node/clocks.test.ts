/** Hosts whose clocks are wrong: they are told, and so are the others. */
import t from 'tap';
import type { ShoalNode } from '../../../daemon/node.ts';
import { eventually } from './eventually.ts';
import { MemoryCluster } from './memory-cluster.ts';

t.setTimeout(120_000);

const FAR_MS = 300_000;

const clockProblems = async (node: ShoalNode) =>
  (await node.backend.status()).problems.filter(({ kind }) => kind === 'clock').map(({ message }) => message);

/** Connections anew: the clocks are compared at once. */
async function reconnect(cluster: MemoryCluster, node: ShoalNode, others: readonly ShoalNode[]) {
  cluster.cut([node], others);
  cluster.heal([node], others);
  for (const one of [node, ...others])
    await eventually(`${one.name} is connected`, () => one.cluster!.peers.length === others.length);
}

t.test('a clock that is ahead is told on its host and on the others', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b, c] = await cluster.grow('a', 'b', 'c');
  for (const node of [a!, b!, c!]) t.same(await clockProblems(node), [], `all is well at ${node.name}`);
  cluster.clocks_ms.set('c', FAR_MS);
  await reconnect(cluster, c!, [a!, b!]);
  const own = await eventually('c says so', async () => {
    const problems = await clockProblems(c!);
    return problems.length > 0 && problems;
  });
  t.match(own, [/^E_CLOCK_AHEAD: the clock of this host is 300 s ahead of those of the other members/]);
  for (const node of [a!, b!]) {
    const problems = await eventually(`${node.name} names it`, async () => {
      const told = await clockProblems(node);
      return told.length > 0 && told;
    });
    t.match(problems, [/^E_CLOCK_AHEAD: the clock of c is 300 s ahead of those of the others/]);
  }
});
