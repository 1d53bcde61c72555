/** The trie against a plain list: what is in it, what a range sums up to, and that forks do not see one another. */
import t from 'tap';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { RecordTrie } from '../../../protocols/ledger/record-trie.ts';
import fc from '../../laws.ts';

/** Places that share long beginnings, so that leaves lie deep. */
const half = fc.oneof(fc.constantFrom(0, 1, 0xffffffff, 0xabcdef01, 0xabcdef02), fc.nat(0xffffffff));

const record = fc
  .record({ placeHigh: half, placeLow: half, word: fc.integer(), size: fc.nat(500) })
  .map(({ placeHigh, placeLow, word, size }) => {
    const words = [word, ~word, word ^ 0x5a5a5a5a, size];
    return { placeHigh, placeLow, words, payload_bytes: size } as unknown as LedgerRecord;
  });

/** Enough for branches, and branches of branches. */
const manyRecords = fc.array(record, { minLength: 20, maxLength: 80 });
const step = fc.record({ each: record, lot: fc.nat(6) });

const PLACE = { high: (r: LedgerRecord) => r.placeHigh, low: (r: LedgerRecord) => r.placeLow };

function trieOf(records: readonly LedgerRecord[]): RecordTrie {
  const trie = new RecordTrie(PLACE);
  for (const each of records) trie.add(each);
  return trie;
}

function placeText({ placeHigh, placeLow }: LedgerRecord): string {
  return [placeHigh, placeLow].map((part) => part.toString(16).padStart(8, '0')).join('');
}

function naiveSummary(records: readonly LedgerRecord[], prefix: string) {
  const inside = records.filter((each) => placeText(each).startsWith(prefix));
  const words = [0, 1, 2, 3].map((at) => inside.reduce((sum, each) => sum ^ each.words[at]!, 0));
  return {
    count: inside.length,
    bytes: inside.reduce((sum, { payload_bytes }) => sum + payload_bytes, 0),
    words,
  };
}

/** Prefixes of what is there, and some of what is not. */
function prefixesOf(records: readonly LedgerRecord[]): string[] {
  return [
    '',
    'f',
    '0000',
    ...records.flatMap((each) => [1, 2, 5, 9, 16].map((n) => placeText(each).slice(0, n))),
  ];
}

/** One that counts the records whose place it looks at. */
function countingTrie() {
  const looks = { count: 0 };
  const trie = new RecordTrie({
    ...PLACE,
    high: (each) => {
      looks.count += 1;
      return each.placeHigh;
    },
  });
  return { trie, looks };
}

t.test('every range sums up to what is in it, whatever was added and removed', async (t) => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 80 }), fc.infiniteStream(fc.boolean()), (records, lot) => {
      const trie = trieOf(records);
      const kept = records.filter((each) => {
        if (lot.next().value) return true;
        trie.remove(each);
        return false;
      });
      return prefixesOf(records).every((prefix) => {
        const expected = JSON.stringify(naiveSummary(kept, prefix));
        const inRange = [...trie.range(prefix)].map(placeText).sort();
        const naive = kept.map(placeText).filter((text) => text.startsWith(prefix));
        return (
          JSON.stringify(trie.summary(prefix)) === expected &&
          JSON.stringify(inRange) === JSON.stringify(naive.sort())
        );
      });
    }),
  );
  t.pass();
});

t.test('what a range sums up to follows each change, also in what forks share', async (t) => {
  fc.assert(
    fc.property(manyRecords, fc.array(step, { maxLength: 60 }), (records, steps) => {
      const sides = [{ trie: trieOf(records), held: [...records] }];
      const isRight = ({ trie, held }: (typeof sides)[number], prefix: string) =>
        JSON.stringify(trie.summary(prefix)) === JSON.stringify(naiveSummary(held, prefix));
      return steps.every(({ each, lot }) => {
        const side = sides[lot % sides.length]!;
        const [first] = side.held;
        if (lot === 4 && sides.length < 3) sides.push({ trie: side.trie.fork(), held: [...side.held] });
        if (lot === 5 && first !== undefined) {
          side.trie.remove(first);
          side.held.shift();
        } else if (lot === 6 && first !== undefined) {
          const by = { ...each, placeHigh: first.placeHigh, placeLow: first.placeLow };
          side.trie.replace(first, by);
          side.held[0] = by;
        } else {
          side.trie.add(each);
          side.held.push(each);
        }
        return sides.every((one) => isRight(one, '') && isRight(one, placeText(each).slice(0, lot)));
      });
    }),
  );
  t.pass();
});

