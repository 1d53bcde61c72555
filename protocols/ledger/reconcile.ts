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
/** A record of a range that cannot be divided is summed several times, walked and put in order. */
const UNDIVIDED_LOOKS = 4;

export type Comparison = Omit<Compare, 'kind' | 'horizon_ms'>;

export interface Answer {
  /** Undefined when there is nothing to ask. */
  readonly compare: Comparison | undefined;
  /** What the other side lacks. */
  readonly give: LedgerRecord[];
  /** Records that were looked at for it, each as often as it was. */
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
  const give = new Set<LedgerRecord>();
  const differing: Prefix[] = [];
  let bytes = 0;
  let looked_count = 0;
  for (const { prefix, parts } of message.splits) {
    cover?.divided(prefix, parts);
    const outside = ledger.places.outside(
      prefix,
      parts.map((part) => part.prefix),
    );
    for (const record of outside) {
      looked_count += 1;
      give.add(record);
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
    cover?.listed(theirs, [...ledger.places.range(theirs.prefix)]);
    const difference = compareListing(ledger, theirs, isUnwanted);
    looked_count += difference.looked_count;
    for (const record of difference.give) give.add(record);
    if (difference.want.length === 0 || bytes > ANSWER_BYTES) continue;
    bytes += RANGE_BYTES + difference.want.length * DIGEST_BYTES;
    wants.push({ prefix: theirs.prefix, digests: difference.want });
  }
  for (const prefix of isRoomFor(ledger, differing, bytes) ? differing : fromLot(differing, random())) {
    if (bytes > ANSWER_BYTES) break;
    bytes += RANGE_BYTES;
    const { count } = ledger.places.summary(prefix);
    if (cover !== undefined) {
      bytes += PART_BYTES;
      splits.push(asked(prefix));
    } else if (count === 0) {
      splits.push({ prefix, parts: [] });
    } else {
      const divided = count <= LISTED_BEST ? undefined : split(ledger, prefix);
      if (divided === undefined || isUndivided(divided)) {
        const listed = listing(ledger, prefix, random);
        if (divided !== undefined) looked_count += UNDIVIDED_LOOKS * count;
        bytes += listed.items.length * ITEM_BYTES;
        listings.push(listed);
      } else {
        bytes += divided.parts.length * PART_BYTES;
        splits.push(divided);
      }
    }
  }
  for (const { prefix, digests } of message.wants) {
    const wanted = new Set(digests);
    for (const record of ledger.places.range(prefix)) {
      looked_count += 1;
      if (wanted.has(shortDigest(record))) give.add(record);
    }
  }
  const isEmpty = splits.length + listings.length + wants.length === 0;
  const compare: Comparison = {
    splits: splits.slice(0, COMPARISONS_MAX),
    listings: listings.slice(0, COMPARISONS_MAX),
    wants: wants.slice(0, COMPARISONS_MAX),
  };
  return { compare: isEmpty ? undefined : compare, give: [...give], looked_count };
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
  const heads = Float64Array.from(records, headOf).sort();
  const from = Math.floor(random() * heads.length);
  const first = heads[from]!;
  const last = heads[(from + LISTED_MAX - 1) % heads.length]!;
  const [upTo, since] = [[], []] as [LedgerRecord[], LedgerRecord[]];
  for (const record of records) {
    const head = headOf(record);
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
  ledger: Ledger,
  theirs: Listing,
  isUnwanted: (digest: ShortDigest) => boolean,
): { give: LedgerRecord[]; want: ShortDigest[]; looked_count: number } {
  const own = [...ledger.places.range(theirs.prefix)];
  const held = new Set(own.map(shortDigest));
  const listed = new Set(theirs.items.map(({ digest }) => digest));
  const coming = theirs.items.filter(({ digest }) => !held.has(digest) && !isUnwanted(digest));
  const going = own.filter((record) => {
    const digest = shortDigest(record);
    return !listed.has(digest) && isShown(theirs, digest);
  });
  const ours = alone(going.filter(({ kind }) => !isGrowOnly(kind)).map(itemOf));
  const others = alone(coming);
  /** Of two versions of a key, theirs is the later one. Where more stand side by side all travel. */
  const isTheirsLater = (placeLow: number) => {
    const [one, other] = [ours.get(placeLow), others.get(placeLow)];
    return one && other ? isLater(other, one) : undefined;
  };
  // Nothing takes the place of a grant: the other side may refuse a later one of the same key, and lack this one.
  const give = going.filter(
    ({ kind, placeLow }) => isGrowOnly(kind) || isTheirsLater(placeLow >>> 0) !== true,
  );
  // What ours will replace over there need not come here first.
  const want = coming.filter(({ placeLow }) => isTheirsLater(placeLow) !== false);
  return { give, want: want.map(({ digest }) => digest), looked_count: own.length };
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
