/**
 * Whatever a thief of an admitter's key, and of the tokens that it made, writes before and after: who is kept stays, and
 * nobody else; and nothing that it writes after changes what anybody is.
 */
import t from 'tap';
import { found } from '../../../daemon/admission.ts';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import { ShoalError } from '../../../protocols/base/errors.ts';
import type { GrantBody, RevokeBody } from '../../../protocols/base/records.ts';
import { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { revokeBody } from '../../../protocols/trust/acts.ts';
import fc from '../../laws.ts';
import { memberGrant, NOW, sealedAct, testSigner } from '../../protocols/ledger/fixtures.ts';
import { ADMITTER } from '../../protocols/trust/facts.ts';
import { deskOf, trustOf } from './trust-of.ts';

t.setTimeout(120_000);

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const [operator, self] = [testSigner(1), testSigner(2)];
const [eve, bob] = [testSigner(3), testSigner(4)];
/** Tokens that eve made: of one use, of two, and of one that has ended. With all but the first admitters are let in. */
const tokens = [testSigner(5), testSigner(6), testSigner(7)] as const;
/** Let in by each of those, by eve herself, and by bob. */
const hosts = [8, 9, 10, 11, 12].map(testSigner);
/** Of the thief: another token, that it made with the one of two uses, and an admitter that it let in. */
const strangers = [13, 14].map(testSigner) as [Signer, Signer];
const thieves: readonly Signer[] = [eve, ...tokens, ...strangers];
/** An admitter that eve let in, a token that it made, and who joined with that. */
const [pat, patsToken, quinn] = [15, 16, 17].map(testSigner) as [Signer, Signer, Signer];
const subjects = [...thieves, bob, ...hosts, pat, patsToken, quinn];
const ROLES = ['member', 'worker', 'deployer', 'admitter', 'admit'] as const;
const HOST_ROLES = ['member', 'worker', 'deployer'] as const;
const EPOCH = 2;
/** Of which nobody but a thief uses numbers. */
const EPOCH_UNUSED = 1;
/** Of a token with which admitters can be let in. */
const MAKER: Pick<GrantBody, 'roles' | 'admits'> = { roles: ['admit'], admits: ADMITTER.admits };
const TIMES_MS = [NOW + 2_000, NOW + DAY_MS, NOW + 30 * DAY_MS];
/** With --since: before what the thief writes then. */
const SINCE_MS = NOW + 100;

interface Law {
  readonly name: string;
  readonly runs: number;
  /** The thief also revokes keys, its own among them. */
  readonly revokes: boolean;
  /** pat and quinn are among those that are kept. */
  readonly keepsPat: boolean;
  /** With --since. */
  readonly isDated: boolean;
  /** No operator's key is at hand: the admitter revokes that let eve in. */
  readonly isByAdmitter: boolean;
}

const PLAIN = { revokes: false, keepsPat: false, isDated: false, isByAdmitter: false };
const REVOKING = { ...PLAIN, revokes: true };
const LAWS: readonly Law[] = [
  { ...PLAIN, name: 'whatever it granted', runs: 400 },
  { ...REVOKING, name: 'whatever it granted and revoked', runs: 200 },
  { ...REVOKING, name: 'the same where the time of the theft is known', runs: 100, isDated: true },
  { ...REVOKING, name: 'the same by an admitter', runs: 100, isByAdmitter: true },
  { ...REVOKING, name: 'the same of an admitter, and of whom it let in', runs: 200, keepsPat: true },
];

function stage({ isByAdmitter }: Law) {
  const { genesis, grant } = found({ name: 'shop', operator, node: self.id, crypto: nodeCrypto, now: NOW });
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [self] });
  const clock = { ms: NOW };
  const introduce = async (envelopes: readonly Uint8Array[]) => {
    machine.handle({ kind: 'introduce', envelopes }, { now: clock.ms, random: () => 0.5 });
    return undefined;
  };
  const numbers = new Map<string, number>();
  const seal = (
    signer: Signer,
    body: GrantBody | RevokeBody,
    at_ms = NOW,
    kind: 'grant' | 'revoke' = 'grant',
    isOld = false,
  ): LedgerRecord => {
    const epoch = isOld ? EPOCH_UNUSED : EPOCH;
    const seq = (numbers.get(`${signer.id} ${epoch}`) ?? 0) + 1;
    numbers.set(`${signer.id} ${epoch}`, seq);
    return sealedAct(genesis.digest, signer, kind, body, { epoch, seq, ms: at_ms });
  };
  const take = (...records: readonly LedgerRecord[]) => void introduce(records.map(({ bytes }) => bytes));
  const aboveEve = isByAdmitter
    ? seal(self, { ...memberGrant(eve.id, ADMITTER), parent: grant.digest })
    : seal(operator, memberGrant(eve.id, ADMITTER));
  const aboveBob = seal(operator, memberGrant(bob.id, ADMITTER));
  const made = tokens.map((token, at) =>
    seal(eve, {
      ...memberGrant(token.id, { roles: ['admit'], admits: at === 0 ? [...HOST_ROLES] : ADMITTER.admits }),
      ...{ parent: aboveEve.digest, uses: at === 1 ? 2 : 1, notAfter_ms: NOW + (at === 2 ? 0 : HOUR_MS) },
    }),
  );
  const parents = [...made, aboveEve, aboveBob];
  const joined = [...tokens, eve, bob].map((signer, at) =>
    // What a join gives is all that the token may.
    seal(
      signer,
      memberGrant(hosts[at]!.id, { ...([1, 2].includes(at) && ADMITTER), parent: parents[at]!.digest }),
    ),
  );
  const abovePat = seal(eve, { ...memberGrant(pat.id, ADMITTER), parent: aboveEve.digest });
  const patsOwn = seal(pat, {
    ...memberGrant(patsToken.id, { roles: ['admit'], admits: [...HOST_ROLES], uses: 1 }),
    parent: abovePat.digest,
  });
  const belowPat = seal(patsToken, memberGrant(quinn.id, { parent: patsOwn.digest }));
  const [under, puppet] = [
    seal(tokens[1], memberGrant(strangers[0].id, { ...MAKER, parent: made[1]!.digest })),
    seal(eve, { ...memberGrant(strangers[1].id, ADMITTER), parent: aboveEve.digest }),
  ];
  take(grant, aboveEve, aboveBob, ...made, ...joined, abovePat, patsOwn, belowPat, under, puppet);
  clock.ms += 1_000;
  const given = { self: self.id, genesis, ...(!isByAdmitter && { operator }) };
  const trust = trustOf(machine, given, { introduce, now: () => clock.ms });
  const desk = deskOf(machine, trust, self.id, clock.ms);
  return { machine, desk, seal, take, joined };
}

