import t from 'tap';
import {
  WITHHELD_BYTES_MAX,
  WITHHELD_STREAMS_MAX,
  WindowUpdates,
} from '../../../protocols/mesh/window-updates.ts';
import fc from '../../laws.ts';

/** Bytes of a frame: version 0, type, flags, stream, length. */
function frame(type: number, flags: number, stream: number, length: number): Uint8Array {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt8(type, 1);
  bytes.writeUInt16BE(flags, 2);
  bytes.writeUInt32BE(stream, 4);
  bytes.writeUInt32BE(length, 8);
  return new Uint8Array(bytes);
}

t.test('all that is no plain window update passes as it is', async (t) => {
  const updates = new WindowUpdates();
  const opening = frame(1, 1, 3, 100);
  const ping = frame(2, 0, 0, 7);
  const data = new Uint8Array([...frame(0, 0, 3, 4), 1, 2, 3, 4]);
  for (const other of [opening, ping, data, new Uint8Array(0)]) t.equal(updates.pass(other), other);
});

t.test('small updates wait until they are worth a packet, and none is lost', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 1 << 20 }))),
      (given) => {
        const updates = new WindowUpdates();
        const owed = new Map<number, number>();
        for (const [stream, bytes] of given) {
          owed.set(stream, (owed.get(stream) ?? 0) + bytes);
          const sent = updates.pass(frame(1, 0, stream, bytes));
          if (sent === undefined) continue;
          const view = Buffer.from(sent);
          if (view.readUInt32BE(4) !== stream || view.readUInt32BE(0) !== 0x00010000) return false;
          owed.set(stream, owed.get(stream)! - view.readUInt32BE(8));
        }
        return [...owed.values()].every((bytes) => bytes >= 0 && bytes < WITHHELD_BYTES_MAX);
      },
    ),
  );
  t.pass();
});

t.test('updates are withheld for so many streams only; then the oldest gets its own', async (t) => {
  const updates = new WindowUpdates();
  for (let stream = 1; stream <= WITHHELD_STREAMS_MAX; stream++) {
    t.equal(updates.pass(frame(1, 0, stream, stream)), undefined);
  }
  t.same(updates.pass(frame(1, 0, 99_999, 5)), frame(1, 0, 1, 1));
});
