/**
 * In which order a host takes in what a door answers, which is told by its weight: each record after what it waits for, or the
 * ledger has it wait, and few may for one message. Not here: whether any of it may enter (protocols/trust/gate.ts).
 */
import type { KeyId } from '../../protocols/base/ids.ts';
import { awaitedBy } from '../../protocols/ledger/pending.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { readGrant } from '../../protocols/trust/acts.ts';

/**
 * Revocations first, as far as that goes: they may keep a grant that were else too much.
 * @param isKnown whether any grant of a key is here, or it is of genesis.
 */
export function inHeardOrder(
  records: readonly LedgerRecord[],
  isKnown: (key: KeyId) => boolean,
): LedgerRecord[] {
  const named = new Set<string>();
  for (const record of records) {
    const grant = readGrant(record);
    if (grant !== undefined) named.add(record.digest).add(grant.body.subject);
  }
  const come = new Set<string>();
  for (const { author } of records) if (!come.has(author) && isKnown(author)) come.add(author);
  const waiting = new Map<string, LedgerRecord[]>();
  const ordered: LedgerRecord[] = [];
  const offered = [
    ...records.filter(({ kind }) => kind !== 'grant'),
    ...records.filter(({ kind }) => kind === 'grant'),
  ];
  // The list grows while it is walked.
  for (const record of offered) {
    const missing = awaitedBy(record).find((awaited) => named.has(awaited) && !come.has(awaited));
    if (missing !== undefined) {
      const others = waiting.get(missing);
      if (others === undefined) waiting.set(missing, [record]);
      else others.push(record);
      continue;
    }
    ordered.push(record);
    const grant = readGrant(record);
    for (const name of grant === undefined ? [] : [record.digest, grant.body.subject]) {
      come.add(name);
      for (const freed of waiting.get(name) ?? []) offered.push(freed);
      waiting.delete(name);
    }
  }
  // Each waits for another of them.
  for (const others of waiting.values()) for (const record of others) ordered.push(record);
  return ordered;
}
