/** Of which digests something is the sum. */
import { createHash } from 'node:crypto';
import t from 'tap';
import {
  SUMMANDS_MAX,
  sumFromHex,
  summandsOf,
  sumOf,
  sumToHex,
} from '../../../protocols/ledger/digest-sum.ts';
import fc from '../../laws.ts';

/** Any number of digests, and which of them are summed. */
function records(length: { minLength?: number; maxLength: number }) {
  const isIn = fc.array(fc.boolean(), { ...length, size: 'max' });
  return fc
    .tuple(fc.integer(), isIn)
    .map(([salt, all]) => all.map((isIn, at) => ({ digest: digestOf(`${salt}/${at}`), isIn })));
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

const OTHER = { digest: digestOf('another') };

t.test('of few it is told which', async (t) => {
  fc.assert(
    fc.property(records({ maxLength: SUMMANDS_MAX }), (records) => {
      const part = records.filter(({ isIn }) => isIn);
      t.same(summandsOf(records, sumOf(part)), part);
      t.same(summandsOf(records, sumOf([...part, OTHER])), []);
    }),
    { numRuns: 40 },
  );
});

t.test('of many only whether it is all', async (t) => {
  fc.assert(
    fc.property(records({ minLength: SUMMANDS_MAX + 1, maxLength: 3 * SUMMANDS_MAX }), (records) => {
      t.same(summandsOf(records, sumOf(records)), records);
      t.same(summandsOf(records, sumOf(records.slice(1))), []);
    }),
    { numRuns: 10 },
  );
});

t.test('a sum is written with all its digits, and nothing else is one', async (t) => {
  for (const hex of ['0'.repeat(32), `00${'1f'.repeat(15)}`, 'f'.repeat(32)])
    t.equal(sumToHex(sumFromHex(hex)!), hex);
  for (const hex of ['', '0', 'f'.repeat(33), 'F'.repeat(32), `${'f'.repeat(31)}g`, `0x${'f'.repeat(30)}`])
    t.equal(sumFromHex(hex), undefined, hex);
});
