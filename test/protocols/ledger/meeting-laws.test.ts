/**
 * Two members that were told the same acts in any order, or only some of them, hold the same once they have met: with
 * chains, tokens of few uses, renewals, ends, revocations that keep, and authors beyond their quota. Whole machines, with
 * signatures, that exchange what they have as they do over the mesh.
 */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import type { Signer } from '../../../protocols/base/crypto.ts';
import type { KeyId } from '../../../protocols/base/ids.ts';
import type { GrantBody, RevokeBody, Role } from '../../../protocols/base/records.ts';
import type { LedgerEffect } from '../../../protocols/ledger/effects.ts';
import { LedgerMachine, sealGenesis } from '../../../protocols/ledger/machine.ts';
import { type LedgerRecord, sealRecord } from '../../../protocols/ledger/record.ts';
import {
  isIssuing,
  lifeOf,
  operatorGrant,
  readGrant,
  renewalGrant,
  revokeBody,
} from '../../../protocols/trust/acts.ts';
import fc from '../../laws.ts';
import { introduce, memberGrant, NOW, sealedAct, type TestNode, testSigner } from './fixtures.ts';

const OPERATORS = [1, 2].map(testSigner);
/** Lets in those who meet, and does nothing else. */
const FOUNDER = testSigner(10);
const NODES = [3, 4].map(testSigner) as [Signer, Signer];
const KEYS: readonly Signer[] = [...OPERATORS, ...[5, 6, 7, 8, 9].map(testSigner)];
const ADMITS: Role[] = ['member', 'worker', 'deployer', 'admitter', 'admit'];
const ROLE_SETS: Role[][] = [['member'], ['member', 'admitter'], ['admit'], ['member', 'admit']];
/** No grant is given for longer. */
const LIFE_MS_MAX = 20;
/** What one refuses it may ask for again after so long. */
const PAUSE_MS = 700_000;
const MEETINGS_MAX = 8;
/** Of one meeting. Two that answer one another for ever are to fail, not to hang. */
const MESSAGES_MAX = 20_000;
/** All is offered again until nothing moves; it has to rest by then. */
const ROUNDS_MAX = 12;

const genesis = sealGenesis(
  {
    name: 'test',
    operators: [FOUNDER, ...OPERATORS].map(({ id }) => id),
    range: '10.210.0.0/16',
    nonce: '00'.repeat(16),
  },
  OPERATORS[0]!,
  nodeCrypto,
  NOW,
);

const key = fc.nat(KEYS.length - 1);
const at_ms = fc.nat(9);
const act = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constant('grant' as const),
      subject: key,
      roles: fc.constantFrom(...ROLE_SETS),
      parent: fc.nat(),
      renews: fc.option(fc.nat(), { nil: null, freq: 2 }),
      uses: fc.constantFrom(null, null, 0, 1, 1, 2),
      life_ms: fc.constantFrom(null, null, 3, LIFE_MS_MAX),
      at_ms,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      what: fc.constant('revoke' as const),
      author: key,
      subject: key,
      descendants: fc.boolean(),
      /** Of the grants of the subject, by bits. */
      keeps: fc.nat(0xffff),
      at_ms,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ what: fc.constant('appoint' as const), author: key, subject: key, at_ms }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      what: fc.constantFrom('tag' as const, 'ack' as const),
      author: key,
      isDeletion: fc.boolean(),
      at_ms,
    }),
  },
);
type Act = typeof act extends fc.Arbitrary<infer A> ? A : never;

const signers = new Map(KEYS.map((signer) => [signer.id, signer]));

function seal(
  seq: number,
  author: Signer,
  kind: 'grant' | 'revoke',
  body: GrantBody | RevokeBody,
  ms: number,
) {
  return sealedAct(genesis.digest, author, kind, body, { seq, ms: NOW + ms });
}

/** Whose acts hang on whose: an author's on those of others that let it write any, or keep what it wrote. */
class Hanging {
  readonly #above = new Map<KeyId, Set<KeyId>>();

