/**
 * What may enter the ledger, and which grants must leave it again. The answer grows with what is known: more grants can
 * only turn a no to a yes, clocks do not matter, and of revocations only what they keep. Nothing is let in by a renewal: a
 * longer one takes its place, and what needed the first might need one that nobody holds any more. So nodes that know the
 * same grants and revocations hold the same records. Not here: what of it counts (standing.ts).
 */
import type { Hlc } from '../base/clock.ts';
import type { KeyId } from '../base/ids.ts';
import type { LedgerRecord } from '../ledger/record.ts';
import {
  type Grant,
  isAppointment,
  isIssuing,
  isPlainAppointment,
  lifeOf,
  type Revocation,
  readGrant,
  readRevocation,
  sameRoles,
} from './acts.ts';
import { type GrantBook, placeOf } from './grant-book.ts';
import { Keepers, type Named } from './keepers.ts';
import { OPERATOR_BITS, type RoleBits, roleBits, roleBitsFor } from './rules.ts';

/** `unknown-author`: a grant that is still on its way may turn it to a yes. */
export type Admission = 'yes' | 'unknown-author' | 'refused';

/** Links from a grant to genesis. */
export const CHAIN_LENGTH_MAX = 8;
const ADMITTER = roleBits(['admitter']);
/** Grants under a token of limited uses that are kept beyond them: the proof that it was used too often. */
const SURPLUS_KEPT = 1;

export interface GateInit {
  /** Digest of the genesis record, hex. */
  readonly genesis: string;
  readonly founders: readonly KeyId[];
  /** Votes that it takes to appoint an operator. */
  readonly threshold: number;
  readonly book: GrantBook;
  /** Of a gate with the same grants: its `operatorsEver`. */
  readonly operatorsEver?: Levels;
}

/**
 * Of keys that may ever have been operators: those of genesis are at 0, and each other one is above `threshold` of its
 * voters at least. Who is below a key does not hang on it.
 */
type Levels = ReadonlyMap<KeyId, number>;

/** Of a key that may be in doubt: `threshold` at most of its voters that are in none, and those not looked at yet. */
interface Carriers {
  readonly sure: Set<KeyId>;
  readonly others: Iterator<KeyId, undefined>;
}

export class Gate {
  readonly #init: GateInit;
  /** Replaced, and not changed, once somebody else has it: forks share it. */
  #operatorsEver: Levels;
  /** The same, where nobody else has it. */
  #own: Map<KeyId, number> | undefined;
  /** Undefined: nobody has asked. */
  #keepers: Keepers | undefined;

  constructor(init: GateInit) {
    this.#init = init;
    this.#operatorsEver = init.operatorsEver ?? new Map(init.founders.map((key) => [key, 0]));
  }

  /** Keys that may ever have been operators. */
  get operatorsEver(): Levels {
    this.#own = undefined;
    return this.#operatorsEver;
  }

  admission(record: LedgerRecord): Admission {
    if (record.kind === 'genesis') return record.digest === this.#init.genesis ? 'yes' : 'refused';
    if (record.kind === 'grant') return this.#grantAdmission(record);
    if (record.kind === 'revoke') return this.#revocationAdmission(record);
    const bits = roleBitsFor(record);
    if (bits === 0) return 'refused';
    return this.#ifKnown(record.author, this.#everHad(record.author, bits));
  }

