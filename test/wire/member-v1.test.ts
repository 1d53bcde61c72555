/** Golden bytes of the datagrams of membership, version 1. They never change; a new version is a new file. */
import t from 'tap';
import { toHex } from '../../protocols/base/ids.ts';
import { decodeMessage, encodeMessage, type Message } from '../../protocols/membership/messages.ts';

const GOLDEN: readonly [Message, string][] = [
  [{ type: 'ping', seq: 1, suspected: null }, '94010001c0'],
  [{ type: 'ping', seq: 300, suspected: 2 }, '940100cd012c02'],
  [{ type: 'ack', seq: 70_000, incarnation: 3 }, '940101ce0001117003'],
  [{ type: 'request', seq: 4, subject: 'node', suspected: null }, '95010204a46e6f6465c0'],
  [{ type: 'relayed', seq: 5, subject: 'node', incarnation: 6 }, '95010305a46e6f646506'],
  [{ type: 'nack', seq: 7, subject: 'node' }, '94010407a46e6f6465'],
  [{ type: 'suspect', subject: 'node', incarnation: 8 }, '940105a46e6f646508'],
  // Added later, within the version: older nodes pass over the field, and drop the message that they do not know.
  [{ type: 'suspect', subject: 'node', incarnation: 8, closed: true }, '950105a46e6f646508c3'],
  [{ type: 'beat', incarnation: 9, next_ms: 2400 }, '94010609cd0960'],
];

for (const [message, hex] of GOLDEN) {
  t.test(`${message.type} is written as it always was, and read`, async (t) => {
    t.equal(toHex(encodeMessage(message)), hex);
    t.same(decodeMessage(Uint8Array.from(Buffer.from(hex, 'hex'))), message);
  });
}
