/**
 * Who may write what: chains of grants back to genesis (DESIGN section 3).
 *
 * Two questions are kept apart so that every node ends with the same set of records, in whatever order they came:
 * - may a record enter the ledger? Its author has, or had, a chain to genesis: gate.ts.
 * - does it count? At its place in what its author wrote, the author's grant was in force: standing.ts. This may
 *   change with what is learnt, and is asked when the view is derived.
 *
 * Revocation, by whom and of what; each answer follows from the set of records alone:
 * - operators, by `threshold` operators: see operators.ts;
 * - any other key, by one operator, or by itself: for good, wherever its grants come from;
 * - grants below an admitter's own grant, by that admitter: what others granted to the same key stays.
 * Records up to the cut count. Grants that the key issued up to the cut stay, unless the revocation takes the
 * descendants too: hosts that an honest admitter let in must not fall with it. Of a key that was stolen revoke the
 * descendants, and name in `keeps` those that are known to be good, and what it had revoked: a thief can sign under old
 * numbers. A key may revoke itself as long as nobody else has.
 *
 * Expiry ends what a key may do from then on, not what it did: a record counts by its own stamp. What hangs on a
 * grant does not expire with it. A renewal prolongs one grant (its original) and shares its fate: whoever could
 * revoke the original still can, and nobody else for having renewed it.
 */
import type { KeyId } from '../base/ids.ts';
import type { GenesisBody, GrantBody, Role } from '../base/records.ts';
import type { LedgerRecord, RecordHeader } from '../ledger/record.ts';
import {
  type Grant,
  isAppointment,
  isIssuing,
  lifeOf,
  type Revocation,
  readGrant,
  readRevocation,
} from './acts.ts';
import { type Admission, CHAIN_LENGTH_MAX, Gate, isPast } from './gate.ts';
import { GrantBook } from './grant-book.ts';
import {
  type GrantInfo,
  listGrants,
  listOperators,
  listRevocations,
  type OperatorInfo,
  type RevocationInfo,
} from './listing.ts';
import { OPERATOR_BITS, type RoleBits, roleBits, roleBitsFor, rolesOf } from './rules.ts';
import { type GrantState, Standing } from './standing.ts';
import { Telling } from './telling.ts';

const MEMBER = roleBits(['member']);
const DEPLOYS = roleBits(['deployer', 'operator']);

/** A grant that can be prolonged. */
export interface Renewable {
  /** The original. */
  readonly grant: Grant;
  /** When it ends as things are, and for how long it was given at first. */
  readonly until_ms: number;
  readonly life_ms: number;
  /** When the last renewal of it ends, also if that was void: its member can tell neither way. */
  readonly lastEnd_ms: number;
}

/** What follows once grants or revocations left the ledger. */
export interface Removal {
  /** Grants that hung on those: they must go too. */
  readonly unfounded: readonly LedgerRecord[];
  /** Keys that may do less than before: what `admission` no longer answers with yes of their records must go. */
  readonly weakened: readonly KeyId[];
  /** Grants that somebody kept who does so no more: `surplus` is to be asked of each again. */
  readonly unkept: readonly LedgerRecord[];
}

export class Authority {
  /** How many operators it takes to appoint or revoke an operator. */
  readonly threshold: number;
  readonly #genesis: string;
  readonly #founders: readonly KeyId[];
  readonly #book: GrantBook;
  readonly #gate: Gate;
  readonly #standing: Standing;

