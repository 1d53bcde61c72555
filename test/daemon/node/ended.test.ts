/** Hosts whose grant has ended: they are told apart from those that were never there, and write nothing in vain. */
import t from 'tap';
import { signerFromSeed } from '../../../daemon/crypto.ts';
import type { ShoalNode } from '../../../daemon/node.ts';
import { eventually } from './eventually.ts';
import { IMAGE, MemoryCluster } from './memory-cluster.ts';

// Members find each other in seconds; a loaded machine needs more.
t.setTimeout(120_000);

const DAY_MS = 86_400_000;
const names = async (node: ShoalNode) => (await node.backend.nodes()).map(({ name }) => name).join();

t.test('a host whose grant has ended, or that never came up, can be revoked and removed', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  for (const name of ['b', 'c']) {
    const node = await cluster.start(name);
    await node.backend.join({ token: (await a!.backend.createToken({ nodeTtl_ms: 10 * DAY_MS })).token });
    await eventually(`a sees ${name}`, async () => (await names(a!)).includes(name));
    await cluster.stop(name);
  }
  // Its welcome was lost on the way: it has a grant, and no more.
  const silent = signerFromSeed(new Uint8Array(32).fill(42)).id;
  await a!.cluster!.trust.grant(a!.cluster!.trust.operator!, {
    subject: silent,
    roles: ['member'],
    admits: [],
    parent: null,
    notAfter_ms: a!.clock.now() + DAY_MS,
    uses: null,
  });
  const [b, c] = a!.cluster!.view.members.values().filter(({ id }) => id !== a!.id);
  cluster.ahead_ms += 15 * DAY_MS;
  await eventually('they left the view', async () => (await names(a!)) === 'a');

  for (const called of ['b', b!.id, b!.id.slice(-8)]) {
    const plan = await a!.backend.planRevokeNode(called, {});
    t.match(plan, { key: b!.id, name: 'b', effective: true }, called);
  }
  t.match(await a!.backend.revokeNode('b', { reason: 'sold' }), { key: b!.id, effective: true });
  t.match(await a!.backend.removeNode(c!.id.slice(-8), {}), { key: c!.id, name: 'c', effective: true });
  t.match(await a!.backend.removeNode(silent.slice(-8), {}), { key: silent, effective: true });
  t.ok([b!.id, c!.id, silent].every((id) => a!.cluster!.ledger.machine.authority.isRevoked(id)));
  await t.rejects(a!.backend.removeNode('d', {}), { code: 'E_NOT_FOUND', message: /grant ls --all/ });
});

t.test(
  'a host whose grant has ended for good joins its cluster anew with a token, and stays who it was',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const [a] = await cluster.grow('a');
    const token = async () => (await a!.backend.createToken({ nodeTtl_ms: 10 * DAY_MS })).token;
    let b = await cluster.start('b');
    t.same((await b.backend.join({ token: await token() })).notes, []);
    await eventually('a sees b', async () => (await names(a!)) === 'a,b');
    await t.rejects(b.backend.join({ token: await token() }), {
      code: 'E_ALREADY_CLUSTER',
      message: /in this cluster already/,
    });
    await cluster.stop('b');
    cluster.ahead_ms += 30 * DAY_MS;
    await eventually('b has left the view', async () => (await names(a!)) === 'a');
    const said: string[] = [];
    b = await cluster.start('b', {}, (_level, message) => void said.push(message));
    t.ok(said.some((message) => /no admitter renews it any more/.test(message)));
    const { standing } = await b.backend.status();
    t.ok(standing!.state === 'expired' && standing!.renewableUntil_ms! < b.clock.now());
    await t.rejects(b.backend.run({ name: 'web', image: IMAGE }), { message: /joins with a new token/ });
    const { node, notes } = await b.backend.join({ token: await token() });
    t.equal(node, b.id);
    t.match(notes, [/grant of this node had ended; it is a member again.*until/]);
    await eventually('both see both', async () => (await names(a!)) === 'a,b' && (await names(b)) === 'a,b');
    t.match(await b.backend.status(), { standing: { state: 'member' } });
    await b.backend.run({ name: 'web', image: IMAGE });
    await eventually('a knows what b wrote', async () => (await a!.backend.workloads()).length === 1);
  },
);

t.test('a node says that its grant has ended from that moment on', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  const b = await cluster.start('b');
  await b.backend.join({ token: (await a!.backend.createToken({ nodeTtl_ms: 10 * DAY_MS })).token });
  await eventually('both see both', async () => (await names(a!)) === 'a,b' && (await names(b)) === 'a,b');
  cluster.ahead_ms += 10 * DAY_MS + 1_000;
  const { standing } = await b.backend.status();
  t.match(standing, { state: 'expired' });
  t.equal(standing!.renewableUntil_ms, standing!.until_ms! + 10 * DAY_MS);
});

