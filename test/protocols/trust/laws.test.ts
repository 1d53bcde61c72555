/** Laws of trust: what nodes hold and what counts follow from the set of records, never from their order. */
import t from 'tap';
import type { GrantBody, RevokeBody, Role } from '../../../protocols/base/records.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { Authority } from '../../../protocols/trust/authority.ts';
import { STAMP_LATE_MS } from '../../../protocols/trust/cuts.ts';
import { renewalOnAppeal, renewalsDue } from '../../../protocols/trust/renewal.ts';
import fc from '../../laws.ts';
import { ADMITTER, appoint, authority, GENESIS, grant, key, NOW, own, Replica, revoke } from './facts.ts';

const OPERATORS = ['op-a', 'op-b', 'op-c'];
const NAMES = [...OPERATORS, 'ann', 'bob', 'cem', 'dora', 'token', 'eve'];
const ROLE_SETS: Role[][] = [
  ['member', 'worker', 'deployer'],
  ['member', 'worker', 'deployer', 'admitter'],
  ['member'],
  ['admit'],
];
/** Of two replicas, until they hold the same: in 30,000 runs it took three at most. */
const MEETINGS_MAX = 4;
const FEW: { readonly roles: Role[] } = { roles: ['member', 'admitter'] };
const FEW_MS = 5;
const ADMITS: Role[] = ['member', 'worker', 'deployer', 'admitter', 'admit'];

const name = fc.constantFrom(...NAMES);
const place = fc.record({
  seq: fc.integer({ min: 1, max: 6 }),
  at_ms: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: NOW, max: NOW + 9 }) },
    // Later than what is said of a key that was cut off before may be.
    { weight: 1, arbitrary: fc.integer({ min: NOW + 2 * STAMP_LATE_MS, max: NOW + 2 * STAMP_LATE_MS + 9 }) },
  ),
});
/** Acts that name earlier ones by number, so that chains come about. */
const grantAct = fc.record({
  what: fc.constant('grant' as const),
  author: name,
  subject: name,
  roles: fc.constantFrom(...ROLE_SETS),
  handsOn: fc.boolean(),
  parent: fc.option(fc.nat(30), { nil: null, freq: 4 }),
  renews: fc.option(fc.nat(30), { nil: null, freq: 2 }),
  uses: fc.constantFrom(null, null, 0, 1, 2),
  life_ms: fc.constantFrom(null, 3, 20),
  place,
});
const revokeAct = fc.record({
  what: fc.constant('revoke' as const),
  author: name,
  subject: name,
  last: fc.integer({ min: 0, max: 6 }),
  descendants: fc.boolean(),
  keeps: fc.array(fc.nat(30), { maxLength: 3 }),
  place,
});
const appointAct = fc.record({ what: fc.constant('appoint' as const), author: name, subject: name, place });
const joinAct = fc.record({ what: fc.constant('join' as const), subject: name, place });
const ownAct = fc.record({ what: fc.constant('own' as const), author: name, place });
/** Which of two admitters that may let in one, for a time: what it does, and what somebody it let in does for the other. */
const which = fc.constantFrom(0, 1);
const fewAct = fc.record({ what: fc.constant('few' as const), which, subject: name, place });
const againAct = fc.record({ what: fc.constant('again' as const), which, by: fc.nat(30), place });
const act = fc.oneof(
  { weight: 4, arbitrary: grantAct },
  { weight: 4, arbitrary: revokeAct },
  { weight: 1, arbitrary: appointAct },
  { weight: 2, arbitrary: joinAct },
  { weight: 2, arbitrary: ownAct },
);
const crossAct = fc.oneof(
  { weight: 6, arbitrary: fewAct },
  { weight: 4, arbitrary: againAct },
  { weight: 1, arbitrary: act },
);

type Act = typeof act | typeof crossAct extends fc.Arbitrary<infer A> ? A : never;

