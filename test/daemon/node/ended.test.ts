/** Hosts whose grant has ended: they are told apart from those that were never there, and write nothing in vain. */
import t from 'tap';
import { signerFromSeed } from '../../../daemon/crypto.ts';
import type { ShoalNode } from '../../../daemon/node.ts';
import { eventually } from './eventually.ts';
import { MemoryCluster } from './memory-cluster.ts';

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
