/** Rights taken away in a running cluster: a token, a host that lives, a host that is gone; and who did it. */
import { randomBytes } from 'node:crypto';
import t from 'tap';
import { sealAct } from '../../../daemon/admission.ts';
import { nodeCrypto, signerFromSeed } from '../../../daemon/crypto.ts';
import type { ShoalNode } from '../../../daemon/node.ts';
import { revokeBody } from '../../../protocols/trust/acts.ts';
import { eventually } from './eventually.ts';
import { IMAGE, MemoryCluster, running } from './memory-cluster.ts';

t.setTimeout(120_000);

const keyOf = (seed: string) => signerFromSeed(Buffer.from(seed, 'hex')).id;
const names = async (node: ShoalNode) => (await node.backend.nodes()).map(({ name }) => name);

t.test('a revoked token is refused at every door; who joined with it before stays', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  const { token, id } = await a!.backend.createToken({ uses: 5 });
  const c = await cluster.start('c');
  await c.backend.join({ token });
  await eventually('all three know each other', async () => (await names(b!)).length === 3);
  t.match(await b!.backend.tokens({}), [
    { id, used: 1, uses: 5, state: 'valid', joined: [{ nodeName: 'c' }] },
  ]);

  const revoked = await a!.backend.revokeToken(id.slice(0, 8), { reason: 'on the lost laptop' });
  t.match(revoked, { id, state: 'revoked', joined: [{ nodeName: 'c', state: 'valid' }] });
  t.same(await a!.backend.tokens({}), [], 'good for nothing');
  await eventually('b has heard of it', async () => (await b!.backend.tokens({})).length === 0);
  const d = await cluster.start('d');
  await t.rejects(d.backend.join({ token }), { code: 'E_TOKEN_REFUSED' });
  t.match(await d.backend.status(), { cluster: null }, 'no half state is left');

  t.same((await names(a!)).sort(), ['a', 'b', 'c']);
  t.ok((await c.backend.run({ name: 'web', image: IMAGE })).revision, 'c may do what it might');
  await eventually('and is heard', async () => (await a!.backend.workloads()).length === 1);
  t.match(await b!.backend.history({ kind: 'revoke' }), [
    { authorName: /^operator /, subjectName: `token ${id.slice(0, 12)}`, summary: 'on the lost laptop' },
  ]);
  await t.rejects(a!.backend.revokeToken('0000000000', {}), { code: 'E_NOT_FOUND' });
  const twice = await a!.backend.createToken({ roles: ['member', 'worker', 'member'] });
  t.match(await a!.backend.tokens({}), [{ id: twice.id, roles: ['member', 'worker'] }], 'each role once');
});

t.test('with a token its hosts can go too', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  const [token] = await a!.backend.tokens({ all: true });
  t.match(await a!.backend.revokeToken(token!.id, { hosts: true }), {
    joined: [{ nodeName: 'b', state: 'void' }],
  });
  await eventually('b is no member', async () => !(await names(a!)).includes('b'));
  await eventually('and not connected', async () => (await a!.backend.clusterInfo()).peers === 0);
  t.ok(b);
});

