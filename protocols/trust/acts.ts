/**
 * The records by which trust changes, as data: grants and revocations read from the ledger, and makers of their
 * bodies. Not here: signing (the daemon), and what they amount to (authority.ts, operators.ts).
 */
import type { KeyId } from '../base/ids.ts';
import { type GrantBody, KEEPS_MAX, type RevokeBody, type Role, recordKey } from '../base/records.ts';
import type { LedgerRecord } from '../ledger/record.ts';
import { bodyOf } from '../view/bodies.ts';

export interface Grant {
  readonly record: LedgerRecord;
  readonly body: GrantBody;
}

export interface Revocation {
  readonly record: LedgerRecord;
  readonly body: RevokeBody;
}

/** @returns undefined when the record is no grant that anybody could read, or its key says other than its body. */
export function readGrant(record: LedgerRecord): Grant | undefined {
  const body = bodyOf('grant', record);
  return body && record.key === recordKey.grant(body.subject, record.author) ? { record, body } : undefined;
}

/** @returns undefined as `readGrant` does. */
export function readRevocation(record: LedgerRecord): Revocation | undefined {
  const body = bodyOf('revoke', record);
  return body && record.key === recordKey.revoke(body.subject, record.author) ? { record, body } : undefined;
}

/** May whoever holds this grant issue grants? */
export function isIssuing({ roles }: Pick<GrantBody, 'roles'>): boolean {
  return roles.includes('admit') || roles.includes('admitter');
}

/** One vote for an operator; see operators.ts. Its key is `recordKey.grant(subject, voter)`. */
export function operatorGrant(subject: KeyId): GrantBody {
  return { subject, roles: ['operator'], admits: [], parent: null, notAfter_ms: null, uses: null };
}

export function isAppointment({ roles }: Pick<GrantBody, 'roles'>): boolean {
  return roles.includes('operator');
}

/** A revocation, or a vote for an operator: of these the stamp counts, too, once their author is cut off. */
export function isWord(record: LedgerRecord): boolean {
  const grant = readGrant(record);
  return record.kind === 'revoke' || (grant !== undefined && isAppointment(grant.body));
}

/** Genesis operators appoint one another by a role alone: nothing else can hang on it, and it does not expire. */
export function isPlainAppointment({ roles, admits, parent, notAfter_ms, uses, renews }: GrantBody): boolean {
  const plain = roles.length === 1 && admits.length === 0 && parent === null && notAfter_ms === null;
  return plain && uses === null && renews === undefined;
}

/**
 * Nothing more by this key. What it wrote up to `cut` stays, and so do grants and revocations that it had issued by then,
 * unless `descendants`; those in `keeps` stay whatever that says, grants also after the cut. What any revocation of a key
 * voids is void. The key of the record is `recordKey.revoke(subject, author)`.
 * @param init.cut the last record that counts; absent: none does.
 * @throws RangeError when more is kept than a revocation can name
 */
export function revokeBody(init: {
  subject: KeyId;
  reason: string;
  cut?: { readonly epoch: number; readonly last: number };
  descendants?: boolean;
  keeps?: readonly string[];
}): RevokeBody {
  const { subject, reason, cut = { epoch: 0, last: 0 }, descendants = false, keeps = [] } = init;
  if (keeps.length > KEEPS_MAX)
    throw new RangeError(`a revocation keeps at most ${KEEPS_MAX} grants and revocations`);
  return {
    subject,
    epoch: cut.epoch,
    last: cut.last,
    reason: reason.slice(0, 256),
    ...(descendants ? { descendants } : {}),
    ...(keeps.length > 0 ? { keeps: [...keeps] } : {}),
  };
}

/** Prolongs an older grant. @param parent digest of the issuer's own grant, null for an operator. */
export function renewalGrant(original: Grant, parent: string | null, notAfter_ms: number): GrantBody {
  const { roles, admits } = original.body;
  const renews = original.record.digest;
  return { ...original.body, roles: [...roles], admits: [...admits], parent, notAfter_ms, renews };
}

/** How long a grant was made to live; null: for ever. */
export function lifeOf({ record, body }: Grant): number | null {
  return body.notAfter_ms === null ? null : Math.max(0, body.notAfter_ms - record.hlc.ms);
}

/** Same roles in the same order: what a renewal must have. */
export function sameRoles(a: readonly Role[], b: readonly Role[]): boolean {
  return a.length === b.length && a.every((role, at) => role === b[at]);
}
