/**
 * The updates that every replica of the `ledger` benchmark takes: who sets what is the same for all, and the same in
 * every run. Not here: how a library writes an update down (replica.ts and its implementations).
 */

export interface Update {
  readonly key: string;
  readonly value: string;
}

export interface TraceSize {
  readonly keys: number;
  readonly updates: number;
  readonly value_bytes: number;
}

/** About what a cluster's records are: some hundred bytes under keys that are written again and again. */
export const TRACE_SIZE: TraceSize = { keys: 1_000, updates: 20_000, value_bytes: 300 };
/** Updates that come in one message when they come in batches. */
export const BATCH = 100;
const SEED = 20_251;
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

export function makeTrace({ keys, updates, value_bytes }: TraceSize): Update[] {
  const random = generator(SEED);
  return Array.from({ length: updates }, () => ({
    key: `key-${random() % keys}`,
    value: Array.from({ length: value_bytes }, () => LETTERS[random() % LETTERS.length]).join(''),
  }));
}

/** What a replica holds after all updates. */
export function lastValues(trace: readonly Update[]): ReadonlyMap<string, string> {
  return new Map(trace.map(({ key, value }) => [key, value]));
}

/** xorshift32: deterministic, and good enough to make text that does not compress. Source: Marsaglia, 2003. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    // The low bits are the weaker ones.
    return (state >>> 0) >>> 4;
  };
}
