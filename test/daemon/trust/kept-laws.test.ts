/** Whatever a thief of an admitter's key, and of the tokens that it made, writes before and after: who is kept stays, and nobody else. */
import fc from 'fast-check';
import t from 'tap';
import { found } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { type GrantBody, recordKey } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import { type LedgerRecord, sealRecord } from '../../../protocols/ledger/record.ts';
import { memberGrant, NOW, testSigner } from '../../protocols/ledger/fixtures.ts';
import { ADMITTER } from '../../protocols/trust/facts.ts';
import { deskOf, trustOf } from './trust-of.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const [operator, self] = [testSigner(1), testSigner(2)];
const [eve, bob] = [testSigner(3), testSigner(4)];
/** Tokens that eve made: of one use, of two, and of one that has ended. */
const tokens = [testSigner(5), testSigner(6), testSigner(7)] as const;
/** Let in by each of those, by eve herself, and by bob. */
const hosts = [8, 9, 10, 11, 12].map(testSigner);
const strangers = [13, 14].map(testSigner);
const thieves: readonly Signer[] = [eve, ...tokens, ...strangers];
const subjects = [...thieves, bob, ...hosts];
const ROLES = ['member', 'worker', 'deployer', 'admitter', 'admit'] as const;

function stage() {
  const { genesis, grant } = found({ name: 'shop', operator, node: self.id, crypto: nodeCrypto, now: NOW });
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self] });
  const clock = { ms: NOW };
  const introduce = async (envelopes: readonly Uint8Array[]) => {
    machine.handle({ kind: 'introduce', envelopes }, { now: clock.ms, random: () => 0.5 });
    return undefined;
  };
  const numbers = new Map<string, number>();
  const seal = (signer: Signer, body: GrantBody, at_ms = NOW): LedgerRecord => {
    const seq = (numbers.get(signer.id) ?? 0) + 1;
    numbers.set(signer.id, seq);
    const header = {
      ...{ cluster: genesis.digest, author: signer.id, epoch: 1, seq, hlc: { ms: at_ms, n: 0 } },
      ...{ kind: 'grant', key: recordKey.grant(body.subject, signer.id), generation: 1, context: [] },
    };
    return sealRecord(header, body, signer, nodeCrypto);
  };
  const take = (...records: readonly LedgerRecord[]) => void introduce(records.map(({ bytes }) => bytes));
  const aboveEve = seal(operator, memberGrant(eve.id, ADMITTER));
  const aboveBob = seal(operator, memberGrant(bob.id, ADMITTER));
  const made = tokens.map((token, at) =>
    seal(eve, {
      ...memberGrant(token.id, { roles: ['admit'], admits: ['member', 'worker', 'deployer'] }),
      ...{ parent: aboveEve.digest, uses: at === 1 ? 2 : 1, notAfter_ms: NOW + (at === 2 ? 0 : HOUR_MS) },
    }),
  );
  const parents = [...made, aboveEve, aboveBob];
  const joined = [...tokens, eve, bob].map((signer, at) =>
    seal(signer, memberGrant(hosts[at]!.id, { parent: parents[at]!.digest })),
  );
  take(grant, aboveEve, aboveBob, ...made, ...joined);
  clock.ms += 1_000;
  const trust = trustOf(machine, { self: self.id, genesis, operator }, { introduce, now: () => clock.ms });
  const desk = deskOf(machine, trust, self.id, clock.ms);
  return { machine, desk, seal, take };
}

/** What a token gives a host, or anything. */
const given = fc.oneof(
  fc.record({
    roles: fc.constantFrom(['member'] as const, ['member', 'worker', 'deployer'] as const),
    admits: fc.constant([] as const),
    uses: fc.constant(null),
  }),
  fc.record({
    roles: fc.uniqueArray(fc.constantFrom(...ROLES), { minLength: 1 }),
    admits: fc.uniqueArray(fc.constantFrom(...ROLES)),
    uses: fc.constantFrom(null, 0, 1, 2),
  }),
);