t.test('a revoked node is refused, its work goes elsewhere, and everybody can see who did it', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b, c] = await cluster.grow('a', 'b', 'c');
  await b!.backend.run({ name: 'web', image: IMAGE, replicas: 3 });
  await eventually('each has one', async () => {
    return new Set((await running(a!.backend, 'web')).map(({ node }) => node)).size === 3;
  });
  await t.rejects(b!.backend.revokeNode('c', {}), {
    code: 'E_NOT_ALLOWED',
    message: /where an operator's key is/,
  });
  await t.rejects(a!.backend.revokeNode('a', {}), { code: 'E_BAD_INPUT' });
  await t.rejects(a!.backend.revokeNode('x', {}), { code: 'E_NOT_FOUND' });

  const done = await a!.backend.revokeNode('b', { reason: 'stolen from the van' });
  t.match(done, {
    key: b!.id,
    name: 'b',
    by: { name: /^operator / },
    reason: 'stolen from the van',
    effective: true,
  });
  for (const node of [a!, c!]) {
    await eventually(`${node.name} knows b no more`, async () => !(await names(node)).includes('b'));
    await eventually(`${node.name} is not connected to it`, async () => {
      return (await node.backend.clusterInfo()).peers === 1;
    });
    await eventually(`${node.name} tells who did it`, async () => {
      const [revoke] = await node.backend.history({ kind: 'revoke' });
      return revoke?.subjectName === 'b' && revoke.summary === 'stolen from the van';
    });
    t.match((await node.backend.clusterInfo()).revocations, [
      { name: 'b', by: { name: /^operator / }, effective: true },
    ]);
    t.match(await node.backend.workloads(), [{ name: 'web' }], 'what it wrote before stands');
    t.same(
      (await node.backend.allocations({ all: true })).filter((one) => one.node === b!.id),
      [],
      'what it ran does not',
    );
  }
  await eventually('its work is done elsewhere', async () => {
    const now = await running(a!.backend, 'web');
    return now.length === 3 && now.every(({ node }) => node !== b!.id);
  });
  const [grant] = (await a!.backend.grants({ all: true })).filter(({ subject }) => subject === b!.id);
  t.match(grant, { state: 'revoked', subjectName: 'b' });
  t.notOk((await a!.backend.grants({})).some(({ subject }) => subject === b!.id));
});

t.test('a cut in the past takes hosts with it: that is told before, and they can be kept', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  const admitter = ['member', 'worker', 'deployer', 'admitter'] as const;
  const b = await cluster.start('b');
  await b.backend.join({ token: (await a!.backend.createToken({ roles: [...admitter] })).token });
  await eventually('b sees a', async () => (await names(b)).length === 2);
  const since_ms = Date.now();
  // What was written in that very millisecond counts.
  await eventually('the clock ticks', () => Date.now() > since_ms);
  const { token, id } = await b.backend.createToken({ uses: 5 });
  const c = await cluster.start('c');
  await c.backend.join({ token });
  const unused = await b.backend.createToken({});
  await c.backend.run({ name: 'web', image: IMAGE, replicas: 1 });
  await eventually('a knows it all', async () => {
    return (await names(a!)).length === 3 && (await a!.backend.workloads()).length === 1;
  });
  const told = async (request: object) => {
    const { nodes, tokens, records, open } = await a!.backend.planRevokeNode('b', request);
    return {
      nodes: nodes.ends.map(({ name }) => name).join(),
      tokens: tokens.ends.map((one) => one.id).sort(),
      records: records.ends.map(({ key, authorName }) => `${key} ${authorName}`).join(),
      open: open.map((one) => one.id).sort(),
    };
  };
  const both = [id, unused.id].sort();
  t.same(await told({}), { nodes: 'b', tokens: [], records: '', open: both });
  t.same(await told({ since_ms }), { nodes: 'b,c', tokens: both, records: 'default/web c', open: [] });
  const kept = { nodes: 'b', tokens: both, records: '', open: [] };
  t.same(await told({ since_ms, keepAll: true }), kept);
  t.same(await told({ descendants: true, keep: ['c'] }), kept);
  await t.rejects(c.backend.planRevokeNode('b', {}), { code: 'E_NOT_ALLOWED' }, 'as the revocation is');
  t.equal((await names(a!)).length, 3, 'nothing was changed');
  t.same((await a!.backend.clusterInfo()).revocations, []);

  const again = await a!.backend.revokeNode('b', {});
  t.match(again, { name: 'b', effective: true });
  await eventually('b is gone', async () => !(await names(a!)).includes('b'));
  // It turns out that it was in wrong hands earlier: the stricter cut is for a node that is in no list any more.
  t.match(await a!.backend.revokeNode('b', { since_ms, keepAll: true }), { effective: true });
  t.same((await names(a!)).sort(), ['a', 'c'], 'c stays');
  t.match(await a!.backend.workloads(), [{ name: 'web' }]);
  t.same(await a!.backend.tokens({}), [], 'and nobody joins by a token that b made, and may have kept');
  await cluster.stop('b');
  const d = await cluster.start('d');
  for (const secret of [token, unused.token])
    await t.rejects(d.backend.join({ token: secret }), { code: 'E_TOKEN_REFUSED' });
  await t.rejects(a!.backend.revokeNode('nobody', {}), { code: 'E_NOT_FOUND' });
});

