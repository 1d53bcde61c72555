/** Golden bytes of anti-entropy and gossip of the ledger, version 1. They never change; a new version is a new file. */
import t from 'tap';
import { fromHex, toHex } from '../../protocols/base/ids.ts';
import {
  decodeGossip,
  decodeSync,
  encodeGossip,
  encodeSync,
  type SyncMessage,
} from '../../protocols/ledger/sync.ts';

const AUTHOR = '12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7';
const AUTHOR_HEX = 'ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c';

const GOLDEN: readonly [SyncMessage, string][] = [
  [{ kind: 'hello', hash: 'cd'.repeat(32), records: 300 }, `9401a168c420${'cd'.repeat(32)}cd012c`],
  [
    {
      kind: 'vector',
      hash: 'cd'.repeat(32),
      entries: [{ author: AUTHOR, epoch: 1, high: 65_536 }],
      back: true,
    },
    `9501a176c420${'cd'.repeat(32)}9193c420${AUTHOR_HEX}01ce00010000c3`,
  ],
  [
    {
      kind: 'records',
      ranges: [{ author: AUTHOR, epoch: 1, from: 4, to: 9 }],
      envelopes: [Uint8Array.of(1, 2, 3)],
    },
    `9401a1729194c420${AUTHOR_HEX}01040991c403010203`,
  ],
  [{ kind: 'digests', digests: ['ef'.repeat(32)] }, `9301a16491c420${'ef'.repeat(32)}`],
];

for (const [message, hex] of GOLDEN) {
  t.test(`${message.kind} is written as it always was, and read`, async (t) => {
    t.equal(toHex(encodeSync(message)), hex);
    const read = decodeSync(fromHex(hex));
    // Buffers and plain arrays of bytes are the same to everybody but a strict comparison.
    t.same(
      'envelopes' in read ? { ...read, envelopes: read.envelopes.map((e) => Uint8Array.from(e)) } : read,
      message,
    );
  });
}

t.test('gossip is written as it always was, and read', async (t) => {
  const hex = '9301a16792c403010203c40104';
  t.equal(toHex(encodeGossip([Uint8Array.of(1, 2, 3), Uint8Array.of(4)])), hex);
  t.same(decodeGossip(fromHex(hex)).map(toHex), ['010203', '04']);
});

t.test('a message of another version is refused, not guessed at', async (t) => {
  t.throws(() => decodeSync(fromHex(`9402a168c420${'cd'.repeat(32)}cd012c`)), { code: 'E_MALFORMED' });
  t.throws(() => decodeGossip(fromHex('9302a16792c403010203c40104')), { code: 'E_MALFORMED' });
});