/** What a token gives a host, what makes a token or an admitter, or anything. */
const given = fc.oneof(
  fc.constant({ roles: HOST_ROLES, admits: [], uses: null }),
  fc.record({
    roles: fc.constantFrom(['admit'] as const, ['member', 'admitter'] as const),
    admits: fc.constant(ADMITTER.admits),
    uses: fc.constantFrom(null, 1),
  }),
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

/** What it takes back, where it takes something back. */
const taken = fc.record({
  last: fc.constantFrom(0, 3, 8, Number.MAX_SAFE_INTEGER),
  descendants: fc.boolean(),
  keeps: fc.uniqueArray(fc.nat(), { maxLength: 6 }),
});

/** One grant or revocation of a thief; numbers pick among what there is. */
const theft = fc.record({
  revokes: fc.option(taken, { nil: undefined, freq: 2 }),
  by: fc.nat(thieves.length - 1),
  of: fc.oneof(fc.nat(thieves.length - 1), fc.nat(subjects.length - 1)),
  parent: fc.nat(),
  given,
  lasts_ms: fc.constantFrom(null, HOUR_MS / 2, HOUR_MS, 2 * DAY_MS),
  earlier_ms: fc.constantFrom(0, 0, HOUR_MS),
  /** Under a number, and with a stamp, of before all that was cut off. */
  isOld: fc.boolean(),
  renews: fc.option(fc.nat(), { nil: undefined, freq: 4 }),
});

type Theft = typeof theft extends fc.Arbitrary<infer T> ? T : never;

/** @returns the record, if the thief has a grant to issue it by. */
function steal(law: Law, { machine, seal }: ReturnType<typeof stage>, act: Theft): LedgerRecord | undefined {
  const by = thieves[act.by]!;
  const all = [...machine.authority.grants(NOW)];
  const own = all.filter(({ subject }) => subject === by.id);
  if (own.length === 0) return undefined;
  const subject = subjects[act.of]!.id;
  const at_ms = law.isDated && !act.isOld ? SINCE_MS + 400 : NOW - act.earlier_ms;
  if (law.revokes && act.revokes !== undefined) {
    const { last, descendants, keeps } = act.revokes;
    const issued = all.filter(({ issuer }) => issuer === subject).map(({ digest }) => digest);
    const kept = issued.length === 0 ? [] : [...new Set(keeps.map((at) => issued[at % issued.length]!))];
    const cut = { epoch: last === Number.MAX_SAFE_INTEGER ? last : EPOCH, last };
    const body = revokeBody({ subject, reason: 'mine', cut, descendants, keeps: kept });
    return seal(by, body, at_ms, 'revoke', act.isOld);
  }
  const others = all.filter((grant) => grant.subject === subject && grant.renews === null);
  const original = act.renews === undefined ? undefined : others[act.renews % Math.max(1, others.length)];
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
    'grant',
    act.isOld,
  );
}

