/**
 * What a revocation would change, in the terms of the API: hosts, operators, tokens and what users wrote. Pure. What
 * would change is worked out in protocols/trust/outcome.ts.
 */
import type { Crypto } from '../../protocols/base/crypto.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import type { Authority } from '../../protocols/trust/authority.ts';
import type { GrantInfo } from '../../protocols/trust/listing.ts';
import type { Outcome, Turn } from '../../protocols/trust/outcome.ts';
import { PLAN_LISTED_MAX, type RevocationPlan } from '../api/trust-schemas.ts';
import { compare } from '../view-answers.ts';
import type { KeyNames } from './key-names.ts';

/** Are fewer operators left by it than it takes to appoint or dismiss one? Nobody could change that any more. */
function leavesTooFew({ operators: { ends, returns } }: Outcome, authority: Authority): boolean {
  const inForce = authority.operators().filter((operator) => operator.inForce).length;
  return ends.length > 0 && inForce - ends.length + returns.length < authority.threshold;
}

/** @param authority as it is before. */
export function revocationPlan(
  outcome: Outcome,
  authority: Authority,
  names: KeyNames,
  crypto: Crypto,
): Omit<RevocationPlan, 'namesakes'> {
  const { revocation, members, untilRenewed, roles, operators, tokens, records } = outcome;
  const { staying, open, lacking, sentAway, unnamed } = outcome;
  const { subject, by, epoch, last, descendants, keeps, votes, needed, effective } = revocation;
  const key = (id: string) => ({ key: id, name: names(id) });
  const token = ({ digest, subject: tokenKey, issuer }: GrantInfo) => ({
    id: digest,
    key: tokenKey,
    issuer,
    issuerName: names(issuer),
  });
  const record = ({ kind, key, author }: LedgerRecord) => ({ kind, key, author, authorName: names(author) });
  const tooFew = leavesTooFew(outcome, authority);
  return {
    digest: digestOf(outcome, tooFew, crypto),
    ...key(subject),
    by: key(by),
    epoch,
    last,
    early_count: 0,
    descendants,
    keeps: [...keeps],
    votes,
    needed,
    effective,
    lacking: lacking.map(key),
    sentAway_count: sentAway.length,
    sentAway: sentAway.slice(0, PLAN_LISTED_MAX).map(key),
    unnamed: unnamed.map(key),
    nodes: told(members, key, byName),
    untilRenewed_count: untilRenewed.length,
    untilRenewed: listed(untilRenewed, key, byName),
    staying_count: staying.length,
    staying: listed(
      staying,
      (host) => ({ ...key(host.key), by: host.by.map(key), at: host.at.map(key) }),
      byName,
    ),
    roles_count: roles.length,
    roles: listed(
      roles,
      ({ key: id, gains, loses }) => ({ ...key(id), gains: [...gains], loses: [...loses] }),
      byName,
    ),
    operators: told(operators, key, byName),
    leavesTooFew: tooFew,
    tokens: told(tokens, token, ({ id }) => id),
    records: told(records, record, ({ kind, key }) => `${kind}/${key}`),
    open_count: open.length,
    open: open
      .slice(0, PLAN_LISTED_MAX)
      .map((each) => ({ ...token(each), host: each.isHosts ? names(each.subject) : null })),
  };
}

/** What users write is left out: the key that is to go may be writing still. */
function digestOf(outcome: Outcome, tooFew: boolean, crypto: Crypto): string {
  const { revocation, members, untilRenewed, roles, operators, tokens } = outcome;
  const { lacking, sentAway, unnamed } = outcome;
  const grants = (list: readonly GrantInfo[]) => list.map(({ digest }) => digest).sort();
  const seen = [
    [revocation.votes, revocation.needed],
    ...[members, operators].flatMap(({ ends, returns }) => [ends.toSorted(), returns.toSorted()]),
    grants(tokens.ends),
    grants(tokens.returns),
    untilRenewed.toSorted(),
    roles.map(({ key, gains, loses }) => [key, ...gains, '', ...loses].join(' ')).sort(),
    tooFew,
    lacking.toSorted(),
    sentAway.toSorted(),
    unnamed.toSorted(),
  ];
  return crypto.sha256Text(new TextEncoder().encode(JSON.stringify(seen)));
}

function told<T, U>({ ends, returns }: Turn<T>, tell: (item: T) => U, order: (item: U) => string) {
  return {
    ends_count: ends.length,
    returns_count: returns.length,
    ends: listed(ends, tell, order),
    returns: listed(returns, tell, order),
  };
}

/** A thief of a key can have let in hosts, and made tokens, without end: an answer of all would be too long to be read. */
function listed<T, U>(items: readonly T[], tell: (item: T) => U, order: (item: U) => string): U[] {
  return items
    .slice(0, PLAN_LISTED_MAX)
    .map(tell)
    .sort((a, b) => compare(order(a), order(b)));
}

function byName({ name }: { readonly name: string }): string {
  return name;
}
