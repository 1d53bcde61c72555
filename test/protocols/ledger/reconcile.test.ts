/** Comparing ranges makes any two ledgers equal to the full exchange of their states, at about the cost of the difference. */
import { createHash } from 'node:crypto';
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { recordKey } from '../../../protocols/base/records.ts';
import { Cover } from '../../../protocols/ledger/cover.ts';
import { BATCH_RECORDS_MAX } from '../../../protocols/ledger/envelope.ts';
import { Ledger } from '../../../protocols/ledger/ledger.ts';
import { answerCompare, splitAll } from '../../../protocols/ledger/reconcile.ts';
import { type LedgerRecord, sealRecords, type Words } from '../../../protocols/ledger/record.ts';
import {
  COMPARISONS_MAX,
  decodeSync,
  encodeSync,
  itemOf,
  LISTED_MAX,
} from '../../../protocols/ledger/sync.ts';
import fc from '../../laws.ts';
import {
  cluster,
  exchange,
  genesis,
  introduce,
  memberGrant,
  NOW,
  operator,
  sealedAct,
  type TestNode,
  testSigner,
  unsigned,
  write,
} from './fixtures.ts';

const step = fc.record({
  node: fc.nat(1),
  key: fc.nat(40),
  isDeletion: fc.boolean(),
  /** Whether the other hears of it at once. */
  isHeard: fc.boolean(),
});

t.test('deltas equal full state: a repair ends where handing over every record would', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const [a, b, full] = cluster(3) as [TestNode, TestNode, TestNode];
      const written: LedgerRecord[] = [];
      for (const [at, { node, key, isDeletion, isHeard }] of steps.entries()) {
        const [writer, other] = node === 0 ? [a, b] : [b, a];
        const body = isDeletion ? null : { digest: `sha256:${'1'.repeat(64)}` };
        const record = write(writer.machine, writer.signer.id, 'tag', `app:${key}`, body, NOW + at);
        written.push(record);
        if (isHeard) introduce(other.machine, [record], NOW + at);
      }
      introduce(full.machine, written, NOW + steps.length);
      exchange(a, b, NOW + steps.length);
      return (
        a.machine.ledger.hash === full.machine.ledger.hash &&
        b.machine.ledger.hash === full.machine.ledger.hash
      );
    }),
    { numRuns: 60 },
  );
  t.pass();
});

t.test('an empty ledger is filled through as many rounds as its size needs', async (t) => {
  const [a, b] = cluster(2) as [TestNode, TestNode];
  for (let number = 0; number < 120; number += 1)
    write(a.machine, a.signer.id, 'unheard-of', `key:${number}`, { text: 'x'.repeat(60_000) });
  const { bytes } = exchange(a, b);
  t.equal(a.machine.ledger.hash, b.machine.ledger.hash);
  t.ok(bytes < 120 * 60_000 * 1.05, `${bytes} bytes`);
});

t.test('of two grants of one key both travel, whichever the other side refuses', async (t) => {
  for (const isTurned of [false, true]) {
    const [a, b] = (isTurned ? cluster(2).reverse() : cluster(2)) as [TestNode, TestNode];
    const [older, later] = [0, 1].map((at) => {
      const body = memberGrant(testSigner(50).id, { roles: ['member'], notAfter_ms: NOW + at });
      return sealedAct(genesis.digest, operator, 'grant', body, { seq: 2 ** 31 + at, ms: NOW + at });
    }) as [LedgerRecord, LedgerRecord];
    introduce(a.machine, [older], NOW + 2);
    introduce(b.machine, [later], NOW + 2);
    // Whatever it is refused for there: the other one is asked for all the same.
    const refused = a.machine.authority.admission.bind(a.machine.authority);
    a.machine.authority.admission = (record) =>
      record.digest === later.digest ? 'unknown-author' : refused(record);
    exchange(a, b, NOW + 3_000);
    t.ok(b.machine.ledger.has(older));
  }
});

/** Lots that are soon everywhere: the golden section of the ring. */
function lots(): () => number {
  let turn = 0;
  return () => {
    turn += 1;
    return (turn * 0.618034) % 1;
  };
}

/** Records that nobody signed, all at one place: grants of one key, tags of one key, or keys that were chosen for it. */
function atOnePlace(kind: 'grant' | 'tag' | 'chosen', count: number): LedgerRecord[] {
  return Array.from({ length: count }, (_, at) => {
    const header = {
      ...{
        cluster: 'f'.repeat(64),
        author: kind === 'grant' ? 'ann' : `author ${at}`,
        epoch: 0,
        seq: at + 1,
      },
      ...{ hlc: { ms: NOW + at, n: 0 }, kind: kind === 'grant' ? kind : 'tag', generation: 1, context: [] },
      key: kind === 'chosen' ? `app:${at}` : 'app:1',
    };
    const hash = createHash('sha256').update(`${kind}/${at}`).digest();
    const words = [0, 4, 8, 12].map((byte) => hash.readInt32BE(byte)) as unknown as Words;
    return { ...unsigned(header, {}, hash.toString('hex')), placeHigh: 7, placeLow: 7, words };
  });
}

