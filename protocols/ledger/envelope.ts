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
import type { Crypto, Signed, Signer } from '../base/crypto.ts';
import { Cursor } from '../base/cursor.ts';
import { fromLatin1, type KeyId, toLatin1 } from '../base/ids.ts';

/** Records under one signature: the path is as long as the logarithm. */
export const BATCH_RECORDS_MAX = 1024;
const PATH_LENGTH_MAX = 10;
const SIGNATURE_BYTES = 64;
const HASH_BYTES = 32;
/** MessagePack's head of up to 255 bytes. */
const BIN_8 = 0xc4;
const HEAD_BYTES = 2;
const BRANCH = 0x01;
const BATCH_TEXT = new TextEncoder().encode('shoal batch 1\n');

/** Where a payload is in the tree of its batch. Hashes are latin1 texts, one unit a byte. */
interface Place {
  readonly sides: number;
  /** Hashes beside the way up. */
  readonly levels: number;
  /** All of them in one text: each begins `skip` units past the end of the one before. */
  readonly path: string;
  readonly skip: number;
}

export interface Envelope {
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
  /** Undefined: the signature is of this payload alone. */
  readonly batch: Place | undefined;
}

/**
 * Finds the payload of an envelope that looks as `sealEnvelopes` makes it, and checks the shape of all of it.
 * @param cursor over the envelope; it is left behind the payload. @returns where the payload starts, or -1 for whatever
 * `openEnvelope` has to judge.
 */
export function payloadStart(cursor: Cursor): number {
  const fields = cursor.array();
  if (fields !== 2 && fields !== 4) return -1;
  const length = cursor.binary();
  if (length < 0) return -1;
  const start = cursor.at;
  cursor.pass(length);
  if (!cursor.passBinary(SIGNATURE_BYTES)) return -1;
  if (fields === 4) {
    const sides = cursor.count();
    const path = cursor.array();
    if (sides < 0 || path < 0 || path > PATH_LENGTH_MAX || sides >= 2 ** path) return -1;
    for (let at = 0; at < path; at += 1) if (!cursor.passBinary(HASH_BYTES)) return -1;
  }
  if (!cursor.isAtEnd) return -1;
  cursor.at = start + length;
  return start;
}

/** @returns views into `bytes`, or undefined when it is no envelope. */
export function openEnvelope(bytes: Uint8Array, bytes_max: number): Envelope | undefined {
  if (bytes.byteLength > bytes_max) return undefined;
  const cursor = new Cursor(bytes);
  const start = payloadStart(cursor);
  if (start < 0) return openByDecoder(bytes, bytes_max);
  const payload = bytes.subarray(start, cursor.at);
  cursor.passBinary(SIGNATURE_BYTES);
  const signature = bytes.subarray(cursor.at - SIGNATURE_BYTES, cursor.at);
  if (cursor.isAtEnd) return { payload, signature, batch: undefined };
  const sides = cursor.count();
  const levels = cursor.array();
  // As it lies there, with the heads of the hashes, if they are as short as can be.
  const path = toLatin1(bytes, cursor.at, bytes.length);
  if (path.length !== levels * (HEAD_BYTES + HASH_BYTES)) return openByDecoder(bytes, bytes_max);
  return { payload, signature, batch: { sides, levels, path, skip: HEAD_BYTES } };
}

/** Of two envelopes of one payload: whoever has checked the one knows that the other holds, or that it does not. */
export function isSameSeal(a: Envelope, b: Envelope): boolean {
  if (Buffer.compare(a.signature, b.signature) !== 0) return false;
  const [one, other] = [a.batch, b.batch];
  if (one === undefined || other === undefined) return one === other;
  if (one.levels !== other.levels) return false;
  for (let level = 0; level < one.levels; level += 1)
    if (isLeft(one, level) !== isLeft(other, level) || besideAt(one, level) !== besideAt(other, level))
      return false;
  return true;
}

/** @returns where the signature starts, if nothing but it follows the payload, which ends at `end`; else -1. */
export function signatureStart(bytes: Uint8Array, end: number): number {
  const start = end + HEAD_BYTES;
  const isAlone =
    bytes.length === start + SIGNATURE_BYTES && bytes[end] === BIN_8 && bytes[end + 1] === SIGNATURE_BYTES;
  return isAlone ? start : -1;
}

