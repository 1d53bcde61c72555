/**
 * The simulator's only source of chance: sfc32, seeded by a hash of a text. Equal seeds give equal runs anywhere.
 * Source: PractRand's sfc32 (Chris Doty-Humphrey), in the public domain.
 */
import { createHash } from 'node:crypto';
import { sample } from '../../protocols/base/sample.ts';

export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #counter: number;

  constructor(seed: string) {
    const digest = createHash('sha256').update(seed).digest();
    this.#a = digest.readInt32LE(0);
    this.#b = digest.readInt32LE(4);
    this.#c = digest.readInt32LE(8);
    this.#counter = digest.readInt32LE(12);
  }

  /** Uniform in [0, 1). */
  readonly next = (): number => {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };

  chance(part: number): boolean {
    return part > 0 && this.next() < part;
  }

  /** Uniform in [from, to). */
  between(from: number, to: number): number {
    return from + this.next() * (to - from);
  }

  /** One of them. @throws RangeError when there is none. */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError('nothing to pick from');
    return items[Math.floor(this.next() * items.length)]!;
  }

  /** `count` different items by lot, in order of the lot. */
  sample<T>(items: readonly T[], count: number): T[] {
    return sample(items, count, this.next);
  }
}