  /** @returns false, and nothing is changed, where those of the upper one hang on those of the lower one already. */
  hang(lower: KeyId, upper: KeyId): boolean {
    const above = new Set([upper]);
    // The set grows while it is walked.
    for (const key of above) for (const next of this.#above.get(key) ?? []) above.add(next);
    if (above.has(lower)) return false;
    this.#above.set(lower, (this.#above.get(lower) ?? new Set()).add(upper));
    return true;
  }
}

/**
 * @param isFull authors have more than they may, and each one's records go in an order of their own. Where two have let one
 * another in, over however many others, what the one writes thanks to the other may push out what the other writes by, and
 * the reverse: what came first decides then (quota.ts). What would close such a ring is left out, be it a grant, a vote or
 * that a revocation keeps something.
 */
function recordsOf(acts: readonly Act[], isFull: boolean): LedgerRecord[] {
  const [one, other] = OPERATORS as [Signer, Signer];
  const hanging = new Hanging();
  const mayHang = (lower: KeyId, upper: KeyId) => !isFull || hanging.hang(lower, upper);
  mayHang(KEYS[2]!.id, one.id);
  mayHang(KEYS[3]!.id, other.id);
  /** What a renewal that is kept pushes out hangs on the grant that it renews. */
  const mayKeep = ({ author, body }: LedgerRecord) => {
    const { renews } = body as GrantBody;
    const original = renews === undefined ? undefined : records.find(({ digest }) => digest === renews);
    return original === undefined || original.author === author || mayHang(author, original.author);
  };
  const wide = { roles: ['member', 'admitter'] as Role[], admits: ADMITS };
  const records = [
    seal(2, one, 'grant', memberGrant(KEYS[2]!.id, wide), 0),
    seal(2, other, 'grant', memberGrant(KEYS[3]!.id, { ...wide, notAfter_ms: NOW + 5 }), 0),
    ...NODES.map(({ id }, at) => seal(3 + at, FOUNDER, 'grant', memberGrant(id), 0)),
  ];
  for (const [at, each] of acts.entries()) {
    const seq = 10 + at;
    const grants = records.filter(({ kind }) => kind === 'grant');
    const bodies = grants.map(({ body, digest }) => ({ ...(body as GrantBody), digest }));
    if (each.what === 'grant') {
      const issuing = bodies.filter(
        ({ admits, subject, renews }) => admits.length > 0 && signers.has(subject) && renews === undefined,
      );
      const parent = issuing[each.parent % issuing.length]!;
      const mortal = grants
        .map((record) => readGrant(record)!)
        .filter(({ body }) => body.notAfter_ms !== null && body.renews === undefined);
      const original = each.renews === null ? undefined : mortal[each.renews % mortal.length];
      // What would last for longer than the original was given for is refused.
      const life_ms = original ? Math.min(each.life_ms ?? LIFE_MS_MAX, lifeOf(original)!) : each.life_ms;
      const notAfter_ms = life_ms === null ? null : NOW + each.at_ms + life_ms;
      const admits = each.roles.some((role) => role.startsWith('admit')) ? ADMITS : [];
      const given = { roles: each.roles, admits, parent: parent.digest, uses: each.uses, notAfter_ms };
      const body = original
        ? renewalGrant(original, parent.digest, notAfter_ms!)
        : memberGrant(KEYS[each.subject]!.id, given);
      // Nobody may write anything by a renewal alone.
      const lets = original === undefined && isIssuing(body);
      if (lets && !mayHang(body.subject, parent.subject)) continue;
      records.push(seal(seq, signers.get(parent.subject)!, 'grant', body, each.at_ms));
    } else if (each.what === 'revoke') {
      const subject = KEYS[each.subject]!.id;
      const author = KEYS[each.author]!;
      const named = grants
        .filter(({ author }) => author === subject)
        .filter((_, bit) => ((each.keeps >> bit) & 1) === 1);
      // What a key says of itself keeps nothing in a ledger.
      const isOwn = author.id === subject;
      const isHeard = isOwn || named.length === 0 || mayHang(subject, author.id);
      const keeps = named.filter((grant) => isHeard && (isOwn || mayKeep(grant))).map(({ digest }) => digest);
      const body = revokeBody({ subject, reason: '', descendants: each.descendants, keeps });
      records.push(seal(seq, author, 'revoke', body, each.at_ms));
    } else if (each.what === 'appoint') {
      const [author, { id: subject }] = [KEYS[each.author]!, KEYS[each.subject]!];
      if (mayHang(subject, author.id))
        records.push(seal(seq, author, 'grant', operatorGrant(subject), each.at_ms));
    } else {
      const author = KEYS[each.author]!;
      const isAck = each.what === 'ack';
      const header = {
        ...{ cluster: genesis.digest, author: author.id, epoch: 0, seq, hlc: { ms: NOW + each.at_ms, n: 0 } },
        ...{ kind: each.what, key: isAck ? author.id : `tag-${seq}`, generation: 1, context: [] },
      };
      const tag = each.isDeletion ? null : { digest: `sha256:${'1'.repeat(64)}` };
      const body = isAck ? { upTo_ms: NOW, hash: `${seq}` } : tag;
      records.push(sealRecord(header, body, author, nodeCrypto));
    }
  }
  return records;
}

function nodeWith(signer: Signer, records_max: number): TestNode {
  const config = { author_records_max: records_max };
  return { signer, machine: new LedgerMachine({ genesis, crypto: nodeCrypto, signers: [signer], config }) };
}

/** In an order by lot; of each only what the bits say. */
function tell(
  node: TestNode,
  records: readonly LedgerRecord[],
  order: readonly number[],
  bits: number,
): void {
  const sorted = records
    .map((record, at) => ({ record, at, by: order[at % order.length]! * 31 + at }))
    .sort((a, b) => a.by - b.by);
  for (const { record, at } of sorted)
    if (at < 4 || ((bits >> (at % 30)) & 1) === 1) introduce(node.machine, [record], NOW + 1_000);
}

/** As over the mesh: each of the two begins in its turn. */
function meet(x: TestNode, y: TestNode, now: number): void {
  const at = { now, random: () => 0.5 };
  const pairs = [
    [x, y],
    [y, x],
  ] as const;
  const queue: { from: TestNode; to: TestNode; body: Uint8Array }[] = [];
  const collect = (from: TestNode, to: TestNode, effects: readonly LedgerEffect[]) => {
    for (const effect of effects) if (effect.kind === 'send') queue.push({ from, to, body: effect.body });
  };
  let messages_count = 0;
  const drain = () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const { from, to, body } = next;
      messages_count += 1;
      if (messages_count > MESSAGES_MAX) throw new Error('they never rest');
      collect(to, from, to.machine.handle({ kind: 'message', from: from.signer.id, body }, at));
    }
  };
  for (const [one, other] of pairs)
    collect(one, other, one.machine.handle({ kind: 'connected', peer: other.signer.id }, at));
  drain();
  for (const [one, other] of pairs) {
    for (const effect of one.machine.handle({ kind: 'start' }, at))
      if (effect.kind === 'schedule' && effect.token.startsWith('exchange/'))
        collect(one, other, one.machine.handle({ kind: 'timer', token: effect.token }, at));
    drain();
  }
  for (const [one, other] of pairs) one.machine.handle({ kind: 'disconnected', peer: other.signer.id }, at);
}