function openByDecoder(bytes: Uint8Array, bytes_max: number): Envelope | undefined {
  const fields = decodeInPlace(bytes, bytes_max);
  if (!Array.isArray(fields) || (fields.length !== 2 && fields.length !== 4)) return undefined;
  const [payload, signature, sides, path] = fields as unknown[];
  if (!(payload instanceof Uint8Array) || !isHash(signature, SIGNATURE_BYTES)) return undefined;
  // Extensions of MessagePack can make bytes that are no part of the envelope.
  if (payload.buffer !== bytes.buffer) return undefined;
  if (fields.length === 2) return { payload, signature, batch: undefined };
  if (typeof sides !== 'number' || !Number.isInteger(sides) || sides < 0) return undefined;
  if (!Array.isArray(path) || path.length > PATH_LENGTH_MAX || sides >> path.length !== 0) return undefined;
  if (!path.every((hash) => isHash(hash, HASH_BYTES))) return undefined;
  const hashes = path.map((hash) => toLatin1(hash)).join('');
  return { payload, signature, batch: { sides, levels: path.length, path: hashes, skip: 0 } };
}

/** @param payloads at least one and at most BATCH_RECORDS_MAX. @returns an envelope for each, in their order. */
export function sealEnvelopes(payloads: readonly Uint8Array[], signer: Signer, crypto: Crypto): Uint8Array[] {
  const [alone] = payloads;
  if (payloads.length === 1) return [encode([alone, signer.sign(alone!)])];
  const levels: string[][] = [payloads.map((payload) => crypto.sha256Text(payload))];
  for (let level = levels[0]!; level.length > 1; level = levels.at(-1)!) {
    const above: string[] = [];
    for (let at = 0; at < level.length; at += 2) {
      const [left, right] = [level[at]!, level[at + 1]];
      above.push(right === undefined ? left : branch(left, right, crypto));
    }
    levels.push(above);
  }
  const signature = signer.sign(batchText(levels.at(-1)![0]!));
  return payloads.map((payload, at) => {
    const { sides, path } = placeIn(levels, at);
    return encode([payload, signature, sides, path.map(fromLatin1)]);
  });
}

/** What is to be checked. */
export interface Sealed {
  readonly author: KeyId;
  /** When it is plain to see that the payload was signed for itself. */
  readonly alone: Signed | undefined;
  readonly envelope: Envelope;
  /** Of the payload, as latin1. Asked for where a batch is signed. */
  readonly digestText: string;
}

/** A hash below a signed root, and the way up; the root itself has none beside it. */
interface Held {
  readonly beside: string;
  readonly isBesideLeft: boolean;
  readonly above: Held | undefined;
}

/** Hashes of a batch that were followed up to its signature. */
interface HeldTree {
  readonly author: KeyId;
  /** As latin1. */
  readonly signature: string;
  /** Both. */
  readonly seal: string;
  readonly hashes: Map<string, Held>;
}

/**
 * Batches whose signature held, so that it is checked once for all of their records, and hashes on the way up to it, so
 * that each is made about once: a record's own path is compared all the same, for its envelope is passed on as it is.
 * Bounded; the oldest goes first.
 */
export class SealChecker {
  readonly #crypto: Crypto;
  readonly #roots = new Map<string, true>();
  readonly #trees = new Map<string, HeldTree>();
  /** Records of one batch come one after another. */
  #last: HeldTree | undefined;
  static readonly BATCHES_MAX = 1024;
  /** Batches whose hashes are kept: they come one after another. */
  static readonly TREES_MAX = 16;
  static readonly HASHES_MAX = 2 * BATCH_RECORDS_MAX;

  constructor(crypto: Crypto) {
    this.#crypto = crypto;
  }

