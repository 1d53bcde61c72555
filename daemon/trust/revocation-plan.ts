/**
 * Which record takes a key's rights away: who of those whose keys this node holds may sign it, and what of the key
 * stays. Decides only; the caller writes it. The rules of what it does are those of protocols/trust/authority.ts.
 */
import { ShoalError } from '../../protocols/base/errors.ts';
import type { KeyId } from '../../protocols/base/ids.ts';
import { KEEPS_MAX, type RevokeBody, recordKey } from '../../protocols/base/records.ts';
import type { LedgerMachine } from '../../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { revokeBody } from '../../protocols/trust/acts.ts';
import { type Cut, isAfter } from '../../protocols/trust/cut.ts';
import type { GrantInfo } from '../../protocols/trust/listing.ts';
import type { KeyNames } from './key-names.ts';

export interface RevocationRequest {
  readonly subject: KeyId;
  readonly reason: string;
  /** Nothing of it later than this counts; absent: all that is known of it counts. Milliseconds. */
  readonly since_ms?: number;
  /** Also all that it let in. */
  readonly descendants?: boolean;
  /** Grants that it issued and that stay in any case: digests. */
  readonly keeps?: readonly string[];
}

export interface RevocationSource extends Pick<LedgerMachine, 'ledger' | 'authority'> {
  /** Keys that this node writes with, its own first. */
  readonly signers: readonly KeyId[];
  readonly names: KeyNames;
  readonly now: number;
}

export interface RevocationPlan {
  readonly author: KeyId;
  /** Of the record. */
  readonly key: string;
  readonly body: RevokeBody;
}

/** @throws E_NOT_ALLOWED, E_TOO_LARGE */
export function planRevocation(source: RevocationSource, request: RevocationRequest): RevocationPlan {
  const { subject, reason, since_ms, descendants = false, keeps = [] } = request;
  if (keeps.length > KEEPS_MAX)
    throw new ShoalError(
      'E_TOO_LARGE',
      `one revocation keeps at most ${KEEPS_MAX} of what a key let in, and there are ${keeps.length}; nothing was changed`,
    );
  const author = revoker(source, subject);
  const cut = lastPlace(source.ledger.records(), subject, since_ms);
  const body = revokeBody({ subject, reason, descendants, keeps, ...(cut === undefined ? {} : { cut }) });
  return { author, key: recordKey.revoke(subject, author), body };
}

/** Whose word is enough: an operator's for any key, an admitter's for what hangs on its own grant. */
function revoker({ authority, signers, names, now }: RevocationSource, subject: KeyId): KeyId {
  const operators = new Set(authority.operators().flatMap(({ key, inForce }) => (inForce ? [key] : [])));
  const operator = signers.find((key) => operators.has(key) && key !== subject);
  if (operator !== undefined) return operator;
  const grants = new Map([...authority.grants(now)].map((grant) => [grant.digest, grant]));
  const own = [...grants.values()].filter((grant) => grant.subject === subject);
  const admitter = operators.has(subject)
    ? undefined
    : signers.find((key) => own.length > 0 && own.every((grant) => issuers(grant, grants).has(key)));
  if (admitter !== undefined) return admitter;
  const able = new Set(own.flatMap((grant) => [...issuers(grant, grants)]));
  const where = able.size === 0 ? '' : `, or on ${[...able].map(names).join(' or ')}, which let it in`;
  throw new ShoalError(
    'E_NOT_ALLOWED',
    `this node may not revoke ${names(subject)}: do it on a node with an operator's key${where}; nothing was changed`,
  );
}

/** Admitters that a grant comes from. */
function issuers(grant: GrantInfo, grants: ReadonlyMap<string, GrantInfo>): Set<KeyId> {
  const found = new Set<KeyId>();
  const original = grant.renews === null ? undefined : grants.get(grant.renews);
  for (let link = original ?? grant, seen = 0; link.parent !== null && seen < grants.size; seen += 1) {
    const above = grants.get(link.parent);
    if (above === undefined) break;
    if (above.roles.includes('admitter')) found.add(above.subject);
    link = above;
  }
  return found;
}

/** The last record of a key that is known and not later than `until_ms`. */
function lastPlace(
  records: Iterable<LedgerRecord>,
  author: KeyId,
  until_ms = Number.POSITIVE_INFINITY,
): Cut | undefined {
  let cut: Cut | undefined;
  for (const record of records) {
    if (record.author !== author || record.hlc.ms > until_ms) continue;
    if (cut === undefined || isAfter(record, cut)) cut = { epoch: record.epoch, last: record.seq };
  }
  return cut;
}
