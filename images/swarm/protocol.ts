/**
 * What members ask one another for about blobs. Version 1 of each; requests and headers are the digest as text.
 * Answers: one byte, 1 when it is here and 0 when not, then the bytes asked for. Whoever gets an answer checks it
 * against a hash that it already trusts.
 */
import { type Digest, isDigest } from '../../protocols/base/ids.ts';

/** A whole blob that is too small for a torrent. */
export const BLOB_PROTOCOL = '/shoal/image/blob/1';
/** The SHA-1 of each piece of a blob, joined. */
export const PIECES_PROTOCOL = '/shoal/image/pieces/1';
/** A stream with the BitTorrent peer protocol for one blob. */
export const WIRE_PROTOCOL = '/shoal/image/wire/1';

const HERE = 1;
const DIGEST_BYTES = 71;

export function encodeDigest(digest: Digest): Uint8Array {
  return new TextEncoder().encode(digest);
}

export function decodeDigest(bytes: Uint8Array): Digest | undefined {
  if (bytes.byteLength !== DIGEST_BYTES) return undefined;
  const text = new TextDecoder().decode(bytes);
  return isDigest(text) ? text : undefined;
}

export function encodeAnswer(found: Uint8Array | undefined): Uint8Array {
  const answer = new Uint8Array(1 + (found?.byteLength ?? 0));
  if (found !== undefined) {
    answer[0] = HERE;
    answer.set(found, 1);
  }
  return answer;
}

/** @param bytes the only length that the answer may have. @returns undefined when the peer has it not. */
export function decodeAnswer(answer: Uint8Array, bytes: number): Uint8Array | undefined {
  return answer[0] === HERE && answer.byteLength === bytes + 1 ? answer.subarray(1) : undefined;
}