/** Compares until nothing is asked any more. @returns how many messages that took. */
function repair(a: Ledger, b: Ledger, random: () => number): number {
  let [answering, other] = [b, a];
  let messages = 1;
  for (let compare: ReturnType<typeof splitAll> | undefined = splitAll(a); compare !== undefined; ) {
    if (messages > 100) throw new Error('a comparison does not end');
    const message = decodeSync(encodeSync({ kind: 'compare', ...compare, horizon_ms: 0 }));
    if (message.kind !== 'compare') throw new Error('no comparison');
    const answer = answerCompare(answering, message, () => false, undefined, random);
    for (const record of answer.give) other.merge(record);
    messages += 1;
    [answering, other] = [other, answering];
    compare = answer.compare;
  }
  return messages;
}

t.test('whatever is at one place, a comparison ends, and soon both sides hold all of it', async (t) => {
  fc.assert(
    fc.property(
      fc.constantFrom('grant', 'tag', 'chosen'),
      fc.nat(200),
      // Of so many one is held by both, for each that is held by one.
      fc.constantFrom(0, 1, 10, 1000),
      fc.nat(),
      (kind, count, shared, salt) => {
        const sides = [new Ledger(), new Ledger()] as const;
        for (const [at, record] of atOnePlace(kind, count).entries()) {
          const isShared = (at + salt) % (shared + 1) !== 0;
          for (const [side, ledger] of sides.entries())
            if (isShared || (Math.imul(at + salt, 0x9e3779b1) >>> 7) % 2 === side) ledger.merge(record);
        }
        const [a, b] = sides;
        const random = lots();
        let repairs = 0;
        for (; a.hash !== b.hash && repairs < 20; repairs += 1) if (repair(a, b, random) > 8) return false;
        return a.size === count && a.hash === b.hash && (count >= LISTED_MAX || repairs <= 2);
      },
    ),
    {
      numRuns: 60,
      examples: [
        ['grant', LISTED_MAX + 1000, 10, 0],
        ['tag', LISTED_MAX, 1, 0],
        ['chosen', LISTED_MAX + 1000, 0, 0],
      ],
    },
  );
  t.pass();
});

/** A side in doubt compares itself once. What it lacks, and has too much, stays so. */
function look(doubting: Ledger, other: Ledger, cover: Cover, random: () => number): void {
  let sides = [other, doubting] as const;
  for (let compare: ReturnType<typeof splitAll> | undefined = splitAll(doubting, true); compare; ) {
    const message = decodeSync(encodeSync({ kind: 'compare', ...compare, horizon_ms: 0 }));
    if (message.kind !== 'compare') throw new Error('no comparison');
    const [answering, asking] = sides;
    const seen = answering === doubting ? cover : undefined;
    compare = answerCompare(answering, message, () => false, seen, random).compare;
    sides = [asking, answering];
  }
}

t.test(
  'what more than a listing holds is at one place is seen in parts, while others write there',
  async (t) => {
    const count = LISTED_MAX + 1000;
    for (const kind of ['grant', 'chosen'] as const) {
      const records = atOnePlace(kind, count + 1);
      const [other, doubting] = [new Ledger(), new Ledger()];
      for (const record of records) other.merge(record);
      // The last is too new to be missed.
      for (const record of records.slice(0, count)) doubting.merge(record);
      const cover = new Cover(NOW + count - 1);
      const random = lots();
      let looks = 0;
      for (; !cover.isWhole && looks < 20; looks += 1) look(doubting, other, cover, random);
      t.ok(cover.isWhole, `${looks} looks`);
      t.ok(looks > 1, 'no listing shows all of it');
      cover.forget();
      look(doubting, other, cover, random);
      t.notOk(cover.isWhole, 'it begins anew');
      const [, ...left] = records;
      const lacking = new Ledger();
      for (const record of left) lacking.merge(record);
      for (const [one, two] of [
        [doubting, lacking],
        [lacking, doubting],
      ] as const) {
        const never = new Cover(NOW + count - 1);
        for (looks = 0; looks < 6; looks += 1) look(one, two, never, random);
        t.notOk(never.isWhole, 'one side has one more of before');
      }
    }
  },
);

