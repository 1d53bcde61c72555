/**
 * Where records are in the ledger: hashes of kind, key and author, the same on every node, for ranges are compared by
 * them. They spread honest records; nothing relies on their being hard to find.
 * Signed, for those numbers need no box.
 */
import { hash32, mix32 } from '../base/hash.ts';
import type { KeyId } from '../base/ids.ts';

/** Where the records of a kind are: the first two digits of their places. */
export function kindPrefix(kind: string): string {
  return kindByte(kind).toString(16).padStart(2, '0');
}

/** The place of a kind and key, as two halves of 32 bits, signed: the first byte is of the kind. */
export function placeOf(kind: string, key: string): readonly [high: number, low: number] {
  return [placeHigh(kindByte(kind), keyHigh(key)), keyLow(key)];
}

export function placeHigh(kind: number, key: number): number {
  return (kind << 24) | key;
}

/** Of a key, for the high half: 24 bits. */
export function keyHigh(key: string): number {
  return hash32(key, 1) & 0xffffff;
}

export function keyLow(key: string): number {
  return hash32(key, 2) | 0;
}

export function kindByte(kind: string): number {
  return hash32(kind, 0) & 0xff;
}

export function authorHash(author: KeyId): number {
  return hash32(author, 3) | 0;
}

/**
 * Of an author's numbers. Those that follow one another are beside one another, for they are asked for together. No other
 * node compares these, so a secret keeps an author from choosing numbers that are all in one place.
 */
export function numberHash(epoch: number, seq: number, secret: number): number {
  return seq ^ mix32((mix32(epoch ^ secret) + Math.floor(seq / 2 ** 32)) ^ Math.imul(secret, 0x9e3779b1));
}
