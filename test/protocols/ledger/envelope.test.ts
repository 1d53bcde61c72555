/** Batches under one signature: each path is held to its root, and what was followed up once is not hashed again. */
import t from 'tap';
import { nodeCrypto } from '../../../daemon/crypto.ts';
import { decode, decodeInPlace, encode } from '../../../protocols/base/codec.ts';
import type { Crypto } from '../../../protocols/base/crypto.ts';
import { Cursor } from '../../../protocols/base/cursor.ts';
import {
  BATCH_RECORDS_MAX,
  openEnvelope,
  payloadStart,
  SealChecker,
  sealEnvelopes,
} from '../../../protocols/ledger/envelope.ts';
import { testSigner } from './fixtures.ts';

const signer = testSigner(1);
const BYTES_MAX = 1 << 17;

function payloads(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, at) => encode(['payload', at]));
}

function counting(): Crypto & { hashes: number; verifies: number } {
  const counts = { hashes: 0, verifies: 0 };
  return Object.assign(counts, {
    sha256: nodeCrypto.sha256,
    sha256Text: (bytes: Uint8Array) => {
      counts.hashes += 1;
      return nodeCrypto.sha256Text(bytes);
    },
    verify: (...args: Parameters<Crypto['verify']>) => {
      counts.verifies += 1;
      return nodeCrypto.verify(...args);
    },
  });
}

function holds(seals: SealChecker, bytes: Uint8Array): boolean {
  const envelope = openEnvelope(bytes, BYTES_MAX)!;
  const digestText = nodeCrypto.sha256Text(envelope.payload);
  return seals.holds({ author: signer.id, alone: undefined, envelope, digestText });
}

/** The envelope with another path or other sides. */
function altered(bytes: Uint8Array, change: (sides: number, path: Uint8Array[]) => [number, Uint8Array[]]) {
  const [payload, signature, sides, path] = decode(bytes, BYTES_MAX) as [
    Uint8Array,
    Uint8Array,
    number,
    Uint8Array[],
  ];
  return encode([payload, signature, ...change(sides, path)]);
}

t.test('each of a batch holds alone, in any order, and with others known', async (t) => {
  for (const count of [2, 3, 7, 100]) {
    const envelopes = sealEnvelopes(payloads(count), signer, nodeCrypto);
    t.ok(envelopes.every((bytes) => holds(new SealChecker(nodeCrypto), bytes)));
    const seals = new SealChecker(nodeCrypto);
    t.ok([...envelopes, ...envelopes.toReversed()].every((bytes) => holds(seals, bytes)));
  }
});

t.test('a path that is not the true one is refused, though all of the batch is known', async (t) => {
  const envelopes = sealEnvelopes(payloads(100), signer, nodeCrypto);
  const seals = new SealChecker(nodeCrypto);
  for (const bytes of envelopes) holds(seals, bytes);
  for (const bytes of envelopes.slice(0, 8)) {
    const { levels } = openEnvelope(bytes, BYTES_MAX)!.batch!;
    for (let level = 0; level < levels; level += 1) {
      const otherHash = altered(bytes, (sides, path) => [sides, path.with(level, new Uint8Array(32))]);
      const otherSide = altered(bytes, (sides, path) => [sides ^ (1 << level), path]);
      t.notOk(holds(seals, otherHash), `hash ${level}`);
      t.notOk(holds(seals, otherSide), `side ${level}`);
    }
    t.notOk(
      holds(
        seals,
        altered(bytes, (sides, path) => [sides & 63, path.slice(0, -1)]),
      ),
    );
    t.notOk(
      holds(
        seals,
        altered(bytes, (sides, path) => [sides, [...path, new Uint8Array(32)]]),
      ),
    );
  }
});

t.test('a hash within the tree is not taken for a payload of it by another path', async (t) => {
  const envelopes = sealEnvelopes(payloads(4), signer, nodeCrypto);
  const seals = new SealChecker(nodeCrypto);
  for (const bytes of envelopes) holds(seals, bytes);
  const envelope = openEnvelope(envelopes[0]!, BYTES_MAX)!;
  const [unsigned, signed] = [encode('never signed'), envelope.payload].map((bytes) =>
    nodeCrypto.sha256Text(bytes),
  );
  const sealed = { author: signer.id, alone: undefined, envelope };
  t.notOk(seals.holds({ ...sealed, digestText: unsigned! }));
  t.notOk(seals.holds({ ...sealed, author: testSigner(2).id, digestText: signed! }));
});

t.test('a whole batch costs one check of a signature, and about one hash for each record', async (t) => {
  const envelopes = sealEnvelopes(payloads(BATCH_RECORDS_MAX), signer, nodeCrypto);
  const crypto = counting();
  const seals = new SealChecker(crypto);
  for (const bytes of envelopes) holds(seals, bytes);
  t.equal(crypto.verifies, 1);
  t.ok(crypto.hashes <= BATCH_RECORDS_MAX + 10, `${crypto.hashes} hashes`);
});

t.test('what the cursor takes for an envelope is one for the decoder, with the same payload', async (t) => {
  const [alone] = sealEnvelopes(payloads(1), signer, nodeCrypto);
  const [batched] = sealEnvelopes(payloads(3), signer, nodeCrypto);
  for (const bytes of [alone!, batched!]) {
    t.ok(payloadStart(new Cursor(bytes)) >= 0);
    for (let at = 0; at < bytes.byteLength; at += 1) {
      for (const byte of [0, 0x7f, 0x91, 0xc0, 0xc4, 0xc5, 0xff, bytes[at]! ^ 1]) {
        const damaged = bytes.with(at, byte);
        const cursor = new Cursor(damaged);
        const start = payloadStart(cursor);
        if (start < 0) continue;
        const [payload, signature] = decode(damaged, BYTES_MAX) as [Uint8Array, Uint8Array];
        if (Buffer.compare(payload, damaged.subarray(start, cursor.at)) !== 0 || signature.byteLength !== 64)
          t.fail(`byte ${at} as ${byte}`);
      }
    }
  }
});

t.test('bytes that an extension makes are no payload: they are nowhere in the envelope', async (t) => {
  const [payload] = payloads(1);
  const extension = [0xc7, payload!.length + 1, 0x74, 1, ...payload!];
  const bytes = Uint8Array.from([0x92, ...extension, 0xc4, 64, ...signer.sign(payload!)]);
  t.same((decodeInPlace(bytes, BYTES_MAX) as unknown[])[0], payload, 'the decoder makes bytes of it');
  t.equal(openEnvelope(bytes, BYTES_MAX), undefined);
});
