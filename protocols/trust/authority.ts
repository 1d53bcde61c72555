/**
 * Who may write what: chains of grants back to genesis (DESIGN section 3).
 *
 * Two questions are kept apart so that every node ends with the same set of records, in whatever order they came:
 * - may a record enter the ledger? Its author has, or had, a chain to genesis. More grants can only turn a no to a
 *   yes; revocations, clocks and votes do not matter. (`surplus` says which grants must leave again.)
 * - does it count? At its place in what its author wrote, the author's grant was in force. This may change with what
 *   is learnt, and is asked when the view is derived.
 *
 * Revocation, by whom and of what; each answer follows from the set of records alone:
 * - operators, by `threshold` operators: see operators.ts;
 * - any other key, by one operator, or by itself: for good, wherever its grants come from;
 * - grants below an admitter's own grant, by that admitter: what others granted to the same key stays.
 * Records up to the cut count. Grants that the key issued up to the cut stay, unless the revocation takes the
 * descendants too: hosts that an honest admitter let in must not fall with it. Of a key that was stolen revoke the
 * descendants, and name in `keeps` those that are known to be good: a thief can sign under old numbers.
 *
 * Expiry ends what a key may do from then on, not what it did: a record counts by its own stamp. What hangs on a
 * grant does not expire with it. A renewal prolongs one grant (its original) and shares its fate: whoever could
 * revoke the original still can.
 *
 * Nothing here is cached but the votes' outcome: each answer walks the few grants of one key and their chain.
 */
import type { Hlc } from '../base/clock.ts';
import type { KeyId } from '../base/ids.ts';
import type { GenesisBody, GrantBody, Role } from '../base/records.ts';
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
import { isAfter, type Place } from './cut.ts';
import { GrantBook, placeOf } from './grant-book.ts';
import { type Operator, settleOperators } from './operators.ts';
import { OPERATOR_ROLES, rolesFor } from './rules.ts';

export type Admission = 'yes' | 'unknown-author' | 'refused';

/** Links from a grant to genesis. */
const CHAIN_LENGTH_MAX = 8;
/** Clocks differ: this long after its end a grant still makes a member. */
export const EXPIRY_GRACE_MS = 60_000;
/** Grants under a token of limited uses that are kept beyond them: the proof that it was used too often. */
const SURPLUS_KEPT = 1;

/** What has become of a grant. */
export const GRANT_STATES = [
  /** In force. */
  'valid',
  /** In force, but nothing is left to issue: a token that has been used. */
  'used-up',
  'expired',
  /** Its subject was revoked. */
  'revoked',
  /** One of too many under one token: smaller digests stay. */
  'over-used',
  /** Its issuer might not issue it: something above it was revoked. */
  'void',
  /** A vote for an operator that is not one, for want of votes. */
  'awaiting',
] as const;
export type GrantState = (typeof GRANT_STATES)[number];

export interface GrantInfo {
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

export interface RevocationInfo {
  readonly digest: string;
  readonly subject: KeyId;
  readonly by: KeyId;
  readonly epoch: number;
  readonly last: number;
  readonly reason: string;
  readonly descendants: boolean;
  readonly keeps: readonly string[];
  readonly written_ms: number;
  /** Operators whose votes against the subject count, of how many that it takes. An admitter's own needs 1 of 1. */
  readonly votes: number;
  readonly needed: number;
  /** It changes what the subject may do. */
  readonly effective: boolean;
}

export interface OperatorInfo {
  readonly key: KeyId;
  /** 0 is the most senior. */
  readonly rank: number;
  readonly genesis: boolean;
  readonly inForce: boolean;
}

/** Revocations of a key that count, and how many authors must agree before something is void. */
interface Judgement {
  readonly votes: readonly Revocation[];
  readonly needed: number;
}

/** What was settled from all votes. */
interface Settlement {
  readonly operators: ReadonlyMap<KeyId, Operator>;
  /** Of keys that are cut off wherever their grants come from. */
  readonly judgements: ReadonlyMap<KeyId, Judgement>;
}

type IssueFault = 'void' | 'over-used' | 'awaiting';

export class Authority {
  readonly #genesis: string;
  readonly #founders: readonly KeyId[];
  readonly threshold: number;
  readonly #book: GrantBook;
  /** All keys that operators ever appointed: enough to let their records in. Replaced, never changed. */
  #operatorsEver: ReadonlySet<KeyId>;
  /** Undefined: to be settled anew. */
  #settled: Settlement | undefined;