/** Some chains to begin with, so that most of the rest has something to hang on. */
function firstRecords(): LedgerRecord[] {
  const handsOn = { roles: ['member', 'deployer', 'admitter'] as Role[], admits: ADMITS };
  const ann = grant('op-a', 'ann', handsOn, { seq: 1 });
  const bob = grant('op-b', 'bob', { ...handsOn, notAfter_ms: NOW + 5 }, { seq: 1 });
  const cem = grant('ann', 'cem', { ...handsOn, parent: ann.digest, notAfter_ms: NOW + 9 }, { seq: 2 });
  const back = grant('cem', 'ann', { ...handsOn, parent: cem.digest }, { seq: 2 });
  const token = grant(
    'cem',
    'token',
    { roles: ['admit'], admits: ADMITS, parent: cem.digest, uses: 1 },
    { seq: 3 },
  );
  const few = ['dora', 'eve'].map((name, at) =>
    grant(
      'ann',
      name,
      { ...FEW, admits: ADMITS, parent: ann.digest, uses: 0, notAfter_ms: NOW + FEW_MS },
      { seq: 4 + at },
    ),
  );
  return [ann, bob, cem, back, token, ...few];
}

function recordsOf(acts: readonly Act[]): LedgerRecord[] {
  const records = firstRecords();
  for (const one of acts) {
    const grants = records.filter(({ kind }) => kind === 'grant');
    if (one.what === 'appoint') records.push(appoint(one.author, one.subject, one.place));
    else if (one.what === 'join')
      records.push(grant('token', one.subject, { roles: ['member'], parent: grants[4]!.digest }, one.place));
    else if (one.what === 'own') records.push(own(one.author, one.place));
    else if (one.what === 'few') records.push(underFew(grants[5 + one.which]!, one));
    else if (one.what === 'again') records.push(...againOf(one, grants));
    else if (one.what === 'revoke') {
      const { last, descendants } = one;
      const acts = records.filter(({ kind }) => kind === 'grant' || kind === 'revoke');
      const byIt = acts.filter(({ author }) => author === key(one.subject));
      const keeps = [...new Set(one.keeps.flatMap((at) => byIt[at % byIt.length]?.digest ?? []))];
      records.push(
        revoke(one.author, one.subject, one.place, { cut: { epoch: 0, last }, descendants, keeps }),
      );
    } else records.push(grantOf(one, grants));
  }
  return records;
}

function underFew(
  { body, digest }: LedgerRecord,
  { subject, place }: Extract<Act, { what: 'few' }>,
): LedgerRecord {
  return grant(nameOf(body as GrantBody), subject, { ...FEW, admits: ADMITS, parent: digest }, place);
}

/** A renewal of the one, by somebody whom the other has let in. */
function againOf(
  { which, by, place }: Extract<Act, { what: 'again' }>,
  grants: readonly LedgerRecord[],
): LedgerRecord[] {
  const [one, other] = [grants[5 + which]!, grants[6 - which]!];
  const issuers = grants.filter(({ body }) => (body as GrantBody).parent === other.digest);
  const issuer = issuers[by % issuers.length];
  if (issuer === undefined) return [];
  const body = { ...(one.body as GrantBody), parent: issuer.digest, renews: one.digest };
  const notAfter_ms = (place.at_ms ?? NOW) + FEW_MS;
  return [grant(nameOf(issuer.body as GrantBody), nameOf(body), { ...body, notAfter_ms }, place)];
}

function nameOf({ subject }: GrantBody): string {
  return subject.replaceAll('.', '');
}

/** Issued by whom its parent was given to, with what the parent may hand on: most of them hold. */
function grantOf(one: Extract<Act, { what: 'grant' }>, grants: readonly LedgerRecord[]): LedgerRecord {
  const bodies = grants.map(({ body, digest }) => ({ ...(body as GrantBody), digest }));
  const issuing = bodies.filter(({ admits }) => admits.length > 0);
  const parent = one.parent === null ? undefined : issuing[one.parent % issuing.length];
  const mortal = bodies.filter(({ notAfter_ms }) => notAfter_ms !== null);
  const original = one.renews === null ? undefined : mortal[one.renews % mortal.length];
  const author = parent?.subject ?? key(OPERATORS[one.place.seq % OPERATORS.length]!);
  const body = {
    roles: one.roles,
    admits: one.handsOn ? ADMITS : [],
    uses: one.uses,
    ...(original && { ...original, renews: original.digest }),
    parent: parent?.digest ?? null,
    notAfter_ms: one.life_ms === null ? null : one.place.at_ms + one.life_ms,
  };
  return grant(
    author.replaceAll('.', ''),
    original === undefined ? one.subject : nameOf(original),
    body,
    one.place,
  );
}

