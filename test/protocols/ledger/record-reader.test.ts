/** The two readers of a payload: they never differ in what they read, and the quick one reads what is written here. */
import fc from 'fast-check';
import t from 'tap';
import { encode } from '../../../protocols/base/codec.ts';
import { Cursor } from '../../../protocols/base/cursor.ts';
import { fromHex, publicKeyFromKeyId } from '../../../protocols/base/ids.ts';
import { readByCursor, readByDecoder } from '../../../protocols/ledger/record-reader.ts';
import { bytesNear, plain } from '../base/bytes-near.ts';
import { genesis, testSigner } from './fixtures.ts';

const author = fc.nat(3).map((number) => publicKeyFromKeyId(testSigner(number).id));
const count = fc.oneof(fc.nat(200), fc.nat(0xffff_ffff), fc.maxSafeNat());
const name = fc.oneof(fc.constantFrom('alloc', 'member'), fc.string({ minLength: 1, maxLength: 32 }));

function payloadOf(seq: fc.Arbitrary<number>, text: fc.Arbitrary<string>): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(
      author,
      fc.nat(0xffff_ffff),
      seq,
      count,
      count,
      text,
      text,
      count,
      fc.array(fc.tuple(author, count, count), { maxLength: 3 }),
      plain,
    )
    .map((fields) => encode([1, fromHex(genesis.digest), ...fields]));
}

const written = payloadOf(
  count.map((seq) => Math.max(1, seq)),
  name,
);
const nearly = bytesNear(payloadOf(count, fc.oneof(name, fc.string({ unit: 'binary', maxLength: 600 }))));

function byCursor(payload: Uint8Array) {
  return readByCursor(payload, new Cursor(payload));
}

t.test('what the cursor reads, the decoder reads as the same', async (t) => {
  let read = 0;
  fc.assert(
    fc.property(nearly, (payload) => {
      const quick = byCursor(payload);
      if (quick === undefined) return;
      read += 1;
      const slow = readByDecoder(payload);
      if (!t.strictSame(quick, slow)) throw new Error('the readers differ');
    }),
    { numRuns: 3_000 },
  );
  t.ok(read > 100, `${read} read by both`);
});

t.test('the cursor reads whatever is written here', async (t) => {
  fc.assert(fc.property(written, (payload) => byCursor(payload) !== undefined));
  t.pass();
});

t.test(
  'what the cursor does not read, the decoder judges: other text, longer headers, odd bodies',
  async (t) => {
    const fields = [
      1,
      fromHex(genesis.digest),
      publicKeyFromKeyId(genesis.author),
      0,
      1,
      5,
      0,
      'kind',
      'key',
      1,
      [],
    ];
    const odd = [
      encode([...fields.with(8, 'schlüssel'), null]),
      encode([...fields, { a: 1 }, 'a field of a later version']),
      encode([...fields, undefined]),
    ];
    for (const payload of odd) {
      t.equal(byCursor(payload), undefined);
      t.equal(readByDecoder(payload).seq, 1);
    }
    t.ok(readByDecoder(odd[2]!).isTombstone);
    for (const payload of [
      encode([...fields.with(4, 0), null]),
      encode([...fields.with(7, 'x'.repeat(33)), null]),
    ]) {
      t.equal(byCursor(payload), undefined);
      t.throws(() => readByDecoder(payload), { code: 'E_MALFORMED' });
    }
  },
);
