/**
 * Of which generation the deletions were that this node has collected since its start. It has seen them, so what it writes
 * under their keys is of a later one, and shows wherever such a deletion stays beside it: all would collect that too, but
 * who hears late of an acknowledgement may do so by another hash (collection.ts). It is not named: others would let go of it
 * at once, and the hash of the round that it belongs to would tell them nothing any more of the others of that round.
 */
import type { LedgerRecord } from './record.ts';

export class Collected {
  /** The key of which a deletion was collected first goes first. */
  static readonly KEYS_MAX = 1024;
  readonly #generations = new Map<string, number>();

  add({ kind, key, generation }: LedgerRecord): void {
    const name = nameOf(kind, key);
    const highest = Math.max(generation, this.generationOf(kind, key));
    this.#generations.delete(name);
    this.#generations.set(name, highest);
    if (this.#generations.size > Collected.KEYS_MAX)
      this.#generations.delete(this.#generations.keys().next().value!);
  }

  /** The highest; 0 where none is remembered. */
  generationOf(kind: string, key: string): number {
    return this.#generations.get(nameOf(kind, key)) ?? 0;
  }
}

function nameOf(kind: string, key: string): string {
  return JSON.stringify([kind, key]);
}