  /** @param genesis the digest of the genesis record, hex: the cluster's id. @param from what to begin with. */
  constructor(
    genesis: string,
    { operators, threshold = 1 }: Pick<GenesisBody, 'operators' | 'threshold'>,
    from?: Authority,
  ) {
    this.#genesis = genesis;
    this.#founders = [...new Set(operators)];
    this.threshold = Math.min(threshold, this.#founders.length);
    this.#book = new GrantBook(from === undefined ? undefined : from.#book);
    const init = { genesis, founders: this.#founders, threshold: this.threshold, book: this.#book };
    this.#gate = new Gate(from === undefined ? init : { ...init, operatorsEver: from.#gate.operatorsEver });
    this.#standing = new Standing(
      from === undefined ? init : { ...init, settlement: from.#standing.settlement },
    );
  }

  /** An independent authority that shares what both know so far: cheap, for simulations of many nodes. */
  fork(): Authority {
    return new Authority(this.#genesis, { operators: [...this.#founders], threshold: this.threshold }, this);
  }

  /** May this record enter the ledger? Asked before its signature is checked. */
  admission(record: LedgerRecord): Admission {
    return this.#gate.admission(record);
  }

  /** Tells the authority of a record that entered the ledger; records of other kinds change nothing. */
  add(record: LedgerRecord): void {
    if (record.kind === 'grant') {
      const grant = readGrant(record);
      if (grant === undefined || !this.#book.addGrant(grant)) return;
      if (isAppointment(grant.body)) {
        this.#gate.appointed(grant.body.subject);
        this.#standing.unsettle();
      } else this.#standing.forget();
    } else if (record.kind === 'revoke') {
      const revocation = readRevocation(record);
      if (revocation === undefined || !this.#book.addRevocation(revocation)) return;
      this.#gate.revoked(revocation);
      this.#standing.unsettle();
    }
  }

  /**
   * Which grants must not be in the ledger beside this one: it may be one of them. Asked before it comes, and of one that is
   * there once nobody keeps it any more. Of grants under a token of n uses the n + 1 smallest digests are kept, of an
   * issuer's renewals of one grant the one that lasts longest, and those that a senior keeps; and nothing stays that hangs
   * on what goes. So the set that is kept is the same on every node. Whoever drops them must drop what follows from
   * `removeAll` as well.
   */
  surplus(record: LedgerRecord): LedgerRecord[] {
    const grant = record.kind === 'grant' ? readGrant(record) : undefined;
    return grant === undefined ? [] : this.#gate.surplus(grant).map((dropped) => dropped.record);
  }

  /** Renewals in whose place others have come: what a host holds that has not dropped them. Nothing hangs on them. */
  surplusRenewals(): LedgerRecord[] {
    return this.#gate.surplusRenewals().map((grant) => grant.record);
  }

  /** Of a grant that is one of too many under a token, and would not stay: those that are kept. None where it would. */
  inPlaceOf(record: LedgerRecord): LedgerRecord[] {
    const grant = record.kind === 'grant' ? readGrant(record) : undefined;
    return grant === undefined ? [] : this.#gate.inPlaceOf(grant).map((kept) => kept.record);
  }

  /**
   * The rank of the most senior operator of genesis that keeps a grant, in a revocation of the key that issued it and is
   * junior to it; Infinity: none does, or it is no grant.
   */
  keeperOf(record: LedgerRecord): number {
    const grant = record.kind === 'grant' ? readGrant(record) : undefined;
    return grant === undefined ? Number.POSITIVE_INFINITY : this.#gate.keeperOf(grant);
  }

  /** Links from a grant to genesis; Infinity of a renewal, on which no other hangs; 0: it is no grant. */
  linksOf(record: LedgerRecord): number {
    const grant = record.kind === 'grant' ? readGrant(record) : undefined;
    return grant === undefined ? 0 : this.#gate.links(grant);
  }

  /**
   * Grants and revocations that are there, each behind all that it needs to be let in: those with fewer links come first, for an author may
   * have issued by a long chain though it has a short one, and renewals last, for what they prolong may hang on a longer
   * chain than they do. What operators give by their office stands behind the votes that put them there. A
   * revocation stands behind what lets its author revoke, and before what it keeps. Equal ones stay as they are.
   */
  inOrder(records: readonly LedgerRecord[]): LedgerRecord[] {
    return this.#gate.inOrder(records);
  }

  /** Tells the authority of a record that left the ledger. @returns `unkept`, as of `removeAll`. */
  remove(record: LedgerRecord): readonly LedgerRecord[] {
    return this.removeAll([record]).unkept;
  }

  /** Tells the authority of records that left the ledger; those of other kinds than grants and revocations change nothing. */
  removeAll(records: readonly LedgerRecord[]): Removal {
    const book = this.#book;
    const unfounded = new Set<Grant>();
    const unkept: Grant[] = [];
    /** What its grants gave each subject before. */
    const given = new Map<KeyId, RoleBits>();
    const votes: Grant[] = [];
    for (const record of records) {
      const revocation = readRevocation(record);
      if (revocation !== undefined) {
        book.removeRevocation(revocation);
        for (const grant of this.#gate.unrevoked(revocation)) unkept.push(grant);
        this.#standing.unsettle();
      }
      const grant = book.grant(record.digest);
      if (grant === undefined) continue;
      const { subject } = grant.body;
      for (const hanging of book.hangingOn(record.digest)) unfounded.add(hanging);
      if (!given.has(subject)) given.set(subject, book.rolesGiven(subject));
      if (isAppointment(grant.body)) votes.push(grant);
      book.removeGrant(grant);
    }
    if (given.size > 0) this.#standing.forget();
    const weakened = [...given]
      .filter(([key, bits]) => book.rolesGiven(key) !== bits || book.ofSubject(key).length === 0)
      .map(([key]) => key);
    if (votes.length > 0) {
      this.#standing.unsettle();
      const { dismissed, unkept: named } = this.#gate.reappoint(votes);
      for (const key of dismissed) weakened.push(key);
      for (const grant of named) unkept.push(grant);
    }
    const recordOf = (grant: Grant) => grant.record;
    return { unfounded: Array.from(unfounded, recordOf), weakened, unkept: unkept.map(recordOf) };
  }

  /** Does the record count in the view? Judged at its own place and stamp, whatever the time is now. */
  counts(record: LedgerRecord): boolean {
    if (record.kind === 'genesis') return true;
    if (record.kind === 'grant' || record.kind === 'revoke') return this.#isInForce(record);
    return this.countsAt(record);
  }

  /** The same of what is no grant or revocation, by its place alone: it may have left the ledger since. */
  countsAt(record: Pick<RecordHeader, 'author' | 'kind' | 'key' | 'epoch' | 'seq' | 'hlc'>): boolean {
    const { author } = record;
    const standing = this.#standing;
    const bits = roleBitsFor(record);
    if (bits === 0) return false;
    if (standing.operators.has(author)) {
      if (standing.isCutOff(author, record)) return false;
      if ((bits & OPERATOR_BITS) !== 0) return true;
    }
    for (const { grant, bits: given } of standing.terms(author)) {
      // So have all that follow.
      if (isPast(grant.body.notAfter_ms, record.hlc)) return false;
      if ((given & bits) !== 0 && !standing.isAfterCut(grant, record)) return true;
    }
    return false;
  }

  /** Roles by grants that are in force. @param now milliseconds; absent: expiry is not looked at. */
  roles(key: KeyId, now?: number): ReadonlySet<Role> {
    return new Set(rolesOf(this.#rolesGiven(key, now)));
  }

  /** Has it any role whatever, when that ends aside? */
  hasRole(key: KeyId): boolean {
    if (this.#standing.judgements.has(key)) return false;
    return this.#standing.operators.has(key) || this.#standing.hasStanding(key);
  }

  /** @param now as of `roles`. */
  isMember(key: KeyId, now?: number): boolean {
    if (this.#standing.judgements.has(key)) return false;
    return this.#standing
      .terms(key)
      .some(({ grant, bits }) => (bits & MEMBER) !== 0 && this.#standing.lasts(grant, now));
  }

  /** May it say what runs, and so do within what runs as it likes? @param now as of `roles`. */
  mayDeploy(key: KeyId, now?: number): boolean {
    return (this.#rolesGiven(key, now) & DEPLOYS) !== 0;
  }

  #rolesGiven(key: KeyId, now?: number): RoleBits {
    if (this.#standing.judgements.has(key)) return 0;
    let given = this.#standing.operators.has(key) ? OPERATOR_BITS : 0;
    for (const { grant, bits } of this.#standing.terms(key))
      if ((bits & ~given) !== 0 && this.#standing.lasts(grant, now)) given |= bits;
    return given;
  }

  /** Was it a member, or more, and cut off for good? A grant that ended is another matter. */
  isRevoked(key: KeyId): boolean {
    if (this.#standing.judgements.has(key)) return true;
    // An admitter can grant an operator's key something, and take that back.
    if (this.#standing.operators.has(key)) return false;
    const grants = this.#book.ofSubject(key);
    return grants.length > 0 && grants.every((grant) => this.#standing.isCutBelow(grant));
  }

  /** Would a revocation of this key by that one change anything, or count as a vote, if it was written now? */
  mayRevoke(author: KeyId, subject: KeyId, now: number): boolean {
    return this.#standing.mayRevoke(author, subject, now);
  }

  /**
   * What says how keys stand, those first that are named first: telling.ts.
   * @param bytes_max of all envelopes together.
   */
  about(keys: KeyId | Iterable<KeyId>, bytes_max = Number.POSITIVE_INFINITY): LedgerRecord[] {
    const telling = new Telling(this.#book, this.#gate, this.#standing, bytes_max);
    const asked = typeof keys === 'string' ? [keys] : [...keys];
    for (const key of asked) telling.tellChain(key);
    for (const key of asked) if (!telling.isFull) telling.tell(key);
    return telling.records;
  }

  /** Until when the key is a member, milliseconds; null: for ever; undefined: it is none, or was revoked. */
  memberUntil(key: KeyId): number | null | undefined {
    if (this.#standing.judgements.has(key)) return undefined;
    const standing = this.#memberships(key);
    return standing.length === 0 ? undefined : lastOf(standing);
  }

  /**
   * What renewals of this member would prolong: each grant that gives a role which none that lasts longer gives, the last to
   * end first. None when it is no member, was revoked, or is all that it is for ever.
   * @param may whether one can be prolonged at all. Any admitter can write others beside it, and none of those stands in its
   * way. Default: all can.
   * @param covers whether what gives no more, and ends before this one, can do without. Default: all can.
   */
  renewables(
    key: KeyId,
    may: (renewable: Renewable) => boolean = () => true,
    covers: (renewable: Renewable) => boolean = () => true,
  ): Renewable[] {
    if (this.#standing.judgements.has(key)) return [];
    const standing = this.#memberships(key);
    const byOriginal = Map.groupBy(standing, ({ record, body }) => body.renews ?? record.digest);
    const lasting = [...byOriginal]
      .map(([digest, grants]) => ({ grant: this.#book.grant(digest), until_ms: lastOf(grants) }))
      .sort((a, b) => (b.until_ms ?? Number.MAX_VALUE) - (a.until_ms ?? Number.MAX_VALUE));
    const given = new Set<Role>();
    const found: Renewable[] = [];
    // Of those that do not cover a few are enough, too: there may be thousands.
    const offered = new Set<Role>();
    for (const { grant, until_ms } of lasting) {
      const { roles } = grant?.body ?? { roles: [] };
      if (grant === undefined || roles.every((role) => given.has(role))) continue;
      if (until_ms !== null) {
        const lastEnd_ms = this.#book.lastEnd(grant) ?? until_ms;
        const renewable = { grant, until_ms, life_ms: lifeOf(grant) ?? 0, lastEnd_ms };
        if (!may(renewable)) continue;
        if (!covers(renewable)) {
          if (!roles.every((role) => offered.has(role))) found.push(renewable);
          for (const role of roles) offered.add(role);
          continue;
        }
        found.push(renewable);
      }
      for (const role of roles) given.add(role);
    }
    return found;
  }

  /**
   * A grant in force by which `key` may issue grants, with what is left of it; undefined when there is none. What is issued
   * hangs on who gave it, and any admitter can write a key grants, of which it may have what comes below revoked: of those
   * that will do, one that it has issued by, which nobody else can make it, then the one nearest to genesis, then the one
   * that limits least.
   * @param gives whether a grant will do for what is to be issued. Default: any does.
   */
  issuing(
    key: KeyId,
    now: number,
    gives: (body: GrantBody) => boolean = () => true,
  ): { digest: string | null; body: GrantBody | null } | undefined {
    if (this.#standing.judgements.has(key)) return undefined;
    if (this.#standing.operators.has(key)) return { digest: null, body: null };
    const grant = this.#book
      .ofSubject(key)
      .filter(({ body }) => isIssuing(body) && gives(body))
      .map((held) => ({ held, length: this.#gate.links(held), hasIssued: this.#book.hasIssued(held) }))
      // What is issued by the last link that a chain may have would be refused.
      .filter(({ length }) => length < CHAIN_LENGTH_MAX)
      .sort(
        (a, b) =>
          Number(b.hasIssued) - Number(a.hasIssued) || a.length - b.length || byLimits(a.held, b.held),
      )
      .find(({ held }) => this.#standing.mayIssue(held, now))?.held;
    return grant && { digest: grant.record.digest, body: grant.body };
  }

  /** Grants issued by authority of the grant with this digest, smallest digest first: its uses so far. */
  issuedBy(parent: string): readonly GrantBody[] {
    return this.#book.children(parent).map((grant) => grant.body);
  }

  grant(digest: string): GrantBody | undefined {
    return this.#book.grant(digest)?.body;
  }

  /** What has become of a grant; undefined when it is not known. */
  stateOf(digest: string, now: number): GrantState | undefined {
    const grant = this.#book.grant(digest);
    return grant && this.#standing.state(grant, now);
  }

  /** Steps from genesis. Infinity for unknown keys. */
  depth(key: KeyId): number {
    return this.#gate.depth(key);
  }

  grants(now: number): IterableIterator<GrantInfo> {
    return listGrants(this.#book, this.#standing, now);
  }

  revocations(): IterableIterator<RevocationInfo> {
    return listRevocations(this.#book, this.#standing, this.threshold);
  }

  /** All that ever were in office, the most senior first. */
  operators(): readonly OperatorInfo[] {
    return listOperators(this.#standing);
  }

  /** Grants that make it a member, whenever they end. */
  #memberships(key: KeyId): readonly Grant[] {
    return this.#standing
      .good(key)
      .filter((grant) => grant.body.roles.includes('member') && this.#standing.lasts(grant, undefined));
  }

  #isInForce(record: LedgerRecord): boolean {
    const grant = this.#book.grant(record.digest);
    if (grant !== undefined) return this.#standing.issueFault(grant) === undefined;
    const revocation: Revocation | undefined = readRevocation(record);
    return revocation !== undefined && this.#standing.isEffective(revocation);
  }
}

/** The one of an admitter before that of a token, then the one that lets in for longer, then the one that lets in more. */
function byLimits({ body: a }: Grant, { body: b }: Grant): number {
  const isAdmitters = (body: GrantBody) => Number(body.roles.includes('admitter'));
  const life = (body: GrantBody) => body.life_ms ?? Number.MAX_SAFE_INTEGER;
  return isAdmitters(b) - isAdmitters(a) || life(b) - life(a) || b.admits.length - a.admits.length;
}

/** When the last of them ends, milliseconds; null: never. */
function lastOf(grants: readonly Grant[]): number | null {
  let last_ms = 0;
  for (const { body } of grants) {
    if (body.notAfter_ms === null) return null;
    last_ms = Math.max(last_ms, body.notAfter_ms);
  }
  return last_ms;
}
