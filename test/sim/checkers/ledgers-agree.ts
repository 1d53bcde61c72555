/** At the end all living nodes hold equal sets of records, and equal sets have equal hashes and unequal ones do not. */
import { shortId } from '../../../protocols/base/ids.ts';
import type { LedgerMachine } from '../../../protocols/ledger/machine.ts';
import type { Checker } from './checker.ts';

export const ledgersAgree: Checker = ({ living }) => {
  const violations: string[] = [];
  const [first] = living;
  if (first === undefined) return ['nobody is left'];
  const [firstId, { ledger: reference }] = first;
  const digests = digestsOf(reference);
  for (const [id, { ledger }] of living) {
    const isEqual =
      ledger.ledger.size === digests.size && [...digestsOf(ledger)].every((digest) => digests.has(digest));
    const hasEqualHash = ledger.ledger.hash === reference.ledger.hash;
    const pair = `${shortId(firstId)} and ${shortId(id)}`;
    if (!isEqual)
      violations.push(`the ledgers of ${pair} differ (${digests.size} and ${ledger.ledger.size} records)`);
    if (isEqual !== hasEqualHash) violations.push(`the hashes of ${pair} tell otherwise than their records`);
  }
  return violations;
};

function digestsOf({ ledger }: LedgerMachine): Set<string> {
  return new Set(Array.from(ledger.records(), ({ digest }) => digest));
}
