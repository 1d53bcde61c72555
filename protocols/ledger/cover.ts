/**
 * How a node in doubt compares itself with a peer that is in none: range by range, until every range was seen to hold
 * the same records from before a stamp on both sides. What is newer may differ, so that the comparison comes to an end
 * while others write. The node in doubt only asks, and never lists: then each difference is one that it sees. Of a range
 * that is too long for a listing each comparison shows another part: what was seen of it is kept until it is all of it.
 * Not here: what follows from it (horizon.ts), and how ranges travel (reconcile.ts).
 */
import type { LedgerRecord } from './record.ts';
import type { Prefix } from './record-trie.ts';
import {
  isPart,
  isShown,
  type Listing,
  type Part,
  type ShortDigest,
  type Split,
  shortDigest,
} from './sync.ts';

/** No range has so many records: it differs, whatever the other side holds. */
const ASKED_COUNT = Number.MAX_SAFE_INTEGER;

/** Ranges that are still to be seen: with more of them the comparison begins anew. Above what differs after a repair. */
export const OPEN_MAX = 65_536;
/** Ranges of which parts were seen; the oldest goes first. */
export const SHOWN_MAX = 256;
/** Parts of one range that do not touch: with more of them it begins anew. */
export const SPANS_MAX = 256;
/** Before and after all digests in hex. */
const [FIRST, LAST] = ['', 'g'];

/** All digests from the first to the last of them. */
type Span = readonly [first: ShortDigest, last: ShortDigest];

export class Cover {
  readonly #upTo_ms: number;
  /** Ranges that are still to be seen; undefined before the other side has shown any. */
  #open: Set<Prefix> | undefined;
  /** What was seen of ranges that are too long for a listing: in order, and apart. */
  readonly #spans = new Map<Prefix, readonly Span[]>();

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
    this.#spans.clear();
  }

  /** The other side made a range of parts, and of nothing else; what it lacks of ours between them goes. */
  divided(prefix: Prefix, parts: readonly Part[]): void {
    if (prefix === '') this.#open = new Set(['']);
    if (this.#open?.delete(prefix) !== true) return;
    for (const part of parts) this.#open.add(part.prefix);
    if (this.#open.size > OPEN_MAX) this.#open = undefined;
  }

  /** The range is equal on both sides. */
  settled(prefix: Prefix): void {
    this.#open?.delete(prefix);
  }

  /** @param own what this side has of the range. */
  listed(listing: Listing, own: readonly LedgerRecord[]): void {
    const { prefix, items } = listing;
    if (prefix === '') this.#open = new Set(['']);
    if (this.#open?.has(prefix) !== true) return;
    const old = own.filter(({ hlc }) => hlc.ms <= this.#upTo_ms).map(shortDigest);
    const shown = old.filter((digest) => isShown(listing, digest));
    const theirs = new Set(items.filter(({ ms }) => ms <= this.#upTo_ms).map(({ digest }) => digest));
    if (shown.length !== theirs.size || !shown.every((digest) => theirs.has(digest))) return;
    if (!isPart(listing) || this.#isSeen(listing)) this.#open.delete(prefix);
  }

  /** With this part of the range, was all of it? */
  #isSeen({ prefix, items }: Listing): boolean {
    const [first, last] = [items[0]!.digest, items[items.length - 1]!.digest];
    const shown: readonly Span[] =
      first <= last
        ? [[first, last]]
        : [
            [FIRST, last],
            [first, LAST],
          ];
    const spans = joined([...(this.#spans.get(prefix) ?? []), ...shown]);
    this.#spans.delete(prefix);
    this.#spans.set(prefix, spans.length > SPANS_MAX ? joined(shown) : spans);
    if (this.#spans.size > SHOWN_MAX) this.#spans.delete(this.#spans.keys().next().value!);
    return spans.length === 1 && spans[0]![0] === FIRST && spans[0]![1] === LAST;
  }
}

/** What the other side will list, or divide, whatever it holds of it. */
export function asked(prefix: Prefix): Split {
  return { prefix, parts: [{ prefix, words: [0, 0, 0, 0], count: ASKED_COUNT }] };
}

/** Those that overlap as one. */
function joined(spans: readonly Span[]): readonly Span[] {
  const all: Span[] = [];
  for (const span of spans.toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const before = all.at(-1);
    if (before === undefined || span[0] > before[1]) all.push(span);
    else if (span[1] > before[1]) all[all.length - 1] = [before[0], span[1]];
  }
  return all;
}
