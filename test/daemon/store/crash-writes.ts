/** What is written to a disk that will crash, and what a store must hold after so many writes of it. */

import type { StoreBatch } from '../../../daemon/store/state-store.ts';
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';
import { recordOf } from './records.ts';

export interface Scenario {
  readonly first: number;
  readonly last: number;
  /** Records of one write, and bytes of each. */
  readonly records: number;
  readonly bytes: number;
  /** Before this write the store is closed and opened, which folds its log in. */
  readonly reopenAt: number | null;
  /** At last the file is begun anew, as one that was found damaged is. */
  readonly replaces: boolean;
  /** It begins with a file that holds the writes before `first`, one record of which is damaged. */
  readonly isDamaged: boolean;
}

export const SCENARIOS = {
  /** Small writes, from the empty directory on. */
  small: { first: 1, last: 14, records: 2, bytes: 120, reopenAt: 9, replaces: true, isDamaged: false },
  /** Large ones, past the size at which SQLite folds its log in and begins it anew. */
  large: {
    first: 1,
    last: 16,
    records: 4,
    bytes: 100_000,
    reopenAt: null,
    replaces: false,
    isDamaged: false,
  },
  /** A start that cuts damage out. */
  mended: { first: 9, last: 10, records: 2, bytes: 120, reopenAt: null, replaces: false, isDamaged: true },
} satisfies Record<string, Scenario>;

export type ScenarioName = keyof typeof SCENARIOS;

/** Of the write whose first record is damaged. */
export const DAMAGED_WRITE = 3;

const LATEST = 1_000_000;

/** Some records for good, and one that takes the place of the last write's. */
export function batchOf(n: number, scenario: Scenario): StoreBatch {
  return {
    put: [...keptOf(n, scenario), latestOf(n)],
    remove: n > 1 ? [latestOf(n - 1)] : [],
    streams: [['x/0', n]],
    values: [['written', String(n)]],
  };
}

/** Digests of the records that a store holds after write `n`. */
export function digestsAfter(n: number, scenario: Scenario): Set<string> {
  const digests = new Set<string>();
  for (let write = 1; write <= n; write += 1) {
    if (scenario.isDamaged && write === DAMAGED_WRITE) continue;
    for (const { digest } of keptOf(write, scenario)) digests.add(digest);
  }
  if (n > 0) digests.add(latestOf(n).digest);
  return digests;
}

const made = new Map<number, LedgerRecord>();

function keptOf(n: number, { records, bytes }: Scenario): LedgerRecord[] {
  return Array.from({ length: records - 1 }, (_, at) => once(n * 100 + at, `k${n}-${at}`, bytes));
}

function latestOf(n: number): LedgerRecord {
  return once(LATEST + n, 'latest', 64);
}

/** Signing and hashing is most of a test's time otherwise. */
function once(seq: number, key: string, bytes: number): LedgerRecord {
  const record = made.get(seq * 2 ** 20 + bytes) ?? recordOf(seq, key, bytes);
  made.set(seq * 2 ** 20 + bytes, record);
  return record;
}
