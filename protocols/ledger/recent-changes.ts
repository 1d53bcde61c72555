/**
 * What the ledger's hash was without its latest stamps, so that two nodes can tell whether they differ by more than what
 * is on its way to both. Each change is kept with the stamp of the record that made it; to undo it is an exclusive or.
 * Pure. Not here: what follows from it (exchange.ts).
 */
import type { LedgerRecord, Words } from './record.ts';

/** Changes by records that are older are part of every hash that is asked for. */
const KEPT_MS = 10_000;
const TRIMMED_MS = 1_000;
/** With more at once nothing is said of these moments, and nodes compare what they have. */
export const CHANGES_MAX = 4096;
/** Of a payload. A larger record is not kept in memory for its words. */
const KEPT_BYTES_MAX = 1024;

const NONE: readonly LedgerRecord[] = [];

interface Change {
  readonly ms: number;
  /** Most often the record. */
  readonly by: { readonly words: Words };
  /** Its words, once they were asked for: they are made anew each time. */
  words: Words | undefined;
}

export class RecentChanges {
  #changes: Change[] = [];
  /** Of moments before it nothing is known. */
  #since_ms: number;
  #trimmed_ms = 0;

  /** @param since_ms the latest stamp of what the ledger holds already. */
  constructor(since_ms: number) {
    this.#since_ms = since_ms;
  }

  /**
   * @param removed what went because of `added`, or without another in its place.
   * @param evicted what was one too many beside `added`, or went with that.
   */
  add(
    added: readonly LedgerRecord[],
    removed: readonly LedgerRecord[],
    now: number,
    evicted: readonly LedgerRecord[] = NONE,
  ): void {
    const from_ms = now - KEPT_MS;
    for (let at = 0; at < added.length; at += 1) this.#keep(added[at]!.hlc.ms, added[at]!, from_ms);
    if (added.length === 1) this.#keepReplaced(added[0]!, removed, from_ms);
    else if (removed.length > 0) this.#keepAllReplaced(added, removed, from_ms);
    if (evicted.length > 0) this.#keepEvicted(added, evicted, from_ms);
    if (this.#changes.length > CHANGES_MAX || Math.abs(now - this.#trimmed_ms) > TRIMMED_MS)
      this.#trim(from_ms, now);
  }

  /** Has anything with a later stamp come? */
  hasAfter(ms: number): boolean {
    return this.#since_ms > ms || this.#changes.some((change) => change.ms > ms);
  }

  /**
   * @param words of the ledger as it is. @param until_ms changes with later stamps are left in.
   * @returns its hash as it was at `ms`, as `Ledger.hash`; undefined: unknown.
   */
  hashAt(ms: number, words: Words, until_ms = Number.POSITIVE_INFINITY): string | undefined {
    if (ms < this.#since_ms) return undefined;
    let [a, b, c, d] = words;
    for (const change of this.#changes) {
      if (change.ms <= ms || change.ms > until_ms) continue;
      change.words ??= change.by.words;
      const { words } = change;
      a ^= words[0];
      b ^= words[1];
      c ^= words[2];
      d ^= words[3];
    }
    return [a, b, c, d].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
  }

  #keepReplaced(by: LedgerRecord, removed: readonly LedgerRecord[], from_ms: number): void {
    for (let at = 0; at < removed.length; at += 1) {
      const record = removed[at]!;
      if (by.key === record.key && by.kind === record.kind) this.#keep(by.hlc.ms, record, from_ms);
    }
  }

  #keepAllReplaced(added: readonly LedgerRecord[], removed: readonly LedgerRecord[], from_ms: number): void {
    const stampOf = stampsOf(added);
    for (const record of removed) {
      const ms = stampOf(record);
      if (ms !== undefined) this.#keep(ms, record, from_ms);
    }
  }

  /** Which of what came it was that one had to go for is not told: the last of it had come by then. */
  #keepEvicted(added: readonly LedgerRecord[], evicted: readonly LedgerRecord[], from_ms: number): void {
    let last_ms = Number.NEGATIVE_INFINITY;
    for (const { hlc } of added) last_ms = Math.max(last_ms, hlc.ms);
    for (const record of evicted) this.#keep(Math.max(last_ms, record.hlc.ms), record, from_ms);
  }

  #keep(ms: number, record: LedgerRecord, from_ms: number): void {
    if (ms < from_ms) this.#since_ms = Math.max(this.#since_ms, ms);
    else
      this.#changes.push({
        ms,
        by: record.payload_bytes > KEPT_BYTES_MAX ? { words: record.words } : record,
        words: undefined,
      });
  }

  #trim(from_ms: number, now: number): void {
    this.#trimmed_ms = now;
    let kept = this.#changes.filter(({ ms }) => ms >= from_ms);
    if (kept.length > CHANGES_MAX) kept = [];
    if (kept.length === this.#changes.length) return;
    const until_ms = kept.length > 0 ? from_ms : Number.POSITIVE_INFINITY;
    for (const { ms } of this.#changes) if (ms < until_ms) this.#since_ms = Math.max(this.#since_ms, ms);
    this.#changes = kept;
  }
}

/** Of what was added, the last stamp by kind and key. */
function stampsOf(added: readonly LedgerRecord[]): (record: LedgerRecord) => number | undefined {
  const byKind = new Map<string, Map<string, number>>();
  for (const { kind, key, hlc } of added) {
    let byKey = byKind.get(kind);
    if (byKey === undefined) {
      byKey = new Map();
      byKind.set(kind, byKey);
    }
    byKey.set(key, hlc.ms);
  }
  return ({ kind, key }) => byKind.get(kind)?.get(key);
}
