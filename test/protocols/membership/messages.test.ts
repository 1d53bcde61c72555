import assert from 'node:assert/strict';
import t from 'tap';
import { encode } from '../../../protocols/base/codec.ts';
import { MEMBERSHIP_LIMITS } from '../../../protocols/membership/config.ts';
import { decodeMessage, encodeMessage, type Message } from '../../../protocols/membership/messages.ts';
import fc from '../../laws.ts';

const count = fc.nat(Number.MAX_SAFE_INTEGER);
const id = fc.string({ minLength: 1, maxLength: 52, unit: 'grapheme-ascii' });
const suspected = fc.option(count);
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ type: fc.constant('ping' as const), seq: count, suspected }),
  fc.record({ type: fc.constant('ack' as const), seq: count, incarnation: count }),
  fc.record({ type: fc.constant('request' as const), seq: count, subject: id, suspected }),
  fc.record({ type: fc.constant('relayed' as const), seq: count, subject: id, incarnation: count }),
  fc.record({ type: fc.constant('nack' as const), seq: count, subject: id }),
  fc.record({ type: fc.constant('suspect' as const), subject: id, incarnation: count }),
  fc.record({
    type: fc.constant('suspect' as const),
    subject: id,
    incarnation: count,
    closed: fc.constant(true as const),
  }),
  fc.record({ type: fc.constant('beat' as const), incarnation: count, next_ms: count }),
);

t.test('every message reads back as it was, within its cap', async () => {
  fc.assert(
    fc.property(message, (value) => {
      const body = encodeMessage(value);
      assert.ok(body.byteLength <= MEMBERSHIP_LIMITS.message_bytes_max);
      assert.deepEqual(decodeMessage(body), { ...value });
    }),
    { numRuns: 100 },
  );
});

t.test('anything else is no message, and never throws', async (t) => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (body) => void decodeMessage(body)));
  const others: unknown[] = [
    null,
    1,
    [],
    [1],
    [2, 0, 1, null],
    [1, 9, 1, 1],
    [1, 0, -1, null],
    [1, 1, 1, 1.5],
    [1, 5, '', 1],
    [1, 6, 1],
    [1, 6, 1, -1],
    [1, 7, 1, 1],
  ];
  for (const value of others) t.equal(decodeMessage(encode(value)), null);
  t.equal(decodeMessage(encode([1, 5, 'x'.repeat(MEMBERSHIP_LIMITS.nodeId_length_max + 1), 1])), null);
});

t.test('fields that a later version adds are ignored', async (t) => {
  t.same(decodeMessage(encode([1, 1, 7, 3, 'more'])), { type: 'ack', seq: 7, incarnation: 3 });
});
