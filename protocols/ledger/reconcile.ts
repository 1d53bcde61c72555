/**
 * What two ledgers lack of one another, found by comparing ranges: equal ones cost one fingerprint, and what differs is
 * divided until it is small enough to be listed. A repair costs about the size of the difference, whatever came
 * before, and believes no claim: at worst a liar wastes what its own quota allows.
 *
 * Of two versions of a key only the later one travels: the other side pulls it, and whatever of its own outlives the
 * merge is found by the next comparison. Many records may be at one place, for grants of one key stay side by side, and
 * places can be chosen: of those a comparison shows as many as a message holds, and each time others.
 * Pure functions of a ledger. Not here: with whom, when and how often (exchange.ts).
 */
import { fromLot } from '../base/sample.ts';
import { asked, type Cover } from './cover.ts';
import { isGrowOnly, type Ledger } from './ledger.ts';
import type { LedgerRecord } from './record.ts';
import type { Prefix } from './record-trie.ts';
import {
  COMPARISONS_MAX,
  type Compare,
  type Item,
  isPart,
  isShown,
  itemOf,
  LISTED_MAX,
  type Listing,
  PARTS_MAX,
  type Part,
  type ShortDigest,
  type Split,
  shortDigest,
  type Want,
} from './sync.ts';

/** A range of at most so many records is listed, not divided: as many items weigh about as much as the parts. */
const LISTED_BEST = 48;
/**
 * Comparisons are put into one answer until it would pass this. What is left over differs in the next repair too, and has
 * its turn: which ranges come first is by lot, or what is refused in some would stand before all others for ever.
 */
const ANSWER_BYTES = 512 * 1024;
/** About what a range, a part, an item and a wanted digest weigh on the wire. */
const RANGE_BYTES = 32;
const PART_BYTES = 48;
const ITEM_BYTES = 20;
const DIGEST_BYTES = 8;
/**
 * What an answer takes, in looks at a record on a walk: a record is compared; one of a range that cannot be divided is
 * walked several times and put in order; an item is made or compared; a range is looked for, and a part summed,
 * whatever is in them.
 */
const COMPARED_LOOKS = 2;
const UNDIVIDED_LOOKS = 4;
const ITEM_LOOKS = 2;
const RANGE_LOOKS = 8;
const PART_LOOKS = 4;

export type Comparison = Omit<Compare, 'kind' | 'horizon_ms'>;

export interface Answer {
  /** Undefined when there is nothing to ask. */
  readonly compare: Comparison | undefined;
  /** What the other side lacks. */
  readonly give: LedgerRecord[];
  /** Looks at records on walks, and all else that it took in as many. */
  readonly looked_count: number;
}

/** How a repair begins. @param isAsking whether this side is in doubt, and the other in none. */
export function splitAll(ledger: Ledger, isAsking = false): Comparison {
  return { splits: [isAsking ? asked('') : split(ledger, '')], listings: [], wants: [] };
}

/** As `splitAll` makes it. */
export function isBeginning({ splits }: Comparison): boolean {
  return splits.some(({ prefix }) => prefix === '');
}

/** Whether no answer to this beginning can look like another: a ledger of one part is answered by all parts of the other. */
export function isRecognized({ splits }: Comparison): boolean {
  return splits.every(({ parts }) => parts.every(({ prefix }) => prefix !== ''));
}

/**
 * @param isUnwanted says of a record that we lack whether we would refuse it again. @param cover of a side in doubt that
 * compares itself with one in none. @param random from 0 up to 1: what is shown of too long an answer or listing. It is not
 * asked for another.
 */