/** One grant of a thief; numbers pick among what there is. */
const theft = fc.record({
  by: fc.nat(thieves.length - 1),
  of: fc.nat(subjects.length - 1),
  parent: fc.nat(),
  given,
  lasts_ms: fc.constantFrom(null, HOUR_MS / 2, HOUR_MS, 2 * DAY_MS),
  earlier_ms: fc.constantFrom(0, 0, HOUR_MS),
  renews: fc.option(fc.nat(), { nil: undefined, freq: 4 }),
});

type Theft = typeof theft extends fc.Arbitrary<infer T> ? T : never;

/** @returns the record, if the thief has a grant to issue it by. */
function steal({ machine, seal }: ReturnType<typeof stage>, act: Theft): LedgerRecord | undefined {
  const by = thieves[act.by]!;
  const all = [...machine.authority.grants(NOW)];
  const own = all.filter(({ subject }) => subject === by.id);
  if (own.length === 0) return undefined;
  const subject = subjects[act.of]!.id;
  const others = all.filter((grant) => grant.subject === subject && grant.renews === null);
  const original = act.renews === undefined ? undefined : others[act.renews % Math.max(1, others.length)];
  const at_ms = NOW - act.earlier_ms;
  return seal(
    by,
    {
      subject,
      roles: [...(original ?? act.given).roles],
      admits: [...(original ?? act.given).admits],
      parent: own[act.parent % own.length]!.digest,
      notAfter_ms: act.lasts_ms === null ? null : at_ms + act.lasts_ms,
      uses: (original ?? act.given).uses,
      ...(original !== undefined && { renews: original.digest }),
    },
    at_ms,
  );
}

const HOST_ROLES = ['deployer', 'member', 'worker'];

t.test('who is kept stays what it was, and nobody is in whom the thief alone let in', async (t) => {
  let tried = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(theft, { maxLength: 14 }),
      fc.array(theft, { maxLength: 14 }),
      fc.subarray([0, 1, 2, 3]),
      async (before, after, named) => {
        const staged = stage();
        const { machine, desk, take } = staged;
        const kept = named.map((at) => hosts[at]!);
        const isWhole = (at_ms: number) =>
          [...kept, hosts[4]!].every(({ id }) =>
            HOST_ROLES.every((role) => roleNames(id, at_ms).includes(role)),
          );
        const roleNames = (id: string, at_ms: number): string[] => [...machine.authority.roles(id, at_ms)];
        for (const act of before) {
          const record = steal(staged, act);
          if (record !== undefined) take(record);
        }
        // With a token's secret it puts itself in the place of others: that is its to do until the theft is noticed.
        fc.pre(isWhole(NOW + 30 * DAY_MS));
        tried += 1;
        const request = { descendants: true, keep: kept.map(({ id }) => id), reason: 'stolen' };
        const plan = desk.planRevokeNode(eve.id, request);
        await desk.revokeNode(eve.id, { ...request, plan: plan.digest });
        const check = (when: string) => {
          for (const at_ms of [NOW + 2_000, NOW + DAY_MS, NOW + 30 * DAY_MS])
            if (!isWhole(at_ms)) throw new Error(`${when}: a kept host lacks a role at ${at_ms - NOW}`);
          for (const { id } of [
            eve,
            ...tokens,
            ...strangers,
            ...hosts.slice(0, 4).filter((host) => !kept.includes(host)),
          ])
            if (machine.authority.isMember(id)) throw new Error(`${when}: ${id} is a member`);
        };
        check('at once');
        for (const act of after) {
          const record = steal(staged, act);
          if (record !== undefined) take(record);
        }
        check('afterwards');
      },
    ),
    { numRuns: 400 },
  );
  t.ok(tried > 100, `${tried} were whole when it was noticed`);
});
