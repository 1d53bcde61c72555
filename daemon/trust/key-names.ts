/** What people call a key: the name of its node, of one that is gone, or what else the key is for. Pure. */
import { type KeyId, shortId } from '../../protocols/base/ids.ts';
import type { LedgerMachine } from '../../protocols/ledger/machine.ts';
import { isTokenGrant } from '../../protocols/trust/listing.ts';
import { bodyOf } from '../../protocols/view/bodies.ts';
import type { ClusterView } from '../../protocols/view/view.ts';
import { isCalled } from '../view-answers.ts';

/** Hex digits of a token's id that are shown. */
const TOKEN_ID_SHOWN = 12;

export type KeyNames = (key: KeyId) => string;

/** @param now milliseconds. @returns names for as long as nothing changes; undefined for a key that nobody knows. */
export function knownNames(
  view: ClusterView,
  { ledger, authority }: Pick<LedgerMachine, 'ledger' | 'authority'>,
  now: number,
): (key: KeyId) => string | undefined {
  let others: Map<KeyId, string> | undefined;
  return (key) => {
    const member = view.members.get(key)?.name ?? formerName(ledger, key);
    if (member !== undefined) return member;
    others ??= otherNames(authority, now);
    return others.get(key);
  };
}

/** The same, and the end of the id for a key that nobody knows. */
export function keyNames(...source: Parameters<typeof knownNames>): KeyNames {
  const known = knownNames(...source);
  return (key) => known(key) ?? shortId(key);
}

/** Whether any node, also one whose member record is all that is left, operator or token is called so. */
export function isNamed(
  text: string,
  view: ClusterView,
  { ledger, authority }: Pick<LedgerMachine, 'ledger' | 'authority'>,
  now: number,
): boolean {
  for (const { id, name } of view.members.values()) if (isCalled(text, id, name)) return true;
  for (const [key, name] of otherNames(authority, now)) if (isCalled(text, key, name)) return true;
  for (const [key] of ledger.ofKind('member'))
    if (isCalled(text, key, formerName(ledger, key) ?? shortId(key))) return true;
  return false;
}

/** Of a node that is no member any more: its record says what it was called. */
function formerName(ledger: LedgerMachine['ledger'], key: KeyId): string | undefined {
  const record = ledger.get('member', key);
  return record && bodyOf('member', record)?.name;
}

function otherNames(authority: LedgerMachine['authority'], now: number): Map<KeyId, string> {
  const names = new Map<KeyId, string>();
  for (const { key } of authority.operators()) names.set(key, `operator ${shortId(key)}`);
  for (const grant of authority.grants(now))
    if (isTokenGrant(grant)) names.set(grant.subject, `token ${grant.digest.slice(0, TOKEN_ID_SHOWN)}`);
  return names;
}