t.test('no more goes than was shown', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a] = await cluster.grow('a');
  const b = await cluster.start('b');
  const roles = ['member', 'worker', 'deployer', 'admitter'] as const;
  await b.backend.join({ token: (await a!.backend.createToken({ roles: [...roles] })).token });
  await eventually('a sees b', async () => (await names(a!)).length === 2);
  const shown = await a!.backend.planRevokeNode('b', { descendants: true });
  t.match(await a!.backend.planRevokeNode('b', { descendants: true }), { digest: shown.digest });

  const c = await cluster.start('c');
  await c.backend.join({ token: (await b.backend.createToken({})).token });
  await eventually('a sees c', async () => (await names(a!)).length === 3);
  const late = a!.backend.revokeNode('b', { descendants: true, plan: shown.digest });
  await t.rejects(late, { code: 'E_PLAN_CHANGED', message: /nothing was changed/ });
  t.same((await a!.backend.clusterInfo()).revocations, []);

  await c.backend.run({ name: 'web', image: IMAGE, replicas: 1 });
  const { digest: plan } = await a!.backend.planRevokeNode('b', { descendants: true });
  await c.backend.run({ name: 'more', image: IMAGE, replicas: 1 });
  await eventually('a knows it', async () => (await a!.backend.workloads()).length === 2);
  t.match(await a!.backend.revokeNode('b', { descendants: true, plan }), { effective: true });
  await eventually('a is alone', async () => (await names(a!)).join() === 'a');
});

t.test('a node that is gone is removed; one that lives only by force', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b, c] = await cluster.grow('a', 'b', 'c');
  await t.rejects(a!.backend.removeNode('b', {}), { code: 'E_STILL_ALIVE' });
  t.ok((await names(a!)).includes('b'), 'nothing was changed');
  await cluster.stop('b');
  await eventually('a takes it for failed', async () => {
    return (await a!.backend.nodes()).find(({ name }) => name === 'b')?.status === 'failed';
  });
  t.match(await a!.backend.removeNode('b', {}), { name: 'b', reason: 'node removed', effective: true });
  for (const node of [a!, c!])
    await eventually(`${node.name} forgets it`, async () => !(await names(node)).includes('b'));
  t.match(
    await c!.backend.history({ by: 'b', kind: 'member' }),
    [{ summary: /^joined as b/ }],
    'its name is known',
  );
  t.match(await a!.backend.removeNode('c', { force: true }), { name: 'c', effective: true });
  t.ok(b);
});

