/** What a key had revoked rightly stays revoked when the key is, with all that it granted. */
import t from 'tap';
import { found } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { type GrantBody, KEEPS_MAX, type RevokeBody, recordKey } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { type LedgerRecord, sealRecord } from '../../../protocols/ledger/record.ts';
import { operatorGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import { memberGrant, NOW, sealedAct, testSeed, testSigner } from '../../protocols/ledger/fixtures.ts';
import { ADMITTER } from '../../protocols/trust/facts.ts';
import { deskOf, trustOf } from './trust-of.ts';

const RECOVERY = 1;
/** Senior as well, where it takes two. */
const SECOND = 8;
const [recovery, second, operator, self, eve, pat, bad, good] = [RECOVERY, SECOND, 2, 3, 4, 5, 6, 7].map(
  testSigner,
) as [Signer, Signer, Signer, Signer, Signer, Signer, Signer, Signer];

/** op -> eve (admitter) -> pat (admitter) -> bad and good. */
function stage(threshold = 1) {
  const seniors = [recovery, second].slice(0, threshold).map(({ id }) => id);
  const founding = { name: 'shop', operator, seniors, threshold, node: self.id };
  const { genesis, grant } = found({ ...founding, crypto: nodeCrypto, now: NOW });
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self] });
  const introduce = async (envelopes: readonly Uint8Array[]) => {
    machine.handle({ kind: 'introduce', envelopes }, { now: NOW + 1_000, random: () => 0.5 });
    return undefined;
  };
  let seq = 2;
  const seal = (
    signer: Signer,
    kind: 'grant' | 'revoke',
    body: GrantBody | RevokeBody,
    epoch = 2,
    ms = NOW,
  ) => {
    seq += 1;
    return sealedAct(genesis.digest, signer, kind, body, { epoch, seq, ms });
  };
  const take = (...records: readonly { readonly bytes: Uint8Array }[]) =>
    void introduce(records.map(({ bytes }) => bytes));
  const above = seal(operator, 'grant', memberGrant(eve.id, ADMITTER));
  const abovePat = seal(eve, 'grant', { ...memberGrant(pat.id, ADMITTER), parent: above.digest });
  const hosts = [bad, good].map((host) =>
    seal(pat, 'grant', memberGrant(host.id, { parent: abovePat.digest })),
  );
  take(grant, above, abovePat, ...hosts);
  const now = () => NOW + 1_000;
  const trust = trustOf(machine, { self: self.id, genesis, operator }, { introduce, now });
  const desk = deskOf(machine, trust, self.id, now());
  const isMember = ({ id }: Signer) => machine.authority.isMember(id);
  const revokes = (by: Signer, subject: Signer, epoch?: number, ms?: number) =>
    take(seal(by, 'revoke', revokeBody({ subject: subject.id, reason: 'mine' }), epoch, ms));
  return { genesis, machine, desk, seal, take, isMember, revokes };
}

t.test('whom an admitter had sent away stays out when its own key goes with its descendants', async (t) => {
  const { machine, desk, isMember, revokes } = stage();
  revokes(eve, bad);
  const request = { descendants: true, keep: [pat.id, good.id] };
  const plan = desk.planRevokeNode(eve.id, request);
  t.same(plan.nodes.returns, []);
  await desk.revokeNode(eve.id, request);
  const all = () => [eve, pat, bad, good].map(isMember);
  t.same(all(), [false, true, false, true]);
  revokes(eve, good, 1);
  t.same(all(), [false, true, false, true], 'and what it signs under old numbers is for nothing');
  const { length } = [...machine.authority.revocations()];
  await desk.revokeNode(eve.id, request);
  t.equal([...machine.authority.revocations()].length, length, 'the same is not written again');
});

t.test('whom it had sent away, and who is named, is back', async (t) => {
  const { desk, isMember, revokes } = stage();
  revokes(eve, good);
  const request = { descendants: true, keep: [pat.id, good.id] };
  const plan = desk.planRevokeNode(eve.id, request);
  t.match(plan.nodes.returns, [{ key: good.id }]);
  await desk.revokeNode(eve.id, request);
  t.ok(isMember(good));
});

