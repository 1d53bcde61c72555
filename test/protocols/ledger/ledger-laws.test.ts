/** Laws of the merge: whatever the order, the doubling and the path of delivery, equal records give equal ledgers. */
import t from 'tap';
import { ackOf } from '../../../protocols/ledger/collection.ts';
import { Ledger, LIVES_MAX } from '../../../protocols/ledger/ledger.ts';
import type { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import fc from '../../laws.ts';
import { cluster, exchange, introduce, NOW, newNode, testSigner, unsigned, write } from './fixtures.ts';

const NODES = 3;

/** A node writes or deletes one of a few keys, or hears from another; concurrent writes are common. */
const step = fc.oneof(
  fc.record({
    op: fc.constant('write' as const),
    node: fc.nat(NODES - 1),
    key: fc.nat(3),
    body: fc.option(fc.nat(9)),
  }),
  fc.record({ op: fc.constant('sync' as const), node: fc.nat(NODES - 1), other: fc.nat(NODES - 1) }),
);

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

function run(steps: readonly Step[]) {
  const nodes = cluster(NODES);
  const records: LedgerRecord[] = [];
  let now = NOW;
  for (const each of steps) {
    now += 1;
    const { machine, signer } = nodes[each.node]!;
    if (each.op === 'sync') {
      exchange(nodes[each.node]!, nodes[each.other]!);
    } else {
      const body = each.body === null ? null : { digest: `sha256:${String(each.body).padStart(64, '0')}` };
      records.push(write(machine, signer.id, 'tag', `app:${each.key}`, body, now));
    }
  }
  return { nodes, records };
}

function snapshot(machine: LedgerMachine): string[] {
  return Array.from(machine.ledger.records(), ({ digest }) => digest).sort();
}

t.test('merge is commutative, associative and idempotent', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.infiniteStream(fc.nat()), (steps, dice) => {
      const { nodes, records } = run(steps);
      const [, first] = cluster(NODES);
      const [, second] = cluster(NODES);
      for (const record of records) introduce(first!.machine, [record]);
      const shuffled = records
        .flatMap((record) => [record, record])
        .map((record) => ({ record, at: dice.next().value }))
        .sort((a, b) => a.at - b.at);
      for (const { record } of shuffled) introduce(second!.machine, [record]);
      for (let round = 0; round < NODES; round += 1) {
        for (const node of nodes) exchange(node, nodes[0]!);
      }
      const expected = snapshot(first!.machine);
      return [second!.machine, ...nodes.map(({ machine }) => machine)].every(
        (machine) =>
          machine.ledger.hash === first!.machine.ledger.hash &&
          JSON.stringify(snapshot(machine)) === JSON.stringify(expected),
      );
    }),
    { numRuns: 60 },
  );
  t.pass();
});

t.test('a write replaces what its author had seen, and nothing that it had not', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { nodes, records } = run(steps);
      for (let round = 0; round < NODES; round += 1) {
        for (const node of nodes) exchange(node, nodes[0]!);
      }
      const replaced = (record: LedgerRecord) =>
        records.some(
          (later) =>
            later.key === record.key &&
            later !== record &&
            ((later.author === record.author && later.seq > record.seq) ||
              later.context.some(({ author, seq }) => author === record.author && seq >= record.seq)),
        );
      return records.every((record) => nodes[0]!.machine.ledger.has(record) === !replaced(record));
    }),
    { numRuns: 60 },
  );
  t.pass();
});

t.test('siblings stay until somebody who saw them writes, and all nodes name one winner', async (t) => {
  const [a, b] = cluster(2);
  const first = { digest: `sha256:${'1'.repeat(64)}` };
  const second = { digest: `sha256:${'2'.repeat(64)}` };
  write(a!.machine, a!.signer.id, 'tag', 'app:1', first);
  write(b!.machine, b!.signer.id, 'tag', 'app:1', second, NOW + 5);
  exchange(a!, b!);
  for (const { machine } of [a!, b!]) {
    t.equal(machine.ledger.siblings('tag', 'app:1').length, 2, 'both are kept');
    t.same(machine.ledger.get('tag', 'app:1')?.body, second, 'the later one wins');
  }
  write(a!.machine, a!.signer.id, 'tag', 'app:1', first, NOW + 9);
  exchange(a!, b!);
  t.equal(b!.machine.ledger.siblings('tag', 'app:1').length, 1, 'one that saw both settles it');
});