t.test('an operator’s key that no daemon keeps takes back what was stolen, and makes another', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [seed, fresh] = [randomBytes(32), randomBytes(32)];
  const [recovery, second] = [seed, fresh].map((bytes) => signerFromSeed(new Uint8Array(bytes)).id);
  const operatorKey = seed.toString('hex');
  const a = await cluster.start('a');
  await a.backend.init({ recovery: [recovery!] });
  await t.rejects(a.backend.createToken({ roles: ['worker'] }), { code: 'E_BAD_INPUT', message: /member/ });
  const b = await cluster.start('b');
  await b.backend.join({ token: (await a.backend.createToken({})).token });
  await eventually('b sees a', async () => (await names(b)).length === 2);
  const [first, kept] = await b.backend.operators();
  t.match(
    [first, kept],
    [{ key: recovery, revoked: false }, { revoked: false }],
    'the recovery key is senior',
  );

  // Host a is stolen, with the operator's key on it; all that is left is b, and the key in a drawer.
  await t.rejects(b.backend.revokeOperator(kept!.key, {}), { code: 'E_NOT_ALLOWED' });
  const wrong = randomBytes(32).toString('hex');
  await t.rejects(b.backend.revokeOperator(kept!.key, { operatorKey: wrong }), { code: 'E_NOT_ALLOWED' });
  await t.rejects(b.backend.revokeOperator('nobody', { operatorKey }), { code: 'E_NOT_FOUND' });
  await t.rejects(b.backend.appoint({ key: 'no key', operatorKey }), { code: 'E_BAD_KEY_ID' });
  t.match(await b.backend.revokeOperator(kept!.key.slice(-8), { reason: 'stolen', operatorKey }), {
    key: kept!.key,
    by: { key: recovery },
    effective: true,
  });
  t.match(
    await b.backend.revokeNode('a', { reason: 'stolen', descendants: true, keep: ['b'], operatorKey }),
    {
      name: 'a',
      effective: true,
      keeps: { length: 1 },
    },
  );
  t.same(await names(b), ['b'], 'b stays, though a let it in');
  for (const id of [b.id, (await b.backend.tokens({ all: true }))[0]!.key])
    await t.rejects(
      b.backend.appoint({ key: id, operatorKey }),
      { code: 'E_BAD_INPUT', message: /shoal operator create/ },
      'what a host or a token signs with is online',
    );
  t.match(await b.backend.appoint({ key: second!, operatorKey }), {
    ...{ key: second, votes: 1, needed: 1, effective: true },
    operators: [{ key: recovery }, { key: kept!.key, revoked: true }, { key: second, revoked: false }],
  });
  t.match(
    (await b.backend.history({ kind: 'revoke' })).map(({ summary }) => summary),
    ['stolen', 'stolen'],
  );
  // The new operator's word counts at once.
  const [token] = await b.backend.tokens({ all: true });
  t.match(await b.backend.revokeToken(token!.id, { operatorKey: fresh.toString('hex') }), {
    state: 'revoked',
  });
  t.same(await names(b), ['b'], 'who joined with it stays');
  // Nobody who is left is an admitter: the key lets others in.
  await t.rejects(b.backend.createToken({}), { code: 'E_NOT_ALLOWED', message: /role admitter/ });
  await t.rejects(b.backend.createToken({ operatorKey: wrong }), { code: 'E_NOT_ALLOWED' });
  const roles = ['member', 'worker', 'deployer', 'admitter'] as const;
  const made = await b.backend.createToken({ operatorKey, roles: [...roles] });
  const c = await cluster.start('c');
  await c.backend.join({ token: made.token });
  t.ok((await c.backend.createToken({})).token, 'and c is an admitter from now on');
});

t.test('where a threshold asks for it, operators are made and unmade by several votes', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const seeds = Array.from({ length: 3 }, () => randomBytes(32));
  const [first, second, third] = seeds.map((seed) => ({
    id: signerFromSeed(new Uint8Array(seed)).id,
    operatorKey: seed.toString('hex'),
  })) as [{ id: string; operatorKey: string }, { id: string; operatorKey: string }, { id: string }];
  const a = await cluster.start('a');
  await a.backend.init({ recovery: [first.id, second.id], threshold: 2 });
  t.match(await a.backend.clusterInfo(), { threshold: 2, operators: { length: 3 } });
  const kept = (await a.backend.operators())[2]!.key;

  const vote = await a.backend.revokeOperator(kept, { operatorKey: first.operatorKey });
  t.match(vote, { votes: 1, needed: 2, effective: false });
  t.match(await a.backend.operators(), [{}, {}, { key: kept, revoked: false }], 'one is not enough');
  t.match(await a.backend.revokeOperator(kept, { operatorKey: second.operatorKey }), {
    votes: 2,
    needed: 2,
    effective: true,
  });
  t.match(await a.backend.operators(), [{}, {}, { key: kept, revoked: true }]);

  for (const what of ['a vote', 'the same again']) {
    const voted = await a.backend.appoint({ key: third.id, operatorKey: first.operatorKey });
    t.match(voted, { key: third.id, votes: 1, needed: 2, effective: false, operators: { length: 3 } }, what);
  }
  const appointed = await a.backend.appoint({ key: third.id, operatorKey: second.operatorKey });
  t.match(appointed, { votes: 2, needed: 2, effective: true });
  t.match(appointed.operators[3], { key: third.id, revoked: false });
});

