/** Golden bytes of signed records, version 1. They never change; a new version is a new file. */
import t from 'tap';
import { nodeCrypto, signerFromSeed } from '../../daemon/crypto.ts';
import { fromHex, toHex } from '../../protocols/base/ids.ts';
import { openRecord, type RecordHeader, sealRecord, verifyRecord } from '../../protocols/ledger/record.ts';

const author = signerFromSeed(new Uint8Array(32).fill(7));
const other = signerFromSeed(new Uint8Array(32).fill(9));

interface Golden {
  readonly what: string;
  readonly header: RecordHeader;
  readonly body: unknown;
  readonly digest: string;
  readonly hex: string;
}

const GOLDEN: readonly Golden[] = [
  {
    what: 'a record with a context',
    header: {
      cluster: 'ab'.repeat(32),
      author: author.id,
      epoch: 3,
      seq: 70_000,
      hlc: { ms: 1_767_225_600_123, n: 2 },
      kind: 'intent',
      key: author.id,
      generation: 5,
      context: [{ author: other.id, epoch: 0, seq: 12 }],
    },
    body: { intent: 'draining' },
    digest: 'b7310c4f115aa7faa286191bbb60c1f2563464a70c8057d3ebef62f585e62185',
    hex:
      `92c4cd9c01c420${'ab'.repeat(32)}c420ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c` +
      '03ce00011170cb4279b76daa87b00002a6696e74656e74d934313244334b6f6f5752617750627850745031655a614a70756d476e' +
      '7957583244635579643352516e796472336541746f34417a37059193c420fd1724385aa0c75b64fb78cd602fa1d991fdebf76b13' +
      'c58ed702eac835e9f618000cde0001a6696e74656e74a8647261696e696e67c44033f6d37c5d78e7987b9ca3d0dac593767de60d' +
      'd607f87afc97aefe7b14643fbd6c6e579b674b5c510d8f5c93699d793f20e0b4df4c5ec6b945e30697a5382400',
  },
  {
    what: 'a tombstone',
    header: {
      cluster: 'ab'.repeat(32),
      author: author.id,
      epoch: 0,
      seq: 1,
      hlc: { ms: 1_767_225_600_123, n: 2 },
      kind: 'workload',
      key: 'default/web',
      generation: 5,
      context: [],
    },
    body: null,
    digest: '19be321644e7d7a86f9d37a27b9bb2d486c0cb0e8a54845ccca328d3c4622e2c',
    hex:
      `92c46a9c01c420${'ab'.repeat(32)}c420ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c` +
      '0001cb4279b76daa87b00002a8776f726b6c6f6164ab64656661756c742f7765620590c0c440ef2c1fb929ea9aadd6ed3ffce5db' +
      '67d42d4820a293e3e4c21c730b4d423aab0499ab5968bd5f12061851428117a6f711b32a82f59927b217f9e7dae2094d2607',
  },
];

for (const { what, header, body, digest, hex } of GOLDEN) {
  t.test(`${what} is written as it always was`, async (t) => {
    const record = sealRecord(header, body, author, nodeCrypto);
    t.equal(toHex(record.bytes), hex);
    t.equal(record.digest, digest);
  });

  t.test(`${what} is read, and its signature holds`, async (t) => {
    const record = openRecord(fromHex(hex), nodeCrypto);
    t.match(record, { ...header, digest });
    t.same(record.body, body);
    t.equal(toHex(record.bytes), hex);
    t.ok(verifyRecord(record, nodeCrypto));
  });
}

t.test('a record with fields that this version does not know is read, and keeps its bytes', async (t) => {
  // The payload of the tombstone with a thirteenth field: 9c becomes 9d, and `true` comes after the body.
  const [, tombstone] = GOLDEN;
  const hex = tombstone!.hex.replace('92c46a9c', '92c46b9d').replace('0590c0c440', '0590c0c3c440');
  const record = openRecord(fromHex(hex), nodeCrypto);
  t.match(record, { kind: 'workload', key: 'default/web', body: null });
  t.equal(toHex(record.bytes), hex);
});
