/** Whatever a thief of the first host's operator key does: the recovery key undoes it, who is kept stays, and nobody else. */
import t from 'tap';
import { found } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import type { GrantBody, RevokeBody } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { operatorGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import fc from '../../laws.ts';
import { memberGrant, NOW, sealedAct, testSeed, testSigner } from '../../protocols/ledger/fixtures.ts';
import { deskOf, trustOf } from './trust-of.ts';

const DAY_MS = 86_400_000;
const RECOVERY = 1;
const [recovery, operator, self] = [RECOVERY, 2, 3].map(testSigner) as [Signer, Signer, Signer];
/** Made with the operator's key: of one use, and of two. */
const tokens: readonly Signer[] = [testSigner(4), testSigner(5)];
/** The first joined with each of them, the last was let in by the operator. */
const hosts = [6, 7, 8].map(testSigner);
const puppets = [9, 10].map(testSigner);
const thieves: readonly Signer[] = [operator, operator, ...puppets, ...tokens];
/** Let in by the recovery key. */
const other = testSigner(11);
/** Appointed by the operator. */
const deputy = testSigner(12);
const subjects = [recovery, operator, self, other, deputy, ...tokens, ...hosts, ...puppets];
const HOST_ROLES = ['member', 'worker', 'deployer'] as const;
const THEFT_MS = NOW + 1_000;
const EPOCH = 2;
/** Of which nobody but a thief uses numbers. */
const EPOCH_UNUSED = 1;
const NOTICED_MS = NOW + 20_000;

function stage() {
  const founding = { name: 'shop', operator, seniors: [recovery.id], node: self.id };
  const { genesis, grant } = found({ ...founding, crypto: nodeCrypto, now: NOW });
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self] });
  const introduce = async (envelopes: readonly Uint8Array[]) => {
    machine.handle({ kind: 'introduce', envelopes }, { now: NOTICED_MS, random: () => 0.5 });
    return undefined;
  };
  const numbers = new Map<string, number>();
  const seal = (
    signer: Signer,
    kind: 'grant' | 'revoke',
    body: GrantBody | RevokeBody,
    at_ms = NOW,
    isOld = false,
  ) => {
    const epoch = isOld ? EPOCH_UNUSED : EPOCH;
    const seq = (numbers.get(`${signer.id} ${epoch}`) ?? 0) + 1;
    numbers.set(`${signer.id} ${epoch}`, seq);
    return sealedAct(genesis.digest, signer, kind, body, { epoch, seq, ms: at_ms });
  };
  const take = (...records: readonly LedgerRecord[]) => void introduce(records.map(({ bytes }) => bytes));
  const made = tokens.map((token, at) =>
    seal(
      operator,
      'grant',
      memberGrant(token.id, { roles: ['admit'], admits: [...HOST_ROLES], uses: at + 1 }),
    ),
  );
  const joined = hosts.map((host, at) =>
    seal(tokens[at] ?? operator, 'grant', memberGrant(host.id, { parent: made[at]?.digest ?? null })),
  );
  take(grant, ...made, ...joined, seal(recovery, 'grant', memberGrant(other.id)));
  const trust = trustOf(machine, { self: hosts[0]!.id, genesis }, { introduce, now: () => NOTICED_MS });
  const desk = deskOf(machine, trust, hosts[0]!.id, NOTICED_MS);
  return { machine, desk, seal, take };
}

const crime = fc.record({
  what: fc.constantFrom('grant', 'grant', 'revoke', 'appoint'),
  by: fc.nat(thieves.length - 1),
  of: fc.nat(subjects.length - 1),
  roles: fc.constantFrom<GrantBody['roles'][]>(
    ['member'],
    ['admit'],
    [...HOST_ROLES],
    ['member', 'admitter'],
  ),
  parent: fc.nat(),
  lasts_ms: fc.constantFrom(null, null, 3_600_000),
  uses: fc.constantFrom(null, 0, 1, 2),
  descendants: fc.boolean(),
  after_ms: fc.integer({ min: 0, max: 10_000 }),
  /** Afterwards, and of revocations: under a number that was never used, with a stamp of long before, or of long after. */
  old: fc.constantFrom(undefined, 'stamp', 'number'),
});
type Crime = typeof crime extends fc.Arbitrary<infer T> ? T : never;