/** The theft is noticed: eve is revoked, and with her all whom she let in but these. */
async function notice(law: Law, before: readonly Theft[], named: readonly number[], isWhole?: WholeOf) {
  const staged = stage(law);
  const { desk, take } = staged;
  const kept = [...named.map((at) => hosts[at]!), ...(law.keepsPat ? [pat, quinn] : [])];
  const commit = (acts: readonly Theft[]) => {
    for (const act of acts) {
      const record = steal(law, staged, act);
      if (record !== undefined) take(record);
    }
  };
  commit(before);
  if (isWhole !== undefined) fc.pre(isWhole(staged, kept, NOW + 30 * DAY_MS));
  const since = law.isDated ? { since_ms: SINCE_MS } : {};
  const request = { descendants: true, keep: kept.map(({ id }) => id), reason: 'stolen', ...since };
  const plan = desk.planRevokeNode(eve.id, request);
  // Where the thief has left a host no other way in than by one that it let in, people are told of that, and may refuse.
  fc.pre(plan.unnamed.length === 0);
  await desk.revokeNode(eve.id, { ...request, plan: plan.digest });
  const gone = [...hosts.slice(0, 4), pat, quinn].filter((host) => !kept.includes(host));
  const { authority } = staged.machine;
  for (const { id } of thieves)
    if (authority.roles(id).size > 0) throw new Error(`${id} of the thief may do something still`);
  for (const { id } of [...gone, patsToken])
    if (authority.isMember(id)) throw new Error(`${id} is a member, and nobody named it`);
  return { ...staged, kept, commit };
}

type WholeOf = (
  staged: Pick<ReturnType<typeof stage>, 'machine'>,
  kept: readonly Signer[],
  at_ms: number,
) => boolean;

