/** At the end all living nodes hold equal sets of records, and equal sets have equal hashes and unequal ones do not. */
import { shortId } from '../../../protocols/base/ids.ts';
import type { ShoalNode } from '../shoal-node.ts';
import type { Checker } from './checker.ts';

type LedgerMachine = ShoalNode['ledger'];

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
    if (!hasEqualHash && !isMidCollection(reference, ledger))
      violations.push(`the ledgers of ${pair} differ (${digests.size} and ${ledger.ledger.size} records)`);
    if (compared_count >= COMPARED_MAX) continue;
    compared_count += 1;
    let isEqual = ledger.ledger.size === digests.size;
    if (isEqual) for (const { digest } of ledger.ledger.records()) isEqual &&= digests.has(digest);
    if (isEqual !== hasEqualHash) violations.push(`the hashes of ${pair} tell otherwise than their records`);
  }
  return violations;
};

/** One has collected what the other is about to: nothing but tombstones up to the later horizon differs. */
function isMidCollection(one: LedgerMachine, other: LedgerMachine): boolean {
  const upTo_ms = Math.max(one.horizon_ms, other.horizon_ms);
  if (one.horizon_ms === other.horizon_ms) return false;
  const kept = ({ ledger }: LedgerMachine) =>
    Array.from(ledger.records())
      .filter(({ isTombstone, hlc }) => !isTombstone || hlc.ms > upTo_ms)
      .map(({ digest }) => digest)
      .sort()
      .join();
  return kept(one) === kept(other);
}
