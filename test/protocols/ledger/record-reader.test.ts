/** The two readers of a payload: they never differ in what they read, and the quick one reads what is written here. */
import t from 'tap';
import { encode } from '../../../protocols/base/codec.ts';
import { Cursor } from '../../../protocols/base/cursor.ts';
import { isShoalError } from '../../../protocols/base/errors.ts';
import { fromHex, publicKeyFromKeyId } from '../../../protocols/base/ids.ts';
import {
  type ReadPayload,
  readByCursor,
  readByDecoder,
  readPayload,
} from '../../../protocols/ledger/record-reader.ts';
import fc from '../../laws.ts';
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

/** One of the first in most cases. */
function mostly<Value>(good: readonly Value[], odd: readonly Value[]): fc.Arbitrary<Value> {
  return fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...good) }, fc.constantFrom(...odd));
}

/** Heads as other encoders write them, longer than need be. @param long by how many bytes the value takes in them */
function head(short: number | undefined, long: Readonly<Record<number, number>>, value: number) {
  const longer = Object.entries(long)
    .map(([width, first]) => ({ first, width: Number(width) }))
    .filter(({ width }) => value < 256 ** width)
    .map(({ first, width }) => [
      first,
      ...Array.from({ length: width }, (_, at) => Math.floor(value / 256 ** (width - 1 - at)) % 256),
    ]);
  const all = short === undefined ? longer : [[short], ...longer];
  return mostly(all.slice(0, 1), all);
}

function number(value: number) {
  return head(value < 128 ? value : undefined, { 1: 0xcc, 2: 0xcd, 4: 0xce, 8: 0xcf }, value);
}

function list(length: number) {
  return head(length < 16 ? 0x90 | length : undefined, { 2: 0xdc, 4: 0xdd }, length);
}

function binary(bytes: Uint8Array) {
  return head(undefined, { 1: 0xc4, 2: 0xc5, 4: 0xc6 }, bytes.length).map((first) => [...first, ...bytes]);
}

function text(value: string) {
  const bytes = new TextEncoder().encode(value);
  const short = bytes.length < 32 ? 0xa0 | bytes.length : undefined;
  return head(short, { 1: 0xd9, 2: 0xda, 4: 0xdb }, bytes.length).map((first) => [...first, ...bytes]);
}

const ids = [0, 1, 2, 3].map((at) => testSigner(at).id);
const ends = fc.constantFrom('', '/', '/x', 'x', ...ids.map((id) => `/${id}`));
/** Ids of authors and what begins with one, limits, what is kept of a text, and what is no ASCII. */
const keyText = fc.oneof(
  fc.tuple(fc.constantFrom(...ids), ends).map((parts) => parts.join('')),
  fc
    .constantFrom(0, 1, 31, 32, 33, 117, 118, 119, 120, 121, 122, 247, 248, 255, 256, 511, 512, 513)
    .map((length) => 'k'.repeat(length)),
  fc.constantFrom('k', 'schl\u00fcssel', '\u20ac'.repeat(171), '__proto__', '/', ids[0]!.slice(1)),
);
const kindText = mostly(['member', 'intent', 'x'.repeat(32)], ['x'.repeat(33), '', 'k\u00fcr']);
const small = mostly([1, 2, 127, 128, 255, 256, 2 ** 32 - 1], [0, 2 ** 32, 2 ** 53 - 1]);
const bodies = mostly([[0xc0], [0x80], [0x81, 0xa1, 0x61, 1]], [[0xd4, 0, 0], [0xc1], [0xa1, 0xff], []]);

function joined(...parts: fc.Arbitrary<readonly number[]>[]) {
  return fc.tuple(...parts).map((all) => all.flat());
}

const oddlyHeaded = fc
  .record({
    fields: mostly([12], [13]),
    version: mostly([1], [2]),
    numbers: fc.tuple(small, small, small, small, small),
    author,
    kind: kindText,
    key: keyText,
    seen: fc.array(fc.tuple(author, small, small), { maxLength: 2 }),
  })
  .chain(({ fields, version, numbers: [epoch, seq, ms, n, generation], author, kind, key, seen }) =>
    joined(
      list(fields),
      number(version),
      binary(fromHex(genesis.digest)),
      binary(author),
      ...[epoch, seq, ms, n].map(number),
      text(kind),
      text(key),
      number(generation),
      list(seen.length),
      ...seen.flatMap(([by, ...place]) => [list(3), binary(by), ...place.map(number)]),
      bodies,
    ),
  )
  .map((bytes) => Uint8Array.from(bytes));

function byCursor(payload: Uint8Array) {
  return readByCursor(payload, new Cursor(payload));
}

/** What it reads, or the code with which it refuses. */
function judge(read: () => ReadPayload): ReadPayload | string {
  try {
    return read();
  } catch (error) {
    if (!isShoalError(error)) throw error;
    return error.code;
  }
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

t.test('no head, however it is written, and no limit makes the readers differ', async (t) => {
  let [read, own] = [0, 0];
  fc.assert(
    fc.property(fc.oneof(oddlyHeaded, bytesNear(oddlyHeaded)), (payload) => {
      const quick = byCursor(payload);
      const judged = judge(() => readByDecoder(payload));
      if (quick !== undefined) {
        read += 1;
        own += Number(quick.isOwn);
        if (!t.strictSame(quick, judged)) throw new Error('the readers differ');
      }
      // Together they say what the decoder says, also of what lies within other bytes.
      const around = Uint8Array.of(0xc4, ...payload, 0xc0);
      const both = judge(() => ({ ...readPayload(around, 1, 1 + payload.length, new Cursor(around)) }));
      if (!t.strictSame(both, judged)) throw new Error('what the cursor does not read is not judged');
      if (typeof judged === 'string') return;
      const { key, author } = judged;
      if (judged.isOwn !== (key === author || key.startsWith(`${author}/`)))
        throw new Error(`whose is ${key} of ${author}?`);
    }),
    { numRuns: 5_000 },
  );
  t.ok(read > 500 && own > 20, `${read} read by both, ${own} under keys of their authors`);
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
