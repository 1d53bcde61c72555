/**
 * What must be there in the end, told from the writes alone: whatever nobody who had seen it wrote over. It knows the
 * promise and not how the ledger keeps it. Deletions are left out: once all have seen them they may go.
 */
import type { LedgerRecord } from '../../../protocols/ledger/record.ts';

export class StandingWrites {
  readonly #written = new Map<string, LedgerRecord[]>();
  readonly #replaced = new Set<string>();

  /** @param seen what its author held under this key when it wrote. */
  add(record: LedgerRecord, seen: readonly LedgerRecord[]): void {
    for (const { digest } of seen) this.#replaced.add(digest);
    const others = this.#written.get(record.key);
    if (others === undefined) this.#written.set(record.key, [record]);
    else others.push(record);
  }

  /** Digests, sorted. */
  of(key: string): string[] {
    return digestsOf((this.#written.get(key) ?? []).filter(({ digest }) => !this.#replaced.has(digest)));
  }
}

/** Of those that are no deletions, sorted. */
export function digestsOf(records: readonly LedgerRecord[]): string[] {
  return records
    .filter(({ isTombstone }) => !isTombstone)
    .map(({ digest }) => digest)
    .sort();
}