/** Whoever is kept stays what it was, and nobody is in whom the thief alone let in. */
async function hold(law: Law, before: readonly Theft[], after: readonly Theft[], named: readonly number[]) {
  const lettingIn = ({ admits }: GrantBody) => ADMITTER.admits.every((role) => admits.includes(role));
  const isWhole: WholeOf = ({ machine: { authority } }, kept, at_ms) =>
    [...kept, hosts[4]!].every(({ id }) => {
      const roles = authority.roles(id, at_ms);
      return HOST_ROLES.every((role) => roles.has(role));
    }) &&
    (!law.keepsPat || authority.issuing(pat.id, at_ms, lettingIn) !== undefined);
  // With a token's secret it puts itself in the place of others: that is its to do until the theft is noticed.
  const { commit, kept, ...staged } = await notice(law, before, named, isWhole);
  const check = (when: string) => {
    for (const at_ms of TIMES_MS)
      if (!isWhole(staged, kept, at_ms))
        throw new Error(`${when}: a kept host lacks something at ${at_ms - NOW}`);
  };
  const seen = rolesOfAll(staged);
  check('at once');
  commit(after);
  check('afterwards');
  if (rolesOfAll(staged) !== seen) throw new Error(`${seen} before, and then ${rolesOfAll(staged)}`);
}

/** Whatever has become of the hosts that are named, and of all others, nothing changes it any more. */
async function last(law: Law, before: readonly Theft[], after: readonly Theft[], named: readonly number[]) {
  const { commit, ...staged } = await notice(law, before, named).catch(forgotten);
  const seen = rolesOfAll(staged);
  commit(after);
  if (rolesOfAll(staged) !== seen) throw new Error(`${seen} before, and then ${rolesOfAll(staged)}`);
}

/**
 * A thief puts others in the place of hosts, or ends their tokens, and those that are kept have it again. What roles a token
 * gave them that was ended they have no more: it may have been ended rightly.
 */
async function restore(law: Law, before: readonly Theft[], named: readonly number[]) {
  const { machine, kept, joined } = await notice(law, before, named).catch(forgotten);
  const { authority } = machine;
  const roles = law.revokes ? (['member'] as const) : HOST_ROLES;
  for (const [at, { id }] of hosts.entries())
    if (kept.some((host) => host.id === id) && authority.grant(joined[at]!.digest) !== undefined)
      for (const role of roles)
        if (!authority.roles(id).has(role)) throw new Error(`host ${at} is no ${role}`);
}

/** Of who was let in with a token that has let in others instead nothing may be left. */
function forgotten(error: unknown): never {
  if (error instanceof ShoalError && ['E_NOT_FOUND', 'E_AMBIGUOUS'].includes(error.code)) fc.pre(false);
  throw error;
}

/** Of each key at each time. */
function rolesOfAll({ machine: { authority } }: Pick<ReturnType<typeof stage>, 'machine'>): string {
  const all = [operator, self, ...subjects].map(({ id }, at) => {
    const roles = TIMES_MS.map((at_ms) => [...authority.roles(id, at_ms)].sort().join('+'));
    return `${at}: ${roles.join(', ')}`;
  });
  return all.join('; ');
}

const thefts = fc.array(theft, { maxLength: 14 });

for (const law of LAWS.slice(0, 2))
  t.test(`a host that is kept has its place again: ${law.name}`, async () => {
    await fc.assert(
      fc.asyncProperty(
        thefts,
        fc.subarray([0, 1, 2, 3]),
        async (before, named) => await restore(law, before, named),
      ),
      { numRuns: 200 },
    );
  });

for (const law of LAWS) {
  t.test(
    `who is kept stays what it was, and nobody is in whom the thief alone let in: ${law.name}`,
    async (t) => {
      let held = 0;
      await fc.assert(
        fc.asyncProperty(thefts, thefts, fc.subarray([0, 1, 2, 3]), async (before, after, named) => {
          await hold(law, before, after, named);
          held += 1;
        }),
        { numRuns: law.runs * Number(process.env['RUNS'] ?? 1) },
      );
      t.ok(held >= law.runs, `${held} were whole when it was noticed`);
    },
  );
  t.test(`once it is noticed nothing changes any more what anybody is: ${law.name}`, async () => {
    await fc.assert(
      fc.asyncProperty(thefts, thefts, fc.subarray([0, 1, 2, 3]), async (before, after, named) => {
        await last(law, before, after, named);
      }),
      { numRuns: law.runs / 2 },
    );
  });
}