t.test('a deletion wins over what it saw and a late copy does not come back', async (t) => {
  const [a, b] = cluster(2);
  const record = write(a!.machine, a!.signer.id, 'tag', 'app:1', { digest: `sha256:${'1'.repeat(64)}` });
  exchange(a!, b!);
  write(b!.machine, b!.signer.id, 'tag', 'app:1', null, NOW + 1);
  introduce(b!.machine, [record]);
  exchange(a!, b!);
  introduce(a!.machine, [record]);
  t.equal(a!.machine.ledger.get('tag', 'app:1'), undefined);
  t.equal(b!.machine.ledger.get('tag', 'app:1'), undefined);
  const late = newNode(testSigner(7));
  introduce(late.machine, [...b!.machine.ledger.records(), record]);
  t.equal(late.machine.ledger.get('tag', 'app:1'), undefined, 'not even where the deletion came first');
});

t.test('who replaces a record also replaces what that one had replaced, where it still stands', async (t) => {
  const [a, b, c] = cluster(3);
  const put = ({ machine, signer }: NonNullable<typeof a>, at_ms: number) =>
    write(machine, signer.id, 'tag', 'app:1', { digest: `sha256:${'1'.repeat(64)}` }, NOW + at_ms);
  const one = put(a!, 1);
  introduce(b!.machine, [one]);
  const two = put(b!, 2);
  introduce(c!.machine, [two]);
  const three = put(c!, 3);
  const [behind] = cluster(3);
  introduce(behind!.machine, [one]);
  introduce(behind!.machine, [three]);
  t.same(behind!.machine.ledger.siblings('tag', 'app:1'), [three], 'though it never heard of the second');
});

t.test('among siblings the generation decides, then the stamp, the author and the digest', async (t) => {
  const [low, high] = ['1'.repeat(64), '2'.repeat(64)];
  const version = (
    changes: Partial<{ author: string; generation: number; hlc: { ms: number; n: number } }>,
    digest = low,
    seq = 1,
  ) =>
    unsigned(
      {
        cluster: 'f'.repeat(64),
        author: 'ann',
        epoch: 0,
        seq,
        hlc: { ms: NOW, n: 0 },
        kind: 'tag',
        key: 'app:1',
        generation: 1,
        context: [],
        ...changes,
      },
      { digest },
      digest,
    );
  const cases: readonly (readonly [string, LedgerRecord, LedgerRecord])[] = [
    [
      'generation',
      version({ author: 'ann', generation: 2 }),
      version({ author: 'bob', hlc: { ms: NOW + 9, n: 9 } }, high),
    ],
    ['stamp', version({ author: 'ann', hlc: { ms: NOW, n: 1 } }), version({ author: 'bob' }, high)],
    ['author', version({ author: 'bob' }), version({ author: 'ann' }, high)],
  ];
  for (const [name, winner, other] of cases) {
    for (const order of [
      [winner, other],
      [other, winner],
    ]) {
      const ledger = new Ledger();
      for (const record of order) ledger.merge(record);
      t.same(ledger.siblings('tag', 'app:1'), [winner, other], name);
    }
  }
});

/** Records of one key that agree in much. */
const rival = fc.record({
  author: fc.constantFrom('ann', 'bob'),
  epoch: fc.nat(1),
  seq: fc.integer({ min: 1, max: 2 }),
  ms: fc.nat(1),
  n: fc.nat(1),
  digest: fc.constantFrom('1', '2', '3'),
  context: fc.array(fc.record({ author: fc.constantFrom('ann', 'bob'), epoch: fc.nat(1), seq: fc.nat(2) }), {
    maxLength: 2,
  }),
});

interface Rival extends Pick<LedgerRecord, 'author' | 'epoch' | 'seq' | 'context'> {
  readonly ms: number;
  readonly n: number;
  readonly digest: string;
}

function rivalOf({ author, epoch, seq, hlc, digest, context }: LedgerRecord): Rival {
  return { author, epoch, seq, ms: hlc.ms - NOW, n: hlc.n, digest: digest[0]!, context };
}

function rivalRecord(kind: string, { author, epoch, seq, ms, n, digest, context }: Rival): LedgerRecord {
  const header = { cluster: 'f'.repeat(64), author, epoch, seq, hlc: { ms: NOW + ms, n } };
  const body = { upTo_ms: NOW + ms, hash: digest, collected_ms: seq, isInDoubt: false, before: [] };
  return unsigned({ ...header, kind, key: 'k', generation: 1, context }, body, digest.repeat(64));
}