export function answerCompare(
  ledger: Ledger,
  message: Compare,
  isUnwanted: (digest: ShortDigest) => boolean,
  cover?: Cover,
  random = () => 0,
): Answer {
  const splits: Split[] = [];
  const listings: Listing[] = [];
  const wants: Want[] = [];
  const outside: LedgerRecord[] = [];
  const unlisted: LedgerRecord[] = [];
  const wanted: LedgerRecord[] = [];
  const differing: Prefix[] = [];
  let bytes = 0;
  let looked_count = 0;
  let left_count = ledger.places.summary('').count;
  /** What an honest peer asks for does not overlap, and holds no more than there is; what is left differs next time too. */
  const mayWalk = (prefix: Prefix) => {
    const { count } = ledger.places.summary(prefix);
    looked_count += RANGE_LOOKS;
    if (count > left_count) return false;
    left_count -= count;
    return true;
  };
  for (const { prefix, parts } of message.splits) {
    if (!mayWalk(prefix)) continue;
    cover?.divided(prefix, parts);
    looked_count += parts.length * PART_LOOKS;
    const prefixes = parts.map((part) => part.prefix);
    for (const record of ledger.places.outside(prefix, prefixes)) {
      looked_count += 1;
      outside.push(record);
    }
    for (const part of parts) {
      const own = ledger.places.summary(part.prefix);
      const isEqual = own.count === part.count && own.words.every((word, at) => word === part.words[at]);
      if (isEqual) cover?.settled(part.prefix);
      else differing.push(part.prefix);
    }
  }
  // Before the ranges: it weighs less than what it answers, and leaves room for them.
  for (const theirs of message.listings) {
    if (!mayWalk(theirs.prefix)) continue;
    const own = [...ledger.places.range(theirs.prefix)];
    looked_count += own.length * COMPARED_LOOKS + theirs.items.length * ITEM_LOOKS;
    cover?.listed(theirs, own);
    const difference = compareListing(own, theirs, isUnwanted);
    for (const record of difference.give) unlisted.push(record);
    if (difference.want.length === 0 || bytes > ANSWER_BYTES) continue;
    bytes += RANGE_BYTES + difference.want.length * DIGEST_BYTES;
    wants.push({ prefix: theirs.prefix, digests: difference.want });
  }
  for (const prefix of isRoomFor(ledger, differing, bytes) ? differing : fromLot(differing, random())) {
    if (bytes > ANSWER_BYTES) break;
    bytes += RANGE_BYTES;
    looked_count += RANGE_LOOKS;
    const { count } = ledger.places.summary(prefix);
    if (cover !== undefined) {
      bytes += PART_BYTES;
      splits.push(asked(prefix));
    } else if (count === 0) {
      splits.push({ prefix, parts: [] });
    } else {
      const divided = count <= LISTED_BEST ? undefined : split(ledger, prefix);
      looked_count += (divided?.parts.length ?? 0) * PART_LOOKS;
      if (divided === undefined || isUndivided(divided)) {
        const listed = listing(ledger, prefix, random);
        if (divided !== undefined) looked_count += UNDIVIDED_LOOKS * count;
        bytes += listed.items.length * ITEM_BYTES;
        looked_count += listed.items.length * ITEM_LOOKS;
        listings.push(listed);
      } else {
        bytes += divided.parts.length * PART_BYTES;
        splits.push(divided);
      }
    }
  }
  for (const { prefix, digests } of message.wants) {
    if (!mayWalk(prefix)) continue;
    const named = new Set(digests);
    looked_count += named.size * COMPARED_LOOKS;
    for (const record of ledger.places.range(prefix)) {
      looked_count += COMPARED_LOOKS;
      if (named.has(shortDigest(record))) wanted.push(record);
    }
  }
  // Of one kind no two ranges overlap.
  const kinds = [outside, unlisted, wanted].filter(({ length }) => length > 0);
  const give = kinds.length > 1 ? [...new Set(kinds.flat())] : (kinds[0] ?? []);
  const isEmpty = splits.length + listings.length + wants.length === 0;
  const compare: Comparison = {
    splits: splits.slice(0, COMPARISONS_MAX),
    listings: listings.slice(0, COMPARISONS_MAX),
    wants: wants.slice(0, COMPARISONS_MAX),
  };
  return { compare: isEmpty ? undefined : compare, give, looked_count };
}

/** Whatever these ranges look like, does one answer hold them all? @param bytes what it has already. */
function isRoomFor(ledger: Ledger, ranges: readonly Prefix[], bytes: number): boolean {
  if (ranges.length > COMPARISONS_MAX) return false;
  return bytes + ranges.reduce((sum, prefix) => sum + bytesAtMost(ledger, prefix), 0) <= ANSWER_BYTES;
}

function bytesAtMost(ledger: Ledger, prefix: Prefix): number {
  const { count } = ledger.places.summary(prefix);
  const listed_bytes = Math.min(count, LISTED_MAX) * ITEM_BYTES;
  return RANGE_BYTES + (count <= LISTED_BEST ? listed_bytes : Math.max(listed_bytes, PARTS_MAX * PART_BYTES));
}

