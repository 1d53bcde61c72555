/** At the end all living nodes hold equal sets of records, and equal sets have equal hashes and unequal ones do not. */
import { shortId } from '../../../protocols/base/ids.ts';
import type { Checker } from './checker.ts';

/** Sets are compared record by record on this many nodes; beyond it hashes must do. */
const COMPARED_MAX = 256;

export const ledgersAgree: Checker = ({ living }) => {
  const violations: string[] = [];
  const [first] = living;
  if (first === undefined) return ['nobody is left'];
  const [firstId, { ledger: reference }] = first;
  const digests = new Set(Array.from(reference.ledger.records(), ({ digest }) => digest));
  let compared_count = 0;
  for (const [id, { ledger }] of living) {
    const hasEqualHash = ledger.ledger.hash === reference.ledger.hash;
    const pair = `${shortId(firstId)} and ${shortId(id)}`;
    if (!hasEqualHash)
      violations.push(`the ledgers of ${pair} differ (${digests.size} and ${ledger.ledger.size} records)`);
    if (compared_count >= COMPARED_MAX) continue;
    compared_count += 1;
    let isEqual = ledger.ledger.size === digests.size;
    if (isEqual) for (const { digest } of ledger.ledger.records()) isEqual &&= digests.has(digest);
    if (isEqual !== hasEqualHash) violations.push(`the hashes of ${pair} tell otherwise than their records`);
  }
  return violations;
};
