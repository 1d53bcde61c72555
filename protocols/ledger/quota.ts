/**
 * What one author may fill. Beyond it those of its records go that have the latest stamps, whatever came first: so all
 * nodes keep the same ones. Who has stolen a key may write stamps of long ago, and push out what the key wrote; so what
 * others hang on (grants, and what was revoked) goes last, and where all begins never. What a node must say whatever it
 * has written before (that it lives, what it has seen and acknowledged, deletions) goes after all else but those, and a
 * part of the quota is left free for it.
 */
import { ShoalError } from '../base/errors.ts';
import type { KeyId } from '../base/ids.ts';
import { isGrowOnly, isStampedLater, type Ledger } from './ledger.ts';
import type { LedgerRecord } from './record.ts';

export interface QuotaConfig {
  /** Live records of one author, tombstones included. */
  readonly author_records_max: number;
  /** Of their payloads. */
  readonly author_bytes_max: number;
}

export const QUOTA_DEFAULTS: QuotaConfig = { author_records_max: 65_536, author_bytes_max: 64 << 20 };

/** Of its quota a node leaves this part to what it must say. */
const RESERVED_PART = 16;
const MUST_SAY: ReadonlySet<string> = new Set(['ack', 'evidence', 'member', 'verdict']);

/** Authors that are known to be at their quota; the oldest goes first. */
const FULL_MAX = 1024;

interface Filled {
  readonly count: number;
  readonly bytes: number;
}

export class Quota {
  readonly #config: QuotaConfig;
  readonly #ledger: Ledger;
  /** What went last of each full author. */
  readonly #full = new Map<KeyId, LedgerRecord>();

  constructor(config: QuotaConfig, ledger: Ledger) {
    this.#config = config;
    this.#ledger = ledger;
  }

  /**
   * Of own writes: what others would not keep is not written. What makes no more of it may always be, and what must be
   * said: for that others may have to go. @throws E_QUOTA
   */
  assertFits(records: readonly LedgerRecord[]): void {
    if (this.#fits(records, this.#ledger.filledBy(records[0]!))) return;
    if (this.#fits(records, this.#ledger.exactlyFilledBy(records[0]!))) return;
    throw new ShoalError('E_QUOTA', 'this node has written all that one node may; nothing was changed');
  }

  #fits(records: readonly LedgerRecord[], filled: Filled): boolean {
    const { author_records_max, author_bytes_max } = this.#config;
    const records_max = author_records_max - Math.floor(author_records_max / RESERVED_PART);
    const bytes_max = author_bytes_max - Math.floor(author_bytes_max / RESERVED_PART);
    let { count, bytes } = filled;
    const latest = new Map<string, LedgerRecord>();
    for (const record of records) {
      const name = `${record.kind}/${record.key}`;
      const earlier = latest.get(name) ?? this.#earlier(record);
      latest.set(name, record);
      const more_bytes = record.payload_bytes - (earlier?.payload_bytes ?? 0);
      if (earlier === undefined) count += 1;
      bytes += more_bytes;
      const isOver = (earlier === undefined && count > records_max) || bytes > bytes_max;
      if (isOver && more_bytes > 0 && !isSaidAlways(record)) return false;
    }
    return true;
  }

  /** The cheap refusal of a flood, before any signature is checked. */
  isBeyond(record: LedgerRecord): boolean {
    const last = this.#full.get(record.author);
    if (last === undefined) return false;
    const { count, bytes } = this.#ledger.filledBy(record);
    const { author_records_max, author_bytes_max } = this.#config;
    if (count < author_records_max && bytes + record.payload_bytes <= author_bytes_max) {
      this.#full.delete(record.author);
      return false;
    }
    return this.#earlier(record) === undefined && goesBefore(record, last);
  }

  /** After a merge: whether nothing must go. */
  isKept(record: LedgerRecord): boolean {
    return this.#isWithin(this.#ledger.filledBy(record));
  }

  /** After a merge: what must go of the author's, in this order; `record` itself may be among it. */
  *excess(record: LedgerRecord): IterableIterator<LedgerRecord> {
    while (!this.#isWithin(this.#ledger.filledBy(record))) {
      if (this.#isWithin(this.#ledger.exactlyFilledBy(record))) return;
      const first = this.#firstToGo(record.author);
      if (first === undefined) return;
      this.#full.set(record.author, first);
      if (this.#full.size > FULL_MAX) this.#full.delete(this.#full.keys().next().value!);
      yield first;
    }
  }

  /** Of an author. O(its records). */
  #firstToGo(author: KeyId): LedgerRecord | undefined {
    let first: LedgerRecord | undefined;
    for (const record of this.#ledger.recordsOf(author))
      if (record.kind !== 'genesis' && (first === undefined || goesBefore(record, first))) first = record;
    return first;
  }

  #isWithin({ count, bytes }: Filled): boolean {
    return count <= this.#config.author_records_max && bytes <= this.#config.author_bytes_max;
  }

  /** The record of its author that it will replace, if any. */
  #earlier(record: LedgerRecord): LedgerRecord | undefined {
    if (isGrowOnly(record.kind)) return undefined;
    return this.#ledger.siblings(record.kind, record.key).find(({ author }) => author === record.author);
  }
}

/** A total order of one author's records. */
function goesBefore(a: LedgerRecord, b: LedgerRecord): boolean {
  const order = weight(a) - weight(b);
  return order === 0 ? isStampedLater(a, b) : order < 0;
}

function weight(record: LedgerRecord): number {
  if (isGrowOnly(record.kind)) return 2;
  return isSaidAlways(record) ? 1 : 0;
}

function isSaidAlways(record: LedgerRecord): boolean {
  return record.isTombstone || MUST_SAY.has(record.kind);
}
