/**
 * What one author may fill. Beyond it those of its records go that have the latest stamps, and of grants and revocations
 * those that come last in an order of their own, whatever came first: so all nodes keep the same ones (going-order.ts). Not
 * where two authors beyond it have let one another in: what the one writes thanks to the other may push out what the other
 * writes by, and the reverse, and then what came first decides.
 *
 * Who has stolen a key may write stamps of long ago, and any number of digests, and push out what the key wrote; so what
 * others hang on (grants, and what was revoked) goes last, and where all begins never. Of that too such a thief may write
 * any amount; so the grants that a senior's revocation of the key keeps go last of all. What a node must say whatever it
 * has written before (that it lives, what it has seen and acknowledged, deletions) goes after all else but those, what it
 * has acknowledged after the rest of it, and a part of the quota is left free for it.
 */
import { ShoalError } from '../base/errors.ts';
import type { KeyId } from '../base/ids.ts';
import { GoingOrder, isSaidAlways, type Marks } from './going-order.ts';
import { isGrowOnly, type Ledger } from './ledger.ts';
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

/** Authors that are known to be near their quota; the oldest goes first. */
const FULL_MAX = 1024;
/** An author that fills less than this part is not near it. */
const NEAR_PART = 0.75;

interface Filled {
  readonly count: number;
  readonly bytes: number;
}

export class Quota {
  readonly #config: QuotaConfig;
  readonly #ledger: Ledger;
  readonly #marks: Marks;
  /** Of each author that was found at its quota, exactly what it fills: about as much memory as a word for each record. */
  readonly #full = new Map<KeyId, GoingOrder>();

  constructor(config: QuotaConfig, ledger: Ledger, marks: Marks) {
    this.#config = config;
    this.#ledger = ledger;
    this.#marks = marks;
    ledger.watch({
      added: (record) => this.#full.get(record.author)?.add(record),
      removed: (record) => this.#full.get(record.author)?.remove(record),
    });
  }

  /**
   * Of own writes: what others would not keep is not written. What makes no more of it may always be, and what must be
   * said: for that others may have to go, unless it is itself what would go first. @throws E_QUOTA
   */
  assertFits(records: readonly LedgerRecord[]): void {
    const fits =
      this.#fits(records, this.#ledger.filledBy(records[0]!)) ||
      this.#fits(records, this.#orderOf(records[0]!.author));
    if (fits && !records.some((record) => this.isBeyond(record, this.#ledger.find(record).replaces))) return;
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

  /**
   * Before a merge, and before any signature is checked: would the record itself be one of those that go? Then nothing
   * shall go for it. O(log of the author's records), but for the first time.
   */
  isBeyond(record: LedgerRecord, replaces: readonly LedgerRecord[]): boolean {
    const { author, payload_bytes } = record;
    const filled = this.#ledger.filledBy(record);
    if (this.#full.has(author) && !this.#isNear(filled)) this.#full.delete(author);
    let count = filled.count + 1;
    let bytes = filled.bytes + payload_bytes;
    if (this.#isWithin({ count, bytes })) return false;
    const order = this.#orderOf(author);
    count = order.count + 1;
    bytes = order.bytes + payload_bytes;
    for (const replaced of replaces) {
      if (replaced.author !== author) continue;
      count -= 1;
      bytes -= replaced.payload_bytes;
    }
    const taken: LedgerRecord[] = [];
    let isFirst = false;
    while (!isFirst && !this.#isWithin({ count, bytes })) {
      const first = order.take();
      if (first === undefined) {
        isFirst = true;
        break;
      }
      taken.push(first);
      if (replaces.includes(first)) continue;
      isFirst = order.goesBefore(record, first);
      count -= 1;
      bytes -= first.payload_bytes;
    }
    order.putBack(taken);
    return isFirst;
  }

  /** Somebody kept these who does so no more. That somebody keeps a record is seen without being told. */
  unkept(records: readonly LedgerRecord[]): void {
    for (const record of records) this.#full.get(record.author)?.putBack([record]);
  }

  /** After a merge: whether nothing must go. */
  isKept(record: LedgerRecord): boolean {
    return this.#isWithin(this.#full.get(record.author) ?? this.#ledger.filledBy(record));
  }

  /** After a merge: what must go of the author's, in this order. Each must be removed before the next is asked for. */
  *excess(record: LedgerRecord): IterableIterator<LedgerRecord> {
    const order = this.#orderOf(record.author);
    while (!this.#isWithin(order)) {
      const first = order.take();
      if (first === undefined) return;
      yield first;
    }
  }

  /** O(its records) when it is not known to be at its quota. */
  #orderOf(author: KeyId): GoingOrder {
    const known = this.#full.get(author);
    if (known !== undefined) return known;
    const order = new GoingOrder(this.#ledger, this.#marks, this.#ledger.recordsOf(author));
    this.#full.set(author, order);
    if (this.#full.size > FULL_MAX) this.#full.delete(this.#full.keys().next().value!);
    return order;
  }

  #isNear({ count, bytes }: Filled): boolean {
    const { author_records_max, author_bytes_max } = this.#config;
    return count >= NEAR_PART * author_records_max || bytes >= NEAR_PART * author_bytes_max;
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