/** The rule as it is told: one way only. */
function isReplacedBy(kind: string, earlier: Rival, later: Rival): boolean {
  if (kind === 'grant' || kind === 'revoke') return false;
  const isNumberedLater = (a: { epoch: number; seq: number }, b: { epoch: number; seq: number }) =>
    a.epoch === b.epoch ? a.seq > b.seq : a.epoch > b.epoch;
  const isStampedLaterThan = (a: Rival, b: Rival) => (a.ms === b.ms ? a.n > b.n : a.ms > b.ms);
  const isOneAuthor = earlier.author === later.author && (kind !== 'ack' || earlier.epoch === later.epoch);
  if (isStampedLaterThan(earlier, later)) return false;
  if (isStampedLaterThan(later, earlier)) {
    // What an author says in one life of its later ones counts for nothing.
    if (kind === 'ack' && earlier.author === later.author && earlier.epoch > later.epoch) return false;
    return (
      isOneAuthor ||
      later.context.some((seen) => seen.author === earlier.author && !isNumberedLater(earlier, seen))
    );
  }
  if (!isOneAuthor) return false;
  if (isNumberedLater(later, earlier) || isNumberedLater(earlier, later))
    return isNumberedLater(later, earlier);
  return later.digest < earlier.digest;
}

t.test(
  'of two records the ledger keeps those that the other does not replace, whichever came first',
  async (t) => {
    let replaced = 0;
    fc.assert(
      fc.property(fc.constantFrom('tag', 'ack', 'member', 'grant'), rival, rival, (kind, a, b) => {
        const [one, other] = [a, b].map((each) => rivalRecord(kind, each)) as [LedgerRecord, LedgerRecord];
        // Equal in number and name is the same record.
        if (a.epoch === b.epoch && a.seq === b.seq && a.digest === b.digest) return true;
        const kept = new Set<LedgerRecord>();
        if (!isReplacedBy(kind, a, b)) kept.add(one);
        if (!isReplacedBy(kind, b, a)) kept.add(other);
        if (kept.size < 2) replaced += 1;
        return [
          [one, other],
          [other, one],
        ].every((order) => {
          const ledger = new Ledger();
          for (const record of order) ledger.merge(record);
          return kept.symmetricDifference(new Set(ledger.records())).size === 0;
        });
      }),
      { numRuns: 3_000 },
    );
    t.ok(replaced > 100, `${replaced} pairs of which one goes`);
  },
);

/** The lives of one author, each under its own epoch. */
const life = fc.record({
  author: fc.constant('k'),
  epoch: fc.nat(2 * LIVES_MAX),
  seq: fc.integer({ min: 1, max: 3 }),
  ms: fc.nat(2 * LIVES_MAX),
  n: fc.constant(0),
  digest: fc.constantFrom(...'0123456789abcdef'),
  context: fc.oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    {
      weight: 1,
      arbitrary: fc.array(
        fc.record({ author: fc.constant('k'), epoch: fc.nat(2 * LIVES_MAX), seq: fc.nat(3) }),
        { minLength: 1, maxLength: 1 },
      ),
    },
  ),
});

function digests(records: Iterable<LedgerRecord>): string {
  return Array.from(records, ({ epoch, seq, digest }) => `${epoch}/${seq}/${digest[0]}`)
    .sort()
    .join();
}

/** From the latest life on: what none that stays replaces, as long as there is room. */
function latestLives(lives: readonly Rival[]): LedgerRecord[] {
  const later = (a: Rival, b: Rival) =>
    b.epoch - a.epoch || b.ms - a.ms || b.seq - a.seq || (a.digest < b.digest ? -1 : 1);
  const kept: Rival[] = [];
  for (const each of [...lives].sort(later))
    if (kept.length < LIVES_MAX && !kept.some((other) => isReplacedBy('ack', each, other))) kept.push(each);
  return kept.map((each) => rivalRecord('ack', each));
}

t.test('whatever lives an author claims, those that stay are the same in the end', async (t) => {
  let full = 0;
  fc.assert(
    fc.property(
      fc.uniqueArray(life, {
        selector: ({ epoch, seq, digest }) => `${epoch}/${seq}/${digest}`,
        minLength: 10,
        maxLength: 40,
      }),
      fc.infiniteStream(fc.nat()),
      (lives, dice) => {
        const records = lives.map((each) => rivalRecord('ack', each));
        const ledger = new Ledger();
        let before = '';
        // Offered again and again, as by peers that hold them.
        for (let round = 0; round < 60; round += 1) {
          for (const { record } of records
            .map((record) => ({ record, at: dice.next().value }))
            .sort((a, b) => a.at - b.at)) {
            ledger.merge(record);
            if (ledger.siblings('ack', 'k').length > LIVES_MAX) return false;
          }
          if (digests(ledger.records()) === before) break;
          before = digests(ledger.records());
        }
        const expected = latestLives(lives);
        if (expected.length === LIVES_MAX) full += 1;
        return digests(ledger.records()) === digests(expected);
      },
    ),
    { numRuns: 400 },
  );
  t.ok(full > 50, `${full} times there were more`);
});

