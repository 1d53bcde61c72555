/** Laws of the merge: whatever the order, the doubling and the path of delivery, equal records give equal ledgers. */
import fc from 'fast-check';
import t from 'tap';
import { Ledger } from '../../../protocols/ledger/ledger.ts';
import type { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
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

type Rival = typeof rival extends fc.Arbitrary<infer S> ? S : never;

/** The rule as it is told: one way only. */
function isReplacedBy(kind: string, earlier: Rival, later: Rival): boolean {
  if (kind === 'grant' || kind === 'revoke') return false;
  const isNumberedLater = (a: { epoch: number; seq: number }, b: { epoch: number; seq: number }) =>
    a.epoch === b.epoch ? a.seq > b.seq : a.epoch > b.epoch;
  const isStampedLaterThan = (a: Rival, b: Rival) => (a.ms === b.ms ? a.n > b.n : a.ms > b.ms);
  const isOneAuthor = earlier.author === later.author && (kind !== 'ack' || earlier.epoch === later.epoch);
  if (isStampedLaterThan(earlier, later)) return false;
  if (isStampedLaterThan(later, earlier)) {
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
        const [one, other] = [a, b].map(({ author, epoch, seq, ms, n, digest, context }) =>
          unsigned(
            {
              cluster: 'f'.repeat(64),
              author,
              epoch,
              seq,
              hlc: { ms: NOW + ms, n },
              kind,
              key: 'k',
              generation: 1,
              context,
            },
            {},
            digest.repeat(64),
          ),
        ) as [LedgerRecord, LedgerRecord];
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