t.test('as many votes as it takes see to it that a mistyped id is never an operator', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [first, second] = ['ab'.repeat(32), 'cd'.repeat(32)] as const;
  const [one, two, typo] = [first, second, 'ef'.repeat(32)].map(
    (seed) => signerFromSeed(Buffer.from(seed, 'hex')).id,
  );
  const a = await cluster.start('a');
  await a.backend.init({ recovery: [one!, two!], threshold: 2 });
  await a.backend.appoint({ key: typo!, operatorKey: first });
  const against = async (operatorKey: string) =>
    await a.backend.revokeOperator(typo!.slice(-8), { reason: 'mistyped', operatorKey });
  t.match(await against(first), { key: typo, votes: 1, needed: 2, effective: false });
  await t.rejects(a.backend.appoint({ key: typo!, operatorKey: second }), { code: 'E_NOT_ALLOWED' });
  for (const what of ['the second vote', 'the same again'])
    t.match(await against(second), { key: typo, votes: 2, needed: 2, effective: true }, what);
  t.notOk((await a.backend.operators()).some(({ key }) => key === typo));
});

t.test('a token that is kept is closed by the first vote: two may cross in a broken network', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const keys = Array.from({ length: 3 }, () => randomBytes(32).toString('hex'));
  const [first, second, third] = keys as [string, string, string];
  const [, , stolen] = keys.map((key) => signerFromSeed(Buffer.from(key, 'hex')).id);
  const a = await cluster.start('a');
  await a.backend.init({
    recovery: keys.map((key) => signerFromSeed(Buffer.from(key, 'hex')).id),
    threshold: 2,
  });
  const { token, id } = await a.backend.createToken({ operatorKey: third, uses: 3 });
  const [b, c, d] = [await cluster.start('b'), await cluster.start('c'), await cluster.start('d')];
  await b.backend.join({ token: (await a.backend.createToken({})).token });
  await c.backend.join({ token });
  await d.backend.join({ token });
  for (const node of [a, b])
    await eventually(`${node.name} sees all`, async () => (await names(node)).length === 4);
  const request = { reason: 'stolen', descendants: true, keep: ['c'] };
  const plan = await a.backend.planRevokeOperator(stolen!, { ...request, operatorKey: first });
  t.match(plan, { effective: false, nodes: { ends: [] }, tokens: { ends: [{ id }] }, open: [] }, 'is told');

  cluster.cut([a], [b, c, d]);
  for (const [node, operatorKey] of [
    [a, first],
    [b, second],
  ] as const) {
    const vote = await node.backend.revokeOperator(stolen!, { ...request, operatorKey });
    t.match(vote, { votes: 1, needed: 2, effective: false });
    t.same(await node.backend.tokens({}), [], 'nobody joins with it');
  }
  cluster.heal([a], [b, c, d]);
  for (const node of [a, b]) {
    await eventually(`${node.name} has both votes`, async () =>
      (await node.backend.operators()).some(({ key, revoked }) => key === stolen && revoked),
    );
    t.same(await node.backend.tokens({}), [], 'nor afterwards');
    await eventually('c stays', async () => (await names(node)).includes('c'));
    t.ok((await names(node)).includes('d'), 'neither vote was the last one');
  }
  t.match(await a.backend.revokeOperator(stolen!, { ...request, operatorKey: first }), { effective: true });
  for (const node of [a, b]) await eventually('d goes', async () => (await names(node)).join() === 'a,b,c');
});

