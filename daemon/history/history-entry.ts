/**
 * One line of a node's history: a change that it has seen, with the names that were known then. The ledger keeps what
 * is; what was replaced leaves it. So each node keeps for itself what it saw, as many lines as HISTORY_ENTRIES_MAX.
 * Pure but for what it is given; the table is in daemon/store, questions about it in history.ts.
 */
import { hlcCompare } from '../../protocols/base/clock.ts';
import type { KeyId } from '../../protocols/base/ids.ts';
import type { Ledger } from '../../protocols/ledger/ledger.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { bodyOf } from '../../protocols/view/bodies.ts';
import { type Change, describeChange, isTold } from '../../protocols/view/change.ts';

/** Beyond it the oldest lines of whoever has the most go (history-shares.ts). At a few hundred bytes each that is some MiB on disk. */
export const HISTORY_ENTRIES_MAX = 20_000;

export interface HistoryEntry extends Change {
  /** When this node took it in, by its own clock. */
  readonly applied_ms: number;
  /** Its place in what its author wrote; absent in lines of earlier versions. */
  readonly epoch?: number;
  readonly seq?: number;
  /** Names of the nodes with these keys, as this node knew them then. */
  readonly authorName: string | null;
  readonly subjectName: string | null;
}

/** What the ledger is asked: who a key is, and what stands beside a record. */
export type HistoryLedger = Pick<Ledger, 'siblings'>;

/**
 * What one merge is in the history.
 * @param put records that are live now. @param replaced those that they took the place of.
 */
export function historyEntries(
  put: readonly LedgerRecord[],
  replaced: readonly LedgerRecord[],
  ledger: HistoryLedger,
  now: number,
): HistoryEntry[] {
  const entries: HistoryEntry[] = [];
  const before = latestOfKeys(replaced);
  for (const record of put) {
    if (!isTold(record.kind)) continue;
    const { kind, key } = record;
    const change = describeChange(record, before.get(`${kind}/${key}`), () => ledger.siblings(kind, key));
    if (change === undefined) continue;
    entries.push({
      ...change,
      applied_ms: now,
      epoch: record.epoch,
      seq: record.seq,
      authorName: nameOf(ledger, change.author),
      subjectName: change.subject === null ? null : nameOf(ledger, change.subject),
    });
  }
  return entries;
}

/** By `<kind>/<key>`: what the record that is there now took the place of, the latest of several. */
function latestOfKeys(replaced: readonly LedgerRecord[]): ReadonlyMap<string, LedgerRecord> {
  const latest = new Map<string, LedgerRecord>();
  for (const record of replaced) {
    if (!isTold(record.kind)) continue;
    const name = `${record.kind}/${record.key}`;
    const known = latest.get(name);
    if (known === undefined || hlcCompare(record.hlc, known.hlc) > 0) latest.set(name, record);
  }
  return latest;
}

/** The name in the member record of a node, also of one that counts no more. */
function nameOf(ledger: HistoryLedger, key: KeyId): string | null {
  for (const record of ledger.siblings('member', key)) {
    const body = bodyOf('member', record);
    if (body !== undefined) return body.name;
  }
  return null;
}