t.test('what an operator had revoked stays so when it is dismissed with its descendants', async (t) => {
  const { desk, isMember, revokes } = stage();
  revokes(operator, bad);
  const request = {
    ...{ descendants: true, keep: [self.id, eve.id] },
    operatorKey: testSeed(RECOVERY).toString('hex'),
  };
  const plan = desk.planRevokeOperator(operator.id, request);
  t.same(plan.nodes.returns, []);
  await desk.revokeOperator(operator.id, request);
  const all = () => [self, eve, pat, bad, good].map(isMember);
  t.same(all(), [true, true, true, false, true]);
  revokes(operator, good, 1);
  t.same(all(), [true, true, true, false, true]);
});

t.test(
  'whom others let in, and its thief has sent away, is back when named, and shown when not',
  async (t) => {
    const staged = () => {
      const { desk, seal, take, isMember, revokes } = stage();
      const host = testSigner(9);
      take(seal(recovery, 'grant', memberGrant(host.id)));
      // By number and stamp from before the theft.
      revokes(operator, host, 1);
      const request = {
        ...{ descendants: true, since_ms: NOW + 100, operatorKey: testSeed(RECOVERY).toString('hex') },
        keep: [self.id, eve.id],
      };
      return { desk, request, host, is: () => isMember(host) };
    };
    const { desk, request, host, is } = staged();
    t.notOk(is());
    const told = (plan: ReturnType<typeof desk.planRevokeOperator>) =>
      [plan.sentAway, plan.nodes.returns, plan.lacking].map((hosts) => hosts.map(({ key }) => key));
    const named = { ...request, keep: [...request.keep, host.id] };
    const plan = desk.planRevokeOperator(operator.id, named);
    t.same(told(plan), [[], [host.id], []]);
    t.same(told(desk.planRevokeOperator(operator.id, { ...named, descendants: false })), [[], [], [host.id]]);
    t.same(told(desk.planRevokeOperator(operator.id, { ...request, keepAll: true })), [[host.id], [], []]);
    await desk.revokeOperator(operator.id, { ...named, plan: plan.digest });
    t.ok(is());
    const again = { descendants: true, keep: [host.id], operatorKey: request.operatorKey };
    t.throws(() => desk.planRevokeNode(eve.id, again), { code: 'E_BAD_INPUT', message: /stays anyway/ });
    const other = staged();
    t.same(told(other.desk.planRevokeOperator(operator.id, request)), [[host.id], [], []]);
    await other.desk.revokeOperator(operator.id, request);
    t.notOk(other.is());
  },
);

t.test('whom it had appointed is dismissed with it, and stays when named', async (t) => {
  const { machine, desk, take, seal } = stage();
  take(seal(operator, 'grant', operatorGrant(good.id)));
  const request = { descendants: true, operatorKey: testSeed(RECOVERY).toString('hex') };
  const named = desk.planRevokeOperator(operator.id, { ...request, keep: [good.id] });
  const ends = (plan: typeof named) => plan.operators.ends.map((each) => each.key);
  t.same(ends(named), [operator.id]);
  t.same(ends(desk.planRevokeOperator(operator.id, { ...request, keepAll: true })), [operator.id]);
  t.same(ends(desk.planRevokeOperator(operator.id, request)).sort(), [operator.id, good.id].sort());
  await desk.revokeOperator(operator.id, { ...request, keep: [good.id] });
  t.same(
    machine.authority.operators().map(({ inForce }) => inForce),
    [true, false, true],
  );
});