const scenario = fc
  .record({
    acts: fc.oneof(
      { weight: 3, arbitrary: fc.array(act, { minLength: 6, maxLength: 30, size: 'max' }) },
      { weight: 1, arbitrary: fc.array(crossAct, { minLength: 6, maxLength: 20, size: 'max' }) },
    ),
    threshold: fc.constantFrom(1, 1, 2, 3),
  })
  .map(({ acts, threshold }) => ({ records: recordsOf(acts), threshold }));

/** All that can be asked of an authority about these records, as text. */
function answers(of: Authority, records: Iterable<LedgerRecord>): string {
  const byDigest = [...records].sort((a, b) => (a.digest < b.digest ? -1 : 1));
  return JSON.stringify({
    operators: of.operators(),
    counts: byDigest.map((record) => of.counts(record)),
    keys: NAMES.map(key).map((each) => [
      [...of.roles(each)].sort(),
      [...of.roles(each, NOW + 60_010)].sort(),
      of.isRevoked(each),
      of.memberUntil(each) ?? 'none',
      of.renewables(each).map(({ until_ms }) => until_ms),
      of.issuing(each, NOW + 4) !== undefined,
    ]),
    grants: [...of.grants(NOW)].map(({ digest, state, used }) => [digest, state, used]).sort(),
    revocations: [...of.revocations()]
      .map(({ digest, effective, votes }) => [digest, effective, votes])
      .sort(),
  });
}

t.test('replicas hold the same and answer the same, in whatever order records come', async (t) => {
  let effective = 0;
  let evicted = 0;
  fc.assert(
    fc.property(scenario, fc.integer(), ({ records, threshold }, seed) => {
      const first = new Replica(authority(OPERATORS, threshold)).offer(records);
      evicted += Number(
        records.some(
          (record) => !first.held.has(record.digest) && first.authority.admission(record) === 'yes',
        ),
      );
      effective += [...first.authority.revocations()].filter((one) => one.effective).length;
      for (let round = 0; round < 3; round += 1) {
        const shuffled = shuffle(records, seed + round);
        const middle = (shuffled.length * round) >> 2;
        const other = new Replica(authority(OPERATORS, threshold));
        // In two parts, with all its second thoughts in between.
        other.offer(shuffled.slice(0, middle));
        answers(other.authority, records);
        other.offer(shuffled.slice(middle));
        if (other.picture !== first.picture) return false;
        if (answers(other.authority, records) !== answers(first.authority, records)) return false;
      }
      return true;
    }),
    { numRuns: 600 },
  );
  t.ok(effective > 300, `revocations took effect: ${effective}`);
  t.ok(evicted > 20, `surplus grants were dropped: ${evicted}`);
});

t.test('two replicas that met different parts first agree once they have met', async (t) => {
  fc.assert(
    fc.property(scenario, ({ records, threshold }) => {
      const half = records.length >> 1;
      const left = new Replica(authority(OPERATORS, threshold)).offer(records.slice(0, half));
      const right = new Replica(authority(OPERATORS, threshold)).offer(records.slice(half));
      const [fromLeft, fromRight] = [[...left.held.values()], [...right.held.values()]];
      // As anti-entropy, until they hold the same: what one has dropped may bring the other to take something. Nearly
      // always twice is enough.
      let meetings = 0;
      do {
        left.offer(fromRight).offer([...right.held.values()]);
        right.offer(fromLeft).offer([...left.held.values()]);
        meetings += 1;
      } while (left.picture !== right.picture && meetings < MEETINGS_MAX);
      return (
        left.picture === right.picture &&
        answers(left.authority, records) === answers(right.authority, records)
      );
    }),
    { numRuns: 150 },
  );
  t.pass();
});