function commit({ machine, seal }: ReturnType<typeof stage>, act: Crime, isLate = false) {
  const by = thieves[act.by]!;
  const subject = subjects[act.of]!.id;
  const old = isLate ? act.old : undefined;
  const at_ms =
    (old === undefined ? THEFT_MS : old === 'stamp' ? NOW - DAY_MS : NOTICED_MS + DAY_MS) + act.after_ms;
  const sealed = (kind: 'grant' | 'revoke', body: GrantBody | RevokeBody) =>
    seal(by, kind, body, at_ms, old !== undefined);
  if (act.what === 'appoint') return sealed('grant', operatorGrant(subject));
  if (act.what === 'revoke')
    return sealed('revoke', revokeBody({ subject, reason: 'mine', descendants: act.descendants }));
  const own = [...machine.authority.grants(NOW)].filter((grant) => grant.subject === by.id);
  const parent = by === operator || own.length === 0 ? undefined : own[act.parent % own.length]!.digest;
  const handsOn = act.roles.some((role) => role.startsWith('admit'));
  const body = memberGrant(subject, {
    roles: [...act.roles],
    admits: handsOn ? [...HOST_ROLES, 'admit'] : [],
  });
  const notAfter_ms = act.lasts_ms === null ? null : at_ms + act.lasts_ms;
  return sealed('grant', { ...body, uses: act.uses, notAfter_ms, parent: parent ?? null });
}

t.test('the recovery key has the last word, and those whom it keeps are what they were', async (t) => {
  let [refused, appointed] = [0, 0];
  await fc.assert(
    fc.asyncProperty(
      fc.array(crime, { maxLength: 14 }),
      fc.array(crime, { maxLength: 10 }),
      fc.subarray([0, 1, 2]),
      fc.boolean(),
      async (before, after, named, isLate) => {
        const staged = stage();
        const { machine, desk, take, seal } = staged;
        const { authority } = machine;
        const kept = [self, ...named.map((at) => hosts[at]!)];
        take(seal(operator, 'grant', operatorGrant(deputy.id), isLate ? THEFT_MS : NOW));
        for (const act of before) {
          // In the place of who joined with a token its thief puts others: that is done until it is noticed.
          if (act.what === 'grant' && tokens.includes(thieves[act.by]!)) continue;
          // That it revoked somebody before the theft may be a lie. Of a token nobody can tell, and its hosts have what stands.
          const isOld = act.what === 'revoke' && !tokens.includes(subjects[act.of]!);
          const record = commit(staged, act, isOld);
          if (record !== undefined) take(record);
        }
        if (!authority.isMember(other.id)) kept.push(other);
        if (kept.some(({ id }) => !authority.isMember(id))) refused += 1;
        const isInForce = authority.operators().some(({ key, inForce }) => key === deputy.id && inForce);
        // Also where the vote came after the cut, and the thief has let its key in as a host.
        const ruling = isInForce ? [recovery, deputy] : [recovery];
        appointed += ruling.length - 1;
        const keep = [...kept, ...ruling.slice(1)].map(({ id }) => id);
        const request = {
          ...{ descendants: true, keep, reason: 'stolen' },
          ...{ since_ms: THEFT_MS - 1, operatorKey: testSeed(RECOVERY).toString('hex') },
        };
        const plan = desk.planRevokeOperator(operator.id, request);
        // Where a host has no other way in than by one that the thief let in, people are told of that, and may refuse.
        fc.pre(plan.unnamed.length === 0);
        await desk.revokeOperator(operator.id, { ...request, plan: plan.digest });
        const check = (when: string) => {
          for (const { id } of [...kept, other])
            for (const at_ms of [NOTICED_MS, NOTICED_MS + 30 * DAY_MS])
              for (const role of HOST_ROLES)
                if (!authority.roles(id, at_ms).has(role))
                  throw new Error(`${when}: a kept host is no ${role} at ${at_ms - NOW}`);
          const gone = [operator, ...tokens, ...puppets, ...hosts.filter((host) => !kept.includes(host))];
          for (const { id } of gone)
            if (authority.isMember(id))
              throw new Error(`${when}: member ${subjects.findIndex((k) => k.id === id)}`);
          const inForce = authority.operators().filter((each) => each.inForce);
          if (inForce.length !== ruling.length || inForce.some(({ key }, at) => key !== ruling[at]!.id))
            throw new Error(`${when}: ${inForce.length} operators`);
        };
        check('at once');
        for (const act of after) {
          const record = commit(staged, act, true);
          if (record !== undefined) take(record);
        }
        check('afterwards');
      },
    ),
    { numRuns: Number(process.env['RUNS'] ?? 300) },
  );
  t.ok(refused > 20, `${refused} times a kept host had been refused`);
  t.ok(appointed > 20, `${appointed} times an operator was kept`);
});
