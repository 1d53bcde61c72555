/** Hosts that stay when the key that let them in is revoked: many of them, at the cost of one look at all grants. */
import t from 'tap';
import { sealAct } from '../../../daemon/admission.ts';
import { PLAN_LISTED_MAX } from '../../../daemon/api/trust-schemas.ts';
import { nodeCrypto, signerFromSeed } from '../../../daemon/crypto.ts';
import { ShoalError } from '../../../protocols/base/errors.ts';
import { KEEPS_MAX } from '../../../protocols/base/records.ts';
import { eventually } from '../node/eventually.ts';
import { MemoryCluster } from '../node/memory-cluster.ts';

t.setTimeout(120_000);

/** A key of its own for each number. */
function signerOf(number: number) {
  const seed = new Uint8Array(32).fill(7);
  new DataView(seed.buffer).setUint32(0, number);
  return signerFromSeed(seed);
}

t.test('as many hosts as a revocation can name are kept, and one more is refused by name', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const [a, b] = await cluster.grow('a', 'b');
  const { trust, ledger } = a!.cluster!;
  const { authority } = ledger.machine;
  const host = { roles: ['member' as const], admits: [], notAfter_ms: null, uses: null };
  const admitter = signerOf(0);
  const above = await trust.grant(trust.operator!, {
    ...host,
    subject: admitter.id,
    roles: ['member', 'admitter'],
    admits: ['member'],
    parent: null,
  });
  const now = a!.clock.now();
  const grants = Array.from({ length: KEEPS_MAX + 1 }, (_, at) =>
    sealAct({
      cluster: ledger.machine.cluster,
      signer: admitter,
      kind: 'grant',
      body: { ...host, subject: signerOf(at + 1).id, parent: above.digest },
      known: [{ epoch: 2 ** 31 + at }],
      crypto: nodeCrypto,
      now,
    }),
  );
  t.equal(await ledger.introduce(grants.map(({ bytes }) => bytes)), undefined);
  const ids = grants.map((_, at) => signerOf(at + 1).id);
  t.ok(ids.every((id) => authority.isMember(id)));

  const list = authority.grants.bind(authority);
  let lists = 0;
  authority.grants = (at) => {
    lists += 1;
    return list(at);
  };
  const cost = async (keep: string[]) => {
    lists = 0;
    const plan = await a!.backend.planRevokeNode(admitter.id, { descendants: true, keep });
    t.equal(plan.keeps.length, keep.length);
    t.equal(plan.nodes.ends_count, grants.length - keep.length + 1, 'all others, and the admitter');
    t.equal(plan.nodes.ends.length, Math.min(plan.nodes.ends_count, PLAN_LISTED_MAX));
    return lists;
  };
  t.equal(await cost(ids.slice(0, KEEPS_MAX)), await cost(ids.slice(0, 1)), 'all grants are listed as often');

  await t.rejects(a!.backend.planRevokeNode(admitter.id, { descendants: true, keep: ids }), {
    code: 'E_BAD_INPUT',
    message: new RegExp(`at most ${KEEPS_MAX} .* Without --descendants`),
    detail: { field: 'keep' },
  });
  const done = await a!.backend.revokeNode(admitter.id, { descendants: true, keep: ids.slice(0, KEEPS_MAX) });
  t.match(done, { effective: true });
  for (const node of [a!, b!]) {
    const { authority: theirs } = node.cluster!.ledger.machine;
    await eventually(`${node.name} knows it`, () => theirs.isRevoked(admitter.id));
    t.equal(ids.filter((id) => theirs.isMember(id)).length, KEEPS_MAX, `as ${node.name} sees it`);
  }
});

t.test('a key is revoked and the tokens that are kept are closed at once, or nothing is', async (t) => {
  const cluster = await MemoryCluster.create(t);
  const a = await cluster.start('a');
  await a.backend.init({});
  const { trust, ledger } = a.cluster!;
  const { authority } = ledger.machine;
  const admitter = signerOf(0);
  const roles = ['member' as const, 'admitter' as const];
  const admits = ['member' as const, 'admit' as const];
  const life = { notAfter_ms: null, uses: null };
  const body = { subject: admitter.id, roles, admits, parent: null, ...life };
  const { digest: above } = await trust.grant(trust.operator!, body);
  const until_ms = a.clock.now() + 600_000;
  const token = { roles: ['admit' as const], admits: ['member' as const], notAfter_ms: until_ms, uses: 2 };
  const made = await trust.grant(admitter, { ...token, subject: signerOf(1).id, parent: above });
  await trust.grant(signerOf(1), {
    ...{ subject: signerOf(2).id, roles: ['member'], admits: [], parent: made.digest },
    ...life,
  });

  const introduce = ledger.introduce.bind(ledger);
  let calls = 0;
  ledger.introduce = async (envelopes) => {
    calls += 1;
    if (calls === 1) throw new ShoalError('E_DISK_FULL', 'no space left; nothing was changed');
    return await introduce(envelopes);
  };
  const revoke = () =>
    a.backend.revokeNode(admitter.id, { descendants: true, keep: [signerOf(2).id], reason: 'stolen' });
  await t.rejects(revoke(), { code: 'E_DISK_FULL', message: /^no space left/ });
  t.notOk(authority.isRevoked(admitter.id));
  t.match(await revoke(), { effective: true, key: admitter.id });
  t.equal(calls, 2, 'in one transaction');
  t.same(await a.backend.tokens({}), []);
  t.ok(authority.isMember(signerOf(2).id));
  t.equal([...authority.revocations()].length, 2);
});
