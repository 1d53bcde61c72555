/** Golden bytes of anti-entropy and gossip of the ledger, version 2. They never change; a new version is a new file. */
import t from 'tap';
import { fromHex, toHex } from '../../protocols/base/ids.ts';
import {
  decodeGossip,
  decodeSync,
  encodeGossip,
  encodeSync,
  LISTED_MAX,
  type SyncMessage,
} from '../../protocols/ledger/sync.ts';

const HASH = 'cd'.repeat(16);

const GOLDEN: readonly [SyncMessage, string][] = [
  [{ kind: 'hello', hash: HASH, records: 300, horizon_ms: 0 }, `9502a168c410${HASH}cd012c00`],
  [
    {
      kind: 'hello',
      hash: HASH,
      records: 1,
      horizon_ms: 5,
      settled: { upTo_ms: 1_800_000_000_123, hash: 'ef'.repeat(16) },
    },
    `9702a168c410${HASH}0105cb427a3185c507b000c410${'ef'.repeat(16)}`,
  ],
  [
    {
      kind: 'compare',
      splits: [{ prefix: '', parts: [{ prefix: '0f', words: [1, -1, 0x7fffffff, 0], count: 9 }] }],
      listings: [
        {
          prefix: '3a',
          items: [{ digest: '0123456789abcdef', placeLow: 0xfffffffe, ms: 1_800_000_000_123, n: 7 }],
        },
      ],
      wants: [{ prefix: '1', digests: ['0123456789abcdef', 'ffffffffffffffff'] }],
      horizon_ms: 5,
    },
    '9602a16391' +
      '92a09193a23066c41000000001ffffffff7fffffff0000000009' +
      '9192a23361c4140123456789abcdeffffffffe01a3185c507b0007' +
      '9192a131c4100123456789abcdefffffffffffffffff05',
  ],
  [
    { kind: 'records', envelopes: [Uint8Array.of(1, 2, 3)], last: true, more: false },
    '9502a17291c403010203c3c2',
  ],
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
  const hex = '9302a16792c403010203c40104';
  t.equal(toHex(encodeGossip([Uint8Array.of(1, 2, 3), Uint8Array.of(4)])), hex);
  t.same(decodeGossip(fromHex(hex)).map(toHex), ['010203', '04']);
});

t.test('what is not of this version, or not of its shape, is refused', async (t) => {
  const bad = [
    `9401a168c410${HASH}cd012c`,
    `9502a168c40f${'cd'.repeat(15)}cd012c00`,
    `9602a168c410${HASH}010500`,
    // A prefix that is no hex digits, one that is too long, items of a broken length, and more than may be listed.
    '9502a1639192a1679090c40090',
    `9502a1639192b1${'61'.repeat(17)}909090`,
    '9502a163909192a161c4020000' + '90',
    `9502a163909192a161c5${(20 * (LISTED_MAX + 1)).toString(16).padStart(8, '0')}`,
  ];
  for (const hex of bad) t.throws(() => decodeSync(fromHex(hex)), { code: 'E_MALFORMED' }, hex.slice(0, 40));
  t.throws(() => decodeGossip(fromHex('9301a16792c403010203c40104')), { code: 'E_MALFORMED' });
});
