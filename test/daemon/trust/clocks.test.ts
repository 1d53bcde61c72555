/** Revocations and votes at a host whose clock is wrong. */
import t from 'tap';
import { found } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { KeyId } from '../../../protocols/base/ids.ts';
import { type GrantBody, KEEPS_MAX, type RevokeBody } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { revokeBody } from '../../../protocols/trust/acts.ts';
import {
  memberGrant,
  NOW,
  rejections,
  sealedAct,
  testSeed,
  testSigner,
  write,
} from '../../protocols/ledger/fixtures.ts';
import { ADMITTER } from '../../protocols/trust/facts.ts';
import { deskOf, trustOf } from './trust-of.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const RECOVERY = 6;
const [operator, self, host, recovery] = [testSigner(1), testSigner(2), testSigner(3), testSigner(RECOVERY)];

/** A host with the operator's key and a clock, and what another one holds. @param seniors of the operator. */
function stage(seniors: readonly KeyId[] = []) {
  const founding = { name: 'shop', operator, seniors, node: self.id };
  const { genesis, grant } = found({ ...founding, crypto: nodeCrypto, now: NOW });
  const clock = { now: NOW };
  const machineOf = (signer: typeof self) =>
    new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer] });
  const [machine, theirs] = [machineOf(self), machineOf(host)];
  const introduce = (to: LedgerMachine, envelopes: readonly Uint8Array[], at_ms: number, now_ms = at_ms) =>
    rejections(to.handle({ kind: 'introduce', envelopes, now_ms }, { now: at_ms, random: () => 0.5 }));
  const trust = trustOf(
    machine,
    { self: self.id, genesis, operator },
    {
      introduce: async (envelopes, now_ms) => introduce(machine, envelopes, clock.now, now_ms)[0],
      now: () => clock.now,
    },
  );
  const told = (from: LedgerMachine, kind: string) =>
    [...from.ledger.ofKind(kind)].flatMap(([, records]): readonly LedgerRecord[] => records);
  /** What the other refuses at this time. */
  const tell = (kind: string, at_ms: number) =>
    introduce(
      theirs,
      told(machine, kind).map(({ bytes }) => bytes),
      at_ms,
    );
  return { genesis, clock, machine, theirs, trust, told, tell, grant, introduce };
}

async function withHost(...seniors: readonly KeyId[]) {
  const all = stage(seniors);
  all.introduce(all.machine, [all.grant.bytes], NOW);
  await all.trust.grant(operator, memberGrant(host.id));
  all.tell('grant', NOW);
  return all;
}

t.test(
  'what a host wrote up to the cut counts, also where the clock of who revokes it is behind',
  async (t) => {
    const { clock, machine, theirs, trust, told, tell, introduce } = await withHost();
    const workload = write(theirs, host.id, 'workload', 'default/web', {}, NOW + DAY_MS);
    introduce(machine, [workload.bytes], NOW + DAY_MS);
    clock.now = NOW + HOUR_MS;
    const desk = deskOf(machine, trust, self.id, clock.now);
    const { ends_count } = desk.planRevokeNode(host.id, {}).records;
    await desk.removeNode(host.id, { force: true });
    t.equal(ends_count, 0, 'none is told to go');
    t.ok(machine.authority.counts(workload));
    t.notOk(machine.authority.isMember(host.id));
    t.same(tell('revoke', NOW + DAY_MS), [], 'and others take it in');
    t.equal(told(theirs, 'revoke').length, 1);
    await trust.revocations.revoke({ subject: host.id, reason: 'node removed' });
    t.equal(told(machine, 'revoke').length, 1, 'said once');
  },
);

t.test(
  'what was said by a clock that was ahead is said again once that is right, and then no more',
  async (t) => {
    const { clock, machine, theirs, trust, told, tell } = await withHost();
    const revoke = () => trust.revocations.revoke({ subject: host.id, reason: 'stolen' });
    clock.now = NOW + 3 * HOUR_MS;
    await revoke();
    await trust.appoint(testSigner(9).id);
    clock.now = NOW + 1000;
    t.same(tell('revoke', clock.now), ['from-the-future']);
    await revoke();
    await trust.appoint(testSigner(9).id);
    for (const kind of ['revoke', 'grant']) tell(kind, clock.now);
    t.notOk(theirs.authority.isMember(host.id));
    t.equal(theirs.authority.operators().length, 2);
    const before = machine.ledger.size;
    await revoke();
    await trust.appoint(testSigner(9).id);
    t.equal(machine.ledger.size, before);
    t.equal(told(machine, 'revoke').length, 2);
  },
);

