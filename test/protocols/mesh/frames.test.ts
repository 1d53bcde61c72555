import t from 'tap';
import { isShoalError, ShoalError } from '../../../protocols/base/errors.ts';
import { decodeAnswer, encodeAnswer, encodeFailure } from '../../../protocols/mesh/answers.ts';
import {
  CHUNKS_MAX,
  decodeNamed,
  encodeFrame,
  encodeNamed,
  FRAME_HEADER_BYTES,
  FrameReader,
  NAME_BYTES_MAX,
  VARINT_HEADER,
} from '../../../protocols/mesh/frames.ts';
import fc from '../../laws.ts';
import { prefixed, varint } from './varint.ts';

const LIMIT = 64;
/** Of which a gossip frame has a length of two bytes. */
const LONG_LIMIT = 300;

t.test('frames come out as they went in, however the bytes are cut', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: LONG_LIMIT, size: 'max' }), { maxLength: 10 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }),
      fc.boolean(),
      (bodies, cuts, isGossip) => {
        const bytes = Buffer.concat(bodies.map(isGossip ? prefixed : encodeFrame));
        const reader = isGossip ? new FrameReader(LONG_LIMIT, VARINT_HEADER) : new FrameReader(LONG_LIMIT);
        const got: Uint8Array[] = [];
        for (let at = 0, n = 0; at < bytes.length; n++) {
          const size = cuts[n % cuts.length]!;
          reader.push(bytes.subarray(at, at + size));
          at += size;
          for (let frame = reader.next(); frame !== undefined; frame = reader.next()) got.push(frame);
        }
        return got.length === bodies.length && got.every((frame, n) => Buffer.from(bodies[n]!).equals(frame));
      },
    ),
  );
  t.pass();
});

t.test('a length over the limit is refused as soon as it is read', async (t) => {
  const reader = new FrameReader(LIMIT);
  reader.push(Uint8Array.of(0, 0, 0));
  t.equal(reader.next(), undefined);
  reader.push(Uint8Array.of(LIMIT + 1));
  t.throws(() => reader.next(), { code: 'E_TOO_LARGE' });
});

t.test('a length of gossip that is over the limit, or none, is refused as soon as it is read', async (t) => {
  const far = new FrameReader(LIMIT, VARINT_HEADER);
  far.push(Uint8Array.of(0xc1));
  t.equal(far.next(), undefined);
  far.push(Uint8Array.of(1));
  t.throws(() => far.next(), { code: 'E_TOO_LARGE' });
  const none = new FrameReader(LIMIT, VARINT_HEADER);
  none.push(Uint8Array.of(0x80, 0x80, 0x80, 0x80));
  t.equal(none.next(), undefined);
  none.push(Uint8Array.of(0x80));
  t.throws(() => none.next(), { code: 'E_MALFORMED' });
});

t.test('work grows with the bytes, however small the pieces are in which they come', async (t) => {
  // Where it grew with their square, this would take minutes.
  const size = 1 << 20;
  const reader = new FrameReader(size, VARINT_HEADER);
  reader.push(varint(size));
  const piece = Uint8Array.of(7);
  let early = 0;
  for (let at = 0; at < size; at += 1) {
    if (reader.next() !== undefined) early += 1;
    reader.push(piece);
  }
  t.equal(early, 0);
  t.equal(reader.next()?.byteLength, size);
});

t.test('a frame that comes in the smallest pieces is kept in few', async (t) => {
  const reader = new FrameReader(100_000);
  const frame = encodeFrame(Buffer.alloc(50_000, 'some bytes'));
  for (const byte of frame.subarray(0, -1)) reader.push(Uint8Array.of(byte));
  t.equal(reader.next(), undefined);
  const chunks = reader.rest();
  t.ok(chunks.length <= CHUNKS_MAX, `${chunks.length} chunks`);
  t.ok(Buffer.concat(chunks).equals(frame.subarray(0, -1)));
  for (const byte of frame) reader.push(Uint8Array.of(byte));
  t.ok(Buffer.from(frame.subarray(FRAME_HEADER_BYTES)).equals(reader.next()!));
});

t.test('what follows a frame is handed out as it came', async (t) => {
  const reader = new FrameReader(LIMIT);
  reader.push(Buffer.concat([encodeFrame(Uint8Array.of(1)), Uint8Array.of(2, 3)]));
  t.same(reader.next(), Uint8Array.of(1));
  reader.push(Uint8Array.of(4));
  t.same(Buffer.concat(reader.rest()), Buffer.from([2, 3, 4]));
  t.same(reader.rest(), []);
});

t.test('names are bounded and come back with their body', async (t) => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme' }),
      fc.uint8Array(),
      (name, body) => {
        fc.pre(Buffer.byteLength(name) <= NAME_BYTES_MAX && name.isWellFormed());
        const back = decodeNamed(encodeNamed(name, body));
        return back.name === name && Buffer.from(back.body).equals(body);
      },
    ),
  );
  t.throws(() => encodeNamed('', new Uint8Array()), RangeError);
  t.throws(() => encodeNamed('x'.repeat(NAME_BYTES_MAX + 1), new Uint8Array()), RangeError);
  for (const bad of [[], [0], [0, 1, 2], [5, 1], [1, 0xff]]) {
    t.throws(() => decodeNamed(Uint8Array.from(bad)), { code: 'E_MALFORMED' });
  }
});

t.test('answers and failures come back as they were told', async (t) => {
  t.same(decodeAnswer(encodeAnswer(Uint8Array.of(1, 2))), Uint8Array.of(1, 2));
  const told = new ShoalError('E_TOKEN_USED', 'spent', { detail: { inside: 1 } });
  t.throws(() => decodeAnswer(encodeFailure(told)), {
    code: 'E_TOKEN_USED',
    message: 'spent',
    detail: undefined,
  });
  t.throws(() => decodeAnswer(encodeFailure(new Error('secret'))), {
    code: 'E_INTERNAL',
    message: /failed to answer/,
  });
  t.throws(() => decodeAnswer(encodeFailure(new ShoalError('E_BUSY', 'x'.repeat(9999)))), {
    message: /^x{1000}$/,
  });
});

t.test('an answer that is no answer is malformed and nothing worse', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      try {
        decodeAnswer(bytes);
        return bytes[0] === 0;
      } catch (error) {
        return isShoalError(error);
      }
    }),
  );
  const invented = Buffer.concat([
    Uint8Array.of(1),
    Buffer.from('82a4636f6465a94e4f5f535543485f58a76d657373616765a178', 'hex'),
  ]);
  t.throws(() => decodeAnswer(invented), { code: 'E_INTERNAL', message: /unknown error/ });
  t.end();
});

t.test('the bytes of wire version 1 do not change', async (t) => {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  t.equal(hex(encodeFrame(encodeNamed('ping', Uint8Array.of(1, 2)))), '000000070470696e670102');
  t.equal(hex(encodeAnswer(Uint8Array.of(9))), '0009');
  t.equal(
    hex(encodeFailure(new ShoalError('E_BUSY', 'no'))),
    '01de0002a4636f6465a6455f42555359a76d657373616765a26e6f',
  );
});
