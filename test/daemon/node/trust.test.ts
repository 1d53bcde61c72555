/** What revocations, ends and renewals of grants do to whole nodes: connections, doors, views and what a node says. */
import { randomBytes } from 'node:crypto';
import t from 'tap';
import { signerFromSeed } from '../../../daemon/crypto.ts';
import { silentLog } from '../../../daemon/log.ts';
import type { ShoalNode } from '../../../daemon/node.ts';
import { recordKey } from '../../../protocols/base/records.ts';
import { formatToken, parseToken } from '../../../protocols/trust/token.ts';
import { eventually } from './eventually.ts';
import { IMAGE, MemoryCluster, running } from './memory-cluster.ts';

// Members find each other and notice losses in seconds; a loaded machine needs more.
t.setTimeout(400_000);

const DAY_MS = 86_400_000;
const names = async (node: ShoalNode) => (await node.backend.nodes()).map(({ name }) => name).join();
const alive = async (node: ShoalNode) =>
  (await node.backend.nodes())
    .filter(({ status }) => status === 'alive')
    .map(({ name }) => name)
    .join();
const standing = async (node: ShoalNode) => (await node.backend.status()).standing;

t.test('a revoked node leaves the view of all, its work goes elsewhere, and it says why', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b, c] = await cluster.grow('a', 'b', 'c');
  await c!.backend.setIntent('a', { intent: 'cordoned' });
  await c!.backend.run({ name: 'web', image: IMAGE, replicas: 2 });
  await eventually('c runs some of it', async () =>
    (await running(c!.backend, 'web')).some(({ node }) => node === c!.id),
  );
  const token = (await a!.backend.createToken({ uses: 5 })).token;
  const before = a!.cluster!.ledger.machine.ledger.size;

  await t.rejects(b!.cluster!.trust.revocations.revoke({ subject: c!.id, reason: 'no' }), {
    code: 'E_NOT_ALLOWED',
  });
  t.equal(a!.cluster!.ledger.machine.ledger.size >= before, true);
  t.match(await a!.cluster!.trust.revocations.revoke({ subject: c!.id, reason: 'stolen from the van' }), {
    subject: c!.id,
    by: a!.cluster!.trust.operator?.id,
    effective: true,
    votes: 1,
    needed: 1,
  });

  for (const node of [a!, b!])
    await eventually(`${node.name} sees no c`, async () => (await names(node)) === 'a,b');
  await eventually('b runs it all', async () => {
    const found = await running(b!.backend, 'web');
    return found.length === 2 && found.every(({ node }) => node === b!.id);
  });
  t.equal((await b!.backend.workloads()).length, 1, 'what it deployed before stays');
  await eventually('c says so', async () => (await standing(c!))?.state === 'revoked');
  t.match(await standing(c!), { reason: 'stolen from the van' });
  await t.rejects(c!.backend.run({ name: 'more', image: IMAGE }), { code: 'E_NOT_ALLOWED' });

  await cluster.stop('c');
  const again = await cluster.start('c');
  t.match(await standing(again), { state: 'revoked' }, 'it comes up, and says so again');
  await t.rejects(again.backend.join({ token }), { code: 'E_REVOKED', message: /stolen from the van/ });
  t.equal(await names(a!), 'a,b');
});

t.test('a node that was cut off when it was revoked learns of it at a door', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  await cluster.stop('b');
  await a!.cluster!.trust.revocations.revoke({ subject: b!.id, reason: 'sold' });
  const said: string[] = [];
  const back = await cluster.start('b', {}, (_level, message) => void said.push(message));
  t.match(await standing(back), { state: 'member' }, 'it cannot know yet');
  await eventually('b has asked', async () => (await standing(back))?.state === 'revoked', 60_000);
  t.ok(said.some((message) => message.includes('this node was revoked')));
});

