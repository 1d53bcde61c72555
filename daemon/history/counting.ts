/**
 * Which changes of a history count, as things are now: judged anew whenever it is asked, for a revocation can void what
 * was seen long ago. Pure: it asks the ledger and the authority.
 */
import type { Ledger } from '../../protocols/ledger/ledger.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import type { Authority } from '../../protocols/trust/authority.ts';
import type { HistoryEntry } from './history-entry.ts';

/** null: it was replaced since, and its line does not say at which place it stood. */
export type Counting = (entry: HistoryEntry) => boolean | null;

/** @returns answers for as long as nothing changes. */
export function counting(
  ledger: Pick<Ledger, 'siblings'>,
  authority: Pick<Authority, 'counts' | 'countsAt'>,
): Counting {
  // One key may have thousands of revocations beside one another.
  const live = new Map<string, ReadonlyMap<string, LedgerRecord>>();
  const find = ({ kind, key, digest }: HistoryEntry) => {
    const name = `${kind}/${key}`;
    let records = live.get(name);
    if (records === undefined) {
      records = new Map(ledger.siblings(kind, key).map((record) => [record.digest, record]));
      live.set(name, records);
    }
    return records.get(digest);
  };
  return (entry) => {
    const { author, kind, key, epoch, seq, stamp: hlc } = entry;
    if (kind === 'genesis') return true;
    const record = find(entry);
    if (record !== undefined) return authority.counts(record);
    // These leave the ledger only when another takes their place, or when what they hang on is gone.
    if (kind === 'grant' || kind === 'revoke') return false;
    if (epoch === undefined || seq === undefined) return null;
    return authority.countsAt({ author, kind, key, epoch, seq, hlc });
  };
}
