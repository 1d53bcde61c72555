/** What is kept of authors beyond their quota follows from the set of records, also where they say what of others is good. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { GrantBody, RevokeBody, Role } from '../../../protocols/base/records.ts';
import { LedgerMachine, sealGenesis } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { operatorGrant, revokeBody } from '../../../protocols/trust/acts.ts';
import fc from '../../laws.ts';
import { introduce, memberGrant, NOW, sealedAct, testSigner } from './fixtures.ts';

/**
 * Each key may be stolen, and fills its quota: three operators of genesis, and two that they appoint. All of them may be
 * admitters too, also by one another.
 */
const KEYS = [1, 2, 3, 4, 5].map(testSigner);
const RECORDS_MAX = 3;
const ADMITTER = {
  roles: ['member', 'admitter'] as Role[],
  admits: ['member', 'worker', 'deployer', 'admitter', 'admit'] as Role[],
};
/** All is offered again until nothing moves; it has to rest by then. */
const ROUNDS_MAX = 12;

const genesis = sealGenesis(
  {
    name: 'test',
    operators: KEYS.slice(0, 3).map(({ id }) => id),
    range: '10.210.0.0/16',
    nonce: '00'.repeat(16),
  },
  KEYS[1]!,
  nodeCrypto,
  NOW,
);

const act = fc.record({
  what: fc.constantFrom('appoint', 'grant', 'grant', 'revoke', 'revoke', 'revoke', 'below', 'below', 'again'),
  author: fc.nat(KEYS.length - 1),
  subject: fc.nat(KEYS.length - 1),
  /** Of the grants of the subject that hang on no others, by bits: who keeps a grant has to keep what it hangs on. */
  keeps: fc.nat(0xffff),
  /** By which grant it is issued, and what it renews. */
  above: fc.nat(99),
  renews: fc.nat(99),
  uses: fc.constantFrom(null, null, 0, 1),
  /** None is issued later than that. */
  life_ms: fc.constantFrom(null, 2000),
  ms: fc.nat(1000),
});
type Act = typeof act extends fc.Arbitrary<infer A> ? A : never;

function recordsOf(acts: readonly Act[]): LedgerRecord[] {
  const records: LedgerRecord[] = [];
  for (const [at, one] of acts.entries()) {
    const grants = records.filter(({ kind }) => kind === 'grant');
    const below = one.what === 'below' || one.what === 'again' ? belowOf(one, grants) : undefined;
    const author = KEYS.find(({ id }) => id === below?.issuer) ?? KEYS[one.author]!;
    const subject = KEYS[one.subject]!.id;
    const kind = one.what === 'revoke' ? 'revoke' : 'grant';
    const keeps = records
      .filter(
        ({ kind, author, body }) => kind === 'grant' && author === subject && hangsOnNone(body as GrantBody),
      )
      .filter((_, bit) => ((one.keeps >> bit) & 1) === 1)
      .map(({ digest }) => digest);
    let body: GrantBody | RevokeBody = memberGrant(testSigner(100 + at).id);
    if (one.what === 'appoint') body = operatorGrant(KEYS[3 + (one.subject % 2)]!.id);
    if (below !== undefined) body = below.body;
    if (one.what === 'revoke') body = revokeBody({ subject, reason: '', keeps });
    records.push(sealedAct(genesis.digest, author, kind, body, { seq: at + 2, ms: 1 + one.ms }));
  }
  return records;
}

function hangsOnNone({ parent, renews }: GrantBody): boolean {
  return parent === null && renews === undefined;
}

/** A grant of one of the keys by a grant that it holds, or a renewal of what ends; undefined where there is none. */
function belowOf(one: Act, grants: readonly LedgerRecord[]): { issuer: string; body: GrantBody } | undefined {
  const bodies = grants.map(({ body, digest, hlc }) => ({ ...(body as GrantBody), digest, ms: hlc.ms }));
  const issuing = bodies.filter(
    ({ subject, admits, renews }) =>
      admits.length > 0 && renews === undefined && KEYS.some(({ id }) => id === subject),
  );
  const above = issuing[one.above % (issuing.length + 1)];
  const issuer = above?.subject ?? KEYS[one.author % 3]!.id;
  const parent = above?.digest ?? null;
  const ms = 1 + one.ms;
  if (one.what === 'again') {
    const mortal = bodies.filter(({ notAfter_ms, renews }) => notAfter_ms !== null && renews === undefined);
    const original = mortal[one.renews % (mortal.length || 1)];
    if (original === undefined) return undefined;
    const { digest, ms: from_ms, ...body } = original;
    return {
      issuer,
      body: { ...body, parent, renews: digest, notAfter_ms: ms + original.notAfter_ms! - from_ms },
    };
  }
  const subject = KEYS[one.subject]!.id;
  const { uses, life_ms } = one;
  const notAfter_ms = life_ms === null ? null : ms + life_ms;
  return { issuer, body: memberGrant(subject, { ...ADMITTER, parent, uses, notAfter_ms }) };
}

/** @returns undefined where it comes to no rest. */
function heldOf(records: readonly LedgerRecord[]): LedgerMachine | undefined {
  const config = { author_records_max: RECORDS_MAX };
  const machine = new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [testSigner(9)], config });
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const before = machine.ledger.hash;
    for (const record of records) introduce(machine, [record], NOW + 9);
    if (machine.ledger.hash === before) return machine;
  }
  return undefined;
}

t.test('authors beyond their quota leave the same on all nodes, whoever keeps what of whom', async (t) => {
  let kept = 0;
  fc.assert(
    fc.property(fc.array(act, { minLength: 20, maxLength: 30, size: 'max' }), fc.nat(), (acts, seed) => {
      const records = recordsOf(acts);
      const first = heldOf(records);
      if (first === undefined) return false;
      for (const record of first.ledger.records())
        if (first.authority.keeperOf(record) < KEYS.length) kept += 1;
      const rotated = [...records.slice(seed % records.length), ...records.slice(0, seed % records.length)];
      return [records.toReversed(), rotated].every(
        (order) => heldOf(order)?.ledger.hash === first.ledger.hash,
      );
    }),
    { numRuns: 150 },
  );
  t.ok(kept > 5, `${kept} were kept`);
});