function split(ledger: Ledger, prefix: Prefix): Split {
  const parts = ledger.places.divide(prefix, PARTS_MAX).map((part): Part => {
    const { words, count } = ledger.places.summary(part);
    return { prefix: part, words, count };
  });
  return { prefix, parts: parts.filter(({ count }) => count > 0) };
}

/** All of the range is at one place: answered by the like, it would go to and fro for ever. */
function isUndivided({ prefix, parts }: Split): boolean {
  return parts.length === 1 && parts[0]!.prefix === prefix;
}

/**
 * Of more than a listing holds, those whose digests follow one another from one by lot on, round in a ring: the other side
 * sees from the first and the last what is meant, and another time it is others. No more than those are put in order by
 * their digests: a short message can ask for it again and again.
 */
function listing(ledger: Ledger, prefix: Prefix, random: () => number): Listing {
  const records = [...ledger.places.range(prefix)];
  if (records.length < LISTED_MAX) return { prefix, items: records.map(itemOf) };
  const heads = Float64Array.from(records, headOf);
  const sorted = heads.toSorted();
  const from = Math.floor(random() * sorted.length);
  const first = sorted[from]!;
  const last = sorted[(from + LISTED_MAX - 1) % sorted.length]!;
  const [upTo, since] = [[], []] as [LedgerRecord[], LedgerRecord[]];
  for (const [at, record] of records.entries()) {
    const head = heads[at]!;
    if (head >= first && (head <= last || last < first)) since.push(record);
    else if (head <= last && last < first) upTo.push(record);
  }
  const shown = [...since.sort(byDigest), ...upTo.sort(byDigest)].slice(0, LISTED_MAX);
  return { prefix, items: shown.map(itemOf) };
}

/** The first 52 bits of its digest: as numbers, many are sorted in no time. */
function headOf({ words }: LedgerRecord): number {
  return (words[0] >>> 0) * 2 ** 20 + (words[1] >>> 12);
}

function byDigest(a: LedgerRecord, b: LedgerRecord): number {
  return a.digest < b.digest ? -1 : 1;
}

function compareListing(
  own: readonly LedgerRecord[],
  theirs: Listing,
  isUnwanted: (digest: ShortDigest) => boolean,
): { give: readonly LedgerRecord[]; want: ShortDigest[] } {
  // A short message can have all compared: nothing but what is listed is put into sets, and few digests are made.
  const lows = new Set(theirs.items.map(({ placeLow }) => placeLow | 0));
  const listed = new Set(theirs.items.map(({ digest }) => digest));
  const held = new Set<ShortDigest>();
  const isAll = !isPart(theirs);
  const going = own.filter((record) => {
    const isNear = lows.has(record.placeLow);
    if (isAll && !isNear) return true;
    const digest = shortDigest(record);
    if (!isNear || !listed.has(digest)) return isShown(theirs, digest);
    held.add(digest);
    return false;
  });
  const coming = theirs.items.filter(({ digest }) => !held.has(digest) && !isUnwanted(digest));
  if (coming.length === 0) return { give: going, want: [] };
  const others = alone(coming);
  const rivals = going.filter(({ kind, placeLow }) => others.has(placeLow >>> 0) && !isGrowOnly(kind));
  const ours = alone(rivals.map(itemOf));
  /** Of two versions of a key, theirs is the later one. Where more stand side by side all travel. */
  const isTheirsLater = (placeLow: number) => {
    const [one, other] = [ours.get(placeLow), others.get(placeLow)];
    return one && other ? isLater(other, one) : undefined;
  };
  // Nothing takes the place of a grant: the other side may refuse a later one of the same key, and lack this one.
  const give =
    ours.size === 0
      ? going
      : going.filter(({ kind, placeLow }) => isGrowOnly(kind) || isTheirsLater(placeLow >>> 0) !== true);
  // What ours will replace over there need not come here first.
  const want = coming.filter(({ placeLow }) => isTheirsLater(placeLow) !== false);
  return { give, want: want.map(({ digest }) => digest) };
}

/** By the low half of their places, items that are alone there; null where there are several. */
function alone(items: readonly Item[]): Map<number, Item | null> {
  const found = new Map<number, Item | null>();
  for (const item of items) found.set(item.placeLow, found.has(item.placeLow) ? null : item);
  return found;
}

function isLater(a: Pick<Item, 'ms' | 'n'>, b: Pick<Item, 'ms' | 'n'>): boolean {
  return a.ms > b.ms || (a.ms === b.ms && a.n > b.n);
}
