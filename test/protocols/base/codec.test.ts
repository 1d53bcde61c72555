/** The one decoder: plain data in, or E_MALFORMED, whatever the bytes. */
import t from 'tap';
import { decode, encode } from '../../../protocols/base/codec.ts';
import fc from '../../laws.ts';

t.test('plain data survives', async (t) => {
  const data = { a: [1, -2.5, null, true, 'ü', Uint8Array.of(1, 2)], b: { c: [] } };
  t.same(decode(encode(data), 1000), data);
});

t.test('what only an extension can say is refused', async (t) => {
  const cases: Record<string, number[]> = {
    'a date': [0xd6, 0xff, 0, 0, 0, 1],
    'a regular expression': [0xc7, 0, 0x78, 0x92, 0xa1, 0x61, 0xa0],
    'a ring': [0xd6, 0x69, 0, 0, 0, 1, 0x91, 0xd6, 0x70, 0, 0, 0, 1],
    'a big number': [0xc7, 4, 0x42, 1, 2, 3, 4],
    'a set': [0xd4, 0x73, 0, 0x91, 1],
    'an error': [0xd4, 0x65, 0, 0x91, 0xa1, 0x61],
    'a typed array': [0xc7, 2, 0x74, 0, 1],
  };
  for (const [name, bytes] of Object.entries(cases))
    t.throws(() => decode(Uint8Array.from(bytes), 100), { code: 'E_MALFORMED' }, name);
});

t.test('deep nesting and lengths that are not there are refused', async (t) => {
  for (const bytes of [
    new Uint8Array(100).fill(0x91),
    new Uint8Array(1 << 20).fill(0x91),
    Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff),
    Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff),
    Uint8Array.of(0xc6, 0xff, 0xff, 0xff, 0xff),
  ])
    t.throws(() => decode(bytes, 1 << 20), { code: 'E_MALFORMED' });
});

t.test('a map cannot touch the prototype', async (t) => {
  const bytes = Uint8Array.from([0x81, 0xa9, ...Buffer.from('__proto__'), 0x81, 0xa1, 0x61, 1]);
  const value = decode(bytes, 100) as { a?: number };
  t.equal(value.a, undefined);
  t.equal(({} as { a?: number }).a, undefined);
});

t.test('bytes that were read do not keep the message in memory', async (t) => {
  const [small] = decode(encode([new Uint8Array(10), new Uint8Array(100_000)]), 1 << 20) as Uint8Array[];
  t.equal(small?.buffer.byteLength, 10);
});

t.test('no bytes do anything but give plain data or E_MALFORMED', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        JSON.stringify(decode(bytes, 64));
        return true;
      } catch (error) {
        return (error as { code?: string }).code === 'E_MALFORMED';
      }
    }),
    { numRuns: 2000 },
  );
  t.pass();
});