t.test('a token that was revoked lets nobody in, and who came with it stays', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  const { token } = await a!.backend.createToken({ uses: 3 });
  const b = await cluster.start('b');
  await b.backend.join({ token });
  const { authority } = a!.cluster!.ledger.machine;
  const grant = [...authority.grants(Date.now())].find(({ roles }) => roles.includes('admit'))!;
  t.match(grant, { state: 'valid', uses: 3, used: 1 });
  t.match(
    await a!.cluster!.trust.revocations.revoke(
      a!.cluster!.trust.revocations.tokenRevocation(grant.subject, 'leaked'),
    ),
    {
      effective: true,
    },
  );
  const c = await cluster.start('c');
  await t.rejects(c.backend.join({ token }), { code: 'E_TOKEN_REFUSED' });
  t.equal((await c.backend.status()).cluster, null);
  await eventually('b is a member still', async () => (await alive(a!)) === 'a,b');
  t.equal(authority.isMember(b.id), true);
  t.equal(authority.stateOf(grant.digest, Date.now()), 'revoked');
});

t.test(
  'what was said about a key is not said again by who said it: the ledger keeps all of it for ever',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const a = await cluster.start('a');
    const [operatorKey, secondKey, otherKey] = ['ab'.repeat(32), 'cd'.repeat(32), 'ef'.repeat(32)] as const;
    const seeds = [operatorKey, secondKey, otherKey];
    const [one, two, other] = seeds.map((seed) => signerFromSeed(Buffer.from(seed, 'hex')).id);
    await a.backend.init({ recovery: [one!, two!], threshold: 2 });
    const records = () => a.cluster!.ledger.machine.ledger.size;
    const twice = async (what: string, say: () => Promise<unknown>) => {
      await say();
      const before = records();
      await say();
      t.equal(records(), before, what);
    };
    await twice('a vote for an operator', () => a.backend.appoint({ key: other!, operatorKey }));
    t.notOk(
      (await a.backend.operators()).some(({ key }) => key === other),
      'two calls are one vote',
    );
    await a.backend.appoint({ key: other!, operatorKey: secondKey });
    t.ok((await a.backend.operators()).some(({ key }) => key === other));
    const held = records();
    t.match(await a.backend.appoint({ key: one! }), { effective: true, written: false });
    t.equal(records(), held, 'nor is one that genesis names voted for');

    await twice('a vote against one', async () => {
      t.match(await a.backend.revokeOperator(other!, { operatorKey }), { votes: 1, effective: false });
    });
    t.match(await a.backend.revokeOperator(other!, { operatorKey: secondKey }), {
      votes: 2,
      effective: true,
    });

    const { id } = await a.backend.createToken({});
    await twice('the end of a token', async () => {
      t.match(await a.backend.revokeToken(id, {}), { state: 'revoked' });
    });
    const before = records();
    await a.backend.revokeToken(id, { reason: 'found on the street' });
    t.equal(records(), before + 1, 'what is new in it is kept');
  },
);

