import t from 'tap';
import { FrameReader, frame } from '../../../daemon/dns/dns-frame.ts';
import fc from '../../laws.ts';

t.test('messages come out as they went in, however the stream is cut', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 20 }),
      (messages, sizes) => {
        const stream = Buffer.concat(messages.map(frame));
        const reader = new FrameReader();
        const out: Buffer[] = [];
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const size = sizes[turn % sizes.length]!;
          out.push(...reader.push(stream.subarray(at, at + size)));
          at += size;
        }
        return (
          reader.held_bytes === 0 &&
          out.length === messages.length &&
          out.every((message, at) => message.equals(messages[at]!))
        );
      },
    ),
  );
});

t.test('the length is known before the message is there', async (t) => {
  const reader = new FrameReader();
  reader.push(Buffer.of(0xff));
  t.equal(reader.announced_bytes, null);
  reader.push(Buffer.of(0xff, 1));
  t.equal(reader.announced_bytes, 65_535);
  t.equal(reader.held_bytes, 3);
});
