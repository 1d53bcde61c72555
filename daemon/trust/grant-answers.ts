/** Grants, join tokens and revocations in the terms of the API. Pure: reads what the authority tells. */
import { ShoalError } from '../../protocols/base/errors.ts';
import type { KeyId } from '../../protocols/base/ids.ts';
import type { Authority } from '../../protocols/trust/authority.ts';
import {
  type GrantInfo as Grant,
  isTokenGrant,
  type RevocationInfo as Revocation,
} from '../../protocols/trust/listing.ts';
import { GRANTS_LISTED_MAX } from '../api/limits.ts';
import {
  type Appointment,
  type ClusterInfo,
  type GrantInfo,
  type OperatorInfo,
  REVOCATIONS_SHOWN_MAX,
  type RevocationInfo,
  type TokenInfo,
} from '../api/trust-schemas.ts';
import { compare } from '../view-answers.ts';
import type { KeyNames } from './key-names.ts';

/** Shortest beginning of a token's id that stands for it. */
const TOKEN_ID_LENGTH_MIN = 8;

export interface GrantSource {
  readonly authority: Authority;
  readonly names: KeyNames;
  /** Milliseconds. */
  readonly now: number;
}

/** @param all also those that are not in force. The oldest first. */
export function grantInfos({ authority, names, now }: GrantSource, all: boolean): GrantInfo[] {
  return [...authority.grants(now)]
    .filter((grant) => all || isInForce(grant))
    .sort(byAge)
    .map(({ digest, notAfter_ms, subject, issuer, roles, admits, ...grant }) => ({
      ...grant,
      id: digest,
      subject,
      subjectName: names(subject),
      issuer,
      issuerName: names(issuer),
      roles: [...roles],
      admits: [...admits],
      expires_ms: notAfter_ms,
    }));
}

/** @param all also those that nobody can join with any more. The oldest first. */
export function tokenInfos({ authority, names, now }: GrantSource, all: boolean): TokenInfo[] {
  const grants = [...authority.grants(now)];
  const joined = new Map<string, Grant[]>();
  for (const grant of grants) {
    if (grant.parent === null || grant.renews !== null) continue;
    const siblings = joined.get(grant.parent);
    if (siblings === undefined) joined.set(grant.parent, [grant]);
    else siblings.push(grant);
  }
  return grants
    .filter((grant) => isTokenGrant(grant) && (all || grant.state === 'valid'))
    .sort(byAge)
    .map(({ digest, subject, issuer, admits, granted_ms, notAfter_ms, uses, used, state }) => ({
      id: digest,
      key: subject,
      issuer,
      issuerName: names(issuer),
      roles: admits.filter((role) => role !== 'admit'),
      granted_ms,
      expires_ms: notAfter_ms,
      uses,
      used,
      state,
      joined: (joined.get(digest) ?? [])
        .map((grant) => ({
          grant: grant.digest,
          node: grant.subject,
          nodeName: names(grant.subject),
          state: grant.state,
        }))
        .sort((a, b) => compare(a.nodeName, b.nodeName)),
    }));
}

/**
 * As many as one answer holds, the oldest first. Of too many what is void goes first, and of the rest of each issuer the
 * latest, so that one that wrote thousands takes nobody else's place.
 */
export function listed<T extends GrantInfo | TokenInfo>(infos: T[]): T[] {
  const isVoid = ({ state }: T) => Number(state === 'void' || state === 'over-used');
  let room = GRANTS_LISTED_MAX;
  return atMost(infos, GRANTS_LISTED_MAX, ({ issuer }) => issuer, isVoid)
    .sort((a, b) => a.granted_ms - b.granted_ms || compare(a.id, b.id))
    .filter((info) => {
      // Of a token the hosts that joined with it take room as well.
      const size = 1 + ('joined' in info ? info.joined.length : 0);
      if (size > room) return false;
      room -= size;
      return true;
    });
}

/** By its id, or the beginning of it. @throws E_NOT_FOUND, E_AMBIGUOUS */
export function findToken(tokens: readonly TokenInfo[], id: string): TokenInfo {
  const found = tokens.filter(
    (token) => token.id === id || (id.length >= TOKEN_ID_LENGTH_MIN && token.id.startsWith(id)),
  );
  if (found.length === 1) return found[0]!;
  const where = '`shoal token ls --all` has their ids; nothing was changed';
  if (found.length > 1)
    throw new ShoalError('E_AMBIGUOUS', `${found.length} tokens begin with ${id}; ${where}`);
  const why =
    id.length < TOKEN_ID_LENGTH_MIN
      ? `it takes ${TOKEN_ID_LENGTH_MIN} characters or more to name a token, not`
      : 'there is no token';
  throw new ShoalError('E_NOT_FOUND', `${why} ${id}; ${where}`);
}