t.test(
  'a revocation that says more, or by another key, or anew what counts no more, is written',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const a = await cluster.start('a');
    const [senior, junior, thief, other] = ['ab', 'cd', 'ef', '12'].map((byte) =>
      signerFromSeed(Buffer.from(byte.repeat(32), 'hex')),
    );
    await a.backend.init({ recovery: [senior!.id, junior!.id] });
    const { trust, ledger } = a.cluster!;
    const written = (kind: string) =>
      [...ledger.machine.ledger.ofKind(kind)].reduce((sum, [, records]) => sum + records.length, 0);
    await a.backend.createToken({});
    const subject = (await a.backend.tokens({}))[0]!.key;
    const kept = ['1'.repeat(64), '2'.repeat(64)];
    const said = { subject, reason: 'stolen', cut: { epoch: 0, last: 9 }, keeps: kept };
    const requests = [
      said,
      { ...said, cut: { epoch: 0, last: 8 } },
      { ...said, cut: { epoch: 1, last: 9 } },
      { ...said, descendants: true },
      { ...said, keeps: [kept[0]!, '3'.repeat(64)] },
      { ...said, keeps: [] },
      { ...said, reason: 'lost' },
      { ...said, signer: senior! },
    ];
    for (const [at, request] of requests.entries()) {
      await trust.revocations.revoke(request);
      t.equal(written('revoke'), at + 1, `request ${at} says something else than those before it`);
    }
    for (const request of requests) await trust.revocations.revoke(request);
    t.equal(written('revoke'), requests.length, 'nothing is said twice');

    const grants = written('grant');
    await trust.appoint(other!.id, junior!);
    await trust.appoint(other!.id, senior!);
    t.equal(written('grant'), grants + 2, 'two votes for one key, by two');
    await trust.appoint(thief!.id, junior!);
    t.equal(written('grant'), grants + 3, 'another key is another vote');
    await trust.revocations.revoke({ subject: thief!.id, reason: 'stolen', signer: senior! });
    await t.rejects(trust.appoint(thief!.id, junior!), {
      code: 'E_NOT_ALLOWED',
      message: /was revoked, and no vote for a revoked key is written/,
    });
    const late = signerFromSeed(Buffer.alloc(32, 0x34)).id;
    t.match(await trust.appoint(late, other!), { written: true }, 'who is in force may');
    await trust.revocations.revoke({ subject: other!.id, reason: 'lost', signer: senior! });
    await t.rejects(trust.appoint(signerFromSeed(Buffer.alloc(32, 0x56)).id, other!), {
      code: 'E_NOT_ALLOWED',
      message: /is an operator no more, and its vote counts for nothing/,
    });
    t.equal(written('grant'), grants + 4, 'a vote that never counts is not written');

    const office = a.cluster!.ledger.machine.authority.operators().filter(({ inForce }) => inForce);
    for (const [at, { key }] of office.toReversed().entries()) {
      const plan = await a.backend.planRevokeOperator(key, { operatorKey: 'ab'.repeat(32) });
      const isLast = at === office.length - 1;
      t.match(plan, { effective: true, leavesTooFew: isLast }, `${at} of ${office.length}`);
      if (isLast) break;
      await a.backend.revokeOperator(key, { operatorKey: 'ab'.repeat(32), plan: plan.digest });
    }
  },
);

t.test('grants that end are renewed in time by an admitter, and nobody notices', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  // So much time is left when it is to be renewed that no load of the machine matters.
  const { token } = await a!.backend.createToken({ nodeTtl_ms: 10 * DAY_MS });
  const b = await cluster.start('b');
  await b.backend.join({ token });
  await eventually('a sees b', async () => (await alive(a!)) === 'a,b');
  const noticed = new Set<string>();
  for (let round = 0; round < 2; round += 1) {
    const first = (await standing(b))!.until_ms!;
    cluster.ahead_ms += 9 * DAY_MS;
    await eventually('b has longer', async () => {
      noticed.add(`${(await standing(b))!.state} of ${await names(a!)}`);
      return (await standing(b))!.until_ms! > first;
    });
    t.ok((await standing(b))!.until_ms! > b.clock.now() + 9 * DAY_MS, 'for as long as before');
  }
  t.same([...noticed], ['member of a,b']);
  await eventually('both see both', async () => (await alive(a!)) === 'a,b' && (await alive(b)) === 'a,b');
});

t.test(
  'a node whose grant ended while it was away is renewed when it asks, unless it was away for too long',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const [a] = await cluster.grow('a');
    for (const name of ['b', 'c']) {
      const { token } = await a!.backend.createToken({ nodeTtl_ms: 10 * DAY_MS });
      const node = await cluster.start(name);
      await node.backend.join({ token });
    }
    await eventually('a sees all', async () => (await alive(a!)) === 'a,b,c');
    await cluster.stop('b');
    await cluster.stop('c');
    cluster.ahead_ms += 15 * DAY_MS;
    await eventually('they left the view', async () => (await names(a!)) === 'a');
    const said: string[] = [];
    const b = await cluster.start('b', {}, (_level, message) => void said.push(message));
    t.match(await standing(b), { state: 'expired' });
    await eventually('b is back', async () => (await alive(a!)) === 'a,b', 60_000);
    await eventually('b sees a', async () => (await alive(b)) === 'a,b', 60_000);
    t.ok(
      said.some((message) => message.includes('has ended')) &&
        said.some((message) => message.includes('again')),
    );

    cluster.ahead_ms += 30 * DAY_MS;
    const c = await cluster.start('c', {}, silentLog);
    await t.rejects(
      a!.cluster!.trust.answerAppeal(c.id).then(() => {
        if (!a!.cluster!.ledger.machine.authority.isMember(c.id, a!.clock.now()))
          throw new Error('not renewed');
      }),
      { message: 'not renewed' },
    );
  },
);

