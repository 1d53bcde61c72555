import t from 'tap';
import { SealChecker } from '../../protocols/ledger/envelope.ts';
import { sealRecord } from '../../protocols/ledger/record.ts';
import { encodeGossip } from '../../protocols/ledger/sync.ts';
import { fastCrypto, fastSigner } from './fast-crypto.ts';
import { Recent } from './recent.ts';
import { createSharedReader } from './shared-reader.ts';

const signer = fastSigner('a');
const seals = new SealChecker(fastCrypto);
const record = sealRecord(
  {
    cluster: '1'.repeat(64),
    author: signer.id,
    epoch: 1,
    seq: 1,
    hlc: { ms: 1, n: 0 },
    kind: 'tag',
    key: 'a',
    generation: 1,
    context: [],
  },
  { digest: 'a' },
  signer,
  fastCrypto,
);

t.test('equal bytes are one record, however they came', async (t) => {
  const reader = createSharedReader();
  const gossip = encodeGossip([record.bytes]);
  const [envelope] = reader.envelopesOf(gossip);
  t.equal(reader.envelopesOf(gossip)[0], envelope);
  const opened = reader.open(envelope!, fastCrypto);
  t.equal(opened.digest, record.digest);
  t.equal(reader.open(Uint8Array.from(record.bytes), fastCrypto), opened);
  t.ok(reader.verify(opened, fastCrypto, seals));
});

t.test('what one node refuses to read or believe, the next refuses too', async (t) => {
  const reader = createSharedReader();
  const forged = Uint8Array.from(record.bytes);
  forged[forged.length - 1]! ^= 1;
  const bad = reader.open(forged, fastCrypto);
  for (let node = 0; node < 2; node += 1) {
    t.throws(() => reader.envelopesOf(Uint8Array.of(1)), { code: 'E_MALFORMED' });
    t.throws(() => reader.open(Uint8Array.of(1), fastCrypto), { code: 'E_MALFORMED' });
    t.notOk(reader.verify(bad, fastCrypto, seals));
  }
  t.ok(reader.verify(reader.open(record.bytes, fastCrypto), fastCrypto, seals), 'the true one is another');
});

t.test('no more is remembered than the cap', async (t) => {
  const recent = new Recent<string, object>(2);
  const first = recent.of('a', () => ({}));
  recent.of('b', () => ({}));
  t.equal(
    recent.of('a', () => ({})),
    first,
  );
  recent.of('c', () => ({}));
  t.not(
    recent.of('a', () => ({})),
    first,
  );
});