export function revocationInfos({
  authority,
  names,
}: Omit<GrantSource, 'now'>): Omit<RevocationInfo, 'untilRenewed' | 'staying'>[] {
  return [...authority.revocations()]
    .sort(byWriting)
    .map(({ digest, subject, by, keeps, ...revocation }) => ({
      ...revocation,
      id: digest,
      key: subject,
      name: names(subject),
      by: { key: by, name: names(by) },
      keeps: [...keeps],
    }));
}

/**
 * Who is refused, and what operators said against one another. Anybody who ever was an admitter can write thousands of
 * revocations that change nothing: these are counted, unless an operator wrote them, for they may be votes that wait for
 * others. Of many, each word of each author about each key is shown once before any is shown again, first those about
 * operators, then those about keys that were let in.
 */
export function revocationSummaries({
  authority,
  names,
}: Omit<GrantSource, 'now'>): Pick<ClusterInfo, 'revocations' | 'revocationsLeftOut'> {
  const operators = new Set(authority.operators().map(({ key }) => key));
  const all = [...authority.revocations()];
  const told = all.filter(({ by, effective }) => effective || operators.has(by)).sort(byWriting);
  const rankOf = (subject: KeyId) =>
    operators.has(subject) ? 0 : Number.isFinite(authority.depth(subject)) ? 1 : 2;
  const shown = atMost(
    told,
    REVOCATIONS_SHOWN_MAX,
    ({ subject, by }) => `${subject} ${by}`,
    ({ subject }) => rankOf(subject),
  );
  return {
    revocations: shown.sort(byWriting).map(({ digest, subject, by, keeps, ...revocation }) => ({
      ...revocation,
      id: digest,
      key: subject,
      name: names(subject),
      by: { key: by, name: names(by) },
      keeps_count: keeps.length,
    })),
    revocationsLeftOut: all.length - shown.length,
  };
}

/** The most senior first. */
export function operatorInfos({ authority, names }: Omit<GrantSource, 'now'>): OperatorInfo[] {
  return authority
    .operators()
    .map(({ key, genesis, inForce }) => ({ key, name: names(key), genesis, revoked: !inForce }));
}

/** Keys that were voted for and never were in office, also those that were voted against since. */
export function awaitedOperators({ authority, names, now }: GrantSource): { key: KeyId; name: string }[] {
  const operators = new Set(authority.operators().map(({ key }) => key));
  const keys = new Set<KeyId>();
  for (const { subject, roles, state } of authority.grants(now))
    if (roles.includes('operator') && state !== 'void' && !operators.has(subject)) keys.add(subject);
  return Array.from(keys, (key) => ({ key, name: names(key) }));
}

/** How many operators say that a key is to be one. */
export function appointment(
  { authority, names, now }: GrantSource,
  key: KeyId,
): Pick<Appointment, 'key' | 'name' | 'votes' | 'needed'> {
  const voters = new Set<KeyId>();
  for (const { subject, issuer, roles, state } of authority.grants(now))
    if (subject === key && roles.includes('operator') && (state === 'awaiting' || state === 'valid'))
      voters.add(issuer);
  return { key, name: names(key), votes: voters.size, needed: authority.threshold };
}

function isInForce({ state }: Grant): boolean {
  return state === 'valid' || state === 'used-up';
}

/**
 * The first of each group come before the second of any; among those the ones of lower rank, then those that came
 * first. @returns at most `max`, in no order.
 */
function atMost<T>(items: T[], max: number, groupOf: (item: T) => string, rankOf: (item: T) => number): T[] {
  if (items.length <= max) return items;
  const sizes = new Map<string, number>();
  const placed = items.map((item) => {
    const group = groupOf(item);
    const turn = sizes.get(group) ?? 0;
    sizes.set(group, turn + 1);
    return { item, turn, rank: rankOf(item) };
  });
  placed.sort((a, b) => a.turn - b.turn || a.rank - b.rank);
  return placed.slice(0, max).map(({ item }) => item);
}

function byWriting(a: Revocation, b: Revocation): number {
  return a.written_ms - b.written_ms || compare(a.digest, b.digest);
}

function byAge(a: Grant, b: Grant): number {
  return a.granted_ms - b.granted_ms || compare(a.digest, b.digest);
}
