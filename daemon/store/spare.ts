/**
 * The few values without which a node does not find back into its cluster, once more in a file of their own beside
 * state.db: that one may be lost whole, on a host that nobody can reach. A copy only: state.db is what counts.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import type { Crypto } from '../../protocols/base/crypto.ts';
import { ShoalError } from '../../protocols/base/errors.ts';
import { removeDurably, replaceDurably } from './durable-file.ts';
import { isSum, sumOf } from './rows.ts';

/**
 * Of what cluster it is, by what grant if it began that, where others are, under what epoch it wrote last, and the subnet
 * that its containers are in.
 */
const SPARED = /^(genesis|founding|contacts|subnet|epoch\/.*)$/;
/** Where 32 members are takes some 20 KB. */
const BYTES_MAX = 1 << 20;
const NAME = 'spare';

export type Values = readonly (readonly [name: string, value: string])[];

export class Spare {
  readonly #file: string;
  readonly #crypto: Crypto;

  constructor(file: string, crypto: Crypto) {
    this.#file = file;
    this.#crypto = crypto;
  }

  /** What was kept last; nothing where there is none, or it is not what was written. */
  read(): Values {
    try {
      if (!existsSync(this.#file) || statSync(this.#file).size > BYTES_MAX) return [];
      const [sum = '', text = ''] = readFileSync(this.#file, 'utf8').split('\n');
      if (!isSum(Buffer.from(sum, 'hex'), sumOf(NAME, text, this.#crypto))) return [];
      return JSON.parse(text) as Values;
    } catch {
      return [];
    }
  }

  /** @param values all that the store holds. Where the disk refuses, the copy is as old as it was. */
  keep(values: Iterable<readonly [name: string, value: string]>): void {
    const text = JSON.stringify([...values].filter(([name]) => isSpared(name)));
    if (text.length > BYTES_MAX / 2) return;
    const sum = Buffer.from(sumOf(NAME, text, this.#crypto)).toString('hex');
    try {
      replaceDurably(this.#file, `${sum}\n${text}\n`);
    } catch {
      // The next start keeps it.
    }
  }

  /** As when there never was a cluster. @throws E_DISK_FAILED */
  clear(): void {
    try {
      if (existsSync(this.#file)) removeDurably(this.#file);
    } catch (error) {
      throw new ShoalError('E_DISK_FAILED', `the disk does not let go of ${this.#file}: ${String(error)}`, {
        cause: error,
      });
    }
  }
}

export function isSpared(name: string): boolean {
  return SPARED.test(name);
}