t.test('a vote that waits for another one refuses nobody, and the other one does', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const keys = Array.from({ length: 3 }, () => randomBytes(32).toString('hex'));
  const [first, second, third] = keys as [string, string, string];
  const [one, two, stolen] = keys.map((key) => signerFromSeed(Buffer.from(key, 'hex')).id);
  const a = await cluster.start('a');
  await a.backend.init({ recovery: [one!, two!, stolen!], threshold: 2 });
  const { token, id } = await a.backend.createToken({ operatorKey: third, uses: 2 });
  const [b, c] = [await cluster.start('b'), await cluster.start('c')];
  for (const node of [b, c]) await node.backend.join({ token });
  await eventually('a sees all', async () => (await names(a)).length === 3);
  const request = { reason: 'stolen', descendants: true, keep: ['b'] };

  const asked = { ...request, operatorKey: first };
  const early = await a.backend.planRevokeOperator(stolen!, asked);
  t.same([early.effective, early.nodes.ends, early.open], [false, [], []], 'is told');
  const vote = await a.backend.revokeOperator(stolen!, { ...asked, plan: early.digest });
  t.match(vote, { votes: 1, needed: 2, effective: false });
  t.match(await a.backend.tokens({ all: true }), [{ id, state: 'revoked' }], 'nobody joins with it');
  t.equal((await names(a)).join(), 'a,b,c');
  const acts = () => [...a.cluster!.ledger.machine.ledger.ofKind('revoke')].flatMap(([, all]) => all).length;
  const before = acts();
  await a.backend.revokeOperator(stolen!, asked);
  t.equal(acts(), before, 'the same vote again is no other');

  const last = await a.backend.planRevokeOperator(stolen!, { ...request, operatorKey: second });
  t.match(last, { effective: true, nodes: { ends: [{ name: 'c' }] } }, 'is told');
  await a.backend.revokeOperator(stolen!, { ...request, operatorKey: second, plan: last.digest });
  await eventually('c goes', async () => (await names(a)).join() === 'a,b');
});

t.test('a vote or a cut that counts for nothing is refused, also where others have voted', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const a = await cluster.start('a');
  const [first, second, third, stranger] = ['ab', 'cd', 'ef', '12'].map((byte) => byte.repeat(32));
  const [one, two, three] = [first, second, third].map((seed) => keyOf(seed!));
  await a.backend.init({ recovery: [one!, two!, three!], threshold: 2 });
  const b = await cluster.start('b');
  await b.backend.join({ token: (await a.backend.createToken({})).token });
  await eventually('a sees b', async () => (await names(a)).includes('b'));
  const against = (key: string, operatorKey: string) => a.backend.revokeOperator(key, { operatorKey });
  await against(three!, first!);
  t.match(await against(three!, second!), { effective: true });
  t.match(await against(two!, first!), { votes: 1, effective: false });

  const written = () =>
    [...a.cluster!.ledger.machine.ledger.ofKind('revoke')].flatMap(([, all]) => all).length;
  const before = written();
  const refused = { code: 'E_NOT_ALLOWED' };
  await t.rejects(against(two!, third!), refused, 'who was dismissed by seniors');
  for (const operatorKey of [third!, stranger!]) {
    await t.rejects(a.backend.planRevokeOperator(two!, { operatorKey }), refused);
    await t.rejects(a.backend.planRevokeOperator(three!, { operatorKey }), refused);
  }
  await a.backend.revokeNode('b', {});
  await t.rejects(a.backend.revokeNode(b.id, { since_ms: 0, operatorKey: third! }), refused);
  t.equal(written(), before + 1, 'only what the host itself said');

  const last = a.cluster!.trust.operator!.id;
  const joining = await a.backend.planRevokeOperator(three!, {});
  t.match(
    joining,
    { votes: 3, needed: 2, effective: true, by: { key: last } },
    'a third who may vote is heard besides',
  );
  t.match(joining, { nodes: { ends: [], returns: [] }, operators: { ends: [], returns: [] } });
});

