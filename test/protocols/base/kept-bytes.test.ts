import t from 'tap';
import { keptBytes } from '../../../protocols/base/kept-bytes.ts';
import fc from '../../laws.ts';

t.test('what is kept is equal, and stays so whatever is kept after it', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 2_000 }), { maxLength: 30 }), (parts) => {
      const message = Buffer.concat([...parts, Buffer.alloc(8_000)]);
      let end = 0;
      const kept = parts.map(({ byteLength }) => {
        end += byteLength;
        return keptBytes(message.subarray(end - byteLength, end));
      });
      message.fill(0xff);
      return kept.every((bytes, index) => Buffer.compare(bytes, parts[index]!) === 0);
    }),
  );
  t.pass();
});

t.test('a small part of a large message does not keep it in memory', async (t) => {
  for (const message of [new Uint8Array(1 << 20), Buffer.alloc(1 << 20)]) {
    for (const length of [1, 500, 1024, 1025, 100_000]) {
      const kept = keptBytes(message.subarray(7, 7 + length));
      t.not(kept.buffer, message.buffer);
      t.ok(kept.buffer.byteLength <= Math.max(4096, length), `${kept.buffer.byteLength} bytes for ${length}`);
    }
  }
});

t.test('what is most of its message, in a short one, or kept already, stays where it is', async (t) => {
  const most = new Uint8Array(9_000).subarray(10);
  t.equal(keptBytes(most), most);
  const inShort = new Uint8Array(4_096).subarray(0, 3);
  t.equal(keptBytes(inShort), inShort);
  for (const length of [1, 500, 1024, 1025, 3_000]) {
    const kept = keptBytes(new Uint8Array(9_000).subarray(0, length));
    t.equal(keptBytes(kept), kept);
  }
});
