/** Who lets hosts in, and hosts that were let in by somebody of whom nobody heard; and a change that is broken off. */
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { silentLog } from '../../../daemon/log.ts';
import { ShoalError } from '../../../protocols/base/errors.ts';
import { recordKey } from '../../../protocols/base/records.ts';
import { bodyOf } from '../../../protocols/view/bodies.ts';
import { eventually } from './eventually.ts';
import { MemoryCluster } from './memory-cluster.ts';

// Members find each other and notice losses in seconds; a loaded machine needs more.
t.setTimeout(400_000);

t.test('a member that was revoked lets nobody in', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  const { token } = await a!.backend.createToken({});
  await eventually('b knows the token', async () => (await b!.backend.tokens({})).length === 1);
  await a!.backend.revokeNode('b', { reason: 'stolen' });
  await eventually('b knows', async () => (await b!.backend.status()).standing?.state === 'revoked');
  await cluster.stop('a');
  const c = await cluster.start('c');
  await t.rejects(c.backend.join({ token }), { code: 'E_BUSY', message: /b is no member itself/ });
  t.equal(c.cluster, undefined);
  const back = await cluster.start('a');
  await c.backend.join({ token });
  await eventually('it is a member for those that are', async () =>
    (await back.backend.nodes()).some(({ name, status }) => name === 'c' && status === 'alive'),
  );
});

t.test('a host whose admitter is gone before others hear of it joins anew', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  const { token } = await a!.backend.createToken({});
  await eventually('b knows the token', async () => (await b!.backend.tokens({})).length === 1);
  cluster.cut([a!], [b!]);
  await cluster.stop('a');
  const c = await cluster.start('c');
  await c.backend.join({ token });
  await t.rejects(c.backend.join({ token }), { code: 'E_ALREADY_CLUSTER' }, 'not while it hears somebody');
  await cluster.stop('b');
  const back = await cluster.start('a');
  await eventually('it hears nobody', () => c.cluster!.peers.length === 0);
  const { token: another } = await back.backend.createToken({});
  t.match(await c.backend.join({ token: another }), { notes: [] });
  await eventually('it is a member for the others', async () =>
    (await back.backend.nodes()).some(({ name, status }) => name === 'c' && status === 'alive'),
  );
  t.equal(c.cluster!.view.members.size, 3, 'and nothing that it knew is lost');
});

t.test('members that tell of doors that are none make no token unreadable', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b, d] = await cluster.grow('a', 'b', 'd');
  const wide = '\u{1F41F}'.repeat(256);
  for (const { id, cluster: of } of [b!, d!]) {
    const body = bodyOf('member', of!.ledger.machine.ledger.get('member', id)!)!;
    await of!.ledger.write(id, 'member', recordKey.member(id), { ...body, doors: [wide, wide] });
  }
  await eventually('a knows', () =>
    [b!, d!].every(({ id }) => a!.cluster!.view.members.get(id)?.doors[0] === wide),
  );
  const { token } = await a!.backend.createToken({});
  const c = await cluster.start('c');
  await c.backend.join({ token });
  t.equal(c.cluster?.id, a!.cluster!.id);
});

t.test('a grant until a moment that no date can be is not taken', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a', 'b');
  const { ledger, trust } = a!.cluster!;
  const [b] = a!.cluster!.peers;
  const own = ledger.machine.authority.issuing(a!.id, Date.now(), ({ roles }) => roles.includes('admitter'));
  const body = { subject: b!, roles: ['member'], admits: [], parent: own!.digest, uses: null } as const;
  const grant = (notAfter_ms: number) =>
    trust.grant(a!.id, { ...body, roles: [...body.roles], admits: [], notAfter_ms });
  await t.rejects(grant(Number.MAX_SAFE_INTEGER));
  await grant(Date.now() + 3_600_000);
});

t.test('a node that ends while it knocks knocks no more, and is in no cluster', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  const { token } = await a!.backend.createToken({});
  let wasGivenUp = false;
  const c = await cluster.start('c', {}, silentLog, {
    knock: ({ signal }) =>
      new Promise((_, reject) =>
        signal!.addEventListener('abort', () => {
          wasGivenUp = true;
          reject(new ShoalError('E_CANCELLED', 'given up by the caller'));
        }),
      ),
  });
  const joined = t.rejects(c.backend.join({ token }), { code: 'E_CANCELLED' });
  await sleep(100);
  await cluster.stop('c');
  t.ok(wasGivenUp);
  await joined;
  const again = await cluster.start('c');
  t.equal(again.cluster, undefined);
  await again.backend.join({ token });
});

t.test('a node that ends while it begins a cluster leaves no half of it', async (t) => {
  const cluster = await MemoryCluster.create(t);
  let open = 0;
  const a = await cluster.start('a', {}, silentLog, {
    createMesh: async (init) => {
      await sleep(300);
      open += 1;
      const mesh = await cluster.network.createMesh({ ...init, listen: ['/memory/a'] });
      const close = mesh[Symbol.asyncDispose].bind(mesh);
      mesh[Symbol.asyncDispose] = async () => {
        open -= 1;
        await close();
      };
      return mesh;
    },
  });
  const begun = t.rejects(a.backend.init({}), { code: 'E_CANCELLED' });
  await sleep(100);
  await cluster.stop('a');
  t.equal(open, 0, 'what it had opened is closed when it has ended');
  await begun;
  const again = await cluster.start('a');
  t.equal(again.cluster, undefined);
  await again.backend.init({});
});
