/** A run's fingerprint: a hash over everything that happened, in order. Equal runs have equal fingerprints. */
import { createHash } from 'node:crypto';

export class Trace {
  readonly #hash = createHash('sha256');
  events_count = 0;

  add(at_ms: number, node: string, what: string, body?: Uint8Array): void {
    this.events_count += 1;
    this.#hash.update(`${at_ms} ${node} ${what}\n`);
    if (body !== undefined) this.#hash.update(body);
  }

  /** Ends the trace. */
  digest(): string {
    return this.#hash.digest('hex');
  }
}
