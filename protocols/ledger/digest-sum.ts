/**
 * Sums of digests, that is their XOR: the hash of a round of collection is one. Of whom one is the sum can be told as long
 * as they are few. Not here: what a round is about (collection.ts).
 */
import type { LedgerRecord } from './record.ts';

/** Hexadecimal digits: half of a digest. */
const SUM_DIGITS = 32;
const SUM = /^[0-9a-f]{32}$/;
/** Half of the bits of a sum: by chance alone something is the sum of a part of so many digests once in 2^64 times. */
export const SUMMANDS_MAX = 64;

export function sumOf(records: Iterable<Pick<LedgerRecord, 'digest'>>): bigint {
  let sum = 0n;
  for (const { digest } of records) sum ^= BigInt(`0x${digest.slice(0, SUM_DIGITS)}`);
  return sum;
}

export function sumToHex(sum: bigint): string {
  return sum.toString(16).padStart(SUM_DIGITS, '0');
}

/** Undefined for what is none: it may be anything that a member wrote. */
export function sumFromHex(hex: string): bigint | undefined {
  return SUM.test(hex) ? BigInt(`0x${hex}`) : undefined;
}

/** The sum of some digests, and which: a bit for each. */
interface Part {
  readonly sum: bigint;
  readonly of: bigint;
}

/**
 * Those records whose digests have this sum; none when no part of them has. It takes linear equations, one for each bit,
 * which more records than SUMMANDS_MAX could solve by chance: of those it is all, or none.
 */
export function summandsOf<R extends Pick<LedgerRecord, 'digest'>>(
  records: readonly R[],
  sum: bigint,
): readonly R[] {
  if (sumOf(records) === sum) return records;
  if (records.length > SUMMANDS_MAX) return [];
  // Each has a highest bit that none after it has.
  const parts: Part[] = [];
  const rest = (whole: Part) =>
    parts.reduce((left, part) => ((left.sum ^ part.sum) < left.sum ? both(left, part) : left), whole);
  for (const [at, record] of records.entries()) {
    const left = rest({ sum: sumOf([record]), of: 1n << BigInt(at) });
    if (left.sum !== 0n) parts.push(left);
  }
  const { sum: unsolved, of } = rest({ sum, of: 0n });
  return unsolved === 0n ? records.filter((_, at) => ((of >> BigInt(at)) & 1n) === 1n) : [];
}

function both(one: Part, other: Part): Part {
  return { sum: one.sum ^ other.sum, of: one.of ^ other.of };
}