t.test('nor is an admitter back by which a host was let in that stays', async (t) => {
  const { desk, isMember } = stage();
  await desk.revokeNode(eve.id, { descendants: true, keep: [pat.id] });
  const request = {
    ...{ descendants: true, keep: [self.id, pat.id, good.id] },
    operatorKey: testSeed(RECOVERY).toString('hex'),
  };
  const before = [self, eve, pat, bad, good].map(isMember);
  t.match(desk.planRevokeOperator(operator.id, request).nodes, { ends_count: 0, returns_count: 0 });
  await desk.revokeOperator(operator.id, request);
  t.same([self, eve, pat, bad, good].map(isMember), before);
});

for (const votes of [1, 2])
  t.test(`whom its thief has sent away stays with all that are kept; votes: ${votes}`, async (t) => {
    const { genesis, desk, seal, take, isMember, revokes } = stage(votes);
    const host = testSigner(9);
    const hosts = [self, eve, pat, bad, host];
    const letIn = seal(operator, 'grant', memberGrant(host.id));
    take(letIn);
    for (const signer of hosts) {
      const header = { cluster: genesis.digest, author: signer.id, epoch: 1, seq: 1, hlc: { ms: NOW, n: 0 } };
      const place = { kind: 'member', key: recordKey.member(signer.id), generation: 1, context: [] };
      take(sealRecord({ ...header, ...place }, { name: signer.id }, signer, nodeCrypto));
    }
    revokes(operator, bad);
    const theft_ms = NOW + 500;
    revokes(operator, host, undefined, theft_ms);
    const all = () => hosts.map(isMember);
    t.same(all(), [true, true, true, false, false]);
    const request = { descendants: true, keepAll: true, since_ms: theft_ms - 1 };
    for (const seed of [RECOVERY, SECOND].slice(0, votes)) {
      const voting = { ...request, operatorKey: testSeed(seed).toString('hex') };
      const { nodes, digest, effective, keeps } = desk.planRevokeOperator(operator.id, voting);
      t.ok(keeps.includes(letIn.digest), 'each vote names it: two may cross in a broken network');
      const isLast = seed === [RECOVERY, SECOND][votes - 1];
      t.equal(effective, isLast);
      t.same(
        nodes.returns.map(({ key }) => key),
        isLast ? [host.id] : [],
      );
      await desk.revokeOperator(operator.id, { ...voting, plan: digest });
    }
    t.same(all(), [true, true, true, false, true]);
  });

for (const votes of [1, 2])
  t.test(
    `what it had revoked rightly stays so whatever keys of nobody its thief revoked; votes: ${votes}`,
    async (t) => {
      const { genesis, machine, seal, revokes } = stage(votes);
      revokes(operator, bad);
      const written = [...machine.ledger.records()].filter(({ kind }) => kind !== 'genesis');
      const isRightful = ({ kind, body }: LedgerRecord) =>
        kind === 'revoke' && (body as RevokeBody).subject === bad.id;
      const junk = Array.from({ length: KEEPS_MAX + 1 }, (_, at) => {
        const subject = `12D3KooW${String(at).padStart(44, 'x')}`;
        return seal(operator, 'revoke', revokeBody({ subject, reason: 'mine' }));
      });
      const request = {
        ...{ descendants: true, keep: [self.id, eve.id] },
        operatorKey: testSeed(RECOVERY).toString('hex'),
      };
      const named = [];
      // After a restart they come in any order.
      for (const records of [
        [...written, ...junk],
        [
          ...junk.toReversed(),
          ...written.filter((record) => !isRightful(record)),
          ...written.filter(isRightful),
        ],
      ]) {
        const stored = { records, streams: [] };
        const here = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self], stored });
        const trust = trustOf(here, { self: self.id, genesis }, { now: () => NOW + 1_000 });
        const plan = deskOf(here, trust, self.id, NOW + 1_000).planRevokeOperator(operator.id, request);
        t.equal(plan.needed, votes);
        t.same(plan.nodes.returns, []);
        t.ok(plan.keeps.includes(written.find(isRightful)!.digest));
        named.push(plan.keeps);
      }
      t.equal(named[0]!.length, KEEPS_MAX);
      t.same(named[0], named[1], 'the same are named in whatever order they came');
    },
  );
