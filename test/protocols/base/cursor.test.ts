/** The cursor against the decoder: what it accepts is read as the same, and it accepts what is encoded here. */
import t from 'tap';
import { decode, encode } from '../../../protocols/base/codec.ts';
import { Cursor } from '../../../protocols/base/cursor.ts';
import fc from '../../laws.ts';
import { bytesNear, plain } from './bytes-near.ts';

const BYTES_MAX = 1 << 20;

t.test('what is passed over to the end is plain data for the decoder too', async (t) => {
  let passed = 0;
  fc.assert(
    fc.property(bytesNear(plain.map(encode)), (bytes) => {
      const cursor = new Cursor(bytes);
      if (!cursor.passValue() || !cursor.isAtEnd) return;
      passed += 1;
      decode(bytes, BYTES_MAX);
    }),
    { numRuns: 2_000 },
  );
  t.ok(passed > 0);
});

t.test('whatever is encoded of plain data is passed over', async (t) => {
  fc.assert(
    fc.property(plain.map(encode), (bytes) => {
      const cursor = new Cursor(bytes);
      return cursor.passValue() && cursor.isAtEnd;
    }),
  );
  t.pass();
});

t.test('numbers, lengths and heads are what the decoder reads', async (t) => {
  const count = fc.oneof(fc.nat(300), fc.nat(0xffff_ffff), fc.maxSafeNat());
  fc.assert(
    fc.property(count, (value) => new Cursor(encode(value)).count() === value),
    { examples: [[0xff], [0x100], [0xffff], [0x1_0000], [0xffff_ffff], [0x1_0000_0000], [2 ** 53 - 1]] },
  );
  fc.assert(
    fc.property(bytesNear(fc.double().map(encode)), (bytes) => {
      const value = new Cursor(bytes).count();
      if (value >= 0 && bytes.byteLength === encode(value).byteLength) {
        const read = decode(bytes, BYTES_MAX);
        if (read !== value) throw new Error(`${value} for ${read}`);
      }
    }),
  );
  for (const length of [0, 1, 31, 32, 255, 256, 0xffff, 0x1_0000]) {
    t.equal(new Cursor(encode(new Uint8Array(length))).binary(), length);
    t.equal(new Cursor(encode('x'.repeat(length))).text(), length);
    t.equal(new Cursor(encode(new Array(length).fill(0))).array(), length);
  }
});

t.test('nothing is read past the end, of the bytes or of a part of them', async (t) => {
  const whole = encode(['text', new Uint8Array(40), 70_000, 2 ** 40]);
  for (let end = 0; end < whole.byteLength; end += 1) {
    const cursor = new Cursor(whole, 0, end);
    t.notOk(cursor.passValue() && cursor.isAtEnd, `${end} of ${whole.byteLength} bytes`);
  }
  // Whoever asks for a length takes the bytes that follow as they are.
  for (const length of [1, 31, 40, 300, 70_000]) {
    const [binary, text] = [encode(new Uint8Array(length)), encode('x'.repeat(length))];
    t.equal(new Cursor(binary, 0, binary.length - 1).binary(), -1, `${length} bytes but one`);
    t.equal(new Cursor(text, 0, text.length - 1).text(), -1, `a text of ${length} but one`);
    t.notOk(new Cursor(binary, 0, binary.length - 1).passBinary(length));
    t.notOk(new Cursor(text, 0, text.length - 1).passText(length));
  }
  t.notOk(new Cursor(whole).passBytes(whole.byteLength + 1));
  t.equal(new Cursor(whole, 0, 0).count(), -1);
  t.equal(new Cursor(whole, 0, 0).array(), -1);
  t.notOk(new Cursor(Uint8Array.of(0xc0), 0, 0).isNull());
});

t.test('deep nesting is left to the decoder', async (t) => {
  const nested = (depth: number) => new Uint8Array(depth).fill(0x91);
  t.notOk(new Cursor(Uint8Array.of(...nested(17), 0)).passValue());
  t.ok(new Cursor(Uint8Array.of(...nested(16), 0)).passValue());
});