t.test('a divided range holds all of its records once, in no more parts than asked for', async (t) => {
  fc.assert(
    fc.property(
      fc.array(record, { minLength: 1, maxLength: 200 }),
      fc.integer({ min: 16, max: 64 }),
      (records, max) => {
        const trie = trieOf(records);
        const parts = trie.divide('', max);
        const held = parts.flatMap((part) => [...trie.range(part)]);
        return parts.length <= max && held.length === records.length && new Set(held).size === records.length;
      },
    ),
  );
  t.pass();
});

t.test('what is near a place is all of that place, and beside each item stands its low half', async (t) => {
  fc.assert(
    fc.property(manyRecords, fc.nat(80), (records, kept_count) => {
      const trie = trieOf(records);
      const kept = records.slice(0, kept_count);
      for (const each of records.slice(kept_count)) trie.remove(each);
      return records.every(({ placeHigh, placeLow }) => {
        const { items, lows } = trie.near(placeHigh, placeLow);
        const there = kept.filter((each) => each.placeHigh === placeHigh && each.placeLow === placeLow);
        return (
          new Set(there).isSubsetOf(new Set(items)) &&
          lows.length === items.length &&
          items.every((each, at) => lows[at] === (each.placeLow | 0))
        );
      });
    }),
  );
  t.pass();
});

t.test('a fork and its origin change apart', async (t) => {
  fc.assert(
    fc.property(
      fc.array(record, { maxLength: 60 }),
      fc.array(record, { maxLength: 30 }),
      fc.array(record, { maxLength: 30 }),
      (shared, ours, theirs) => {
        const origin = trieOf(shared);
        const fork = origin.fork();
        for (const each of ours) origin.add(each);
        for (const each of theirs) fork.add(each);
        for (const each of shared.slice(0, shared.length / 2)) fork.remove(each);
        const left = [...shared.slice(shared.length / 2), ...theirs];
        return (
          JSON.stringify(origin.summary('')) === JSON.stringify(naiveSummary([...shared, ...ours], '')) &&
          JSON.stringify(fork.summary('')) === JSON.stringify(naiveSummary(left, ''))
        );
      },
    ),
  );
  t.pass();
});

t.test('to replace a record by another of its place is to remove it and to add the other', async (t) => {
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 60 }), fc.array(record), (records, others) => {
      const trie = trieOf(records);
      const fork = trie.fork();
      const after = records.map((each, at) => {
        const by = others[at];
        if (by === undefined) return each;
        const there = { ...by, placeHigh: each.placeHigh, placeLow: each.placeLow };
        trie.replace(each, there);
        return there;
      });
      const holds = (one: RecordTrie, list: readonly LedgerRecord[]) =>
        new Set(list).symmetricDifference(new Set(one.range(''))).size === 0 &&
        prefixesOf(list).every(
          (prefix) => JSON.stringify(one.summary(prefix)) === JSON.stringify(naiveSummary(list, prefix)),
        );
      return holds(trie, after) && holds(fork, records);
    }),
  );
  t.pass();
});

t.test('what is not there is a defect, and takes nothing else away', async (t) => {
  fc.assert(
    fc.property(manyRecords, record, (records, other) => {
      const trie = trieOf(records);
      const before = JSON.stringify(trie.summary(''));
      for (const absent of [other, { ...records[0]! }]) {
        t.throws(() => trie.remove(absent), { message: 'what is to go is not here' });
        t.throws(() => trie.replace(absent, other), { message: 'what is to go is not here' });
      }
      return (
        JSON.stringify(trie.summary('')) === before &&
        new Set(trie.range('')).symmetricDifference(new Set(records)).size === 0
      );
    }),
  );
});

t.test('how much is under the high half of a place is the sum of what is there', async (t) => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 80 }), half, (records, other) => {
      const trie = trieOf(records);
      return [other, ...records.map(({ placeHigh }) => placeHigh)].every((high) => {
        const { count, bytes } = trie.filling(high);
        const inside = records.filter(({ placeHigh }) => placeHigh === high);
        const expected = inside.reduce((sum, { payload_bytes }) => sum + payload_bytes, 0);
        return count === inside.length && bytes === expected;
      });
    }),
  );
  t.pass();
});

