/**
 * A payload and what proves its author, as bytes. Two forms, both kept and relayed verbatim:
 *
 *   [payload, signature]               the signature covers the payload
 *   [payload, signature, sides, path]  it covers the root of a Merkle tree over the payloads of one batch; `path` is
 *                                      the hashes beside this one's, the lowest first, and bit n of `sides` says
 *                                      that the n-th of them is on the left
 *
 * So many records cost one signature and one check, and yet each of them stands alone.
 * Source of the tree: RFC 9162, section 2.1.1, with the payload's digest as the leaf. A payload never begins like a
 * batch's text or a branch's first byte, so that neither can be passed off as another.
 */
import { decodeInPlace, encode } from '../base/codec.ts';
import type { Crypto, Signer } from '../base/crypto.ts';
import { fromHex, type KeyId, toLatin1 } from '../base/ids.ts';

/** Records under one signature: the path is as long as the logarithm. */
export const BATCH_RECORDS_MAX = 1024;
const PATH_LENGTH_MAX = 10;
const SIGNATURE_BYTES = 64;
const HASH_BYTES = 32;
const BRANCH = 0x01;
const BATCH_TEXT = new TextEncoder().encode('shoal batch 1\n');

export interface Envelope {
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
  /** Undefined: the signature is of this payload alone. */
  readonly batch: { readonly sides: number; readonly path: readonly Uint8Array[] } | undefined;
}

/** @returns views into `bytes`, or undefined when it is no envelope. */
export function openEnvelope(bytes: Uint8Array, bytes_max: number): Envelope | undefined {
  const fields = decodeInPlace(bytes, bytes_max);
  if (!Array.isArray(fields) || (fields.length !== 2 && fields.length !== 4)) return undefined;
  const [payload, signature, sides, path] = fields as unknown[];
  if (!(payload instanceof Uint8Array) || !isHash(signature, SIGNATURE_BYTES)) return undefined;
  if (fields.length === 2) return { payload, signature, batch: undefined };
  if (typeof sides !== 'number' || !Number.isInteger(sides) || sides < 0) return undefined;
  if (!Array.isArray(path) || path.length > PATH_LENGTH_MAX || sides >> path.length !== 0) return undefined;
  if (!path.every((hash) => isHash(hash, HASH_BYTES))) return undefined;
  return { payload, signature, batch: { sides, path } };
}

/** @param payloads at least one and at most BATCH_RECORDS_MAX. @returns an envelope for each, in their order. */
export function sealEnvelopes(payloads: readonly Uint8Array[], signer: Signer, crypto: Crypto): Uint8Array[] {
  const [alone] = payloads;
  if (payloads.length === 1) return [encode([alone, signer.sign(alone!)])];
  const levels: Uint8Array[][] = [payloads.map((payload) => crypto.sha256(payload))];
  for (let level = levels[0]!; level.length > 1; level = levels.at(-1)!) {
    const above: Uint8Array[] = [];
    for (let at = 0; at < level.length; at += 2) {
      const [left, right] = [level[at]!, level[at + 1]];
      above.push(right === undefined ? left : branch(left, right, crypto));
    }
    levels.push(above);
  }
  const signature = signer.sign(batchText(levels.at(-1)![0]!));
  return payloads.map((payload, at) => {
    const { sides, path } = placeIn(levels, at);
    return encode([payload, signature, sides, path]);
  });
}

/** Batches whose signature held, so that it is checked once for all of their records. Bounded; the oldest goes first. */
export class SealChecker {
  readonly #crypto: Crypto;
  readonly #held = new Map<string, true>();
  static readonly BATCHES_MAX = 1024;

  constructor(crypto: Crypto) {
    this.#crypto = crypto;
  }

  /** @param digest of the payload, in hex. */
  holds(author: KeyId, envelope: Envelope, digest: string): boolean {
    const { payload, signature, batch } = envelope;
    if (batch === undefined) return this.#crypto.verify(author, payload, signature);
    const text = batchText(rootOf(fromHex(digest), batch, this.#crypto));
    const name = `${author} ${toLatin1(text)} ${toLatin1(signature)}`;
    if (this.#held.has(name)) return true;
    if (!this.#crypto.verify(author, text, signature)) return false;
    this.#held.set(name, true);
    if (this.#held.size > SealChecker.BATCHES_MAX) this.#held.delete(this.#held.keys().next().value!);
    return true;
  }
}

function rootOf(digest: Uint8Array, batch: NonNullable<Envelope['batch']>, crypto: Crypto): Uint8Array {
  let hash = digest;
  for (const [level, beside] of batch.path.entries()) {
    const isLeft = ((batch.sides >> level) & 1) === 1;
    hash = isLeft ? branch(beside, hash, crypto) : branch(hash, beside, crypto);
  }
  return hash;
}

/** At a level where nothing is beside it a node is lifted as it is, and the path skips that level. */
function placeIn(
  levels: readonly (readonly Uint8Array[])[],
  leaf: number,
): { sides: number; path: Uint8Array[] } {
  const path: Uint8Array[] = [];
  let sides = 0;
  let at = leaf;
  for (const level of levels.slice(0, -1)) {
    const beside = level[at ^ 1];
    if (beside !== undefined) {
      if (at % 2 === 1) sides |= 1 << path.length;
      path.push(beside);
    }
    at >>= 1;
  }
  return { sides, path };
}

function branch(left: Uint8Array, right: Uint8Array, crypto: Crypto): Uint8Array {
  const bytes = new Uint8Array(1 + 2 * HASH_BYTES);
  bytes[0] = BRANCH;
  bytes.set(left, 1);
  bytes.set(right, 1 + HASH_BYTES);
  return crypto.sha256(bytes);
}

function batchText(root: Uint8Array): Uint8Array {
  const text = new Uint8Array(BATCH_TEXT.length + HASH_BYTES);
  text.set(BATCH_TEXT);
  text.set(root, BATCH_TEXT.length);
  return text;
}

function isHash(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.byteLength === length;
}