t.test('one that wrote into the future while the clock was ahead is revoked now all the same', async (t) => {
  const { genesis, clock, machine, trust, told, tell, theirs, introduce } = await withHost();
  const late = NOW + 30 * DAY_MS;
  const workload = write(theirs, host.id, 'workload', 'default/web', {}, late);
  introduce(machine, [workload.bytes], late);
  clock.now = NOW + HOUR_MS;
  await trust.revocations.revoke({ subject: host.id, reason: 'stolen' });
  t.same(tell('revoke', clock.now), [], 'others take it in');
  // As far as others are it is the clock that is wrong.
  const [other, third] = [testSigner(4), testSigner(5)];
  for (const { id } of [other, third]) await trust.grant(operator, memberGrant(id));
  const machines = [other, third].map((signer) => {
    const of = new LedgerMachine({
      genesis,
      crypto: nodeCrypto,
      signers: [signer],
    });
    introduce(
      of,
      told(machine, 'grant').map(({ bytes }) => bytes),
      late,
    );
    return of;
  });
  const written = machines.map((of, at) =>
    write(of, [other, third][at]!.id, 'workload', `default/w${at}`, {}, late),
  );
  introduce(
    machine,
    written.map(({ bytes }) => bytes),
    late,
  );
  await trust.revocations.revoke({ subject: third.id, reason: 'removed' });
  t.ok(machine.authority.counts(written[1]!));
  t.notOk(machine.authority.isMember(third.id));
});

for (const behind_ms of [HOUR_MS, 1_000 * DAY_MS])
  t.test(
    `what a key had said before it goes counts, where the clock is behind by ${behind_ms / HOUR_MS} h`,
    async (t) => {
      const appointed = testSigner(7);
      for (const request of [
        {},
        { descendants: true, keep: [self.id, appointed.id] },
        { keep: [self.id] },
        { since_ms: NOW + DAY_MS },
      ]) {
        const { clock, machine, theirs, trust, told, tell } = await withHost(recovery.id);
        clock.now = NOW + DAY_MS;
        await trust.revocations.revoke({ subject: host.id, reason: 'stolen' });
        await trust.appoint(appointed.id);
        for (const kind of ['grant', 'revoke']) tell(kind, clock.now);
        clock.now -= behind_ms;
        const desk = deskOf(machine, trust, self.id, clock.now);
        const signed = { ...request, operatorKey: testSeed(RECOVERY).toString('hex') };
        const plan = desk.planRevokeOperator(operator.id, signed);
        t.match(plan, { nodes: { returns_count: 0 }, operators: { ends_count: 1 } });
        await desk.revokeOperator(operator.id, { ...signed, plan: plan.digest });
        t.same(tell('revoke', NOW + DAY_MS), [], 'and others take it in');
        for (const { authority } of [machine, theirs]) {
          t.notOk(authority.isMember(host.id));
          t.ok(authority.isMember(self.id));
          t.same(
            authority.operators().map(({ inForce }) => inForce),
            [true, false, true],
          );
        }
        const { length } = told(machine, 'revoke');
        await desk.revokeOperator(operator.id, signed);
        t.equal(told(machine, 'revoke').length, length, 'said once');
      }
    },
  );

t.test('so does what an admitter had said before it is removed', async (t) => {
  const { clock, machine, genesis, grant, trust, introduce } = stage();
  introduce(machine, [grant.bytes], NOW);
  const other = testSigner(8);
  const above = await trust.grant(operator, memberGrant(host.id, ADMITTER));
  const say = (kind: 'grant' | 'revoke', body: GrantBody | RevokeBody, seq: number, ms: number) =>
    introduce(machine, [sealedAct(genesis.digest, host, kind, body, { epoch: 2, seq, ms }).bytes], ms);
  say('grant', memberGrant(other.id, { parent: above.digest }), 1, NOW);
  say('revoke', revokeBody({ subject: other.id, reason: 'stolen' }), 2, NOW + HOUR_MS);
  clock.now = NOW + 1_000;
  await deskOf(machine, trust, self.id, clock.now).removeNode(host.id, { force: true });
  t.notOk(machine.authority.isMember(host.id));
  t.notOk(machine.authority.isMember(other.id));
});

t.test('of more than a revocation can name the rightful ones are named', async (t) => {
  const appointed = testSigner(7);
  const { clock, machine, genesis, trust, introduce } = await withHost(recovery.id);
  clock.now = NOW + DAY_MS;
  const junk = Array.from({ length: KEEPS_MAX + 1 }, (_, at) => {
    const subject = `12D3KooW${String(at).padStart(44, 'x')}`;
    const place = { epoch: 2, seq: at + 10, ms: clock.now };
    return sealedAct(genesis.digest, operator, 'revoke', revokeBody({ subject, reason: 'mine' }), place)
      .bytes;
  });
  for (let at = 0; at < junk.length; at += 100) introduce(machine, junk.slice(at, at + 100), clock.now);
  await trust.revocations.revoke({ subject: host.id, reason: 'stolen' });
  await trust.appoint(appointed.id);
  clock.now -= HOUR_MS;
  const desk = deskOf(machine, trust, self.id, clock.now);
  const signed = { operatorKey: testSeed(RECOVERY).toString('hex'), keep: [self.id] };
  t.equal(desk.planRevokeOperator(operator.id, signed).keeps.length, KEEPS_MAX);
  await desk.revokeOperator(operator.id, signed);
  t.notOk(machine.authority.isMember(host.id));
  t.ok(machine.authority.operators().at(-1)!.inForce);
});