t.test('more grants turn no yes to a no', async (t) => {
  fc.assert(
    fc.property(scenario, ({ records, threshold }) => {
      const of = authority(OPERATORS, threshold);
      const admitted = new Set<LedgerRecord>();
      for (let round = 0; round < 3; round += 1) {
        for (const record of records) {
          if (of.admission(record) !== 'yes') continue;
          admitted.add(record);
          of.add(record);
          for (const each of admitted) if (of.admission(each) !== 'yes') return false;
        }
      }
      return true;
    }),
    { numRuns: 100 },
  );
  t.pass();
});

t.test(
  'each grant and revocation is let in, and each grant kept, where those before it in order are',
  async (t) => {
    const who = fc.constantFrom(...OPERATORS, ...'abcdefgh');
    const votes = fc.array(fc.tuple(who, who), { maxLength: 30 });
    let held_count = 0;
    fc.assert(
      fc.property(scenario, votes, fc.integer(), ({ records, threshold }, pairs, seed) => {
        const cast = pairs.map(([voter, subject], seq) => appoint(voter, subject, { seq }));
        const given = pairs.map(([voter], seq) => grant(voter, `of-${voter}`, ADMITTER, { seq }));
        const replica = new Replica(authority(OPERATORS, threshold)).offer([...records, ...cast, ...given]);
        const acts = [...replica.held.values()].filter(({ kind }) => kind === 'grant' || kind === 'revoke');
        held_count += acts.length;
        const of = authority(OPERATORS, threshold);
        return replica.authority.inOrder(shuffle(acts, seed)).every((record) => {
          const isTaken = of.admission(record) === 'yes' && of.surplus(record).length === 0;
          of.add(record);
          return isTaken;
        });
      }),
      { numRuns: 600 },
    );
    t.ok(held_count > 5000, `acts were put in order: ${held_count}`);
  },
);

t.test('a fork answers as the original, and neither hears of what the other learns', async (t) => {
  fc.assert(
    fc.property(scenario, ({ records, threshold }) => {
      const half = records.length >> 1;
      const original = new Replica(authority(OPERATORS, threshold)).offer(records.slice(0, half));
      const before = answers(original.authority, records);
      const fork = original.authority.fork();
      if (answers(fork, records) !== before) return false;
      for (const record of records) if (fork.admission(record) === 'yes') fork.add(record);
      const grown = answers(fork, records);
      if (answers(original.authority, records) !== before) return false;
      original.offer(records);
      return answers(fork, records) === grown;
    }),
    { numRuns: 150 },
  );
  t.pass();
});

t.test(
  'an authority that was told what a replica holds, in any order and unasked, answers as it does',
  async (t) => {
    // As a daemon starts from its disk.
    fc.assert(
      fc.property(scenario, fc.integer(), ({ records, threshold }, seed) => {
        const replica = new Replica(authority(OPERATORS, threshold)).offer(records);
        const loaded = new Authority(GENESIS, { operators: OPERATORS.map(key), threshold });
        for (const record of shuffle([...replica.held.values()], seed)) loaded.add(record);
        return answers(loaded, records) === answers(replica.authority, records);
      }),
      { numRuns: 150 },
    );
    t.pass();
  },
);

t.test('when votes for operators go, those are operators no more whom the others do not carry', async (t) => {
  const names = [...OPERATORS, ...'abcdefghijkl'];
  const who = fc.nat(names.length - 1).map((at) => names[at]!);
  const votes = fc.array(fc.tuple(who, who), { maxLength: 40 });
  fc.assert(
    fc.property(votes, fc.constantFrom(1, 2, 3), fc.integer(), fc.integer({ min: 1, max: 4 }), (...given) => {
      const [pairs, threshold, seed, together] = given;
      const cast = pairs.map(([voter, subject], seq) => appoint(voter, subject, { seq }));
      const appointed = (of: Authority) =>
        names.filter((each) => of.admission(appoint(each, 'zoe', { seq: 99 })) === 'yes');
      const of = authority(OPERATORS, threshold);
      for (const vote of cast) of.add(vote);
      const going = shuffle(cast, seed);
      while (going.length > 0) {
        const before = appointed(of);
        const { weakened } = of.removeAll(going.splice(0, together));
        const fresh = authority(OPERATORS, threshold);
        for (const vote of going) fresh.add(vote);
        const after = appointed(of);
        if (after.join() !== appointed(fresh).join()) return false;
        if (before.some((each) => !after.includes(each) && !weakened.includes(key(each)))) return false;
      }
      return true;
    }),
    { numRuns: 500 },
  );
  t.pass();
});