t.test('no branch is left with one child, or with as few records as a leaf holds', async (t) => {
  fc.assert(
    fc.property(manyRecords, fc.infiniteStream(fc.boolean()), (records, lot) => {
      const trie = trieOf(records);
      for (const each of records) {
        if (lot.next().value) continue;
        trie.remove(each);
        const parts = trie.divide('', 4096);
        const isBranched = (prefix: string) =>
          trie.summary(prefix).count > 8 && parts.filter((part) => part.startsWith(prefix)).length > 1;
        if (!parts.every((part) => part === '' || isBranched(part.slice(0, -1)))) return false;
      }
      return true;
    }),
  );
  t.pass();
});

t.test('a fork sees nothing of what its origin adds and removes, on whatever way down', async (t) => {
  fc.assert(
    fc.property(manyRecords, fc.array(step, { maxLength: 40 }), (records, steps) => {
      const origin = trieOf(records);
      const held = [...records];
      for (const { each, lot } of steps) {
        const fork = origin.fork();
        const before = prefixesOf(held).map((prefix) => JSON.stringify(naiveSummary(held, prefix)));
        const prefixes = prefixesOf(held);
        if (lot > 2 && held.length > 0) origin.remove(held.splice(lot % held.length, 1)[0]!);
        else {
          origin.add(each);
          held.push(each);
        }
        if (!prefixes.every((prefix, at) => JSON.stringify(fork.summary(prefix)) === before[at]))
          return false;
      }
      return true;
    }),
    { numRuns: 30 },
  );
  t.pass();
});

t.test('what is outside of some parts is what none of them holds, and no more is walked', async (t) => {
  const part = fc.tuple(record, fc.integer({ min: 1, max: 16 }));
  fc.assert(
    fc.property(manyRecords, fc.array(part, { maxLength: 12 }), fc.nat(3), (records, given, depth) => {
      const prefix = placeText(records[0]!).slice(0, depth);
      const parts = given
        .map(([each, length]) => placeText(each).slice(0, Math.max(length, depth)))
        .filter((each) => each.startsWith(prefix));
      const naive = records.filter((each) => {
        const text = placeText(each);
        return text.startsWith(prefix) && !parts.some((other) => text.startsWith(other));
      });
      return new Set(trieOf(records).outside(prefix, parts)).symmetricDifference(new Set(naive)).size === 0;
    }),
  );
  const { trie: counting, looks } = countingTrie();
  for (let at = 0; at < 4096; at += 1)
    counting.add({ placeHigh: at << 20, placeLow: at, payload_bytes: 1, words: [0, 0, 0, 0] } as never);
  looks.count = 0;
  const parts = Array.from({ length: 63 }, (_, at) => (at + 1).toString(16).padStart(2, '0'));
  const prefixes = [...parts, ...Array.from('456789abcdef', String)];
  t.equal([...counting.outside('', prefixes)].length, 16);
  t.ok(looks.count <= 32, `${looks.count} were looked at`);
});

t.test('of what is all at one place one record is looked at for each range', async (t) => {
  const count = 4096;
  const { trie: counting, looks } = countingTrie();
  const put = (placeHigh: number) =>
    counting.add({ placeHigh, placeLow: 0, payload_bytes: 1, words: [1, 0, 0, 0] } as never);
  for (let at = 0; at < count; at += 1) put(0x70000000);
  put(0);
  const prefixes = Array.from({ length: 256 }, (_, at) => `7${at.toString(16).padStart(2, '0')}`);
  looks.count = 0;
  t.same(
    prefixes.map((prefix) => counting.summary(prefix).count),
    prefixes.map((prefix) => (prefix === '700' ? count : 0)),
  );
  t.equal(counting.range('7001').length, 0);
  t.equal(counting.range('7000').length, count);
  t.equal(counting.outside('7', ['701', '7000']).length, 0);
  t.equal(counting.outside('7', ['701', '7001']).length, count);
  t.ok(looks.count <= 2 * prefixes.length, `${looks.count} were looked at`);
});
