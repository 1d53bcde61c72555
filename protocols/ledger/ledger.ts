/**
 * The replicated set of records and its merge: commutative, associative, idempotent.
 *
 * Each key is a multi-value register: a record replaces those that its author had seen of this key (its context,
 * a version vector restricted to the key), and concurrent ones stay beside it as siblings. For keys that only their
 * owner writes that leaves one. Source: Almeida et al., "Scalable and Accurate Causality Tracking for Eventually
 * Consistent Stores" (dotted version vector sets, 2014). Grants and revocations only grow: nothing replaces them.
 *
 * Whether a record is replaced follows from the live records alone, never from what a node happened to hear before:
 * so replicas with equal hashes will also judge the next record equally, and a restart changes nothing. A record
 * only replaces what has an earlier stamp (an author's stamp is later than all that it has seen of the key), so that
 * nobody can write off what is not written yet, and no two records replace one another.
 *
 * Not here: signatures, who may write (machine.ts asks protocols/trust) and anti-entropy (sync.ts).
 */
import { type Hlc, hlcCompare } from '../base/clock.ts';
import type { KeyId } from '../base/ids.ts';
import { authorHash, kindPrefix, numberHash, placeOf } from './place.ts';
import { isSameRecord, type LedgerRecord } from './record.ts';
import type { ContextEntry } from './record-reader.ts';
import { LEAF_RECORDS_MAX, type Place, type Prefix, RecordTrie, type Summary } from './record-trie.ts';

/** How a record stands to what is live. Good until the ledger changes. */
export interface Finding {
  /** This very record is live. */
  readonly isLive: boolean;
  /** Another that is live stands in its place, or LIVES_MAX later lives of its author do. */
  readonly isReplaced: boolean;
  /** Live records that it replaces, if it is merged; also the life that is then one too many. */
  readonly replaces: readonly LedgerRecord[];
  /** Proof that the author signed two records for one sequence: the other one, which is live. Both are kept. */
  readonly twin: LedgerRecord | undefined;
}

export interface LedgerWatcher {
  /** It is live now. */
  added(record: LedgerRecord): void;
  /** It is live no more. */
  removed(record: LedgerRecord): void;
}

/** Kinds of which nothing is ever replaced: who may do what must not depend on what was heard first. */
const GROW_ONLY: ReadonlySet<string> = new Set(['grant', 'revoke']);
/**
 * Kinds of which each life (epoch) of an author counts as an author of its own: what an old disk does not know, its node
 * cannot unsay.
 */
const BY_LIFE: ReadonlySet<string> = new Set(['ack']);
/**
 * So many lives of an author stay beside one another at a key, the latest: each start is one, until the next record knows
 * it. A later one replaces an earlier one, never the reverse, so what stays is the same whatever came first.
 */
export const LIVES_MAX = 8;
const NONE: readonly LedgerRecord[] = [];

/** By kind and key: what is read, replaced and compared. */
const BY_KEY: Place = {
  high: (record) => record.placeHigh,
  low: (record) => record.placeLow,
};
/** By author, epoch and sequence: what proves a copied key, and what an author may fill. */
function byNumber(secret: number): Place {
  return {
    high: (record) => record.authorHash,
    low: (record) => numberHash(record.epoch, record.seq, secret),
  };
}

export class Ledger {
  #byKey = new RecordTrie(BY_KEY);
  #byNumber: RecordTrie;
  readonly #secret: number;
  #tombstones_count = 0;
  #latest: Hlc = { ms: 0, n: 0 };
  readonly #watchers: LedgerWatcher[] = [];

  /**
   * @param secret 32 bits that nobody else knows, or an author could choose numbers that all fall into one leaf. Nothing
   * that others see depends on it.
   */
  constructor(secret = 0) {
    this.#secret = secret;
    this.#byNumber = new RecordTrie(byNumber(secret));
  }

  /** Told of each change from now on, after who was before. A fork tells nobody. */
  watch(watcher: LedgerWatcher): void {
    this.#watchers.push(watcher);
  }

  /** The latest stamp of all that was ever live here. */
  get latest(): Hlc {
    return this.#latest;
  }

  get tombstones_count(): number {
    return this.#tombstones_count;
  }