  /** Grants that must not be in the ledger beside this one; it may be one of them. See `Authority.surplus`. */
  surplus(grant: Grant): Grant[] {
    const { book } = this.#init;
    const isThere = book.grant(grant.record.digest) !== undefined;
    const losers = isThere ? [grant].filter((each) => this.#isLeftOver(each)) : this.#losers(grant);
    return losers.flatMap((loser) => book.subtree(loser));
  }

  /** Renewals that nobody keeps, and that are there beside one of the same grant by the same issuer that ends later. */
  surplusRenewals(): Grant[] {
    const last = new Map<string, Grant>();
    const others: Grant[] = [];
    for (const grant of this.#init.book.grants()) {
      const { renews } = grant.body;
      if (renews === undefined) continue;
      const place = `${renews} ${grant.record.author}`;
      const known = last.get(place);
      if (known !== undefined) others.push(byEnd(grant, known) < 0 ? known : grant);
      if (known === undefined || byEnd(grant, known) < 0) last.set(place, grant);
    }
    return others.filter((grant) => !this.#isKeptBySenior(grant));
  }

  /** Of a grant that has no use of its token left: those that are kept in its place. None where it has one. */
  inPlaceOf(grant: Grant): readonly Grant[] {
    const { body } = grant;
    const uses = body.renews === undefined ? this.#usesAbove(body) : null;
    if (uses === null || !this.surplus(grant).includes(grant)) return [];
    return this.#init.book.children(body.parent!).slice(0, uses + SURPLUS_KEPT);
  }

  /**
   * Of a grant that would be one too many under its token: the revocation that keeps it, also where that changes nothing
   * else, by the one of its authors that the fewest votes made one. Undefined where it needs none.
   */
  keeping(grant: Grant): Revocation | undefined {
    if (!this.#isTooMany(grant)) return undefined;
    const level = (key: KeyId) => this.#operatorsEver.get(key) ?? 0;
    const [keeper] = [...this.#keepersFor(grant)].sort((a, b) => level(a) - level(b));
    const { digest, author } = grant.record;
    const said = this.#init.book.revocationsOf(author);
    return said.find(({ record, body }) => record.author === keeper && body.keeps?.includes(digest));
  }

  /** A revocation came to the book. */
  revoked(revocation: Revocation): void {
    this.#keepers?.add(revocation);
  }

  /** It went. @returns the grants that it named, and those that are kept no more with them. */
  unrevoked(revocation: Revocation): Grant[] {
    this.#keepers?.remove(revocation);
    const named = this.#namedBy(revocation);
    if (!this.#init.founders.includes(revocation.record.author)) return named;
    return named.flatMap((grant) => [grant, ...this.#renewalsByIssuer(grant)]);
  }

  /**
   * The rank of the most senior operator of genesis that names a grant as good, in a revocation of its issuer; Infinity:
   * none does that is senior to the issuer. Nothing else that is said of a grant counts here: who has stolen a key can
   * make operators and admitters that vouch for what it wrote, and have it hang on that which of them are known. A renewal of
   * an own grant is kept as far as that grant is: it hangs on it, and would push it out.
   */
  keeperOf(grant: Grant): number {
    const { record, body } = grant;
    const original = body.renews === undefined ? undefined : this.#init.book.grant(body.renews);
    const named = this.#namerOf(grant);
    return original?.record.author === record.author ? Math.max(named, this.#namerOf(original)) : named;
  }

  /** The same, whatever it hangs on. */
  #namerOf({ record }: Grant): number {
    const { founders } = this.#init;
    const named = this.#keepersOf(record.author);
    if (named.size === 0) return Number.POSITIVE_INFINITY;
    const rank = founders.findIndex((key) => key === record.author || named.get(key)?.has(record.digest));
    return rank < 0 || founders[rank] === record.author ? Number.POSITIVE_INFINITY : rank;
  }

  /** A vote for a key came: what follows for it, and for those for whom it has voted itself. */
  appointed(subject: KeyId): void {
    const { threshold, book } = this.#init;
    const subjects = [subject];
    // The list grows while it is walked.
    for (const each of subjects) {
      if (this.#operatorsEver.has(each)) continue;
      const voters = book.votersFor(each).filter((voter) => this.#operatorsEver.has(voter));
      if (voters.length < threshold) continue;
      this.#own ??= new Map(this.#operatorsEver);
      this.#own.set(each, levelAbove(voters, this.#own));
      this.#operatorsEver = this.#own;
      for (const next of book.votedForBy(each)) subjects.push(next);
    }
  }

  /**
   * Votes for operators went: the least set in which each has votes of `threshold` others. All are where they were but
   * those that may hang on these votes. @returns who is in it no more, and the grants that those named.
   */
  reappoint(gone: readonly Grant[]): {
    readonly dismissed: readonly KeyId[];
    readonly unkept: readonly Grant[];
  } {
    const doubted = this.#doubted(gone);
    if (doubted.size === 0) return { dismissed: [], unkept: [] };
    const { threshold, book } = this.#init;
    this.#own ??= new Map(this.#operatorsEver);
    const ever = this.#own;
    this.#operatorsEver = ever;
    for (const key of doubted) ever.delete(key);
    const votes = new Map<KeyId, number>();
    for (const key of doubted) votes.set(key, book.votersFor(key).filter((voter) => ever.has(voter)).length);
    const back = [...doubted].filter((key) => votes.get(key)! >= threshold);
    // The list grows while it is walked.
    for (const key of back) {
      ever.set(key, levelAbove(book.votersFor(key), ever));
      for (const subject of book.votedForBy(key)) {
        const count = votes.get(subject);
        if (count === undefined) continue;
        votes.set(subject, count + 1);
        if (count + 1 === threshold) back.push(subject);
      }
    }
    const dismissed = [...doubted].filter((key) => !ever.has(key));
    return { dismissed, unkept: dismissed.flatMap((key) => this.#keptBy(key)) };
  }

  /** For whom these votes may have been needed, and for whom those have voted, and so on. */
  #doubted(gone: readonly Grant[]): Set<KeyId> {
    const { book } = this.#init;
    const doubted = new Set<KeyId>();
    const carriers = new Map<KeyId, Carriers>();
    const doubt = (subject: KeyId) => {
      // Of genesis, or none.
      if (doubted.has(subject) || (this.#operatorsEver.get(subject) ?? 0) === 0) return;
      let carrying = carriers.get(subject);
      if (carrying === undefined) {
        carrying = { sure: new Set(), others: book.votersFor(subject).values() };
        carriers.set(subject, carrying);
      }
      if (!this.#isCarried(subject, carrying, doubted)) doubted.add(subject);
    };
    for (const { record, body } of gone) {
      const { author } = record;
      if (this.#operatorsEver.has(author) && !book.isVoter(author, body.subject)) doubt(body.subject);
    }
    // The set grows while it is walked.
    for (const key of doubted) for (const subject of book.votedForBy(key)) doubt(subject);
    return doubted;
  }

  /** Are enough of its voters below it and in no doubt? Asked for each that comes in doubt, so none is looked at twice. */
  #isCarried(subject: KeyId, { sure, others }: Carriers, doubted: ReadonlySet<KeyId>): boolean {
    const level = this.#operatorsEver.get(subject)!;
    for (const voter of sure) if (doubted.has(voter)) sure.delete(voter);
    while (sure.size < this.#init.threshold) {
      const { value: voter } = others.next();
      if (voter === undefined) return false;
      if ((this.#operatorsEver.get(voter) ?? level) < level && !doubted.has(voter)) sure.add(voter);
    }
    return true;
  }

  /** Steps from genesis; Infinity for unknown keys. @param isMeant of its grants, those that count; all if absent. */
  depth(key: KeyId, isMeant?: (grant: Grant) => boolean): number {
    if (this.#init.founders.includes(key)) return 0;
    let least = this.#operatorsEver.has(key) ? 1 : Number.POSITIVE_INFINITY;
    // Of one key there may be thousands by one grant of its issuer.
    const parents = new Set<string | null>();
    for (const grant of this.#init.book.ofSubject(key)) {
      if (least === 1) return least;
      if (isMeant?.(grant) === false || parents.has(grant.body.parent)) continue;
      parents.add(grant.body.parent);
      least = Math.min(least, this.#chainLength(grant));
    }
    return least;
  }

  /** See `Authority.linksOf`. It never changes while what a grant hangs on is there. */
  links(grant: Grant): number {
    return grant.body.renews === undefined ? this.#chainLength(grant) : Number.POSITIVE_INFINITY;
  }

  /** See `Authority.inOrder`. */
  inOrder(records: readonly LedgerRecord[]): LedgerRecord[] {
    const links = new Map<KeyId, number>();
    return records
      .map((record) => ({ record, ...this.#place(record, links) }))
      .sort((a, b) => (a.links === b.links ? a.level - b.level : a.links - b.links))
      .map(({ record }) => record);
  }

  /** Nothing hangs on a grant that nobody can read. @param revoking links of authors that have revoked, as far as known. */
  #place(
    record: LedgerRecord,
    revoking: Map<KeyId, number>,
  ): { readonly links: number; readonly level: number } {
    if (record.kind === 'revoke') {
      const links = revoking.get(record.author) ?? this.#linksOfRevoking(record.author);
      revoking.set(record.author, links);
      return { links, level: 0 };
    }
    const grant = readGrant(record);
    if (grant === undefined) return { links: Number.POSITIVE_INFINITY, level: 0 };
    const isOfOperator = grant.body.parent === null;
    return {
      links: this.links(grant),
      level: isOfOperator ? (this.#operatorsEver.get(record.author) ?? 0) : 0,
    };
  }

  /**
   * Half a link behind the first grant that lets a key revoke others, or the votes that do: what its word keeps hangs on
   * that by one link at least. Who may revoke nobody but itself keeps nothing.
   */
  #linksOfRevoking(key: KeyId): number {
    const isFirst = ({ body }: Grant) => body.renews === undefined;
    const admitted = this.depth(key, (grant) => isFirst(grant) && grant.body.roles.includes('admitter'));
    return (admitted < Number.POSITIVE_INFINITY ? admitted : this.depth(key, isFirst)) + 0.5;
  }

  #grantAdmission(record: LedgerRecord): Admission {
    const { book } = this.#init;
    const grant = readGrant(record);
    if (grant === undefined) return 'refused';
    const { body } = grant;
    if (isAppointment(body) ? !isPlainAppointment(body) : body.admits.includes('operator')) return 'refused';
    if (body.parent === null) {
      if (!this.#operatorsEver.has(record.author)) return this.#ifKnown(record.author, false);
    } else {
      const above = book.grant(body.parent);
      if (above === undefined) return 'unknown-author';
      if (!this.#mayIssue(above, grant)) return 'refused';
      // What may have been renewed is for standing.ts: two that renew one another each hang on the other's renewal.
      if (!isRenewable(above) && isPast(above.body.notAfter_ms, record.hlc)) return 'refused';
    }
    if (body.renews === undefined) return 'yes';
    const original = book.grant(body.renews);
    if (original === undefined) return 'unknown-author';
    return prolongs(grant, original) ? 'yes' : 'refused';
  }

  /** Ends aside. What it says never changes, for a grant and the one above it are what they are. */
  #mayIssue(above: Grant, { record, body }: Grant): boolean {
    const { admits } = above.body;
    return (
      above.body.subject === record.author &&
      // Nobody prolongs its own life, nor takes one that its grant does not give.
      body.subject !== record.author &&
      isIssuing(above.body) &&
      above.body.renews === undefined &&
      (body.renews === undefined || above.body.roles.includes('admitter')) &&
      body.roles.every((role) => admits.includes(role)) &&
      body.admits.every((role) => admits.includes(role)) &&
      livesWithin(above, { record, body }) &&
      this.#chainLength(above) < CHAIN_LENGTH_MAX
    );
  }

  #revocationAdmission(record: LedgerRecord): Admission {
    // Revocations only grow: one cannot be taken back, and one that nobody can read would say nothing.
    const revocation = readRevocation(record);
    if (revocation === undefined) return 'refused';
    const { author } = record;
    const may =
      this.#operatorsEver.has(author) ||
      this.#everHad(author, ADMITTER) ||
      (author === revocation.body.subject && this.#isKnown(author));
    return this.#ifKnown(author, may);
  }

  #ifKnown(author: KeyId, may: boolean): Admission {
    if (may) return 'yes';
    return this.#isKnown(author) ? 'refused' : 'unknown-author';
  }

  #isKnown(key: KeyId): boolean {
    return this.#operatorsEver.has(key) || this.#init.book.ofSubject(key).length > 0;
  }

  /** Any of these roles. Asked for every record. */
  #everHad(key: KeyId, bits: RoleBits): boolean {
    if ((this.#init.book.rolesGiven(key) & bits) !== 0) return true;
    return (bits & OPERATOR_BITS) !== 0 && this.#operatorsEver.has(key);
  }

  #losers(grant: Grant): readonly Grant[] {
    const { book } = this.#init;
    const { record, body } = grant;
    if (body.renews !== undefined) {
      const all = [...this.#ownRenewals(grant), grant];
      const last = all.reduce((latest, each) => (byEnd(each, latest) < 0 ? each : latest));
      return all.filter((each) => each !== last && !this.#isKeptBySenior(each));
    }
    const uses = this.#usesAbove(body);
    if (uses === null) return [];
    const siblings = book.children(body.parent!);
    // Of those that are there, all behind the last are kept already: whoever has the token finds smaller digests.
    const last = uses + SURPLUS_KEPT - 1;
    const loser = placeOf(siblings, record.digest) > last ? grant : siblings[last];
    return loser === undefined || this.#isKept(loser) ? [] : [loser];
  }

  /** Others of the same grant by the same issuer. */
  #ownRenewals({ record, body }: Grant): Grant[] {
    const all = body.renews === undefined ? [] : this.#init.book.renewalsOf(body.renews);
    return all.filter(
      ({ record: { author, digest } }) => author === record.author && digest !== record.digest,
    );
  }

  /** Renewals of a grant by who has issued it. */
  #renewalsByIssuer({ record: { digest, author } }: Grant): Grant[] {
    return this.#init.book.renewalsOf(digest).filter(({ record }) => record.author === author);
  }

  /**
   * Of one issuer's renewals of a grant the last to end stays, whatever is said of the others: who has stolen the key of one
   * that is senior to the issuer could stop all to come by naming one. What such a senior names stays beside it: who has
   * stolen the issuer's key can write a longer one. Naming one takes no other away, so what stays hangs on no order, and
   * where there is too much of an issuer those go first that would go here (going-order.ts).
   */
  #isKeptBySenior(renewal: Grant): boolean {
    return this.#namerOf(renewal) < Number.POSITIVE_INFINITY;
  }

  /** Is it there, one too many, and kept by nobody? */
  #isLeftOver(grant: Grant): boolean {
    const { body } = grant;
    if (body.renews !== undefined)
      return (
        !this.#isKeptBySenior(grant) && this.#ownRenewals(grant).some((other) => byEnd(other, grant) < 0)
      );
    return this.#isTooMany(grant) && !this.#isKept(grant);
  }

  /** Is it one too many under its token, where nobody keeps it? */
  #isTooMany({ record, body }: Grant): boolean {
    const uses = body.renews === undefined ? this.#usesAbove(body) : null;
    if (uses === null) return false;
    return placeOf(this.#init.book.children(body.parent!), record.digest) >= uses + SURPLUS_KEPT;
  }

  /** Of the grants of its subject, those that a revocation names as good. */
  #namedBy({ body: { subject, keeps = [] } }: Revocation): Grant[] {
    const grants = keeps.map((digest) => this.#init.book.grant(digest));
    return grants.filter((grant) => grant !== undefined).filter(({ record }) => record.author === subject);
  }

  /** The grants that revocations of their issuers by this key name as good. */
  #keptBy(author: KeyId): Grant[] {
    const { book } = this.#init;
    this.#keepers ??= new Keepers(book.revocations());
    const kept: Grant[] = [];
    for (const [issuer, named] of this.#keepers.by(author))
      for (const digest of named.keys()) {
        const grant = book.grant(digest);
        if (grant?.record.author === issuer) kept.push(grant);
      }
    return kept;
  }

  /** Does anybody name it as good who may revoke its issuer: an operator, or an admitter above? */
  #isKept(grant: Grant): boolean {
    return this.#keepersFor(grant).next().done !== true;
  }

  /** Who does: an admitter above first, whose grants are there with this one. */
  *#keepersFor(grant: Grant): IterableIterator<KeyId> {
    const { digest, author } = grant.record;
    const named = this.#keepersOf(author);
    if (named.size === 0) return;
    for (let above = this.#above(grant); above !== undefined; above = this.#above(above)) {
      const { roles, subject } = above.body;
      if (roles.includes('admitter') && named.get(subject)?.has(digest)) yield subject;
    }
    for (const [key, digests] of named) if (this.#operatorsEver.has(key) && digests.has(digest)) yield key;
  }

  #keepersOf(issuer: KeyId): ReadonlyMap<KeyId, Named> {
    this.#keepers ??= new Keepers(this.#init.book.revocations());
    return this.#keepers.of(issuer);
  }

  /** Of the grant by which another was issued. */
  #usesAbove({ parent }: Grant['body']): number | null {
    return parent === null ? null : (this.#init.book.grant(parent)?.body.uses ?? null);
  }

  #above({ body }: Grant): Grant | undefined {
    return body.parent === null ? undefined : this.#init.book.grant(body.parent);
  }

  #chainLength(grant: Grant): number {
    let link: Grant | undefined = grant;
    let length = 1;
    while (link !== undefined && link.body.parent !== null && length <= CHAIN_LENGTH_MAX) {
      link = this.#init.book.grant(link.body.parent);
      length += 1;
    }
    return length;
  }
}

/** Above all of those that are there, and not only some: as long as enough of their votes stay it is in no doubt. */
function levelAbove(voters: readonly KeyId[], levels: Levels): number {
  return 1 + voters.reduce((highest, voter) => Math.max(highest, levels.get(voter) ?? 0), 0);
}

/** Is a stamp after the end of a grant? */
export function isPast(notAfter_ms: number | null, { ms }: Hlc): boolean {
  return notAfter_ms !== null && ms > notAfter_ms;
}

/** A grant that limits the life of what is issued under it limits it all the way down. */
function livesWithin(above: Grant, { record, body }: Grant): boolean {
  const { life_ms } = above.body;
  if (life_ms === undefined) return true;
  const handsOn = !isIssuing(body) || (body.life_ms !== undefined && body.life_ms <= life_ms);
  return (
    handsOn &&
    (body.roles.every((role) => role === 'admit') || endsWithin(body.notAfter_ms, record.hlc, life_ms))
  );
}

/**
 * Can a grant that ends be prolonged? A token is not, nor what may let in few: which of those stay would hang on which
 * renewals there are, and which renewals there are on which of those stay.
 */
function isRenewable({ body }: Grant): boolean {
  return body.uses === null && body.renews === undefined && body.roles.includes('member');
}

function prolongs({ record, body }: Grant, original: Grant): boolean {
  const life_ms = lifeOf(original);
  return (
    isRenewable(original) &&
    original.body.subject === body.subject &&
    sameRoles(original.body.roles, body.roles) &&
    sameRoles(original.body.admits, body.admits) &&
    original.body.uses === body.uses &&
    original.body.life_ms === body.life_ms &&
    life_ms !== null &&
    endsWithin(body.notAfter_ms, record.hlc, life_ms)
  );
}

function endsWithin(notAfter_ms: number | null, from: Hlc, life_ms: number): boolean {
  return notAfter_ms !== null && notAfter_ms <= from.ms + life_ms;
}

/** The last to end first. */
function byEnd(a: Grant, b: Grant): number {
  const later = (b.body.notAfter_ms ?? 0) - (a.body.notAfter_ms ?? 0);
  return later || (a.record.digest < b.record.digest ? -1 : 1);
}
