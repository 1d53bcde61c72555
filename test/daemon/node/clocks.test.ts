/** Hosts whose clocks are wrong: they are told, and so are the others. */
import t from 'tap';
import type { ShoalNode } from '../../../daemon/node.ts';
import { formatToken, parseToken } from '../../../protocols/trust/token.ts';
import { eventually } from './eventually.ts';
import { IMAGE, MemoryCluster } from './memory-cluster.ts';

t.setTimeout(120_000);

const FAR_MS = 300_000;
const WEB = { namespace: 'default', name: 'web' };

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

const AHEAD = { code: 'E_CLOCK_AHEAD' } as const;

t.test(
  'a host whose clock is ahead refuses what no other would take, until its stamps are right',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const [a, b, c] = await cluster.grow('a', 'b', 'c');
    await c!.backend.run({ name: 'web', image: IMAGE });
    await eventually('a knows it', async () => (await a!.backend.workloads()).length === 1);
    const { token } = await a!.backend.createToken({ uses: 2 });

    cluster.clocks_ms.set('c', FAR_MS);
    await reconnect(cluster, c!, [a!, b!]);
    await eventually('c says so', async () => (await clockProblems(c!)).length > 0);
    const refused = { ...AHEAD, message: /clock of this host is 300 s ahead .*nothing was changed$/ };
    await t.rejects(c!.backend.run({ name: 'more', image: IMAGE }), refused);
    await t.rejects(c!.backend.scale(WEB, 2), refused);
    await t.rejects(c!.backend.stop(WEB), refused);
    await t.rejects(c!.backend.remove(WEB), refused);
    await t.rejects(c!.backend.setIntent('a', { intent: 'cordoned' }), refused);
    await t.rejects(c!.backend.createToken({}), refused);
    t.same(
      (await c!.backend.workloads()).map(({ name, spec }) => [name, spec.kind]),
      [['web', 'service']],
    );

    const d = await cluster.start('d');
    await t.rejects(d.backend.join({ token: throughDoorOf(c!, token) }), {
      ...AHEAD,
      message: /clock of c is 300 s ahead .*the token was not used/,
    });
    t.equal((await d.backend.status()).cluster, null);
    cluster.clocks_ms.set('d', 2 * FAR_MS);
    await t.rejects(d.backend.join({ token: throughDoorOf(a!, token) }), {
      ...AHEAD,
      message: /clock of the host that asks is 600 s ahead of that of a; the token was not used/,
    });

    // What the node writes itself bears such stamps.
    await c!.cluster!.ledger.write(c!.id, 'intent', c!.id, { intent: 'active' });
    cluster.clocks_ms.delete('c');
    t.match(await clockProblems(c!), [/^E_CLOCK_AHEAD: .* was ahead.*are refused$/]);
    t.match((await c!.backend.status()).clockRefusal, /^the clock of this host was ahead/);
    await t.rejects(c!.backend.scale(WEB, 2), {
      ...AHEAD,
      message: /was ahead.* from \S+Z on; nothing was changed$/,
    });

    cluster.cut([c!], [a!, b!]);
    await eventually('c is alone', () => c!.cluster!.peers.length === 0);
    await c!.backend.scale(WEB, 2);
  },
);

t.test('a host whose clock is ahead takes rights away all the same', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b, c] = await cluster.grow('a', 'b', 'c');
  cluster.clocks_ms.set('a', FAR_MS);
  await reconnect(cluster, a!, [b!, c!]);
  await eventually('a says so', async () => (await clockProblems(a!)).length > 0);
  await t.rejects(a!.backend.createToken({}), AHEAD);
  // With a false time who is to go could keep it off.
  await a!.backend.revokeNode('b', {});
  t.equal((await a!.backend.nodes()).length, 2);
});

t.test('of two hosts nobody knows whose clock is wrong: both say so, and neither refuses', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  cluster.clocks_ms.set('a', FAR_MS);
  await reconnect(cluster, a!, [b!]);
  for (const node of [a!, b!])
    await eventually(`${node.name} says so`, async () => (await clockProblems(node)).length > 0);
  await a!.backend.createToken({});
  await b!.backend.run({ name: 'web', image: IMAGE });
});

/** The same token, with no door but that of this member. */
function throughDoorOf(node: ShoalNode, token: string): string {
  return formatToken({ ...parseToken(token), doors: node.cluster!.addresses.doors });
}
