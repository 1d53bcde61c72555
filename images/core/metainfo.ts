/**
 * Which blobs travel by torrent, and the one metainfo that each of them has. Name, length, piece length and the
 * private flag follow from digest and size, so equal bytes have an equal infohash on every node, and only the
 * piece hashes need to travel. Sources: BEP 3 (metainfo, bencoding), BEP 27 (private torrents).
 * Not here: hashing, and the swarm.
 */
import type { Digest } from '../../protocols/base/ids.ts';

/** Smaller blobs travel whole in the answer to one mesh request. */
export const TORRENT_BYTES_MIN = 256 << 10;
const PIECE_BYTES_MIN = 256 << 10;
const PIECE_BYTES_MAX = 16 << 20;
/** The piece length doubles while there would be more; only blobs over 32 GiB have more. */
const PIECES_WANTED_MAX = 2048;
/** SHA-1, BEP 3. */
export const PIECE_HASH_BYTES = 20;

export function travelsByTorrent(size: number): boolean {
  return size >= TORRENT_BYTES_MIN;
}

/** @returns bytes, a power of two. */
export function pieceLength(size: number): number {
  let length = PIECE_BYTES_MIN;
  while (length < PIECE_BYTES_MAX && size / length > PIECES_WANTED_MAX) length *= 2;
  return length;
}

export function pieceCount(size: number): number {
  return Math.ceil(size / pieceLength(size));
}

/** The file name of a blob in its torrent and on disk. */
export function blobName(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

/**
 * The bencoded info dictionary; its SHA-1 is the infohash.
 * @param hashes the SHA-1 of every piece, joined.
 * @throws RangeError when `hashes` does not fit `size` (a programmer's error: check lengths of what strangers send).
 */
export function encodeInfo(digest: Digest, size: number, hashes: Uint8Array): Uint8Array {
  if (hashes.byteLength !== pieceCount(size) * PIECE_HASH_BYTES)
    throw new RangeError('wrong count of hashes');
  const name = blobName(digest);
  const head = `d6:lengthi${size}e4:name${name.length}:${name}12:piece lengthi${pieceLength(size)}e6:pieces${hashes.byteLength}:`;
  return join([head, hashes, '7:privatei1ee']);
}

/** @returns the bytes of a torrent file with this info dictionary and nothing else. */
export function encodeTorrent(info: Uint8Array): Uint8Array {
  return join(['d4:info', info, 'e']);
}

function join(parts: readonly (string | Uint8Array)[]): Uint8Array {
  const encoder = new TextEncoder();
  const bytes = parts.map((part) => (typeof part === 'string' ? encoder.encode(part) : part));
  const whole = new Uint8Array(bytes.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of bytes) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

export interface PieceRange {
  readonly from: number;
  /** Inclusive. */
  readonly to: number;
}

/**
 * The order in which one getter takes pieces: from a start of its own to the end, then the rest. Getters with
 * different starts have different pieces early on and serve one another; rarest-first costs twice the time here.
 * @param seed any bytes that differ per getter, such as its node id; the start follows from a hash of them (FNV-1a).
 */
export function pieceOrder(pieces: number, seed: string): readonly PieceRange[] {
  if (pieces <= 0) return [];
  let hash = 0x811c9dc5;
  for (let at = 0; at < seed.length; at++) hash = Math.imul(hash ^ seed.charCodeAt(at), 0x01000193) >>> 0;
  // The low bits of FNV-1a of similar strings differ little; fold the high ones in.
  const start = ((hash ^ (hash >>> 15)) >>> 0) % pieces;
  const first = { from: start, to: pieces - 1 };
  return start === 0 ? [first] : [first, { from: 0, to: start - 1 }];
}