t.test('members whose grants ended by a clock that leapt are back when it is right again', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  const { token } = await a!.backend.createToken({ nodeTtl_ms: 10 * DAY_MS });
  const b = await cluster.start('b');
  await b.backend.join({ token });
  await eventually('a sees b', async () => (await alive(a!)) === 'a,b');
  await cluster.stop('b');
  await eventually('a holds b as failed', async () => (await alive(a!)) === 'a');
  cluster.ahead_ms += 15 * DAY_MS;
  await eventually('b has left the view', async () => (await names(a!)) === 'a');
  cluster.ahead_ms -= 15 * DAY_MS;
  await eventually('b is back in it', async () => (await names(a!)) === 'a,b');
});

t.test('a verdict of a node that was no member at that time is written when it is one again', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  const { token } = await a!.backend.createToken({ nodeTtl_ms: 10 * DAY_MS });
  const b = await cluster.start('b');
  await b.backend.join({ token });
  await eventually('both see both', async () => (await alive(a!)) === 'a,b' && (await alive(b)) === 'a,b');
  const verdict = () => b.cluster!.ledger.machine.ledger.get('verdict', recordKey.verdict(b.id, a!.id));
  cluster.ahead_ms += 15 * DAY_MS;
  await cluster.stop('a');
  await eventually('b holds a as failed', async () =>
    (await b.backend.nodes()).some(({ id, status }) => id === a!.id && status === 'failed'),
  );
  t.match(await standing(b), { state: 'expired' });
  t.equal(verdict(), undefined, 'nobody would take it');
  cluster.ahead_ms -= 15 * DAY_MS;
  await eventually('b has written it', async () => verdict() !== undefined);
  t.match(verdict()!.body, { subject: a!.id, verdict: 'failed' });
});

t.test('with a recovery key a stolen operator key is dismissed, and what it did is undone', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const recovery = signerFromSeed(new Uint8Array(randomBytes(32)));
  const a = await cluster.start('a');
  await t.rejects(a.backend.init({ recovery: [recovery.id], threshold: 3 }), { code: 'E_BAD_INPUT' });
  await t.rejects(a.backend.init({ recovery: ['nobody'] }), { code: 'E_BAD_KEY_ID' });
  await a.backend.init({ recovery: [recovery.id] });
  const { token } = await a.backend.createToken({});
  const b = await cluster.start('b');
  await b.backend.join({ token });
  const { trust, ledger } = a.cluster!;
  const { authority } = ledger.machine;
  t.same(
    authority.operators().map(({ key, rank }) => [key, rank]),
    [
      [recovery.id, 0],
      [trust.operator!.id, 1],
    ],
  );
  // The thief is at the first host.
  const theft = await trust.revocations.revoke({ subject: b.id, reason: 'mine now' });
  await trust.revocations.revoke({ subject: recovery.id, reason: 'mine now' });
  t.notOk(authority.isMember(b.id));
  t.same(authority.operators().filter(({ inForce }) => inForce).length, 1);
  // The answer, cut before the theft: nothing that the thief signed stays.
  const stranger = signerFromSeed(new Uint8Array(randomBytes(32)));
  const answer = { subject: trust.operator!.id, reason: 'stolen', cut: { epoch: 0, last: 2 } };
  await t.rejects(trust.revocations.revoke({ ...answer, signer: stranger }), { code: 'E_NOT_ALLOWED' });
  await trust.revocations.revoke({ ...answer, signer: recovery });
  t.ok(authority.isMember(b.id));
  t.same(
    authority.operators().map(({ inForce }) => inForce),
    [true, false],
  );
  t.match(
    [...authority.revocations()].find(({ digest }) => digest === theft.digest),
    { effective: false },
  );
  const next = signerFromSeed(new Uint8Array(randomBytes(32)));
  t.match(await trust.appoint(next.id, recovery), { effective: true, written: true });
  await eventually('b is told the same', () => b.cluster!.ledger.machine.authority.operators().length === 3);
});