  /** An equal ledger; from now on neither sees what the other changes. Costs nothing until one of them changes. */
  fork(): Ledger {
    const fork = new Ledger(this.#secret);
    fork.#byKey = this.#byKey.fork();
    fork.#byNumber = this.#byNumber.fork();
    fork.#tombstones_count = this.#tombstones_count;
    fork.#latest = this.#latest;
    return fork;
  }

  /** Number of live records, tombstones included. */
  get size(): number {
    return this.#byKey.count;
  }

  /**
   * 16 bytes in hex: XOR of half of the digest of each live record. Equal sets have equal hashes. It compares honest
   * replicas; it is no commitment: every record is signed.
   */
  get hash(): string {
    const { words } = this.#byKey.summary('');
    return words.map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
  }

  /** One look at all that is asked of a record that comes in. */
  find(record: LedgerRecord): Finding {
    let isLive = false;
    let isReplaced = false;
    let replaced = NONE;
    let beside_count = 0;
    const { placeHigh, placeLow } = record;
    const { items, lows } = this.#byKey.near(placeHigh, placeLow);
    // All at one place, and there may be any number of them: of grants nothing is asked but whether this one is here.
    if (lows.length > LEAF_RECORDS_MAX && GROW_ONLY.has(record.kind))
      return {
        isLive: this.#numbered(record, true) !== undefined,
        isReplaced,
        replaces: NONE,
        twin: this.#numbered(record, false),
      };
    for (let at = 0; at < lows.length; at += 1) {
      if (lows[at] !== placeLow) continue;
      const sibling = items[at]!;
      if (!isSameKey(sibling, record)) continue;
      if (isSame(sibling, record)) {
        isLive = true;
        continue;
      }
      const order = whichReplaces(record, sibling);
      if (order < 0) isReplaced = true;
      else if (order > 0) replaced = replaced === NONE ? [sibling] : [...replaced, sibling];
      else beside_count += 1;
    }
    if (beside_count >= LIVES_MAX && BY_LIFE.has(record.kind) && !isLive && !isReplaced) {
      const surplus = this.#surplusLife(record, replaced);
      if (surplus === record) isReplaced = true;
      else if (surplus !== undefined) replaced = [...replaced, surplus];
    }
    return { isLive, isReplaced, replaces: replaced, twin: this.#numbered(record, false) };
  }

  /** Merges a record that may enter. @param finding as `find` has just told. @returns the records that it replaced. */
  merge(record: LedgerRecord, finding = this.find(record)): readonly LedgerRecord[] {
    if (finding.isLive || finding.isReplaced) return NONE;
    const removed = finding.replaces;
    const replaced = removed[0];
    if (replaced === undefined) {
      this.#byKey.add(record);
    } else {
      this.#byKey.replace(replaced, record);
      this.#forget(replaced);
      for (let at = 1; at < removed.length; at += 1) this.remove(removed[at]!);
    }
    this.#byNumber.add(record);
    if (record.isTombstone) this.#tombstones_count += 1;
    if (hlcCompare(record.hlc, this.#latest) > 0) this.#latest = record.hlc;
    for (let at = 0; at < this.#watchers.length; at += 1) this.#watchers[at]!.added(record);
    return removed;
  }

  /** Takes a record away: one that was collected, or that is one too many of its author. @returns as `live` did. */
  remove(record: LedgerRecord): LedgerRecord | undefined {
    const live = this.live(record);
    if (live === undefined) return undefined;
    this.#byKey.remove(live);
    this.#forget(live);
    return live;
  }

  #forget(record: LedgerRecord): void {
    this.#byNumber.remove(record);
    if (record.isTombstone) this.#tombstones_count -= 1;
    for (let at = 0; at < this.#watchers.length; at += 1) this.#watchers[at]!.removed(record);
  }

  /** The earliest life of the author at this key, itself perhaps, if there is one too many with it. */
  #surplusLife(record: LedgerRecord, replaced: readonly LedgerRecord[]): LedgerRecord | undefined {
    let [earliest, lives_count] = [record, 1];
    for (const sibling of this.#byKey.near(record.placeHigh, record.placeLow).items) {
      if (sibling.author !== record.author || !isSameKey(sibling, record) || replaced.includes(sibling))
        continue;
      lives_count += 1;
      if (isLater(earliest, sibling)) earliest = sibling;
    }
    return lives_count > LIVES_MAX ? earliest : undefined;
  }

  /** Of the live records with the number of this one: this very one, or another, which proves a copied key. */
  #numbered(record: LedgerRecord, isItself: boolean): LedgerRecord | undefined {
    const { author, epoch, seq } = record;
    const low = numberHash(epoch, seq, this.#secret);
    const { items, lows } = this.#byNumber.near(record.authorHash, low);
    for (let at = 0; at < lows.length; at += 1) {
      if (lows[at] !== low) continue;
      const other = items[at]!;
      if (other.seq !== seq || other.epoch !== epoch || other.author !== author) continue;
      if (isSame(other, record) === isItself) return other;
    }
    return undefined;
  }

  /** Is this very record live? */
  has(record: LedgerRecord): boolean {
    return this.live(record) !== undefined;
  }

  /** This very record as it is live: what came once more, after it had left, is another object. */
  live(record: LedgerRecord): LedgerRecord | undefined {
    const { placeHigh, placeLow } = record;
    const { items, lows } = this.#byKey.near(placeHigh, placeLow);
    if (lows.length > LEAF_RECORDS_MAX) return this.#numbered(record, true);
    for (let at = 0; at < lows.length; at += 1)
      if (lows[at] === placeLow && isSame(items[at]!, record)) return items[at];
    return undefined;
  }

  /** Live siblings of a key, the winner first; a tombstone may be among them. */
  siblings(kind: string, key: string): readonly LedgerRecord[] {
    const siblings: LedgerRecord[] = [];
    for (const record of this.#byKey.near(...placeOf(kind, key)).items)
      if (record.key === key && record.kind === kind) siblings.push(record);
    return siblings.length > 1 ? siblings.sort(byPrecedence) : siblings;
  }

  /** Winner of a key; undefined when nothing was written or the winner is a tombstone. */
  get(kind: string, key: string): LedgerRecord | undefined {
    const winner = this.siblings(kind, key)[0];
    return winner === undefined || winner.isTombstone ? undefined : winner;
  }

  /** All keys of a kind with their siblings, in no order. */
  *ofKind(kind: string): IterableIterator<[string, readonly LedgerRecord[]]> {
    for (const leaf of this.#byKey.leaves(kindPrefix(kind))) {
      const keys = new Map<string, LedgerRecord[]>();
      for (const record of leaf) {
        if (record.kind !== kind) continue;
        const siblings = keys.get(record.key);
        if (siblings === undefined) keys.set(record.key, [record]);
        else siblings.push(record);
      }
      for (const [key, siblings] of keys) yield [key, siblings.sort(byPrecedence)];
    }
  }

  records(): IterableIterator<LedgerRecord> {
    return this.#byKey.range('').values();
  }

  /** Live records of an author, in no order. */
  *recordsOf(author: KeyId): IterableIterator<LedgerRecord> {
    for (const record of this.#byNumber.range(authorPrefix(authorHash(author))))
      if (record.author === author) yield record;
  }

  /** How many live records the author of this one has, and their bytes; a few authors may be counted as one. */
  filledBy(record: LedgerRecord): Pick<Summary, 'count' | 'bytes'> {
    return this.#byNumber.filling(record.authorHash);
  }

  /** Records by the place of their kind and key, for comparing with another node's (reconcile.ts). */
  get places(): Pick<RecordTrie, 'summary' | 'range' | 'divide' | 'outside'> {
    return this.#byKey;
  }

  /**
   * What a new record of this key must carry: everything that is live here, and all that it has replaced, but what its
   * author is known to have seen.
   */
  context(kind: string, key: string, by: Pick<ContextEntry, 'author' | 'epoch'>): ContextEntry[] {
    const context = new Map<KeyId, ContextEntry>();
    for (const { author, epoch, seq, context: seen } of this.siblings(kind, key)) {
      for (const entry of [...seen, { author, epoch, seq }]) {
        if (entry.author === by.author && (entry.epoch === by.epoch || !BY_LIFE.has(kind))) continue;
        const known = context.get(entry.author);
        if (known === undefined || isLater(entry, known)) context.set(entry.author, entry);
      }
    }
    return [...context.values()];
  }
}

export function isGrowOnly(kind: string): boolean {
  return GROW_ONLY.has(kind);
}

/** By stamp, and by digest when stamps are equal: a total order. */
export function isStampedLater(a: LedgerRecord, b: LedgerRecord): boolean {
  return (hlcCompare(a.hlc, b.hlc) || compareText(a.digest, b.digest)) > 0;
}

/** By name; some of what the name covers first. */
function isSame(a: LedgerRecord, b: LedgerRecord): boolean {
  return a.seq === b.seq && a.epoch === b.epoch && isSameRecord(a, b);
}

function isSameKey(a: LedgerRecord, b: LedgerRecord): boolean {
  return a.key === b.key && a.kind === b.kind;
}

function authorPrefix(hash: number): Prefix {
  return (hash >>> 0).toString(16).padStart(8, '0');
}

/** Order among siblings: (generation, HLC, author, digest), the highest first. DESIGN section 2. */
function byPrecedence(a: LedgerRecord, b: LedgerRecord): number {
  return (
    b.generation - a.generation ||
    hlcCompare(b.hlc, a.hlc) ||
    compareText(b.author, a.author) ||
    compareText(b.digest, a.digest)
  );
}

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/**
 * Which of two records of one kind and key replaces the other: above 0 for `one`, below 0 for `other`, 0 for neither. An
 * author has seen its own earlier writes.
 */
function whichReplaces(one: LedgerRecord, other: LedgerRecord): number {
  const { kind } = one;
  if (GROW_ONLY.has(kind)) return 0;
  const order = hlcCompare(one.hlc, other.hlc);
  if (one.author === other.author && (one.epoch === other.epoch || !BY_LIFE.has(kind))) {
    if (order !== 0) return order;
    if (one.epoch !== other.epoch || one.seq !== other.seq) return isLater(one, other) ? 1 : -1;
    return compareText(other.digest, one.digest);
  }
  if (order > 0) return hasSeen(one, other) && mayReplace(one, other) ? 1 : 0;
  return order < 0 && hasSeen(other, one) && mayReplace(other, one) ? -1 : 0;
}

/** No life knows a later one of its own author, whatever it says. */
function mayReplace(later: LedgerRecord, earlier: LedgerRecord): boolean {
  return later.author !== earlier.author || later.epoch > earlier.epoch;
}

function hasSeen(later: LedgerRecord, earlier: LedgerRecord): boolean {
  return later.context.some((seen) => seen.author === earlier.author && !isLater(earlier, seen));
}

function isLater(a: Pick<ContextEntry, 'epoch' | 'seq'>, b: Pick<ContextEntry, 'epoch' | 'seq'>): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.seq > b.seq);
}
