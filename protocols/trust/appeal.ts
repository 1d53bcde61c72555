/**
 * What a host that others refuse may bring to their doors: acts that they may not have, by which it is a member. A host
 * that is refused has no other way to them. Pure. Not here: when it asks, and where (daemon/trust/appeals.ts), nor the
 * signatures of what it brings (the daemon).
 */
import type { KeyId } from '../base/ids.ts';
import type { LedgerRecord } from '../ledger/record.ts';
import { isAppointment, readGrant, readRevocation } from './acts.ts';
import type { Authority } from './authority.ts';

/** Acts that one appeal brings. */
export const ACTS_MAX = 64;
/** It takes one, or two where some of what is brought is void; who needs more has made it up. */
const ROUNDS_MAX = 4;

/**
 * Revocations, and votes for operators. No other grants: whoever has the seed of a token can find one that puts it in the
 * place of another host.
 */
export function isAct(record: LedgerRecord): boolean {
  return subjectOf(record) !== undefined;
}

/** The grant by which a host was let in with a token: where others that used it are kept, a door can say so. */
export function ownGrant(authority: Authority, self: KeyId): LedgerRecord | undefined {
  return authority.about(self).find((record) => isLetIn(record, self));
}

/**
 * Of a host that is no member here: which others are kept in its place, for its token was used too often. Whoever has the
 * seed of a token can ask, and learns who else has used it. @param own as `ownGrant`: before they are told, its signature is
 * to be checked.
 */
export function inPlaceOf(authority: Authority, host: KeyId, own: LedgerRecord): LedgerRecord[] {
  return isLetIn(own, host) && authority.admission(own) === 'yes' ? authority.inPlaceOf(own) : [];
}

/**
 * What a host brings that may be refused, though not by what it knows itself: all by which it is a member. What is about
 * operators comes first, for all else hangs on it; then what the most senior of them say, for whoever has a stolen key
 * can say much, and prevails against none of those; then what is small.
 * @param bytes_max of all envelopes together: what has no room is left out.
 */
export function actsFor(authority: Authority, self: KeyId, bytes_max: number): LedgerRecord[] {
  if (!authority.isMember(self)) return [];
  const ranks = new Map(authority.operators().map(({ key, rank }) => [key, rank]));
  const weights = (act: LedgerRecord) => [
    Number(!ranks.has(subjectOf(act)!)),
    ranks.get(act.author) ?? ranks.size,
    act.bytes.byteLength,
  ];
  const acts = authority
    .about(self)
    .filter(isAct)
    .map((act) => ({ act, by: weights(act) }))
    .sort((a, b) => a.by[0]! - b.by[0]! || a.by[1]! - b.by[1]! || a.by[2]! - b.by[2]!)
    .map(({ act }) => act);
  const brought: LedgerRecord[] = [];
  let left_bytes = bytes_max;
  for (const act of acts) {
    if (brought.length === ACTS_MAX) break;
    if (act.bytes.byteLength > left_bytes) continue;
    left_bytes -= act.bytes.byteLength;
    brought.push(act);
  }
  return brought;
}

/**
 * Of what a host has brought that is refused here: the acts that count, by keys that could do the same today, if they
 * make it a member; else none. So nobody who was sent away can leave anything at a door: what it signs itself counts no
 * more, and what a key signed that was dismissed since, under old numbers, or whose grant has ended, under an old stamp,
 * is not listened to.
 * @param brought not known here, and signed by their authors. @returns in an order in which the ledger takes them.
 */
export function heeded(
  authority: Authority,
  asker: KeyId,
  brought: readonly LedgerRecord[],
  now: number,
): readonly LedgerRecord[] {
  if (authority.isMember(asker)) return [];
  let acts: readonly LedgerRecord[] = brought.filter(isAct);
  for (let round = 0; round < ROUNDS_MAX && acts.length > 0; round += 1) {
    const after = authority.fork();
    const taken = takeIn(after, acts);
    if (!after.isMember(asker)) return [];
    const kept = taken.filter((act) => after.counts(act) && couldToday(after, act, now));
    if (kept.length === acts.length) return kept;
    acts = kept;
  }
  return [];
}

/** Stamps and numbers are of the author's own choice: what it could write now is not. */
function couldToday(authority: Authority, act: LedgerRecord, now: number): boolean {
  // Operators are admitters as well.
  if (!authority.roles(act.author, now).has('admitter')) return false;
  return act.kind !== 'revoke' || authority.mayRevoke(act.author, subjectOf(act)!, now);
}

/** Whose author becomes an operator by another of them comes after that one. */
function takeIn(authority: Authority, acts: readonly LedgerRecord[]): LedgerRecord[] {
  const taken: LedgerRecord[] = [];
  let rest = acts;
  for (let before = -1; rest.length !== before; ) {
    before = rest.length;
    rest = rest.filter((act) => {
      if (authority.admission(act) !== 'yes') return true;
      authority.add(act);
      taken.push(act);
      return false;
    });
  }
  return taken;
}

function isLetIn(record: LedgerRecord, host: KeyId): boolean {
  const body = record.kind === 'grant' ? readGrant(record)?.body : undefined;
  return body?.subject === host && body.parent !== null && body.renews === undefined;
}

function subjectOf(record: LedgerRecord): KeyId | undefined {
  if (record.kind === 'revoke') return readRevocation(record)?.body.subject;
  const grant = record.kind === 'grant' ? readGrant(record) : undefined;
  return grant !== undefined && isAppointment(grant.body) ? grant.body.subject : undefined;
}