t.test('a node whose grant has ended refuses what users ask, for it would count nowhere', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  await a!.backend.run({ name: 'web', image: IMAGE });
  const c = await cluster.start('c');
  await c.backend.join({ token: (await a!.backend.createToken({ nodeTtl_ms: 10 * DAY_MS })).token });
  await eventually('c knows the workload', async () => (await c.backend.workloads()).length === 1);
  await cluster.stop('a');
  const ref = { namespace: 'default', name: 'web' };
  const signal = AbortSignal.timeout(60_000);
  const asked: [string, (node: ShoalNode) => Promise<unknown>][] = [
    ['run', (node) => node.backend.run({ name: 'more', image: IMAGE })],
    ['scale', (node) => node.backend.scale(ref, 2)],
    ['stop', (node) => node.backend.stop(ref)],
    ['rm', (node) => node.backend.remove(ref)],
    ['cordon', (node) => node.backend.setIntent(node.id, { intent: 'cordoned' })],
    ['import', (node) => node.backend.importImage({ path: '/nowhere' }, { signal })],
    ['build', (node) => node.backend.buildImage({ directory: '/nowhere', name: 'x:1' }, { signal })],
  ];
  t.ok(await c.backend.scale(ref, 3), 'before the end');
  // Within the grace that others have with its clock.
  for (const ahead_ms of [10 * DAY_MS + 1_000, 15 * DAY_MS]) {
    cluster.ahead_ms = ahead_ms;
    const before = c.cluster!.ledger.machine.ledger.recordsOf(c.id);
    const own = [...before].filter(({ kind }) => kind !== 'alloc').length;
    for (const [what, ask] of asked)
      await t.rejects(ask(c), { code: 'E_NOT_ALLOWED', message: /grant of this node ended/ }, what);
    const after = [...c.cluster!.ledger.machine.ledger.recordsOf(c.id)];
    t.equal(after.filter(({ kind }) => kind !== 'alloc').length, own, 'nothing was written');
  }
});

t.test(
  'a host whose grant has ended goes with who let it in only where that was told, and can be kept',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const [a] = await cluster.grow('a');
    const roles = ['member', 'worker', 'deployer', 'admitter'] as const;
    const b = await cluster.start('b');
    await b.backend.join({ token: (await a!.backend.createToken({ roles: [...roles] })).token });
    const c = await cluster.start('c');
    await c.backend.join({ token: (await b.backend.createToken({ nodeTtl_ms: 10 * DAY_MS })).token });
    await eventually('a sees all', async () => (await names(a!)) === 'a,b,c');
    await cluster.stop('c');
    cluster.ahead_ms += 15 * DAY_MS;
    await eventually('c has left the view', async () => (await names(a!)) === 'a,b');
    const ends = async (request: object) =>
      (await a!.backend.planRevokeNode('b', request)).nodes.ends.map(({ name }) => name).join();
    t.equal(await ends({ descendants: true }), 'b,c');
    t.equal(await ends({ descendants: true, keepAll: true }), 'b');
    await a!.backend.revokeNode('b', { descendants: true, keepAll: true });
    await cluster.start('c');
    await eventually('c was renewed', async () => (await names(a!)) === 'a,c', 60_000);
    cluster.ahead_ms += 30 * DAY_MS;
    await cluster.stop('c');
    t.equal(await ends({ since_ms: 0 }), '', 'one that comes back no more is no loss');
  },
);

t.test('a host that was away asks also those whose grants have ended by what it knows', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  const roles = ['member', 'worker', 'deployer', 'admitter'] as const;
  const [b, c] = [await cluster.start('b'), await cluster.start('c')];
  const nodeTtl_ms = 10 * DAY_MS;
  await c.backend.join({ token: (await a!.backend.createToken({ roles: [...roles], nodeTtl_ms })).token });
  await b.backend.join({ token: (await a!.backend.createToken({ nodeTtl_ms })).token });
  await eventually('b sees all', async () => (await names(b)) === 'a,b,c');
  await cluster.stop('b');
  const { authority } = c.cluster!.ledger.machine;
  const until_ms = authority.memberUntil(c.id)!;
  cluster.ahead_ms += 7 * DAY_MS;
  await eventually('c was renewed', () => authority.memberUntil(c.id)! > until_ms, 60_000);
  await cluster.stop('a');
  cluster.ahead_ms += 5 * DAY_MS;
  const again = await cluster.start('b');
  await eventually('b is a member', async () => (await names(c)).includes('b'), 90_000);
  t.match(await again.backend.status(), { standing: { state: 'member' } });
});
