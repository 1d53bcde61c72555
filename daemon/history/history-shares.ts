/**
 * Which lines of a full history go: the oldest of whoever has the most. So one busy author pushes out its own lines and
 * never those of authors with fewer. Pure: it knows numbers of lines, and not what they say (daemon/store keeps them).
 */
import type { KeyId } from '../../protocols/base/ids.ts';

export class HistoryShares {
  readonly #max: number;
  /** Numbers of lines, the oldest first. */
  readonly #lines = new Map<KeyId, number[]>();
  #count = 0;

  /** @param max lines of all authors together, at least 1. */
  constructor(max: number) {
    this.#max = max;
  }

  /** @param number above all that were added. @returns the lines that must go for it. */
  add(author: KeyId, number: number): number[] {
    const own = this.#lines.get(author);
    if (own === undefined) this.#lines.set(author, [number]);
    else own.push(number);
    this.#count += 1;
    const gone: number[] = [];
    while (this.#count > this.#max) gone.push(this.#drop());
    return gone;
  }

  #drop(): number {
    let [busiest] = this.#lines;
    for (const each of this.#lines) {
      const more = each[1].length - busiest![1].length;
      // Of two that have as many, the one with the older line.
      if (more > 0 || (more === 0 && each[1][0]! < busiest![1][0]!)) busiest = each;
    }
    const [author, lines] = busiest!;
    this.#count -= 1;
    const gone = lines.shift()!;
    if (lines.length === 0) this.#lines.delete(author);
    return gone;
  }
}
