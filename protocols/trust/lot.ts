/**
 * Which records of one author are let in or not together: those of one lot ask for the same, so that one answer of `admission`
 * is that of all. For when a key may do less than before and has written thousands of records. Not here: the answer (gate.ts).
 */
import type { LedgerRecord } from '../ledger/record.ts';
import { readGrant, readRevocation } from './acts.ts';
import { roleBitsFor } from './rules.ts';

/** A name for what lets in a record that was let in; undefined: another grant alone does, and takes it along when it goes. */
export function lotOf(record: LedgerRecord): string | undefined {
  const { kind, author } = record;
  if (kind === 'genesis') return kind;
  if (kind === 'grant') return readGrant(record)?.body.parent === null ? kind : undefined;
  if (kind === 'revoke') return readRevocation(record)?.body.subject === author ? `${kind} own` : kind;
  return String(roleBitsFor(record));
}
