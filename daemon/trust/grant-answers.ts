/** Grants, join tokens and revocations in the terms of the API. Pure: reads what the authority tells. */
import { ShoalError } from '../../protocols/base/errors.ts';
import type { KeyId } from '../../protocols/base/ids.ts';
import type { Authority } from '../../protocols/trust/authority.ts';
import { type GrantInfo as Grant, isTokenGrant } from '../../protocols/trust/listing.ts';
import type {
  Appointment,
  GrantInfo,
  OperatorInfo,
  RevocationInfo,
  TokenInfo,
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
    joined.set(grant.parent, [...(joined.get(grant.parent) ?? []), grant]);
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

/** By its id, or the beginning of it. @throws E_NOT_FOUND */
export function findToken(tokens: readonly TokenInfo[], id: string): TokenInfo {
  const found = tokens.filter(
    (token) => token.id === id || (id.length >= TOKEN_ID_LENGTH_MIN && token.id.startsWith(id)),
  );
  if (found.length === 1) return found[0]!;
  const why =
    id.length < TOKEN_ID_LENGTH_MIN
      ? `it takes ${TOKEN_ID_LENGTH_MIN} characters or more to name a token, not`
      : found.length === 0
        ? 'there is no token'
        : `${found.length} tokens begin with`;
  throw new ShoalError('E_NOT_FOUND', `${why} ${id}; \`shoal token ls --all\` has their ids`);
}

export function revocationInfos({ authority, names }: Omit<GrantSource, 'now'>): RevocationInfo[] {
  return [...authority.revocations()]
    .sort((a, b) => a.written_ms - b.written_ms || compare(a.digest, b.digest))
    .map(({ digest, subject, by, keeps, ...revocation }) => ({
      ...revocation,
      id: digest,
      key: subject,
      name: names(subject),
      by: { key: by, name: names(by) },
      keeps: [...keeps],
    }));
}

/** The most senior first. */
export function operatorInfos({ authority, names }: Omit<GrantSource, 'now'>): OperatorInfo[] {
  return authority.operators().map(({ key, inForce }) => ({ key, name: names(key), revoked: !inForce }));
}

/** Keys with votes for them that are not enough yet. */
export function awaitedOperators({ authority, names, now }: GrantSource): { key: KeyId; name: string }[] {
  const keys = new Set<KeyId>();
  for (const { subject, roles, state } of authority.grants(now))
    if (state === 'awaiting' && roles.includes('operator')) keys.add(subject);
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

function byAge(a: Grant, b: Grant): number {
  return a.granted_ms - b.granted_ms || compare(a.digest, b.digest);
}