  holds(sealed: Sealed): boolean {
    const { author, alone } = sealed;
    if (alone !== undefined) return this.#crypto.verify(alone);
    const { payload, signature, batch } = sealed.envelope;
    if (batch === undefined) return this.#crypto.verify({ author, message: payload, signature });
    const tree = this.#treeOf(author, toLatin1(signature));
    const climbed: string[] = [];
    let hash = sealed.digestText;
    for (let level = 0; level < batch.levels; level += 1) {
      const held = tree.hashes.get(hash);
      if (held !== undefined && isWayUp(held, batch, level)) {
        hold(tree.hashes, climbed, batch, held);
        return true;
      }
      climbed.push(hash);
      const beside = besideAt(batch, level);
      hash = isLeft(batch, level) ? branch(beside, hash, this.#crypto) : branch(hash, beside, this.#crypto);
    }
    if (!this.#isSigned(author, hash, signature, tree.seal)) return false;
    hold(tree.hashes, climbed, batch, ROOT);
    this.#keep(tree);
    return true;
  }

  #isSigned(author: KeyId, root: string, signature: Uint8Array, seal: string): boolean {
    const name = `${seal} ${root}`;
    if (this.#roots.has(name)) return true;
    if (!this.#crypto.verify({ author, message: batchText(root), signature })) return false;
    this.#roots.set(name, true);
    if (this.#roots.size > SealChecker.BATCHES_MAX) this.#roots.delete(this.#roots.keys().next().value!);
    return true;
  }

  /** The known one, or one that is not kept yet. */
  #treeOf(author: KeyId, signature: string): HeldTree {
    const last = this.#last;
    if (last?.author === author && last.signature === signature) return last;
    const seal = `${author} ${signature}`;
    const tree = this.#trees.get(seal) ?? { author, signature, seal, hashes: new Map() };
    if (tree.hashes.size > 0) this.#last = tree;
    return tree;
  }

  #keep(tree: HeldTree): void {
    this.#last = tree;
    if (this.#trees.get(tree.seal) === tree) return;
    this.#trees.set(tree.seal, tree);
    if (this.#trees.size > SealChecker.TREES_MAX) this.#trees.delete(this.#trees.keys().next().value!);
  }
}

const ROOT: Held = { beside: '', isBesideLeft: false, above: undefined };

/** Is the rest of a path, from `level`, the way up that is known? */
function isWayUp(held: Held, batch: Place, level: number): boolean {
  let step = held;
  for (let at = level; at < batch.levels; at += 1) {
    if (step.above === undefined) return false;
    if (step.isBesideLeft !== isLeft(batch, at) || step.beside !== besideAt(batch, at)) return false;
    step = step.above;
  }
  return step.above === undefined;
}

/** Keeps the hashes that led up to `held`, from the leaf, and those beside them: they are signed as well. */
function hold(tree: HeldTree['hashes'], climbed: readonly string[], batch: Place, held: Held): void {
  let above = held;
  for (let level = climbed.length - 1; level >= 0; level -= 1) {
    if (tree.size + 2 > SealChecker.HASHES_MAX) return;
    const hash = climbed[level]!;
    const beside = besideAt(batch, level);
    const isBesideLeft = isLeft(batch, level);
    const here: Held = { beside, isBesideLeft, above };
    tree.set(hash, here);
    tree.set(beside, { beside: hash, isBesideLeft: !isBesideLeft, above });
    above = here;
  }
}

function besideAt({ path, skip }: Place, level: number): string {
  const start = level * (HASH_BYTES + skip) + skip;
  return path.slice(start, start + HASH_BYTES);
}

function isLeft({ sides }: Place, level: number): boolean {
  return ((sides >> level) & 1) === 1;
}

function placeIn(levels: readonly (readonly string[])[], leaf: number): { sides: number; path: string[] } {
  const path: string[] = [];
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

const branchBytes = Buffer.alloc(1 + 2 * HASH_BYTES);
branchBytes[0] = BRANCH;

function branch(left: string, right: string, crypto: Crypto): string {
  branchBytes.write(left, 1, HASH_BYTES, 'latin1');
  branchBytes.write(right, 1 + HASH_BYTES, HASH_BYTES, 'latin1');
  return crypto.sha256Text(branchBytes);
}

function batchText(root: string): Uint8Array {
  const text = new Uint8Array(BATCH_TEXT.length + HASH_BYTES);
  text.set(BATCH_TEXT);
  text.set(fromLatin1(root), BATCH_TEXT.length);
  return text;
}

function isHash(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.byteLength === length;
}
