/**
 * A quick mix of bytes for the simulator: equal bytes, equal values; others differ but by chance. It protects nothing.
 * Source of the mixing steps: Austin Appleby's MurmurHash3, in the public domain.
 */

const FIRST = 0xcc9e2d51;
const SECOND = 0x1b873593;

export class FastHash {
  #low: number;
  #high: number;

  constructor(seed = 0) {
    this.#low = seed | 0;
    this.#high = ~seed;
  }

  number(value: number): this {
    this.#low = Math.imul(this.#low ^ value, FIRST);
    this.#low ^= this.#low >>> 15;
    this.#high = Math.imul(this.#high + (value ^ this.#low), SECOND);
    this.#high ^= this.#high >>> 13;
    return this;
  }

  text(text: string): this {
    for (let at = 0; at < text.length; at += 1) this.number(text.charCodeAt(at));
    return this.number(text.length);
  }

  bytes(bytes: Uint8Array): this {
    let low = this.#low;
    let high = this.#high;
    const { length } = bytes;
    let at = 0;
    for (; at + 4 <= length; at += 4) {
      const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
      low = Math.imul(low ^ word, FIRST);
      low ^= low >>> 15;
      high = Math.imul(high + (word ^ low), SECOND);
      high ^= high >>> 13;
    }
    this.#low = low;
    this.#high = high;
    for (; at < length; at += 1) this.number(bytes[at]!);
    return this.number(length);
  }

  /** The state spread over `words.length` numbers of 32 bits. */
  spread(words: Uint32Array): void {
    let low = this.#low;
    let high = this.#high;
    for (let at = 0; at < words.length; at += 1) {
      low = Math.imul(low ^ (low >>> 16) ^ at, 0x85ebca6b);
      high = Math.imul(high ^ (high >>> 13) ^ low, 0xc2b2ae35);
      words[at] = low ^ high ^ (high >>> 16);
    }
  }
}
