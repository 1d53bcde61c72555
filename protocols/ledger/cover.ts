/**
 * How a node in doubt compares itself with a peer that is in none: range by range, until every range was seen to hold
 * the same records from before a stamp on both sides. What is newer may differ, so that the comparison comes to an end
 * while others write. The node in doubt only asks, and never lists: then each difference is one that it sees.
 * Not here: what follows from it (horizon.ts), and how ranges travel (reconcile.ts).
 */
import type { LedgerRecord } from './record.ts';
import type { Prefix } from './record-trie.ts';
import { type Listing, type Part, type Split, shortDigest } from './sync.ts';

/** No range has so many records: it differs, whatever the other side holds. */
const ASKED_COUNT = Number.MAX_SAFE_INTEGER;

export class Cover {
  readonly #upTo_ms: number;
  /** Ranges that are still to be seen; undefined before the other side has shown any. */
  #open: Set<Prefix> | undefined;

  constructor(upTo_ms: number) {
    this.#upTo_ms = upTo_ms;
  }

  /** Every range was seen since the other side last showed what all of its ranges are. */
  get isWhole(): boolean {
    return this.#open?.size === 0;
  }

  /** Something old came from elsewhere: what was seen does not cover it. */
  forget(): void {
    this.#open = undefined;
  }

  /** The other side made a range of parts, and of nothing else; what it lacks of ours between them goes. */
  divided(prefix: Prefix, parts: readonly Part[]): void {
    if (prefix === '') this.#open = new Set(['']);
    if (this.#open?.delete(prefix) !== true) return;
    for (const part of parts) this.#open.add(part.prefix);
  }

  /** The range is equal on both sides. */
  settled(prefix: Prefix): void {
    this.#open?.delete(prefix);
  }

  /** @param own what this side has of the range. */
  listed({ prefix, items }: Listing, own: readonly LedgerRecord[]): void {
    const old = own.filter(({ hlc }) => hlc.ms <= this.#upTo_ms).map(shortDigest);
    const theirs = new Set(items.filter(({ ms }) => ms <= this.#upTo_ms).map(({ digest }) => digest));
    if (prefix === '') this.#open = new Set(['']);
    if (old.length === theirs.size && old.every((digest) => theirs.has(digest))) this.#open?.delete(prefix);
  }
}

/** What the other side will list, or divide, whatever it holds of it. */
export function asked(prefix: Prefix): Split {
  return { prefix, parts: [{ prefix, words: [0, 0, 0, 0], count: ASKED_COUNT }] };
}