t.test('two junior keys that dismissed all seniors are answered by two of those', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const a = await cluster.start('a');
  const [first, second, third] = ['ab', 'cd', 'ef'].map((byte) => byte.repeat(32));
  const [one, two, three] = [first, second, third].map((seed) => keyOf(seed!));
  await a.backend.init({ recovery: [one!, two!, three!], threshold: 2 });
  const inForce = async () =>
    (await a.backend.operators()).filter(({ revoked }) => !revoked).map(({ key }) => key);
  const own = a.cluster!.trust.operator!.id;
  // The thief is at the first host, and has found the third key there.
  for (const key of [one!, two!])
    for (const given of [{}, { operatorKey: third! }]) await a.backend.revokeOperator(key, given);
  t.same(await inForce(), [three, own]);
  t.match(await a.backend.revokeOperator(three!, { operatorKey: first! }), {
    votes: 1,
    needed: 2,
    effective: false,
  });
  t.match(await a.backend.revokeOperator(three!, { operatorKey: second! }), { votes: 2, effective: true });
  t.same(await inForce(), [one, two, own]);
});

t.test('what a thief signed is void from --since on, also behind a record that it dated back', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const a = await cluster.start('a');
  const [operatorKey, stolen] = ['ab'.repeat(32), 'cd'.repeat(32)] as const;
  const thief = signerFromSeed(Buffer.from(stolen, 'hex'));
  await a.backend.init({ recovery: [keyOf(operatorKey), thief.id] });
  const b = await cluster.start('b');
  await b.backend.join({ token: (await a.backend.createToken({})).token });
  await eventually('a sees b', async () => (await names(a)).includes('b'));
  const { ledger } = a.cluster!;
  const now = a.clock.now();
  const dateBack = async (epoch: number, by_ms: number) => {
    const body = revokeBody({ subject: keyOf('12'.repeat(32)), reason: 'harmless' });
    const known = [{ epoch: epoch - 1 }];
    const { cluster } = ledger.machine;
    const at = now - by_ms;
    const { bytes, seq } = sealAct({
      cluster,
      signer: thief,
      kind: 'revoke',
      body,
      known,
      crypto: nodeCrypto,
      now: at,
    });
    t.equal(await ledger.introduce([bytes]), undefined);
    return seq;
  };
  const HOUR_MS = 3_600_000;
  const last = await dateBack(2 ** 32 - 10, 2 * HOUR_MS);
  await a.backend.revokeNode('b', { operatorKey: stolen });
  t.same(await names(a), ['a']);
  const since = { since_ms: now - HOUR_MS, operatorKey };
  t.match(await a.backend.planRevokeOperator(thief.id, since), {
    epoch: 2 ** 32 - 10,
    last,
    early_count: 0,
    nodes: { returns: [{ name: 'b' }] },
  });
  await dateBack(2 ** 32 - 5, 3 * HOUR_MS);
  t.match(await a.backend.planRevokeOperator(thief.id, since), {
    epoch: 2 ** 32 - 10,
    early_count: 1,
    nodes: { returns: [{ name: 'b' }] },
  });
  await a.backend.revokeOperator(thief.id, since);
  await eventually('b is back', async () => (await names(a)).includes('b'));
});

t.test('a stolen key of an admitter keeps no key from office that was voted for', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [first, second] = ['ab'.repeat(32), 'cd'.repeat(32)] as const;
  const [one, two, next, thief] = [first, second, 'ef'.repeat(32), '12'.repeat(32)].map((seed) =>
    signerFromSeed(Buffer.from(seed, 'hex')),
  );
  const a = await cluster.start('a');
  await a.backend.init({ recovery: [one!.id, two!.id], threshold: 2 });
  const { trust } = a.cluster!;
  const body = { admits: [], notAfter_ms: null, uses: null };
  const roles = ['member' as const, 'admitter' as const];
  const above = { ...body, subject: thief!.id, roles, admits: roles, parent: null };
  const { digest: parent } = await trust.grant(trust.operator!, above);
  await a.backend.appoint({ key: next!.id, operatorKey: first });
  await trust.grant(thief!, { ...body, subject: next!.id, roles: ['member'], parent });
  const vote = async () => await a.backend.appoint({ key: next!.id, operatorKey: second });
  await t.rejects(vote(), { code: 'E_BAD_INPUT', message: new RegExp(`grant by .*${thief!.id.slice(-8)}`) });
  await trust.revocations.revoke({ subject: thief!.id, reason: 'stolen', descendants: true });
  t.match(await vote(), { votes: 2, needed: 2, effective: true });
});
