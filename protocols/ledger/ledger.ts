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
 * only replaces what has an earlier stamp (an author's stamp is later than all that it has seen), so that nobody can
 * write off what is not written yet, and no two records replace one another.
 *
 * Not here: signatures, who may write (machine.ts asks protocols/trust) and anti-entropy (sync.ts).
 */
import { hlcCompare } from '../base/clock.ts';
import { type ContextEntry, type LedgerRecord, type StreamId, streamId } from './record.ts';
import { VersionVector } from './streams.ts';

export interface Merge {
  /** True when the record is live now. */
  readonly added: boolean;
  /** Records that it replaced. */
  readonly removed: readonly LedgerRecord[];
  /** Proof that the author signed two records for one sequence: the other one, which is live. Both are kept. */
  readonly equivocation: LedgerRecord | undefined;
}

const HASH_WORDS = 8;
/** Kinds of which nothing is ever replaced: who may do what must not depend on what was heard first. */
const GROW_ONLY: ReadonlySet<string> = new Set(['grant', 'revoke']);

export class Ledger {
  readonly seen = new VersionVector();
  /** Live records by kind and key, the winner first. */
  readonly #kinds = new Map<string, Map<string, LedgerRecord[]>>();
  readonly #live = new Map<string, LedgerRecord>();
  /** Live records by stream and number; more than one of a number is proof of a copied key. */
  readonly #byStream = new Map<StreamId, Map<number, readonly LedgerRecord[]>>();
  readonly #hash = new Uint32Array(HASH_WORDS);

  /** Number of live records, tombstones included. */
  get size(): number {
    return this.#live.size;
  }

  /**
   * XOR of the digests of all live records, hex. Equal sets have equal hashes. It compares honest replicas;
   * it is no commitment: every record is signed.
   */
  get hash(): string {
    return Array.from(this.#hash, (word) => word.toString(16).padStart(8, '0')).join('');
  }

  /** Merges a record that may enter. The version vector is the caller's to update after this. */
  merge(record: LedgerRecord): Merge {
    if (this.#live.has(record.digest)) return { added: false, removed: [], equivocation: undefined };
    const twin = this.twin(record);
    if (this.isReplaced(record)) return { added: false, removed: [], equivocation: twin };
    const keys = this.#keys(record.kind);
    const before = keys.get(record.key) ?? [];
    const removed = before.filter((sibling) => replaces(record, sibling));
    for (const sibling of removed) this.#unlist(sibling);
    const siblings = before.filter((sibling) => !removed.includes(sibling));
    siblings.push(record);
    keys.set(record.key, siblings.sort(byPrecedence));
    this.#list(record);
    return { added: true, removed, equivocation: twin };
  }

  /** A live record that bears the number of this one, and is another. */
  twin(record: LedgerRecord): LedgerRecord | undefined {
    const numbered = this.#byStream.get(streamId(record.author, record.epoch))?.get(record.seq);
    return numbered?.find(({ digest }) => digest !== record.digest);
  }

  /** Does a live record stand in the place of this one? */
  isReplaced(record: LedgerRecord): boolean {
    return this.siblings(record.kind, record.key).some((sibling) => replaces(sibling, record));
  }

  /** Live siblings of a key, the winner first; a tombstone may be among them. */
  siblings(kind: string, key: string): readonly LedgerRecord[] {
    return this.#kinds.get(kind)?.get(key) ?? [];
  }

  /** Winner of a key; undefined when nothing was written or the winner is a tombstone. */
  get(kind: string, key: string): LedgerRecord | undefined {
    const winner = this.siblings(kind, key)[0];
    return winner?.body === null ? undefined : winner;
  }

  /** All keys of a kind with their siblings, in no order. */
  *ofKind(kind: string): IterableIterator<[string, readonly LedgerRecord[]]> {
    yield* this.#kinds.get(kind) ?? [];
  }

  /** Live records of one stream with sequences in (from, to], ascending. */
  range(stream: StreamId, from: number, to: number): LedgerRecord[] {
    const records = this.#byStream.get(stream);
    if (records === undefined) return [];
    return [...records]
      .filter(([seq]) => seq > from && seq <= to)
      .sort(([a], [b]) => a - b)
      .flatMap(([, numbered]) => numbered);
  }

  byDigest(digest: string): LedgerRecord | undefined {
    return this.#live.get(digest);
  }

  digests(): IterableIterator<string> {
    return this.#live.keys();
  }

  records(): IterableIterator<LedgerRecord> {
    return this.#live.values();
  }

  /** What a new record of this key must carry: everything that is live here, and all that it has replaced. */
  context(kind: string, key: string): ContextEntry[] {
    const context = new Map<string, ContextEntry>();
    for (const { author, epoch, seq, context: seen } of this.siblings(kind, key)) {
      for (const entry of [...seen, { author, epoch, seq }]) {
        const known = context.get(entry.author);
        if (known === undefined || isLater(entry, known)) context.set(entry.author, entry);
      }
    }
    return [...context.values()];
  }

  #list(record: LedgerRecord): void {
    this.#live.set(record.digest, record);
    const stream = streamId(record.author, record.epoch);
    const records = this.#byStream.get(stream) ?? new Map<number, readonly LedgerRecord[]>();
    this.#byStream.set(stream, records.set(record.seq, [...(records.get(record.seq) ?? []), record]));
    this.#toggle(record.digest);
  }

  #unlist(record: LedgerRecord): void {
    this.#live.delete(record.digest);
    const records = this.#byStream.get(streamId(record.author, record.epoch))!;
    const others = records.get(record.seq)!.filter((other) => other !== record);
    if (others.length > 0) records.set(record.seq, others);
    else records.delete(record.seq);
    this.#toggle(record.digest);
  }

  #keys(kind: string): Map<string, LedgerRecord[]> {
    let keys = this.#kinds.get(kind);
    if (keys === undefined) {
      keys = new Map();
      this.#kinds.set(kind, keys);
    }
    return keys;
  }

  #toggle(digest: string): void {
    for (let word = 0; word < HASH_WORDS; word += 1) {
      this.#hash[word]! ^= Number.parseInt(digest.slice(word * 8, word * 8 + 8), 16);
    }
  }
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

/** Both of one kind and key. An author has always seen its own earlier writes. */
function replaces(later: LedgerRecord, earlier: LedgerRecord): boolean {
  if (GROW_ONLY.has(later.kind)) return false;
  const order = hlcCompare(later.hlc, earlier.hlc);
  if (later.author === earlier.author) {
    if (order !== 0) return order > 0;
    if (later.epoch !== earlier.epoch || later.seq !== earlier.seq) return isLater(later, earlier);
    return later.digest < earlier.digest;
  }
  return order > 0 && later.context.some((seen) => seen.author === earlier.author && !isLater(earlier, seen));
}

function isLater(a: Pick<ContextEntry, 'epoch' | 'seq'>, b: Pick<ContextEntry, 'epoch' | 'seq'>): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.seq > b.seq);
}
