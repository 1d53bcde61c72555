/**
 * In which order one author's records go when there are too many, and the first to go at hand: a heap, from which what
 * is live no more is dropped when it comes up. Not here: how many are too many (quota.ts).
 */
import { isGrowOnly, isStampedLater, type Ledger } from './ledger.ts';
import { isSameRecord, type LedgerRecord } from './record.ts';

const MUST_SAY: ReadonlySet<string> = new Set(['ack', 'evidence', 'member', 'verdict']);
/** Of records that are live no more: so many, and as many as are live. */
const DEAD_MAX = 64;

/** A total order of one author's records. */
export function goesBefore(a: LedgerRecord, b: LedgerRecord): boolean {
  const order = weight(a) - weight(b);
  return order === 0 ? isStampedLater(a, b) : order < 0;
}

/** What a node must say, whatever it has written before. */
export function isSaidAlways(record: LedgerRecord): boolean {
  return record.isTombstone || MUST_SAY.has(record.kind);
}

function weight(record: LedgerRecord): number {
  if (isGrowOnly(record.kind)) return 2;
  return isSaidAlways(record) ? 1 : 0;
}

/** The live records of one author, the first to go first, and what they fill. */
export class GoingOrder {
  readonly #ledger: Pick<Ledger, 'has'>;
  #heap: LedgerRecord[] = [];
  count = 0;
  bytes = 0;

  /** @param records all that are live. */
  constructor(ledger: Pick<Ledger, 'has'>, records: Iterable<LedgerRecord>) {
    this.#ledger = ledger;
    for (const record of records) this.add(record);
  }

  /** It is live now. */
  add(record: LedgerRecord): void {
    this.count += 1;
    this.bytes += record.payload_bytes;
    this.#put(record);
    if (this.#heap.length <= 2 * this.count + DEAD_MAX) return;
    const live = new Map<string, LedgerRecord>();
    for (const each of this.#heap) if (this.#ledger.has(each)) live.set(each.digest, each);
    this.#heap = [];
    for (const each of live.values()) this.#put(each);
  }

  /** It is live no more. */
  remove(record: LedgerRecord): void {
    this.count -= 1;
    this.bytes -= record.payload_bytes;
  }

  /** Takes the first to go out of the order, not out of the ledger. */
  take(): LedgerRecord | undefined {
    let first = this.#heap[0];
    while (first !== undefined && !this.#ledger.has(first)) {
      this.#pop();
      first = this.#heap[0];
    }
    if (first === undefined) return undefined;
    this.#pop();
    // One that went and came back is here twice.
    while (this.#heap[0] !== undefined && isSameRecord(this.#heap[0], first)) this.#pop();
    return first;
  }

  /** What was taken out and is live still. */
  putBack(records: readonly LedgerRecord[]): void {
    for (const record of records) this.#put(record);
  }

  #put(record: LedgerRecord): void {
    // Where all begins never goes.
    if (record.kind === 'genesis') return;
    const heap = this.#heap;
    let at = heap.length;
    heap.push(record);
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!goesBefore(record, heap[above]!)) break;
      heap[at] = heap[above]!;
      at = above;
    }
    heap[at] = record;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && goesBefore(heap[below + 1]!, heap[below]!)) below += 1;
      if (!goesBefore(heap[below]!, last)) break;
      heap[at] = heap[below]!;
      at = below;
    }
    heap[at] = last;
  }
}