function hashes(...nodes: readonly TestNode[]): string {
  return nodes.map(({ machine }) => machine.ledger.hash).join();
}

const MOST = 0x3fffffff;
const bits = fc.oneof(fc.constant(MOST), fc.nat(MOST));

t.test('members that met often enough hold the same', async (t) => {
  let differed = 0;
  fc.assert(
    fc.property(
      fc.array(act, { minLength: 8, maxLength: 40, size: 'max' }),
      fc.array(fc.nat(1000), { minLength: 44, maxLength: 44 }),
      fc.array(fc.nat(1000), { minLength: 44, maxLength: 44 }),
      fc.tuple(bits, bits),
      fc.constantFrom(4, 5, 6, 8, 1_000, 1_000),
      (acts, first, second, [some, others], records_max) => {
        const records = recordsOf(acts, records_max < 1_000);
        const [x, y] = NODES.map((signer) => nodeWith(signer, records_max)) as [TestNode, TestNode];
        tell(x, records, first, some);
        tell(y, records, second, others);
        let now = NOW + 2_000;
        const areEqual = () => x.machine.ledger.hash === y.machine.ledger.hash;
        if (!areEqual()) differed += 1;
        for (let meeting = 0; meeting < MEETINGS_MAX && !areEqual(); meeting += 1) {
          meet(x, y, now);
          now += PAUSE_MS;
        }
        if (!areEqual()) return false;
        for (const { id } of KEYS)
          if (x.machine.authority.isMember(id) !== y.machine.authority.isMember(id)) return false;
        for (let round = 0, before = ''; before !== hashes(x, y); round += 1) {
          if (round > ROUNDS_MAX) return false;
          before = hashes(x, y);
          for (const { machine } of [x, y]) for (const record of records) introduce(machine, [record], now);
        }
        return areEqual();
      },
    ),
    { numRuns: Number(process.env['RUNS'] ?? 300) },
  );
  t.ok(differed > 50, `${differed} differed at first`);
});
