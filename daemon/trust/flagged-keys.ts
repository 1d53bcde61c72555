/**
 * Keys that signed two different records with one number, as people are told of them: used on two hosts, or stolen.
 * Nothing follows from it by itself, so it is told until the key is revoked. Pure.
 */
import type { KeyId, NodeId } from '../../protocols/base/ids.ts';
import type { LedgerMachine } from '../../protocols/ledger/machine.ts';

/** Those that may still do something, and who proved it. */
export function flaggedKeys(
  machine: Pick<LedgerMachine, 'authority' | 'flagged'>,
): ReadonlyMap<KeyId, readonly NodeId[]> {
  return new Map([...machine.flagged()].filter(([key]) => !machine.authority.isRevoked(key)));
}

/** What it is and what to do about it, in one sentence. */
export function flagText(name: string): string {
  return (
    `the key of ${name} signed two records with one number: two daemons run from copies of one data directory ` +
    `(stop one), or it was stolen (\`shoal node revoke ${name}\`); the flag stays until it has a new key`
  );
}
