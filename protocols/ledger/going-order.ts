/**
 * In which order one author's records go when there are too many, and the first to go at hand: a heap, from which what
 * is live no more is dropped when it comes up. Not here: how many are too many (quota.ts).
 */
import { Heap } from '../base/heap.ts';
import { type GrantBody, recordKey } from '../base/records.ts';
import { isGrowOnly, isStampedLater, type Ledger } from './ledger.ts';
import { isSameRecord, type LedgerRecord } from './record.ts';

const MUST_SAY: ReadonlySet<string> = new Set(['ack', 'evidence', 'member', 'verdict']);
/** Of records that are live no more: so many, and as many as are live. */
const DEAD_MAX = 64;

/** A record with its place in the order, which changes with what others say of it. */
export interface Placed {
  readonly record: LedgerRecord;
  /** The rank of who keeps it, in a revocation of its author, 0 the most senior; Infinity: nobody does (trust/gate.ts). */
  readonly keeper: number;
  /** From a grant to genesis; Infinity of a renewal, on which no other grant hangs; 0 of other kinds. */
  readonly links: number;
}

/** What the order asks of others: as of `Authority`. */
export interface Marks {
  readonly keeperOf: (record: LedgerRecord) => number;
  readonly linksOf: (record: LedgerRecord) => number;
}

/**
 * A total order of one author's records. Those that only grow go by digest, as where a token was used too often, and
 * renewals by their ends, as those of one issuer: by two orders what is kept would hang on what came first. Nothing
 * may push out what it hangs on itself, or there is no set that stays: so of grants those go first that are the
 * furthest from genesis, and revocations, which may keep a grant, after them.
 */
export function goesBefore(a: Placed, b: Placed): boolean {
  const order = weight(a) - weight(b);
  if (order !== 0) return order < 0;
  if (!isGrowOnly(a.record.kind)) return isStampedLater(a.record, b.record);
  if (a.keeper !== b.keeper) return a.keeper > b.keeper;
  if (a.links !== b.links) return a.links > b.links;
  const sooner_ms = endOf(b) - endOf(a);
  return sooner_ms === 0 ? a.record.digest > b.record.digest : sooner_ms > 0;
}

/** Of renewals: those of one issuer are kept by their ends too. */
function endOf({ record, links }: Placed): number {
  return links === Number.POSITIVE_INFINITY ? ((record.body as GrantBody).notAfter_ms ?? 0) : 0;
}

/** What a node must say, whatever it has written before. */
export function isSaidAlways(record: LedgerRecord): boolean {
  return record.isTombstone || MUST_SAY.has(record.kind);
}

function weight({ record, keeper }: Placed): number {
  if (record.kind === 'revoke') return 4;
  if (record.kind === 'grant') return keeper < Number.POSITIVE_INFINITY ? 5 : 3;
  if (isAcknowledgement(record)) return 2;
  return isSaidAlways(record) ? 1 : 0;
}

/**
 * What deletions wait for everywhere: who has collected its author's has room for it, and who has not must have as well, or
 * it never would. There are as many as lives at most (ledger.ts), for those under other keys count nowhere.
 */
function isAcknowledgement({ kind, key, author }: LedgerRecord): boolean {
  return kind === 'ack' && key === recordKey.ack(author);
}

/** The live records of one author, the first to go first, and what they fill. */
export class GoingOrder {
  readonly #ledger: Pick<Ledger, 'live'>;
  readonly #marks: Marks;
  /** Who keeps a record may have changed since it was put here: that is looked at when it comes up. */
  #heap = new Heap<Placed>(goesBefore);
  count = 0;
  bytes = 0;

  /** @param records all that are live. */
  constructor(ledger: Pick<Ledger, 'live'>, marks: Marks, records: Iterable<LedgerRecord>) {
    this.#ledger = ledger;
    this.#marks = marks;
    for (const record of records) this.add(record);
  }

  /** It is live now. */
  add(record: LedgerRecord): void {
    this.count += 1;
    this.bytes += record.payload_bytes;
    this.putBack([record]);
  }

  /** It is live no more. */
  remove(record: LedgerRecord): void {
    this.count -= 1;
    this.bytes -= record.payload_bytes;
  }

  /** Takes the first to go out of the order, not out of the ledger. */
  take(): LedgerRecord | undefined {
    for (let first = this.#heap.take(); first !== undefined; first = this.#heap.take()) {
      const { keeper } = first;
      const record = this.#ledger.live(first.record);
      if (record === undefined) continue;
      const placed = this.#placed(record);
      if (placed.keeper === keeper) {
        // One that went and came back is here twice.
        while (this.#isNext(record, keeper)) this.#heap.take();
        return record;
      }
      // Who kept it does so no more: it was put back then.
      if (placed.keeper < keeper) this.#put(placed);
    }
    return undefined;
  }

  /** Would it go before another? */
  goesBefore(record: LedgerRecord, other: LedgerRecord): boolean {
    return goesBefore(this.#placed(record), this.#placed(other));
  }

  /** What was taken out and is live still, or goes earlier than before: who kept it does so no more. */
  putBack(records: readonly LedgerRecord[]): void {
    for (const record of records) this.#put(this.#placed(record));
    if (this.#heap.size <= 2 * this.count + DEAD_MAX) return;
    const live = new Map<string, LedgerRecord>();
    for (const { record: known } of this.#heap.items()) {
      const record = this.#ledger.live(known);
      if (record !== undefined) live.set(record.digest, record);
    }
    this.#heap = new Heap(goesBefore);
    for (const record of live.values()) this.#put(this.#placed(record));
  }

  #isNext(record: LedgerRecord, keeper: number): boolean {
    const { first } = this.#heap;
    return first !== undefined && first.keeper === keeper && isSameRecord(first.record, record);
  }

  #placed(record: LedgerRecord): Placed {
    const { keeperOf, linksOf } = this.#marks;
    return { record, keeper: keeperOf(record), links: linksOf(record) };
  }

  #put(placed: Placed): void {
    // Where all begins never goes.
    if (placed.record.kind !== 'genesis') this.#heap.add(placed);
  }
}
