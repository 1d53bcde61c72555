/**
 * A map of which copies cost nothing: copies share what they had in common and keep what differs to themselves. For
 * simulations of thousands of nodes that begin with the same records. Values must never be changed in place.
 */
export class LayeredMap<K, V extends object> {
  /** Shared with copies, and never written once it is. */
  #base: ReadonlyMap<K, V>;
  /** Differences from the base; null stands for a key that was deleted. */
  #own = new Map<K, V | null>();

  constructor(base: ReadonlyMap<K, V> = new Map()) {
    this.#base = base;
  }

  get(key: K): V | undefined {
    const own = this.#own.get(key);
    if (own === undefined) return this.#base.get(key);
    return own ?? undefined;
  }

  set(key: K, value: V): void {
    this.#own.set(key, value);
  }

  delete(key: K): void {
    if (this.#base.has(key)) this.#own.set(key, null);
    else this.#own.delete(key);
  }

  *entries(): IterableIterator<[K, V]> {
    for (const [key, value] of this.#base) if (!this.#own.has(key)) yield [key, value];
    for (const [key, value] of this.#own) if (value !== null) yield [key, value];
  }

  *values(): IterableIterator<V> {
    for (const [, value] of this.entries()) yield value;
  }

  /** An independent copy. Cheap when nothing was written since the last one. */
  fork(): LayeredMap<K, V> {
    if (this.#own.size > 0) {
      this.#base = new Map(this.entries());
      this.#own = new Map();
    }
    return new LayeredMap(this.#base);
  }
}
