import t from 'tap';
import { toLatin1 } from '../../../protocols/base/ids.ts';
import { Interned } from '../../../protocols/base/interned.ts';
import fc from '../../laws.ts';
import { testSigner } from '../ledger/fixtures.ts';

t.test('whatever else falls on its slot, a value is that of its bytes', async (t) => {
  // Two slots, so that nearly all of them meet.
  const table = new Interned(2, (text) => ({ text }));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), fc.nat(3), (bytes, start) => {
      const from = Math.min(start, bytes.length);
      return table.at(bytes, from, bytes.length)?.text === toLatin1(bytes.subarray(from));
    }),
  );
  t.pass();
});

t.test('texts are told apart and found again at every length', async (t) => {
  const table = new Interned(4, (text) => ({ text }));
  for (let length = 0; length < 600; length += 1) {
    const bytes = new Uint8Array(length).fill(0x80 | (length & 0x7f));
    const value = table.at(bytes, 0, length);
    t.equal(value?.text, toLatin1(bytes));
    t.equal(table.at(Uint8Array.from(bytes), 0, length), value);
    // Those that come after it differ in one byte, or in length alone.
    if (length > 0)
      t.not(
        table.at(
          bytes.map((byte, at) => (at === 0 ? byte ^ 1 : byte)),
          0,
          length,
        ),
        value,
      );
  }
});

t.test(
  'a value is found by the bytes that it was made from, whatever becomes of where they came from',
  async (t) => {
    const table = new Interned(1, (text) => ({ text }));
    const message = Buffer.from('first');
    const first = table.at(message, 0, 5);
    message.write('other');
    t.equal(table.at(Buffer.from('first'), 0, 5), first);
    t.equal(table.at(message, 0, 5)?.text, 'other');
    t.equal(new Interned(1, (text) => ({ text })).at(message, 0, 0)?.text, '', 'also of no bytes');
  },
);

t.test('equal bytes are made into a value once, and what is refused is not kept', async (t) => {
  let made = 0;
  const table = new Interned(16, (text) => {
    made += 1;
    return text === 'no' ? undefined : { text };
  });
  const bytes = new TextEncoder().encode('a yes a no');
  t.equal(table.at(bytes, 2, 5), table.at(Uint8Array.from(bytes), 2, 5));
  t.equal(made, 1);
  t.equal(table.at(bytes, 8, 10), undefined);
  t.equal(table.at(bytes, 8, 10), undefined);
  t.equal(made, 3);
});

t.test('texts around the longest of which the bytes are kept are never taken for one another', async (t) => {
  const table = new Interned(8, (text) => ({ text }));
  // Few bytes, and lengths that are themselves such bytes: what one leaves behind may look like another's beginning.
  const text = fc
    .tuple(
      fc.constantFrom(1, 2, 3, 126, 127, 128, 129, 255, 256, 257),
      fc.array(fc.constantFrom(1, 2, 127, 128)),
    )
    .map(([length, ends]) => {
      const bytes = new Uint8Array(length).fill(1);
      bytes.set(ends.slice(0, length), length - Math.min(length, ends.length));
      return bytes;
    });
  fc.assert(
    fc.property(fc.array(text, { minLength: 10, maxLength: 60 }), (texts) =>
      [...texts, ...texts].every((bytes) => table.at(bytes, 0, bytes.length)?.text === toLatin1(bytes)),
    ),
  );
  t.pass();
});

t.test('what was made is found again after the table has grown', async (t) => {
  const made: string[] = [];
  const table = new Interned(1024, (text) => {
    made.push(text);
    return { text };
  });
  // The last byte alone tells these apart: none falls on the slot of another.
  const texts = Array.from({ length: 200 }, (_, at) => Uint8Array.of(7, 7, 7, 7, 7, 7, 7, at));
  const values = texts.map((bytes) => table.at(bytes, 0, bytes.length));
  t.ok(texts.every((bytes, at) => table.at(bytes, 0, bytes.length) === values[at]));
  t.equal(made.length, texts.length);
});

t.test('texts that end alike, or differ in their kind alone, mostly find slots of their own', async (t) => {
  const ids = Array.from({ length: 200 }, (_, at) => testSigner(at).id);
  const lots = {
    'what members run': ids.map((id) => `alloc ${id}/default/web/0`),
    'what one has granted': ids.map((id) => `grant ${id}/${ids[0]}`),
    'kinds of one length': ids.flatMap((id) => [`member ${id}`, `intent ${id}`]),
  };
  for (const [name, texts] of Object.entries(lots)) {
    let made = 0;
    const table = new Interned(16_384, (text) => {
      made += 1;
      return { text };
    });
    const lot = texts.map((text) => new TextEncoder().encode(text));
    for (const bytes of [...lot, ...lot]) table.at(bytes, 0, bytes.length);
    t.ok(made < 1.2 * texts.length, `${name}: ${made} made of ${texts.length}`);
  }
});
