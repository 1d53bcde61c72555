/** A run's fingerprint: a quick hash over everything that happened, in order. Equal runs have equal fingerprints. */
import { FastHash } from './fast-hash.ts';

const WORDS = 4;
const MICROSECONDS = 1000;

export class Trace {
  readonly #hash = new FastHash();

  add(at_ms: number, kind: number, host: number, a: number, b: number, body: unknown): void {
    const hash = this.#hash
      .number(at_ms | 0)
      .number((at_ms % 1) * MICROSECONDS * MICROSECONDS)
      .number(kind)
      .number(host)
      .number(a)
      .number(b);
    if (body instanceof Uint8Array) hash.bytes(body);
  }

  tell(text: string): void {
    this.#hash.text(text);
  }

  /** Hex. */
  digest(): string {
    const words = new Uint32Array(WORDS);
    this.#hash.spread(words);
    return Array.from(words, (word) => word.toString(16).padStart(8, '0')).join('');
  }
}
