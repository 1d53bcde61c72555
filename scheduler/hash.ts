/**
 * A small, fast, well distributed hash of text for placement: the same on every node, release and machine.
 * Not cryptographic: nobody gains by steering where work lands, since every claim is signed and settled.
 *
 * Source: FNV-1a (Fowler, Noll, Vo; draft-eastlake-fnv) in two 32-bit lanes that differ in basis and prime,
 * each finished by the fmix32 avalanche of MurmurHash3 (Appleby, public domain).
 */

/** Two lanes of 32 bits. */
export interface Hash64 {
  readonly high: number;
  readonly low: number;
}

const BASIS_HIGH = 0x811c9dc5;
const PRIME_HIGH = 0x01000193;
const BASIS_LOW = 0x9747b28c;
const PRIME_LOW = 0x01000197;

/** MurmurHash3's 32-bit finaliser: every bit of the input moves every bit of the output. */
function avalanche(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** Of the UTF-16 code units of `text`, low byte first. */
export function hashText(text: string): Hash64 {
  let high = BASIS_HIGH;
  let low = BASIS_LOW;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    high = Math.imul(high ^ (unit & 0xff), PRIME_HIGH);
    low = Math.imul(low ^ (unit & 0xff), PRIME_LOW);
    high = Math.imul(high ^ (unit >>> 8), PRIME_HIGH);
    low = Math.imul(low ^ (unit >>> 8), PRIME_LOW);
  }
  return { high: avalanche(high), low: avalanche(low ^ high) };
}

/** The hash of an ordered pair, from the hashes of its parts. */
export function hashPair(first: Hash64, second: Hash64): Hash64 {
  const high = avalanche(Math.imul(first.high, 0x9e3779b1) ^ second.low);
  const low = avalanche(Math.imul(first.low, 0x85ebca77) ^ second.high ^ high);
  return { high: avalanche(high + low), low };
}

/** @returns the hash as a number strictly between 0 and 1, of 52 bits. */
export function toUnit({ high, low }: Hash64): number {
  return ((high >>> 6) * 2 ** 26 + (low >>> 6) + 0.5) / 2 ** 52;
}