t.test('two hosts that used one token in two halves: one stays, and the other is told why not', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  const { token } = await a!.backend.createToken({});
  const digest = [...a!.cluster!.ledger.machine.ledger.ofKind('grant')].length;
  await eventually(
    'b knows the token',
    () => [...b!.cluster!.ledger.machine.ledger.ofKind('grant')].length === digest,
  );
  cluster.cut([a!], [b!]);
  const [c, d] = [await cluster.start('c'), await cluster.start('d')];
  // The halves: a with c, b with d.
  cluster.cut([c], [b!, d]);
  cluster.cut([d], [a!]);
  const parsed = parseToken(token);
  const doors = ({ cluster: of }: ShoalNode) => of!.addresses.doors;
  await c.backend.join({ token: formatToken({ ...parsed, doors: doors(a!) }) });
  await d.backend.join({ token: formatToken({ ...parsed, doors: doors(b!) }) });
  t.match([await standing(c), await standing(d)], [{ state: 'member' }, { state: 'member' }]);
  cluster.heal([a!, c], [b!, d]);
  const gone = await eventually(
    'one of them is evicted',
    async () => {
      const states = await Promise.all([c, d].map(async (node) => (await standing(node))!.state));
      return states.includes('evicted') && [c, d][states.indexOf('evicted')];
    },
    60_000,
  );
  t.match(await standing(gone), { reason: 'its join token was used by too many hosts' });
  const stays = gone === c ? 'd' : 'c';
  for (const node of [a!, b!])
    await eventually(
      `${node.name} sees the other`,
      async () => (await alive(node)) === `a,b,${stays}`,
      60_000,
    );
});

t.test(
  'a host that was off while three halves met, and has no use of its token left, is told so',
  async (t) => {
    const cluster = await MemoryCluster.create(t);
    const [a, b, c] = (await cluster.grow('a', 'b', 'c')) as [ShoalNode, ShoalNode, ShoalNode];
    const { token } = await a.backend.createToken({});
    const parsed = parseToken(token);
    const grants = ({ cluster: of }: ShoalNode) => of!.ledger.machine.authority;
    for (const node of [b, c])
      await eventually('it knows the token', () => !!grants(node).grant(parsed.grant));
    const parts: { door: ShoalNode; host: ShoalNode }[] = [];
    for (const [name, door] of [
      ['d', a],
      ['e', b],
      ['f', c],
    ] as const)
      parts.push({ door, host: await cluster.start(name) });
    for (const { door, host } of parts)
      for (const other of parts.filter((part) => part.door !== door))
        cluster.cut([door, host], [other.door, other.host]);
    for (const { door, host } of parts)
      await host.backend.join({ token: formatToken({ ...parsed, doors: door.cluster!.addresses.doors }) });
    const digest = ({ door }: (typeof parts)[number]) =>
      [...door.cluster!.ledger.machine.ledger.ofKind('grant')]
        .flatMap(([, records]) => records)
        .find(({ author }) => author === signerFromSeed(parsed.seed).id)!.digest;
    parts.sort((x, y) => (digest(x) < digest(y) ? -1 : 1));
    const [first, second, third] = parts as [(typeof parts)[0], (typeof parts)[0], (typeof parts)[0]];
    t.match(await standing(third.host), { state: 'member' });
    const { name, id } = third.host;
    await cluster.stop(name);
    const rest = [first.door, second.door, third.door, first.host, second.host];
    for (const node of rest) cluster.heal([node], rest);
    for (const { door } of parts)
      await eventually('nobody knows it', () => grants(door).depth(id) === Number.POSITIVE_INFINITY, 60_000);
    for (const node of rest) cluster.network.heal(node.id, id);
    const again = await cluster.start(name);
    await eventually('it says so', async () => (await standing(again))?.state === 'evicted', 60_000);
    t.match(await standing(again), { reason: 'its join token was used by too many hosts' });
    await cluster.stop(name);
    const { backend } = await cluster.start(name);
    const told = { state: 'evicted', reason: 'its join token was used by too many hosts' };
    t.match(await backend.status(), { standing: told }, 'and it says so after each start');
    await t.rejects(backend.run({ name: 'web', image: IMAGE }), { code: 'E_NOT_ALLOWED' });
  },
);
