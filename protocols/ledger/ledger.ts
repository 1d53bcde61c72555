/**
 * The replicated set of records and its merge: commutative, associative, idempotent.
 *
 * Each key is a multi-value register: a record replaces those that its author had seen of this key (its context,
 * a version vector restricted to the key), and concurrent ones stay beside it as siblings. For keys that only their
 * owner writes that leaves one. Source: Almeida et al., "Scalable and Accurate Causality Tracking for Eventually
 * Consistent Stores" (dotted version vector sets, 2014).
 *
 * Not here: signatures, who may write (machine.ts asks protocols/trust) and anti-entropy (sync.ts).
 */
import { hlcCompare } from '../base/clock.ts';
import { type LedgerRecord, type StreamId, streamId } from './record.ts';
import { VersionVector } from './streams.ts';

interface Entry {
  /** Live records, the winner first. */
  siblings: LedgerRecord[];
  /** Highest (epoch, seq) by author that is replaced here. */
  readonly replaced: Map<string, { epoch: number; seq: number }>;
}

export interface Merge {
  /** True when the record is live now. */
  readonly added: boolean;
  /** Records that it replaced. */
  readonly removed: readonly LedgerRecord[];
  /** Proof that the author signed two records for one sequence. */
  readonly equivocation: LedgerRecord | undefined;
}

const HASH_WORDS = 8;

export class Ledger {
  readonly seen = new VersionVector();
  readonly #kinds = new Map<string, Map<string, Entry>>();
  readonly #live = new Map<string, LedgerRecord>();
  readonly #byStream = new Map<StreamId, Map<number, LedgerRecord>>();
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
    const stream = streamId(record.author, record.epoch);
    const twin = this.#byStream.get(stream)?.get(record.seq);
    if (twin !== undefined && twin.digest === record.digest) return NOTHING;
    if (twin !== undefined) {
      if (twin.digest < record.digest) return { added: false, removed: [], equivocation: twin };
      this.#unlink(twin);
      return { ...this.#insert(record, [twin]), equivocation: twin };
    }
    return this.#insert(record, []);
  }

  /** Live siblings of a key, the winner first; a tombstone may be among them. */
  siblings(kind: string, key: string): readonly LedgerRecord[] {
    return this.#kinds.get(kind)?.get(key)?.siblings ?? [];
  }

  /** Winner of a key; undefined when nothing was written or the winner is a tombstone. */
  get(kind: string, key: string): LedgerRecord | undefined {
    const winner = this.siblings(kind, key)[0];
    return winner?.body === null ? undefined : winner;
  }

  /** All keys of a kind with their siblings, in no order. */
  *ofKind(kind: string): IterableIterator<[string, readonly LedgerRecord[]]> {
    for (const [key, entry] of this.#kinds.get(kind) ?? []) yield [key, entry.siblings];
  }

  /** Live records of one stream with sequences in (from, to], ascending. */
  range(stream: StreamId, from: number, to: number): LedgerRecord[] {
    const records = this.#byStream.get(stream);
    if (records === undefined) return [];
    return [...records.values()].filter(({ seq }) => seq > from && seq <= to).sort((a, b) => a.seq - b.seq);
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

  /** What a new record of this key must carry: everything that is live or replaced here now. */
  context(kind: string, key: string): { author: string; epoch: number; seq: number }[] {
    const entry = this.#kinds.get(kind)?.get(key);
    if (entry === undefined) return [];
    const context = new Map(entry.replaced);
    for (const { author, epoch, seq } of entry.siblings) raise(context, author, epoch, seq);
    return [...context].map(([author, at]) => ({ author, ...at }));
  }

  #insert(record: LedgerRecord, unlinked: LedgerRecord[]): Merge {
    const entry = this.#entry(record.kind, record.key);
    if (covers(entry.replaced, record) || entry.siblings.some((sibling) => succeeds(sibling, record))) {
      return { added: false, removed: unlinked, equivocation: undefined };
    }
    for (const { author, epoch, seq } of record.context) raise(entry.replaced, author, epoch, seq);
    const removed = entry.siblings.filter(
      (sibling) => covers(entry.replaced, sibling) || succeeds(record, sibling),
    );
    for (const sibling of removed) {
      raise(entry.replaced, sibling.author, sibling.epoch, sibling.seq);
      this.#unlink(sibling);
    }
    entry.siblings.push(record);
    entry.siblings.sort(byPrecedence);
    this.#live.set(record.digest, record);
    const stream = streamId(record.author, record.epoch);
    let numbered = this.#byStream.get(stream);
    if (numbered === undefined) {
      numbered = new Map();
      this.#byStream.set(stream, numbered);
    }
    numbered.set(record.seq, record);
    this.#toggle(record.digest);
    return { added: true, removed: [...unlinked, ...removed], equivocation: undefined };
  }

  #unlink(record: LedgerRecord): void {
    const entry = this.#entry(record.kind, record.key);
    entry.siblings = entry.siblings.filter((sibling) => sibling !== record);
    this.#live.delete(record.digest);
    this.#byStream.get(streamId(record.author, record.epoch))?.delete(record.seq);
    this.#toggle(record.digest);
  }

  #entry(kind: string, key: string): Entry {
    let keys = this.#kinds.get(kind);
    if (keys === undefined) {
      keys = new Map();
      this.#kinds.set(kind, keys);
    }
    let entry = keys.get(key);
    if (entry === undefined) {
      entry = { siblings: [], replaced: new Map() };
      keys.set(key, entry);
    }
    return entry;
  }

  #toggle(digest: string): void {
    for (let word = 0; word < HASH_WORDS; word += 1) {
      this.#hash[word]! ^= Number.parseInt(digest.slice(word * 8, word * 8 + 8), 16);
    }
  }
}

const NOTHING: Merge = { added: false, removed: [], equivocation: undefined };

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

/** An author has always seen its own earlier writes. */
function succeeds(later: LedgerRecord, earlier: LedgerRecord): boolean {
  if (later.author !== earlier.author) return false;
  return later.epoch > earlier.epoch || (later.epoch === earlier.epoch && later.seq > earlier.seq);
}

function covers(context: Entry['replaced'], record: LedgerRecord): boolean {
  const at = context.get(record.author);
  return at !== undefined && (at.epoch > record.epoch || (at.epoch === record.epoch && at.seq >= record.seq));
}

function raise(context: Entry['replaced'], author: string, epoch: number, seq: number): void {
  const at = context.get(author);
  if (at === undefined || at.epoch < epoch || (at.epoch === epoch && at.seq < seq))
    context.set(author, { epoch, seq });
}
