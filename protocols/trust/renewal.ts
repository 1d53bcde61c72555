/**
 * Renewal: whose grants end soon, and which admitter prolongs them. Every admitter computes the same order, and the
 * one in place k acts k turns later if nobody has by then, so that one writes and the others need not.
 * Not here: writing the grants (the daemon).
 */
import type { KeyId } from '../base/ids.ts';
import type { GrantBody, Role } from '../base/records.ts';
import { isIssuing, renewalGrant } from './acts.ts';
import type { Authority, Renewable } from './authority.ts';

/** A grant is renewed when this part of its life is left. */
const LEFT_PART = 3;
/** Between the turns of two admitters: a part of the life, and at least some rounds of gossip. */
const TURN_PART = 60;
const TURN_MS_MIN = 10_000;
/** Written at a time by one admitter. */
export const RENEWALS_MAX = 64;

export interface RenewalInit {
  readonly authority: Authority;
  /** The key that would write. */
  readonly self: KeyId;
  /** Members that are alive, as this node sees them. */
  readonly alive: Iterable<KeyId>;
  readonly now: number;
}

/** @returns the bodies of grants that `self` should write now; none when it may not or others come first. */
export function renewalsDue({ authority, self, alive, now }: RenewalInit): GrantBody[] {
  const covers = coveredBy(authority, self, now);
  if (covers === undefined) return [];
  const members = [...alive];
  const admitters = members.filter((id) => authority.roles(id, now).has('admitter'));
  const due: GrantBody[] = [];
  for (const subject of members) {
    if (subject === self) continue;
    for (const renewable of renewablesOf(authority, subject, now, covers)) {
      const { grant, until_ms, life_ms } = renewable;
      const place = placeAmong(admitters, subject, self);
      const turn_ms = until_ms - life_ms / LEFT_PART + place * Math.max(TURN_MS_MIN, life_ms / TURN_PART);
      if (now < turn_ms) continue;
      const own = authority.issuing(self, now, (body) => mayRenew(body, renewable));
      if (own === undefined) continue;
      due.push(renewalGrant(grant, own.digest, now + life_ms));
      if (due.length === RENEWALS_MAX) return due;
    }
  }
  return due;
}

/**
 * A member that knocks: what `self` may write for it now. One that was away when its grant ended is renewed for one
 * more life; after that it needs a new token, as a host that was lost for so long should. Renewals that are void, for
 * the admitter that wrote them was revoked, count for that: their member was there all the time.
 */
export function renewalOnAppeal(
  authority: Authority,
  self: KeyId,
  subject: KeyId,
  now: number,
): GrantBody | undefined {
  const covers = coveredBy(authority, self, now);
  if (covers === undefined || subject === self) return undefined;
  for (const renewable of renewablesOf(authority, subject, now, covers)) {
    const { grant, until_ms, life_ms } = renewable;
    if (now < until_ms - life_ms / LEFT_PART) continue;
    const own = authority.issuing(self, now, (body) => mayRenew(body, renewable));
    if (own !== undefined) return renewalGrant(grant, own.digest, now + life_ms);
  }
  return undefined;
}

/** Is it a member, or was it one until its grant ended, so that an admitter may make it one again? */
export function mayStay(authority: Authority, key: KeyId, now: number): boolean {
  if (authority.isMember(key, now)) return true;
  return renewablesOf(authority, key, now).length > 0;
}

/** Roles that it has, and those that it had until they ended, so that an admitter may give them to it again. */
export function rolesToStay(authority: Authority, key: KeyId, now: number): ReadonlySet<Role> {
  const renewable = renewablesOf(authority, key, now).flatMap(({ grant }) => grant.body.roles);
  return new Set([...authority.roles(key, now), ...renewable]);
}

/** Until when an admitter may renew it on appeal; undefined: it is no member, never ends, or may never be renewed. */
export function renewableUntil(authority: Authority, key: KeyId): number | undefined {
  const renewables = authority.renewables(key, isProlonged);
  if (renewables.length === 0) return undefined;
  return Math.max(...renewables.map(tooLateAfter));
}

/** When a member should begin to worry that nobody has renewed it; undefined when it never need. */
export function worriesAt(authority: Authority, self: KeyId, now: number): number | undefined {
  const left = renewablesOf(authority, self, now);
  if (left.length === 0) return undefined;
  return Math.min(...left.map(({ until_ms, life_ms }) => until_ms - life_ms / (2 * LEFT_PART)));
}

/** And nothing that ended a life ago. @param covers see `Authority.renewables` */
function renewablesOf(
  authority: Authority,
  key: KeyId,
  now: number,
  covers?: (renewable: Renewable) => boolean,
): Renewable[] {
  const may = (renewable: Renewable) => isProlonged(renewable) && now <= tooLateAfter(renewable);
  return authority.renewables(key, may, covers);
}

/** What may let in few never is (gate.ts). */
function isProlonged({ grant }: Renewable): boolean {
  return grant.body.uses === null;
}

/**
 * What `self` may prolong by the grant that it issues by: anything else is for others to prolong, if they do, and a thief
 * may have written it. Undefined when it may issue nothing.
 */
function coveredBy(
  authority: Authority,
  self: KeyId,
  now: number,
): ((renewable: Renewable) => boolean) | undefined {
  const issuing = authority.issuing(self, now, ({ roles }) => roles.includes('admitter'));
  if (issuing === undefined) return undefined;
  const { body } = issuing;
  return (renewable) => body === null || mayRenew(body, renewable);
}

/** One more life. */
function tooLateAfter({ lastEnd_ms, life_ms }: Renewable): number {
  return lastEnd_ms + life_ms;
}

/** As the gate admits it. @param own a grant of who would issue. */
function mayRenew(own: GrantBody, { grant: { body }, life_ms }: Renewable): boolean {
  const may = [...body.roles, ...body.admits].every((role) => own.admits.includes(role));
  if (!may || !own.roles.includes('admitter')) return false;
  if (own.life_ms === undefined) return true;
  // Whoever is let in for a time lets others in for no longer.
  return life_ms <= own.life_ms && (!isIssuing(body) || (body.life_ms ?? Infinity) <= own.life_ms);
}

/** Place of `self` in the order of admitters for a subject, 0 first; after all when it is none of them. */
function placeAmong(admitters: readonly KeyId[], subject: KeyId, self: KeyId): number {
  const mine = { id: self, score: score(self, subject) };
  if (!admitters.includes(self)) return admitters.length;
  return admitters.filter((id) => {
    if (id === self || id === subject) return false;
    const theirs = score(id, subject);
    return theirs > mine.score || (theirs === mine.score && id < mine.id);
  }).length;
}

/** Highest random weight, by FNV-1a of both ids. Source: Thaler and Ravishankar, "Rendezvous hashing" (1998). */
function score(admitter: KeyId, subject: KeyId): number {
  let hash = 0x811c9dc5;
  for (const text of [subject, admitter]) {
    for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  // The last characters would hardly reach the high bits otherwise.
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}