t.test('of lives one after another the latest stay in any order, and no less is read of them', async (t) => {
  const start = fc.array(fc.record({ seen: fc.nat(15), lost: fc.nat(3), again: fc.boolean() }), {
    minLength: 1,
    maxLength: 4 * LIVES_MAX,
  });
  let more = 0;
  fc.assert(
    fc.property(start, fc.infiniteStream(fc.nat()), (starts, dice) => {
      // Most know of none before, as on a disk that was lost, and others of not all; some write twice.
      const all: LedgerRecord[] = [];
      for (const [at, { seen, lost, again }] of starts.entries()) {
        const known = new Ledger();
        for (const record of seen === 0 ? all.slice(0, Math.max(0, all.length - lost)) : [])
          known.merge(record);
        for (const seq of again ? [1, 2] : [1]) {
          const context = known.context('ack', 'k', { author: 'k', epoch: at });
          const digest = (all.length % 16).toString(16);
          const ms = all.length;
          const record = rivalRecord('ack', { author: 'k', epoch: at, seq, ms, n: 0, digest, context });
          known.merge(record);
          all.push(record);
        }
      }
      const isReplaced = (record: LedgerRecord) =>
        all.some((other) => isReplacedBy('ack', rivalOf(record), rivalOf(other)));
      const side = all.filter((record) => !isReplaced(record)).sort((a, b) => b.epoch - a.epoch);
      if (side.length > LIVES_MAX) more += 1;
      const expected = new Ledger();
      for (const record of side.slice(0, LIVES_MAX)) expected.merge(record);
      const ledger = new Ledger();
      for (const { record } of all
        .flatMap((record) => [record, record])
        .map((record) => ({ record, at: dice.next().value }))
        .sort((a, b) => a.at - b.at))
        ledger.merge(record);
      const restarted = new Ledger();
      for (const record of ledger.records()) restarted.merge(record);
      return [ledger, restarted].every(
        (each) =>
          digests(each.records()) === digests(side.slice(0, LIVES_MAX)) &&
          JSON.stringify(ackOf(each, 'k')) === JSON.stringify(ackOf(expected, 'k')),
      );
    }),
    { numRuns: 300 },
  );
  t.ok(more > 30, `${more} times there were more`);
});

t.test('a record is taken away by its name, whichever object bears it, and nothing with it', async (t) => {
  const ledger = new Ledger();
  const removed: LedgerRecord[] = [];
  ledger.watch({ added: () => {}, removed: (record) => removed.push(record) });
  const [one, other] = ['1', '2'].map((digest) =>
    rivalRecord('tag', { author: `of-${digest}`, epoch: 0, seq: 1, ms: 0, n: 0, digest, context: [] }),
  ) as [LedgerRecord, LedgerRecord];
  for (const record of [one, other]) ledger.merge(record);
  const again = { ...one };
  t.equal(ledger.live(again), one);
  t.equal(ledger.remove(again), one);
  t.equal(ledger.remove(again), undefined, 'once');
  t.same(removed, [one]);
  t.same([...ledger.records()], [other]);
  t.same([...ledger.recordsOf(one.author), ...ledger.recordsOf(other.author)], [other]);
});

t.test('one more grant of a key costs no look at all that are there', async (t) => {
  const count = 2000;
  const ledger = new Ledger();
  let looked = 0;
  const grants = Array.from({ length: count }, (_, at) => {
    const header = { cluster: 'f'.repeat(64), author: 'ann', epoch: 0, seq: at + 1, hlc: { ms: at, n: 0 } };
    const digest = at.toString(16).padStart(8, '0').repeat(8);
    const grant = unsigned(
      { ...header, kind: 'grant', key: 'bob/ann', generation: 1, context: [] },
      {},
      digest,
    );
    return {
      ...grant,
      get key() {
        looked += 1;
        return grant.key;
      },
      get placeHigh() {
        looked += 1;
        return grant.placeHigh;
      },
    };
  });
  for (const grant of grants) ledger.merge(grant);
  t.ok(grants.every((grant) => ledger.find(grant).isLive && ledger.has(grant)));
  const { twin, isLive } = ledger.find({ ...grants[0]!, digest: 'e'.repeat(64) });
  t.same([twin?.digest, isLive], [grants[0]!.digest, false]);
  t.equal(ledger.size, count);
  t.ok(looked <= 100 * count, `${looked} looks`);
  t.equal(ledger.places.divide('', 64).length, 1);
  ledger.merge({ ...grants[0]!, key: 'eve/ann', placeLow: grants[0]!.placeLow ^ 1, digest: 'd'.repeat(64) });
  t.equal(ledger.places.divide('', 64).length, 2, 'what is beside them parts them');
});
