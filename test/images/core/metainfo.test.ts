import { createHash } from 'node:crypto';
import t from 'tap';
import {
  encodeInfo,
  encodeTorrent,
  PIECE_HASH_BYTES,
  pieceCount,
  pieceLength,
  pieceOrder,
  TORRENT_BYTES_MIN,
  travelsByTorrent,
} from '../../../images/core/metainfo.ts';
import type { Digest } from '../../../protocols/base/ids.ts';
import fc from '../../laws.ts';

const DIGEST: Digest = `sha256:${'ab'.repeat(32)}`;

t.test('blobs of 256 KiB and more travel by torrent', async (t) => {
  t.notOk(travelsByTorrent(TORRENT_BYTES_MIN - 1));
  t.ok(travelsByTorrent(TORRENT_BYTES_MIN));
});

t.test('the piece length is a power of two that keeps pieces few', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 37 }), (size) => {
      const length = pieceLength(size);
      const pieces = pieceCount(size);
      return (
        Number.isInteger(Math.log2(length)) && length <= 16 << 20 && pieces <= 8192 && pieces * length >= size
      );
    }),
  );
});

t.test('the info dictionary is these bytes for ever', async (t) => {
  const info = encodeInfo(DIGEST, 300_000, new Uint8Array(2 * PIECE_HASH_BYTES));
  const name = 'ab'.repeat(32);
  const head = `d6:lengthi300000e4:name64:${name}12:piece lengthi262144e6:pieces40:`;
  t.equal(Buffer.from(info).toString('latin1'), `${head}${'\0'.repeat(40)}7:privatei1ee`);
  t.equal(
    createHash('sha1').update(info).digest('hex'),
    createHash('sha1')
      .update(encodeInfo(DIGEST, 300_000, new Uint8Array(40)))
      .digest('hex'),
  );
  t.equal(encodeTorrent(info).byteLength, info.byteLength + 8);
  t.throws(() => encodeInfo(DIGEST, 300_000, new Uint8Array(20)), RangeError);
});

t.test('the order takes every piece once', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5000 }), fc.string(), (pieces, seed) => {
      const order = pieceOrder(pieces, seed).flatMap(({ from, to }) =>
        Array.from({ length: to - from + 1 }, (_, at) => from + at),
      );
      return (
        order.length === pieces &&
        new Set(order).size === pieces &&
        order.every((at) => at >= 0 && at < pieces)
      );
    }),
    { numRuns: 50 },
  );
});

t.test('getters start at different pieces', async (t) => {
  const starts = new Set(
    Array.from({ length: 20 }, (_, at) => pieceOrder(1000, `node-${at}${DIGEST}`)[0]?.from),
  );
  t.ok(starts.size > 10);
});
