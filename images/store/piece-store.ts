/**
 * The SHA-1 of each piece of each blob that travels by torrent, kept as `pieces/<hex>`: the one part of a metainfo
 * that cannot be told from digest and size. Made when a blob is imported, or got from a member and checked against
 * the infohash of the image's record.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../../protocols/base/ids.ts';
import { blobName, encodeInfo, PIECE_HASH_BYTES, pieceCount, pieceLength } from '../core/metainfo.ts';
import { writeFileDurably } from './durable-file.ts';

/** @returns the infohash in hex. */
export function infohashOf(digest: Digest, size: number, hashes: Uint8Array): string {
  return createHash('sha1')
    .update(encodeInfo(digest, size, hashes))
    .digest('hex');
}

/** @returns true when these are the piece hashes that the infohash stands for. `hashes` may come from anyone. */
export function provesInfohash(digest: Digest, size: number, hashes: Uint8Array, infohash: string): boolean {
  const fits = hashes.byteLength === pieceCount(size) * PIECE_HASH_BYTES;
  return fits && infohashOf(digest, size, hashes) === infohash;
}

/** Reads a file once. @returns the SHA-1 of its pieces, joined. */
export async function hashPieces(file: string, size: number): Promise<Uint8Array> {
  const hashes = new Uint8Array(pieceCount(size) * PIECE_HASH_BYTES);
  const length = pieceLength(size);
  let hash = createHash('sha1');
  let piece = 0;
  let filled = 0;
  const close = () => {
    hashes.set(hash.digest(), piece * PIECE_HASH_BYTES);
    hash = createHash('sha1');
    piece += 1;
    filled = 0;
  };
  for await (const chunk of createReadStream(file, { highWaterMark: 256 << 10 })) {
    let rest = chunk as Uint8Array;
    while (rest.byteLength > 0) {
      const part = rest.subarray(0, length - filled);
      hash.update(part);
      filled += part.byteLength;
      rest = rest.subarray(part.byteLength);
      if (filled === length) close();
    }
  }
  if (filled > 0) close();
  return hashes;
}

export class PieceStore {
  readonly #directory: string;
  readonly #temporary: string;

  private constructor(directory: string, temporary: string) {
    this.#directory = directory;
    this.#temporary = temporary;
  }

  static async open(root: string, temporary: string): Promise<PieceStore> {
    const directory = join(root, 'pieces');
    await mkdir(directory, { recursive: true, mode: 0o755 });
    return new PieceStore(directory, temporary);
  }

  async get(digest: Digest, size: number): Promise<Uint8Array | undefined> {
    const bytes = await readFile(join(this.#directory, blobName(digest))).catch(() => undefined);
    return bytes?.byteLength === pieceCount(size) * PIECE_HASH_BYTES ? new Uint8Array(bytes) : undefined;
  }

  /** @throws E_DISK_FULL */
  async put(digest: Digest, hashes: Uint8Array): Promise<void> {
    await writeFileDurably(join(this.#directory, blobName(digest)), hashes, this.#temporary);
  }

  async remove(digest: Digest): Promise<void> {
    await rm(join(this.#directory, blobName(digest)), { force: true });
  }
}
