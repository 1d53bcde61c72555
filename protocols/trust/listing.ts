/** Grants, revocations and operators as people are shown them: plain data, each with what it amounts to now. */
import type { KeyId } from '../base/ids.ts';
import type { Role } from '../base/records.ts';
import type { GrantBook } from './grant-book.ts';
import type { GrantState, Standing } from './standing.ts';

export interface GrantInfo {
  /** Hex. */
  readonly digest: string;
  readonly subject: KeyId;
  readonly issuer: KeyId;
  readonly roles: readonly Role[];
  readonly admits: readonly Role[];
  /** Digest of the issuer's grant; null: the issuer is an operator. */
  readonly parent: string | null;
  /** Digest of the grant that it prolongs. */
  readonly renews: string | null;
  /** With no regard to renewals, which are grants of their own. */
  readonly notAfter_ms: number | null;
  readonly granted_ms: number;
  readonly uses: number | null;
  readonly used: number;
  readonly state: GrantState;
}

/** Is it a join token's: a key that may do nothing but let hosts in? */
export function isTokenGrant({ roles }: Pick<GrantInfo, 'roles'>): boolean {
  return roles.length === 1 && roles[0] === 'admit';
}

/** Does it give, or did it give until it ended, what it says? */
export function isStanding({ state }: Pick<GrantInfo, 'state'>): boolean {
  return state === 'valid' || state === 'used-up' || state === 'expired';
}

export interface RevocationInfo {
  /** Hex. */
  readonly digest: string;
  readonly subject: KeyId;
  readonly by: KeyId;
  readonly epoch: number;
  readonly last: number;
  readonly reason: string;
  readonly descendants: boolean;
  readonly keeps: readonly string[];
  readonly written_ms: number;
  /** Votes against the subject that count, of how many that it takes. An admitter's own is 1 of 1. */
  readonly votes: number;
  readonly needed: number;
  /** It changes what the subject may do, or, of one that was only voted for, may come to do. */
  readonly effective: boolean;
}

export interface OperatorInfo {
  readonly key: KeyId;
  /** 0 is the most senior. */
  readonly rank: number;
  /** Named by genesis, and not appointed later. */
  readonly genesis: boolean;
  readonly inForce: boolean;
}

export function* listGrants(book: GrantBook, standing: Standing, now: number): IterableIterator<GrantInfo> {
  for (const grant of book.grants()) {
    const { record, body } = grant;
    yield {
      digest: record.digest,
      subject: body.subject,
      issuer: record.author,
      roles: body.roles,
      admits: body.admits,
      parent: body.parent,
      renews: body.renews ?? null,
      notAfter_ms: body.notAfter_ms,
      granted_ms: record.hlc.ms,
      uses: body.uses,
      used: book.children(record.digest).length,
      state: standing.state(grant, now),
    };
  }
}

export function* listRevocations(
  book: GrantBook,
  standing: Standing,
  threshold: number,
): IterableIterator<RevocationInfo> {
  for (const [subject, cast] of book.revocations()) {
    const isCandidate = standing.isCandidate(subject);
    const isElected = isCandidate || standing.operators.has(subject);
    const needed = isElected ? threshold : 1;
    for (const revocation of cast) {
      const { record, body } = revocation;
      const changes = standing.isEffective(revocation);
      const byVote = isElected || standing.operators.has(record.author);
      const votes = byVote ? standing.votesAgainst(subject) : Number(changes);
      yield {
        digest: record.digest,
        subject,
        by: record.author,
        epoch: body.epoch,
        last: body.last,
        reason: body.reason,
        descendants: body.descendants ?? false,
        keeps: body.keeps ?? [],
        written_ms: record.hlc.ms,
        votes,
        needed,
        effective: changes && (!isCandidate || votes >= needed),
      };
    }
  }
}

export function listOperators(standing: Standing): OperatorInfo[] {
  return Array.from(standing.operators.values(), ({ key, rank, appointedBy, cut }) => ({
    key,
    rank,
    genesis: appointedBy.length === 0,
    inForce: cut === undefined,
  }));
}
