/** Choosing by lot, with the chance that is given. */

/**
 * `count` of the items, or all when they are fewer, in an order by lot. O(items).
 * Source: Durstenfeld, "Algorithm 235: Random permutation" (1964), broken off after `count`.
 * @param random uniform in [0, 1).
 */
export function sample<T>(items: Iterable<T>, count: number, random: () => number): T[] {
  const left = [...items];
  const taken_count = Math.min(count, left.length);
  for (let at = 0; at < taken_count; at += 1) {
    const other = at + Math.floor(random() * (left.length - at));
    [left[at], left[other]] = [left[other]!, left[at]!];
  }
  left.length = taken_count;
  return left;
}

/** All of the items, round in a ring, from a place by lot. @param lot from 0 up to 1. */
export function fromLot<T>(items: readonly T[], lot: number): T[] {
  const from = Math.floor(lot * items.length);
  return [...items.slice(from), ...items.slice(0, from)];
}
