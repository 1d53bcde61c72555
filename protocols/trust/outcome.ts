/**
 * What a revocation would change, told before it is written: the answers before and after it put side by side. Asked of
 * a fork, so nothing is changed here. Not here: whether its author may write it (standing.ts), and who asks (daemon).
 */
import { HLC_AHEAD_MS_MAX } from '../base/clock.ts';
import type { KeyId } from '../base/ids.ts';
import type { Role } from '../base/records.ts';
import type { LedgerRecord } from '../ledger/record.ts';
import type { Authority } from './authority.ts';
import { type GrantInfo, isStanding, isTokenGrant, type RevocationInfo } from './listing.ts';
import { mayStay, rolesToStay } from './renewal.ts';

/** A thief may have granted a host something a thousand times. */
const STAYING_BY_MAX = 8;

/** What is so now and would be no more, and the other way round. */
export interface Turn<T> {
  readonly ends: readonly T[];
  readonly returns: readonly T[];
}

/** A host that is a member before and after, and may do other things then. */
export interface RoleChange {
  readonly key: KeyId;
  readonly gains: readonly Role[];
  readonly loses: readonly Role[];
}

/** A host that is a member before and after, though its key or a grant of it is to go. */
export interface Staying {
  readonly key: KeyId;
  /** By whose grants, or by whose tokens: the first STAYING_BY_MAX. */
  readonly by: readonly KeyId[];
  /** Of those the members that may take that back. */
  readonly at: readonly KeyId[];
}

/** A token that hosts can still join with. */
export interface OpenToken extends GrantInfo {
  /** Its key is also that of a host that was up, as whoever has its text can make it with another one: it is revoked as that. */
  readonly isHosts: boolean;
}

export interface Outcome {
  /** The revocation as it would be listed. */
  readonly revocation: RevocationInfo;
  /** Also those whose grant has ended and may still be renewed. */
  readonly members: Turn<KeyId>;
  /** Members that would be none, and may be renewed: what prolonged their grants is void, and those have ended. */
  readonly untilRenewed: readonly KeyId[];
  /** But for those that are to stay. */
  readonly staying: readonly Staying[];
  /** Of those that stay. What operators may do is told with them. */
  readonly roles: readonly RoleChange[];
  readonly operators: Turn<KeyId>;
  /** Grants of tokens that hosts can join with, by age. */
  readonly tokens: Turn<GrantInfo>;
  /** Of the records that were asked about: those that count. */
  readonly records: Turn<LedgerRecord>;
  /**
   * Tokens that the subject, or a token of it, made and that hosts could join with afterwards, but for keys of operators and
   * of hosts that were named to stay; and those kept and not closed.
   */
  readonly open: readonly OpenToken[];
  /**
   * Grants of tokens that it keeps, and of tokens made with those that are to stay, which nothing has closed, also where
   * they are used up or have ended: whoever has such a token can still date a grant back. Not those of a host's key, which
   * was granted like one.
   */
  readonly kept: readonly GrantInfo[];
  /** Of who was named to stay: hosts that would be no members, and operators that would be in force no more. */
  readonly lacking: readonly KeyId[];
  /** Hosts that the subject has revoked, and that stay out by that: this one keeps it. */
  readonly sentAway: readonly KeyId[];
  /** Of the keys that others hang on which are to stay: those that could do anything still. */
  readonly unnamed: readonly KeyId[];
}

/** All that would be written at once. */
export interface Planned {
  /** Nobody needs to have signed it. */
  readonly revocation: LedgerRecord;
  /** Revocations that would be written with it. */
  readonly others?: readonly LedgerRecord[];
  /** Of what was issued by grants that it keeps: what is to stay. */
  readonly issued?: ReadonlySet<string>;
  /** Hosts that are to stay, and those of them that are asked about. */
  readonly hosts?: readonly KeyId[];
  readonly named?: readonly KeyId[];
  /** Operators that are to stay in office. */
  readonly namedOperators?: readonly KeyId[];
  /** Keys by which alone some of those were let in. */
  readonly unnamed?: readonly KeyId[];
  /** Keys of hosts that were up once. */
  readonly up?: ReadonlySet<KeyId>;
}