/** Deterministic in the seed: fast-check prints it with a failure. */
function shuffle<T>(list: readonly T[], seed: number): T[] {
  let state = seed | 0;
  const next = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return state >>> 8;
  };
  const shuffled = [...list];
  for (let at = shuffled.length - 1; at > 0; at -= 1) {
    const other = next() % (at + 1);
    [shuffled[at], shuffled[other]] = [shuffled[other]!, shuffled[at]!];
  }
  return shuffled;
}

t.test(
  'what is told of a key says how it stands, to who knows nothing else and to who knows a part',
  async (t) => {
    let [members, gone] = [0, 0];
    fc.assert(
      fc.property(scenario, fc.integer(), ({ records, threshold }, seed) => {
        const { held, authority: door } = new Replica(authority(OPERATORS, threshold)).offer(records);
        const part = shuffle([...held.values()], seed).slice(seed & 15);
        for (const each of NAMES.map(key)) {
          const told = door.about(each);
          const isVotedFor = [...door.grants(NOW)].some(
            ({ subject, roles }) => subject === each && roles.includes('operator'),
          );
          for (const known of [[], part]) {
            const asker = new Replica(authority(OPERATORS, threshold)).offer(known).offer(told).authority;
            if (asker.memberUntil(each) !== door.memberUntil(each)) return false;
            // Votes that count for nothing are not told, and have this key pass for one that was evicted.
            if (!isVotedFor && asker.isRevoked(each) !== door.isRevoked(each)) return false;
          }
          members += Number(door.isMember(each));
          gone += Number(door.isRevoked(each));
        }
        return true;
      }),
      { numRuns: 600 },
    );
    t.ok(members > 300, `members were asked about: ${members}`);
    t.ok(gone > 100, `and others: ${gone}`);
  },
);

t.test('a renewal that is due, or asked for, stands once it is written, and is due no more', async (t) => {
  let [written, against] = [0, 0];
  fc.assert(
    fc.property(scenario, fc.integer({ min: 0, max: 30 }), ({ records, threshold }, later) => {
      const { authority: of } = new Replica(authority(OPERATORS, threshold)).offer(records);
      const now = NOW + later;
      for (const [self, subject] of NAMES.flatMap((one) => NAMES.map((other) => [one, other] as const))) {
        const due = (at: Authority) =>
          renewalsDue({ authority: at, self: key(self), alive: [self, subject].map(key), now });
        const asked = renewalOnAppeal(of, key(self), key(subject), now);
        for (const body of [...due(of), ...(asked === undefined ? [] : [asked])]) {
          const after = of.fork();
          const renewal = grant(self, subject, body, { epoch: 1, seq: 1, at_ms: now });
          if (after.admission(renewal) !== 'yes') return false;
          // One of its own that ends later, by a clock that was ahead: the ledger refuses to write another.
          if (after.surplus(renewal).includes(renewal)) continue;
          after.add(renewal);
          if (after.stateOf(renewal.digest, now) !== 'valid') return false;
          if (due(after).some(({ renews }) => renews === body.renews)) return false;
          written += 1;
          const isRevoked = ({ kind, body: said }: LedgerRecord) =>
            kind === 'revoke' && (said as RevokeBody).subject === body.subject;
          against += Number(records.some(isRevoked));
        }
      }
      return true;
    }),
    { numRuns: 600 },
  );
  t.ok(written > 300, `renewals were written: ${written}`);
  t.ok(against > 100, `of keys that somebody had revoked: ${against}`);
});