t.test(
  'of more than a listing holds no more than it holds are put in order, and all are paid for',
  async (t) => {
    const count = 8 * LISTED_MAX;
    let read = 0;
    const records = atOnePlace('grant', count).map((record) => ({
      ...record,
      get digest() {
        read += 1;
        return record.digest;
      },
    }));
    const places = {
      summary: () => ({ count, bytes: 0, words: [1, 1, 1, 1] }),
      divide: () => ['7'],
      range: () => records.values(),
      outside: () => [].values(),
    };
    const part = { prefix: '7', words: [0, 0, 0, 0], count: 1 } as const;
    const message = { kind: 'compare', horizon_ms: 0, listings: [], wants: [] } as const;
    const inOrder = records.map((record) => record.digest.slice(0, 16)).sort();
    for (const lot of [0, 0.5, 0.99]) {
      read = 0;
      const answer = answerCompare(
        { places } as unknown as Ledger,
        { ...message, splits: [{ prefix: '', parts: [part] }] },
        () => false,
        undefined,
        () => lot,
      );
      // Two for each comparison of a sort.
      t.ok(read <= 2 * (Math.log2(LISTED_MAX) + 2) * LISTED_MAX, `${read} were read`);
      t.ok(answer.looked_count >= 4 * count);
      const from = Math.floor(lot * count);
      const ring = [...inOrder.slice(from), ...inOrder.slice(0, from)];
      t.same(
        answer.compare?.listings[0]?.items.map(({ digest }) => digest),
        ring.slice(0, LISTED_MAX),
      );
    }
  },
);

t.test('of what is compared with a listing few digests are made', async (t) => {
  const count = 8 * LISTED_MAX;
  let read = 0;
  const records = atOnePlace('tag', count).map((record, at) => ({
    ...record,
    placeLow: at,
    get digest() {
      read += 1;
      return record.digest;
    },
  }));
  const places = { summary: () => ({ count, bytes: 0, words: [1, 1, 1, 1] }), range: () => records.values() };
  const items = records.slice(0, 100).map(itemOf);
  const lists = { splits: [], listings: [{ prefix: '', items }], wants: [] };
  read = 0;
  const answer = answerCompare(
    { places } as unknown as Ledger,
    { kind: 'compare', horizon_ms: 0, ...lists },
    () => false,
  );
  t.equal(answer.give.length, count - items.length);
  t.ok(read <= 2 * items.length, `${read} were read`);
  t.ok(answer.looked_count >= 2 * (count - items.length), 'and all are paid for');
});

t.test(
  'of more that differs than one answer holds each range has its turn, and else no lot is drawn',
  async (t) => {
    const ranges = Array.from({ length: 4096 }, (_, at) => at.toString(16).padStart(3, '0'));
    const places = {
      summary: () => ({ count: 1, bytes: 0, words: [1, 1, 1, 1] }),
      range: () => atOnePlace('tag', 1).values(),
      outside: () => [].values(),
    };
    const answered = (prefixes: readonly string[], random: () => number): readonly string[] => {
      const parts = prefixes.map((prefix) => ({ prefix, words: [0, 0, 0, 0] as const, count: 1 }));
      const splits = [{ prefix: '', parts }];
      const message = { kind: 'compare', horizon_ms: 0, listings: [], wants: [], splits } as const;
      const ledger = { places } as unknown as Ledger;
      const { compare } = answerCompare(ledger, message, () => false, undefined, random);
      return compare!.listings.map(({ prefix }) => prefix);
    };
    const seen = [0, 0.25, 0.5, 0.75].flatMap((lot) => answered(ranges, () => lot));
    t.same(seen.toSorted(), ranges);
    const few = ranges.slice(0, COMPARISONS_MAX);
    t.same(
      answered(few, () => t.fail('a lot is drawn') as never),
      few,
    );
  },
);

t.test(
  'nodes whose grants of one key differ agree, with more of them than a message lists as well',
  async (t) => {
    const admitter = testSigner(60);
    const subject = testSigner(61).id;
    for (const [count, messages_max] of [
      [60, 20],
      [LISTED_MAX + 400, 80],
    ] as const) {
      const [a, b] = cluster(2) as [TestNode, TestNode];
      const wide = memberGrant(admitter.id, { roles: ['member', 'admitter'], admits: ['member'] });
      const root = sealedAct(genesis.digest, operator, 'grant', wide, { seq: 2 ** 31, ms: NOW });
      const body = memberGrant(subject, { roles: ['member'], parent: root.digest });
      const key = recordKey.grant(subject, admitter.id);
      const header = { cluster: genesis.digest, author: admitter.id, epoch: 0, kind: 'grant', key };
      const drafts = Array.from({ length: count }, (_, at) => {
        const stamp = { seq: at + 1, hlc: { ms: NOW, n: at }, generation: 1, context: [] };
        return { header: { ...header, ...stamp }, body };
      });
      const grants: LedgerRecord[] = [];
      for (let at = 0; at < count; at += BATCH_RECORDS_MAX)
        grants.push(...sealRecords(drafts.slice(at, at + BATCH_RECORDS_MAX), admitter, nodeCrypto));
      introduce(a.machine, [root, ...grants.slice(0, -5)]);
      introduce(b.machine, [root, ...grants.slice(5)]);
      const random = lots();
      let messages = 0;
      for (let turn = 1; turn <= 10 && a.machine.ledger.hash !== b.machine.ledger.hash; turn += 1)
        messages += exchange(a, b, NOW + turn * 60_000, random).messages;
      t.equal(a.machine.ledger.hash, b.machine.ledger.hash);
      t.equal(a.machine.ledger.siblings('grant', key).length, count);
      t.ok(messages <= messages_max, `${messages} messages for ${count}`);
    }
  },
);