/** @param records to be asked about. */
export function foresee(
  authority: Authority,
  {
    revocation,
    others = [],
    issued = new Set(),
    hosts = [],
    named = [],
    namedOperators = [],
    unnamed = [],
    up = new Set(),
  }: Planned,
  records: Iterable<LedgerRecord>,
  now: number,
): Outcome {
  const after = authority.fork();
  for (const record of [revocation, ...others]) after.add(record);
  const revocations = [...after.revocations()];
  const listed = revocations.find(({ digest }) => digest === revocation.digest);
  if (listed === undefined) throw new RangeError('this is no revocation');
  const tokens = openTokens(after, now);
  const present = members(authority, now);
  const staying = members(after, now);
  // Others may refuse what was written by a clock that was ahead.
  const upTo_ms = Math.max(now, revocation.hlc.ms) + HLC_AHEAD_MS_MAX;
  // A token is closed by who rules it, and not by its own key, or an admitter who has granted that something as well.
  const rule = new Set([listed.by, ...after.operators().map(({ key }) => key)]);
  const closing = revocations.filter(
    ({ subject, by, effective, written_ms, descendants, epoch, last, keeps }) =>
      effective &&
      by !== subject &&
      rule.has(by) &&
      written_ms <= upTo_ms &&
      (descendants || (epoch === 0 && last === 0)) &&
      keeps.every((digest) => issued.has(digest)),
  );
  const closed = new Set(closing.map(({ subject }) => subject));
  const grants = new Map([...after.grants(now)].map((grant) => [grant.digest, grant]));
  const { unclosed, inUse } = keptTokens(grants, listed.keeps, { issued, hosts, staying, closed });
  // What is to be revoked as a token must not be the key of an operator.
  const [ruled, rulers] = [operators(authority), operators(after)];
  // Of a host that people named they have said that they trust it.
  const trusted = new Set(named);
  const ended = endedHosts(authority.grants(now), grants);
  for (const host of hosts) ended.delete(host);
  // Who keeps all keeps those that are members now, and this is one of them.
  if (listed.effective) ended.add(listed.subject);
  const left = Map.groupBy([...grants.values()].filter(isMembership), ({ subject }) => subject);
  const made = [...tokens.values()]
    .filter(({ subject }) => !rulers.has(subject) && !trusted.has(subject))
    .filter((token) => isMadeBy(listed.subject, token, grants));
  return {
    revocation: listed,
    members: turn(present, staying),
    untilRenewed: [...present.keys()].filter(
      (key) => staying.has(key) && authority.isMember(key, now) && !after.isMember(key, now),
    ),
    staying: [...ended]
      .filter((key) => present.has(key) && staying.has(key))
      .map((key) => {
        const by = issuersOf(left.get(key) ?? [], grants);
        const at = by.filter((issuer) => after.isMember(issuer, now) && after.mayRevoke(issuer, key, now));
        return { key, by, at };
      }),
    roles: roleChanges(
      [...present.keys()].filter((key) => staying.has(key) && !ruled.has(key) && !rulers.has(key)),
      [authority, after],
      now,
    ),
    operators: turn(ruled, rulers),
    tokens: turn(openTokens(authority, now), tokens),
    records: turn(counting(authority, records), counting(after, records)),
    open: [...made, ...[...unclosed, ...inUse].filter(({ digest }) => !tokens.has(digest))].map((token) => ({
      ...token,
      isHosts: up.has(token.subject),
    })),
    kept: unclosed,
    // A vote that is one of too few changes nothing of that.
    lacking: listed.effective
      ? [...named.filter((host) => !staying.has(host)), ...namedOperators.filter((key) => !rulers.has(key))]
      : [],
    sentAway: hostsSentAway(listed, revocations, grants, staying),
    unnamed: listed.effective ? unnamed.filter((key) => after.roles(key).size > 0) : [],
  };
}

/** Of its subject's revocations that one keeps: of which hosts they are. There may be a thousand of keys of nobody. */
function hostsSentAway(
  { subject: key, keeps }: RevocationInfo,
  revocations: readonly RevocationInfo[],
  grants: ReadonlyMap<string, GrantInfo>,
  staying: ReadonlyMap<KeyId, KeyId>,
): KeyId[] {
  const kept = new Set(keeps);
  const upheld = revocations.filter(({ digest, by }) => by === key && kept.has(digest));
  const sentAway = new Set(upheld.map(({ subject }) => subject).filter((subject) => !staying.has(subject)));
  const members = [...grants.values()].filter(({ roles }) => roles.includes('member'));
  return [...new Set(members.map(({ subject }) => subject))].filter((subject) => sentAway.has(subject));
}

/** Did a key make a token, or another token that it made? Whoever has the text of one can make more with it. */
function isMadeBy(key: KeyId, token: GrantInfo, byDigest: ReadonlyMap<string, GrantInfo>): boolean {
  for (let link: GrantInfo | undefined = token; link !== undefined && isTokenGrant(link); ) {
    if (link.issuer === key) return true;
    link = parentOf(link, byDigest);
  }
  return false;
}

/**
 * Tokens that a revocation keeps, and those that were made with such: those that are to be closed, and those whose key is
 * a host's, that others joined with.
 */