  /** @param genesis the digest of the genesis record, hex: the cluster's id. @param from what to begin with. */
  constructor(genesis: string, body: GenesisBody, from?: Authority) {
    this.#genesis = genesis;
    this.#founders = [...new Set(body.operators)];
    this.threshold = Math.min(body.threshold ?? 1, this.#founders.length);
    this.#book = new GrantBook(from === undefined ? undefined : from.#book);
    this.#operatorsEver = from === undefined ? new Set(this.#founders) : from.#operatorsEver;
    this.#settled = from === undefined ? undefined : from.#settled;
  }

  /** An independent authority that shares what both know so far: cheap, for simulations of many nodes. */
  fork(): Authority {
    const body = { operators: [...this.#founders], threshold: this.threshold } as GenesisBody;
    return new Authority(this.#genesis, body, this);
  }

  // What may enter the ledger

  /** May this record enter the ledger? Asked before its signature is checked. */
  admission(record: LedgerRecord): Admission {
    if (record.kind === 'genesis') return record.digest === this.#genesis ? 'yes' : 'refused';
    if (record.kind === 'grant') return this.#grantAdmission(record);
    if (record.kind === 'revoke') return this.#revocationAdmission(record);
    const roles = rolesFor(record);
    if (roles === undefined) return 'refused';
    if (roles.some((role) => this.#everHad(record.author, role))) return 'yes';
    return this.#isKnown(record.author) ? 'refused' : 'unknown-author';
  }

  /** Tells the authority of a record that entered the ledger; records of other kinds change nothing. */
  add(record: LedgerRecord): void {
    if (record.kind === 'grant') {
      const grant = readGrant(record);
      if (grant !== undefined && this.#book.addGrant(grant) && isAppointment(grant.body)) this.#reappoint();
    } else if (record.kind === 'revoke') {
      const revocation = readRevocation(record);
      if (revocation !== undefined && this.#book.addRevocation(revocation)) this.#settled = undefined;
    }
  }

  /**
   * Which grants must not be in the ledger once this one has come: it may be one of them. Asked before it is merged.
   * Of grants under a token of n uses the n + 1 smallest digests are kept, of an issuer's renewals of one grant the
   * one that lasts longest; and nothing stays that hangs on what goes. So the set that is kept is the same on every
   * node. Whoever drops a grant calls `remove`, and must then drop each record of the grant's subject that `admission`
   * no longer answers with yes.
   */
  surplus(record: LedgerRecord): LedgerRecord[] {
    const grant = record.kind === 'grant' ? readGrant(record) : undefined;
    if (grant === undefined || this.#book.grant(record.digest) !== undefined) return [];
    return this.#rivals(grant).flatMap((loser) =>
      this.#book.subtree(loser).map(({ record: dropped }) => dropped),
    );
  }

  /** Tells the authority of a grant that left the ledger. */
  remove(record: LedgerRecord): void {
    const grant = this.#book.grant(record.digest);
    if (grant === undefined) return;
    this.#book.removeGrant(grant);
    if (isAppointment(grant.body)) this.#reappoint();
  }

  // What counts

  /** Does the record count in the view? Judged at its own place and stamp, whatever the time is now. */
  counts(record: LedgerRecord): boolean {
    if (record.kind === 'genesis') return true;
    if (record.kind === 'grant') return this.#grantCounts(record.digest);
    if (record.kind === 'revoke') return this.#isEffective(record);
    const { author } = record;
    const roles = rolesFor(record);
    if (roles === undefined || this.#isCutOff(author, record)) return false;
    if (this.#operators.has(author) && roles.some((role) => OPERATOR_ROLES.has(role))) return true;
    return this.#book
      .ofSubject(author)
      .some(
        (grant) =>
          grant.body.roles.some((role) => roles.includes(role)) &&
          !isPast(grant.body.notAfter_ms, record.hlc) &&
          !this.#cutBelow(grant).some(({ body }) => isAfter(record, body)) &&
          this.#issueFault(grant) === undefined,
      );
  }

  /** Roles by grants that are in force. @param now milliseconds; absent: expiry is not looked at. */
  roles(key: KeyId, now?: number): ReadonlySet<Role> {
    const roles = new Set<Role>();
    if (this.#judgements.has(key)) return roles;
    if (this.#operators.has(key)) for (const role of OPERATOR_ROLES) roles.add(role);
    for (const grant of this.#book.ofSubject(key))
      if (!isAppointment(grant.body) && this.#stands(grant, now))
        for (const role of grant.body.roles) roles.add(role);
    return roles;
  }

  /** @param now as of `roles`. */
  isMember(key: KeyId, now?: number): boolean {
    if (this.#judgements.has(key)) return false;
    return this.#book
      .ofSubject(key)
      .some((grant) => grant.body.roles.includes('member') && this.#stands(grant, now));
  }

  /** May it say what runs, and so do within what runs as it likes? @param now as of `roles`. */
  mayDeploy(key: KeyId, now?: number): boolean {
    const roles = this.roles(key, now);
    return roles.has('deployer') || roles.has('operator');
  }

  /** Was it cut off for good? Grants that merely expired or were never given are another matter. */
  isRevoked(key: KeyId): boolean {
    if (this.#judgements.has(key)) return true;
    const grants = this.#book.ofSubject(key);
    return grants.length > 0 && grants.every((grant) => this.#cutBelow(grant).length > 0);
  }

  /** Until when the key is a member, milliseconds; null: for ever; undefined: it is none, or was revoked. */
  memberUntil(key: KeyId): number | null | undefined {
    if (this.#judgements.has(key)) return undefined;
    let latest: number | undefined;
    for (const grant of this.#book.ofSubject(key)) {
      if (!grant.body.roles.includes('member') || !this.#stands(grant, undefined)) continue;
      if (grant.body.notAfter_ms === null) return null;
      latest = Math.max(latest ?? 0, grant.body.notAfter_ms);
    }
    return latest;
  }

  /** A grant in force by which `key` may issue grants, with what is left of it; undefined when there is none. */
  issuing(key: KeyId, now: number): { digest: string | null; body: GrantBody | null } | undefined {
    if (this.#judgements.has(key)) return undefined;
    if (this.#operators.has(key)) return { digest: null, body: null };
    const grant = this.#book
      .ofSubject(key)
      .find((held) => isIssuing(held.body) && this.#mayStillIssue(held, now));
    return grant && { digest: grant.record.digest, body: grant.body };
  }

  /** Grants issued by authority of the grant with this digest, smallest digest first: its uses so far. */
  issuedBy(parent: string): readonly GrantBody[] {
    return this.#book.children(parent).map((grant) => grant.body);
  }

  grant(digest: string): GrantBody | undefined {
    return this.#book.grant(digest)?.body;
  }

  /** May this grant of a token be used at this time? The reason why not, from a closed set. */
  stateOf(digest: string, now: number): GrantState | undefined {
    const grant = this.#book.grant(digest);
    return grant && this.#state(grant, now);
  }

  /**
   * The grant that a renewal of this member would prolong: one that is in force but for its end; the last to end.
   * Undefined when it is no member, was revoked, or is one for ever.
   */
  renewable(
    key: KeyId,
  ): { readonly grant: Grant; readonly until_ms: number; readonly life_ms: number } | undefined {
    const until_ms = this.memberUntil(key);
    if (until_ms === undefined || until_ms === null) return undefined;
    const last = this.#book
      .ofSubject(key)
      .find(
        (grant) =>
          grant.body.notAfter_ms === until_ms &&
          grant.body.roles.includes('member') &&
          this.#stands(grant, undefined),
      );
    const grant = last?.body.renews === undefined ? last : this.#book.grant(last.body.renews);
    return grant && { grant, until_ms, life_ms: lifeOf(grant) ?? 0 };
  }

  /** Steps from genesis: records of lower depth must be sent first. Infinity for unknown keys. */
  depth(key: KeyId): number {
    if (this.#founders.includes(key)) return 0;
    let least = this.#operatorsEver.has(key) ? 1 : Number.POSITIVE_INFINITY;
    for (const grant of this.#book.ofSubject(key)) least = Math.min(least, this.#chainLength(grant));
    return least;
  }

  // For people

  *grants(now: number): IterableIterator<GrantInfo> {
    for (const grant of this.#book.grants()) {
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
        used: this.#book.children(record.digest).length,
        state: this.#state(grant, now),
      };
    }
  }

  *revocations(): IterableIterator<RevocationInfo> {
    for (const [subject, cast] of this.#book.revocations()) {
      const isOperator = this.#operators.has(subject);
      const counted = new Set(this.#judgements.get(subject)?.votes.map(({ record }) => record.author));
      for (const { record, body } of cast) {
        const ofAdmitter = !isOperator && !counted.has(record.author);
        const effective = this.#isEffective(record);
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
          votes: ofAdmitter ? Number(effective) : this.#votesAgainst(subject),
          needed: isOperator ? this.threshold : 1,
          effective,
        };
      }
    }
  }

  /** All that ever were in office, the most senior first. */
  operators(): readonly OperatorInfo[] {
    return Array.from(this.#operators.values(), ({ key, rank, appointedBy, cut }) => ({
      key,
      rank,
      genesis: appointedBy.length === 0,
      inForce: cut === undefined,
    }));
  }

  // Admission

  #grantAdmission(record: LedgerRecord): Admission {
    const grant = readGrant(record);
    if (grant === undefined) return 'refused';
    const { body } = grant;
    if (isAppointment(body) ? !isPlainAppointment(body) : body.admits.includes('operator')) return 'refused';
    if (body.parent === null) {
      // An operator's appointment may be on its way.
      if (!this.#operatorsEver.has(record.author)) return 'unknown-author';
    } else {
      const above = this.#book.grant(body.parent);
      if (above === undefined) return 'unknown-author';
      if (!this.#mayIssue(above, grant)) return 'refused';
      const until_ms = this.#lastEnd(above);
      // A member's grant may have been renewed; a token's never is.
      if (isPast(until_ms, record.hlc))
        return above.body.roles.includes('member') ? 'unknown-author' : 'refused';
    }
    if (body.renews === undefined) return 'yes';
    const original = this.#book.grant(body.renews);
    if (original === undefined) return 'unknown-author';
    return prolongs(grant, original) ? 'yes' : 'refused';
  }

  /** Time aside. What it says never changes, for a grant and the one above it are what they are. */
  #mayIssue(above: Grant, { record, body }: Grant): boolean {
    const { admits, life_ms } = above.body;
    return (
      above.body.subject === record.author &&
      body.subject !== record.author &&
      isIssuing(above.body) &&
      above.body.renews === undefined &&
      (body.renews === undefined || above.body.roles.includes('admitter')) &&
      body.roles.every((role) => admits.includes(role)) &&
      body.admits.every((role) => admits.includes(role)) &&
      (life_ms === undefined ||
        ((body.roles.every((role) => role === 'admit') || isWithin(body.notAfter_ms, record.hlc, life_ms)) &&
          (!isIssuing(body) || (body.life_ms !== undefined && body.life_ms <= life_ms)))) &&
      this.#chainLength(above) < CHAIN_LENGTH_MAX
    );
  }

  /** When the last of a grant and its renewals ends; null: never. */
  #lastEnd(grant: Grant): number | null {
    const { notAfter_ms } = grant.body;
    if (notAfter_ms === null) return null;
    return this.#book
      .renewalsOf(grant.record.digest)
      .reduce((last, { body }) => Math.max(last, body.notAfter_ms ?? 0), notAfter_ms);
  }

  #revocationAdmission(record: LedgerRecord): Admission {
    // Revocations only grow: one cannot be taken back, and one that nobody can read would say nothing.
    const revocation = readRevocation(record);
    if (revocation === undefined) return 'refused';
    const { author } = record;
    const may =
      this.#operatorsEver.has(author) ||
      this.#everHad(author, 'admitter') ||
      (author === revocation.body.subject && this.#isKnown(author));
    if (may) return 'yes';
    return this.#isKnown(author) ? 'refused' : 'unknown-author';
  }

  #everHad(key: KeyId, role: Role): boolean {
    if (this.#operatorsEver.has(key) && OPERATOR_ROLES.has(role)) return true;
    return this.#book.ofSubject(key).some(({ body }) => body.roles.includes(role) && !isAppointment(body));
  }

  #isKnown(key: KeyId): boolean {
    return this.#operatorsEver.has(key) || this.#book.ofSubject(key).length > 0;
  }

  #rivals(grant: Grant): Grant[] {
    const { record, body } = grant;
    if (body.renews !== undefined) {
      const own = this.#book.renewalsOf(body.renews).filter((other) => other.record.author === record.author);
      return [...own, grant].sort(byEnd).slice(1);
    }
    const uses = body.parent === null ? null : (this.#book.grant(body.parent)?.body.uses ?? null);
    if (uses === null) return [];
    const siblings = this.#book.children(body.parent!);
    const all = siblings.toSpliced(placeOf(siblings, record.digest), 0, grant);
    return all.slice(uses + SURPLUS_KEPT);
  }

  // Settling

  get #operators(): ReadonlyMap<KeyId, Operator> {
    return this.#settlement.operators;
  }

  get #judgements(): ReadonlyMap<KeyId, Judgement> {
    return this.#settlement.judgements;
  }

  get #settlement(): Settlement {
    this.#settled ??= this.#settle();
    return this.#settled;
  }

  #settle(): Settlement {
    const operators = settleOperators({
      genesis: this.#founders,
      threshold: this.threshold,
      appointments: this.#book.appointments(),
      revocations: this.#book.revocations(),
    });
    const judgements = new Map<KeyId, Judgement>();
    for (const { key, revokedBy } of operators.values())
      if (revokedBy.length > 0) judgements.set(key, { votes: revokedBy, needed: this.threshold });
    for (const [subject, cast] of this.#book.revocations()) {
      if (operators.has(subject)) continue;
      const byOperators = cast.filter(({ record }) => {
        const voter = operators.get(record.author);
        return voter !== undefined && (voter.cut === undefined || !isAfter(record, voter.cut));
      });
      // Who was cut off cannot make it worse afterwards.
      const own = cast.filter(
        ({ record }) => record.author === subject && !byOperators.some(({ body }) => isAfter(record, body)),
      );
      const votes = [...byOperators, ...own];
      if (votes.length > 0) judgements.set(subject, { votes, needed: 1 });
    }
    return { operators, judgements };
  }

  /** Who can ever have been an operator: the least set in which each has votes of `threshold` others. */
  #reappoint(): void {
    const ever = new Set(this.#founders);
    for (let before = -1; before !== ever.size; ) {
      before = ever.size;
      for (const [subject, grants] of this.#book.appointments()) {
        const voters = new Set(grants.map(({ record }) => record.author).filter((voter) => ever.has(voter)));
        if (voters.size >= this.threshold) ever.add(subject);
      }
    }
    this.#operatorsEver = ever;
    this.#settled = undefined;
  }

  #votesAgainst(subject: KeyId): number {
    const judgement = this.#judgements.get(subject);
    if (judgement !== undefined) return new Set(judgement.votes.map(({ record }) => record.author)).size;
    const voters = this.#book.revocationsOf(subject).filter(({ record }) => {
      const voter = this.#operators.get(record.author);
      return voter !== undefined && (voter.cut === undefined || !isAfter(record, voter.cut));
    });
    return new Set(voters.map(({ record }) => record.author)).size;
  }

  // What is in force

  #isCutOff(key: KeyId, place: Place): boolean {
    const judgement = this.#judgements.get(key);
    return judgement !== undefined && agree(judgement, ({ body }) => isAfter(place, body));
  }

  /** In force now: neither it nor its subject was revoked, and it has not ended. */
  #stands(grant: Grant, now: number | undefined): boolean {
    const { notAfter_ms } = grant.body;
    if (now !== undefined && notAfter_ms !== null && now > notAfter_ms + EXPIRY_GRACE_MS) return false;
    return this.#cutBelow(grant).length === 0 && this.#issueFault(grant) === undefined;
  }

  #mayStillIssue(grant: Grant, now: number): boolean {
    const { body, record } = grant;
    if (body.renews !== undefined || !this.#stands(grant, undefined)) return false;
    if (body.uses !== null && this.#book.children(record.digest).length >= body.uses) return false;
    const ends = [grant, ...this.#book.renewalsOf(record.digest)].filter((each) =>
      this.#stands(each, undefined),
    );
    return ends.some(({ body: { notAfter_ms } }) => notAfter_ms === null || now <= notAfter_ms);
  }

  /** Why a grant was not for its issuer to give; undefined when it was. Who its subject is now does not matter. */
  #issueFault(grant: Grant): IssueFault | undefined {
    if (grant.body.renews !== undefined) {
      const original = this.#book.grant(grant.body.renews);
      const fault = original === undefined ? 'void' : this.#issueFault(original);
      if (fault !== undefined) return fault;
    }
    let link = grant;
    for (let length = 0; length < CHAIN_LENGTH_MAX; length += 1) {
      const { record, body } = link;
      const judgement = this.#judgements.get(record.author);
      if (judgement !== undefined && agree(judgement, (vote) => isVoid(link, vote))) return 'void';
      if (body.parent === null) {
        if (!this.#operators.has(record.author)) return 'void';
        return isAppointment(grant.body) && !this.#operators.has(grant.body.subject) ? 'awaiting' : undefined;
      }
      const above = this.#book.grant(body.parent);
      if (above === undefined) return 'void';
      if (this.#cutBelow(above).some((vote) => isVoid(link, vote))) return 'void';
      const { uses } = above.body;
      if (uses !== null && body.renews === undefined) {
        if (placeOf(this.#book.children(body.parent), record.digest) >= uses) return 'over-used';
      }
      link = above;
    }
    return 'void';
  }

  /** Revocations of a grant's subject by admitters that the grant comes from. */
  #cutBelow(grant: Grant): readonly Revocation[] {
    const cast = this.#book.revocationsOf(grant.body.subject);
    if (cast.length === 0) return cast;
    return cast.filter(({ record }) => record.author !== grant.body.subject && this.#isBelow(grant, record));
  }

  /** Does a grant come from the author of a vote, who may have been an admitter when casting it? */
  #isBelow(grant: Grant, vote: LedgerRecord): boolean {
    const { renews } = grant.body;
    const original = renews === undefined ? undefined : this.#book.grant(renews);
    if (original !== undefined && this.#isBelow(original, vote)) return true;
    let above = grant.body.parent === null ? undefined : this.#book.grant(grant.body.parent);
    for (let length = 0; above !== undefined && length < CHAIN_LENGTH_MAX; length += 1) {
      const { subject, roles, parent } = above.body;
      if (subject === vote.author && roles.includes('admitter')) {
        const late = isPast(this.#lastEnd(above), vote.hlc);
        const cut =
          late ||
          this.#isCutOff(subject, vote) ||
          this.#cutBelow(above).some(({ body }) => isAfter(vote, body));
        if (!cut && this.#issueFault(above) === undefined) return true;
      }
      above = parent === null ? undefined : this.#book.grant(parent);
    }
    return false;
  }

  #isEffective(record: LedgerRecord): boolean {
    const revocation = readRevocation(record);
    if (revocation === undefined) return false;
    const { subject } = revocation.body;
    if (this.#judgements.get(subject)?.votes.some((vote) => vote.record.digest === record.digest))
      return true;
    return (
      record.author !== subject && this.#book.ofSubject(subject).some((grant) => this.#isBelow(grant, record))
    );
  }

  #grantCounts(digest: string): boolean {
    const grant = this.#book.grant(digest);
    return grant !== undefined && this.#issueFault(grant) === undefined;
  }

  #state(grant: Grant, now: number): GrantState {
    const { body, record } = grant;
    if (this.#judgements.has(body.subject) || this.#cutBelow(grant).length > 0) return 'revoked';
    const fault = this.#issueFault(grant);
    if (fault !== undefined) return fault;
    if (body.notAfter_ms !== null && now > body.notAfter_ms) return 'expired';
    const used = this.#book.children(record.digest).length;
    return body.uses !== null && used >= body.uses ? 'used-up' : 'valid';
  }

  #chainLength(grant: Grant): number {
    let link: Grant | undefined = grant;
    let length = 1;
    while (link !== undefined && link.body.parent !== null && length <= CHAIN_LENGTH_MAX) {
      link = this.#book.grant(link.body.parent);
      length += 1;
    }
    return length;
  }
}

/** Do as many authors as it takes say so? */
function agree({ votes, needed }: Judgement, says: (vote: Revocation) => boolean): boolean {
  if (needed === 1) return votes.some(says);
  return new Set(votes.filter(says).map(({ record }) => record.author)).size >= needed;
}

/** Does a revocation of its issuer void this grant? */
function isVoid({ record }: Grant, { body }: Revocation): boolean {
  if (body.keeps?.includes(record.digest)) return false;
  return body.descendants === true || isAfter(record, body);
}

function prolongs({ record, body }: Grant, original: Grant): boolean {
  const life_ms = lifeOf(original);
  return (
    original.body.renews === undefined &&
    original.body.subject === body.subject &&
    original.body.roles.includes('member') &&
    sameRoles(original.body.roles, body.roles) &&
    sameRoles(original.body.admits, body.admits) &&
    original.body.uses === body.uses &&
    original.body.life_ms === body.life_ms &&
    life_ms !== null &&
    isWithin(body.notAfter_ms, record.hlc, life_ms)
  );
}

function isPast(notAfter_ms: number | null, { ms }: Hlc): boolean {
  return notAfter_ms !== null && ms > notAfter_ms;
}

function isWithin(notAfter_ms: number | null, from: Hlc, life_ms: number): boolean {
  return notAfter_ms !== null && notAfter_ms <= from.ms + life_ms;
}

/** The last to end first. */
function byEnd(a: Grant, b: Grant): number {
  return (
    (b.body.notAfter_ms ?? 0) - (a.body.notAfter_ms ?? 0) || (a.record.digest < b.record.digest ? -1 : 1)
  );
}