function keptTokens(
  byDigest: ReadonlyMap<string, GrantInfo>,
  keeps: readonly string[],
  {
    issued,
    hosts: toStay,
    staying,
    closed,
  }: {
    readonly issued: ReadonlySet<string>;
    readonly hosts: readonly KeyId[];
    readonly staying: ReadonlyMap<KeyId, KeyId>;
    readonly closed: ReadonlySet<KeyId>;
  },
): { readonly unclosed: readonly GrantInfo[]; readonly inUse: readonly GrantInfo[] } {
  const named = new Set(keeps);
  const grants = [...byDigest.values()];
  const isKept = (grant: GrantInfo) => {
    const { digest } = grant;
    const above = parentOf(grant, byDigest);
    return named.has(digest) || (issued.has(digest) && above !== undefined && isTokenGrant(above));
  };
  const kept = grants.filter((grant) => isTokenGrant(grant) && isKept(grant) && !closed.has(grant.subject));
  if (kept.length === 0) return { unclosed: [], inUse: [] };
  const tokens = new Set(kept.map(({ digest }) => digest));
  /** By another way than through a token that lets nobody in any more: two tokens could have let in one another's key. */
  const isLetIn = (grant: GrantInfo): boolean => {
    for (let link: GrantInfo | undefined = grant; link !== undefined; ) {
      if (link.parent === null) return true;
      if (tokens.has(link.parent) && !issued.has(link.digest)) return false;
      link = byDigest.get(link.parent);
    }
    return false;
  };
  const subjects = new Set(kept.map(({ subject }) => subject));
  // One whose place was taken is no member yet.
  const hosts = new Set<KeyId>(toStay);
  for (const grant of grants) {
    const { subject, roles, renews } = grant;
    if (!subjects.has(subject) || !roles.includes('member')) continue;
    if (!staying.has(subject) || !isStanding(grant)) continue;
    const original = renews === null ? grant : byDigest.get(renews);
    if (original !== undefined && isLetIn(original)) hosts.add(subject);
  }
  const used = new Set(grants.flatMap(({ digest, parent }) => (issued.has(digest) && parent) || []));
  return {
    unclosed: kept.filter(({ subject }) => !hosts.has(subject)),
    inUse: kept.filter(({ subject, digest }) => hosts.has(subject) && used.has(digest)),
  };
}

/** Hosts of which a grant stands before and not after. */
function endedHosts(before: Iterable<GrantInfo>, after: ReadonlyMap<string, GrantInfo>): Set<KeyId> {
  const found = new Set<KeyId>();
  for (const grant of before) {
    const then = after.get(grant.digest);
    if (isMembership(grant) && (then === undefined || !isMembership(then))) found.add(grant.subject);
  }
  return found;
}

/** Who has issued these; where that was by a token, who made it. */
function issuersOf(grants: readonly GrantInfo[], byDigest: ReadonlyMap<string, GrantInfo>): KeyId[] {
  const found = new Set<KeyId>();
  for (const grant of grants) {
    let link = grant;
    for (let above = parentOf(link, byDigest); above !== undefined && isTokenGrant(above); ) {
      link = above;
      above = parentOf(link, byDigest);
    }
    found.add(link.issuer);
  }
  return [...found].slice(0, STAYING_BY_MAX);
}

/** Does it stand, and make a member? With no regard to renewals: they hang on what they prolong. */
function isMembership(grant: GrantInfo): boolean {
  return grant.renews === null && grant.roles.includes('member') && isStanding(grant);
}

function parentOf({ parent }: GrantInfo, byDigest: ReadonlyMap<string, GrantInfo>): GrantInfo | undefined {
  return parent === null ? undefined : byDigest.get(parent);
}

function members(authority: Authority, now: number): Map<KeyId, KeyId> {
  // A key is asked about once: a thief may have granted it something a thousand times.
  const subjects = new Set<KeyId>();
  for (const { subject } of authority.grants(now)) subjects.add(subject);
  const found = [...subjects].filter((subject) => mayStay(authority, subject, now));
  return new Map(found.map((subject) => [subject, subject]));
}

function roleChanges(
  keys: readonly KeyId[],
  [before, after]: readonly [Authority, Authority],
  now: number,
): RoleChange[] {
  const found: RoleChange[] = [];
  for (const key of keys) {
    // A member loses at once what it has to be renewed for; of one that is none, all waits for that.
    const isMember = before.isMember(key, now) && after.isMember(key, now);
    const rolesOf = (at: Authority) => (isMember ? at.roles(key, now) : rolesToStay(at, key, now));
    const [had, has] = [rolesOf(before), rolesOf(after)];
    const [gains, loses] = [[...has.difference(had)], [...had.difference(has)]];
    if (gains.length + loses.length > 0) found.push({ key, gains, loses });
  }
  return found;
}

function operators(authority: Authority): Map<KeyId, KeyId> {
  const inForce = authority.operators().filter((operator) => operator.inForce);
  return new Map(inForce.map(({ key }) => [key, key]));
}

function openTokens(authority: Authority, now: number): Map<string, GrantInfo> {
  const open = [...authority.grants(now)].filter((grant) => isTokenGrant(grant) && grant.state === 'valid');
  open.sort((a, b) => a.granted_ms - b.granted_ms || (a.digest < b.digest ? -1 : 1));
  return new Map(open.map((grant) => [grant.digest, grant]));
}

function counting(authority: Authority, records: Iterable<LedgerRecord>): Map<string, LedgerRecord> {
  const found = new Map<string, LedgerRecord>();
  for (const record of records) if (authority.counts(record)) found.set(record.digest, record);
  return found;
}

function turn<K, T>(before: ReadonlyMap<K, T>, after: ReadonlyMap<K, T>): Turn<T> {
  const lacking = (from: ReadonlyMap<K, T>, other: ReadonlyMap<K, T>) =>
    [...from].filter(([key]) => !other.has(key)).map(([, value]) => value);
  return { ends: lacking(before, after), returns: lacking(after, before) };
}
