/**
 * What is in force: which keys are operators, who was cut off and where, and which grants hold. It follows from the
 * set of grants and revocations alone. Not here: what may enter the ledger (gate.ts).
 *
 * Only the outcome of the votes is kept; all else is answered by walking the few grants of one key and their chain.
 */
import type { KeyId } from '../base/ids.ts';
import type { LedgerRecord } from '../ledger/record.ts';
import { type Grant, isAppointment, type Revocation } from './acts.ts';
import { type Act, Cuts, type Written } from './cuts.ts';
import { CHAIN_LENGTH_MAX, isPast } from './gate.ts';
import { bitsGiven, type GrantBook, placeOf } from './grant-book.ts';
import { agree, isSilenced, type Judgement, judgementOf } from './judgement.ts';
import { type Operator, settleOperators } from './operators.ts';
import type { RoleBits } from './rules.ts';

/** Clocks differ: this long after its end a grant still makes a member. */
export const EXPIRY_GRACE_MS = 60_000;
/** Of one key: these are looked at each time. There may be thousands of nodes in one process that know the same. */
const GRANTS_FEW = 8;
/** No digest is larger. */
const AFTER_ALL = 'g';

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
  /** Its issuer might not issue it: something above it was revoked, or had ended. */
  'void',
  /** A vote for an operator that is not one, for want of votes. */
  'awaiting',
] as const;
export type GrantState = (typeof GRANT_STATES)[number];
type IssueFault = Extract<GrantState, 'void' | 'over-used' | 'awaiting'>;

/** Revocations of a grant's subject by admitters that the grant comes from. */
interface CutBelow {
  readonly votes: readonly Revocation[];
  readonly cuts: Cuts;
}

/** Of good grants of one key that give the same and are cut off together: the last to end. */
export interface Term {
  readonly grant: Grant;
  readonly bits: RoleBits;
}

const NOT_CUT: CutBelow = { votes: [], cuts: new Cuts([]) };

/** Of a revocation, all that says whether its author might. */
type Vote = Act & Pick<LedgerRecord, 'author'>;

/** What was settled from all votes. */
export interface Settlement {
  readonly operators: ReadonlyMap<KeyId, Operator>;
  /** Of keys that are cut off wherever their grants come from. */
  readonly judgements: ReadonlyMap<KeyId, Judgement>;
}

export interface StandingInit {
  readonly founders: readonly KeyId[];
  readonly threshold: number;
  readonly book: GrantBook;
  /** Of the same votes, when it is known. */
  readonly settlement?: Settlement;
}

export class Standing {
  readonly #init: StandingInit;
  readonly #book: GrantBook;
  /** Undefined: to be settled anew. */
  #settled: Settlement | undefined;
  /**
   * What was found of grants whose subjects were revoked, by subject and what the grants hang on, as long as no grant or
   * revocation comes or goes. Each asks about those above it: without this a chain of admitters that revoked one another
   * would be walked once for each way through it. All grants of a key by one grant of an admitter share what was found: who
   * has that admitter's key can write thousands of them, and as many revocations.
   */
  readonly #cutBelow = new Map<string, CutBelow>();
  /** Of keys that admitters have revoked, what counts against them below those admitters' cuts. */
  readonly #judgementsUnder = new Map<CutBelow, Judgement>();
  /** Digests of revocations of a key by admitters that change something, by key. */
  readonly #effectiveBelow = new Map<KeyId, ReadonlySet<string>>();
  readonly #faults = new Map<string, IssueFault | undefined>();
  /** The same of votes against keys: each of thousands of revocations or appointments of one is listed with them. */
  readonly #votesAgainst = new Map<KeyId, number>();
  /** Of grants of limited uses whose subjects were revoked: the digest of what takes the last use. */
  readonly #lastUses = new Map<string, string>();
  /** Of keys with many grants, those that were for their issuers to give. */
  readonly #good = new Map<KeyId, readonly Grant[]>();
  readonly #terms = new Map<KeyId, readonly Term[]>();
  /** By key: a grant that stood when it was asked last, as it most likely does still. */
  readonly #stood = new Map<KeyId, Grant>();

  constructor(init: StandingInit) {
    this.#init = init;
    this.#book = init.book;
    this.#settled = init.settlement;
  }

  get settlement(): Settlement {
    this.#settled ??= this.#settle();
    return this.#settled;
  }

  /** All that ever were in office, by key, the most senior first. */
  get operators(): ReadonlyMap<KeyId, Operator> {
    return this.settlement.operators;
  }

  get judgements(): ReadonlyMap<KeyId, Judgement> {
    return this.settlement.judgements;
  }

  /** A vote came or went. */
  unsettle(): void {
    this.#settled = undefined;
    this.forget();
  }

  /** A grant came or went. */
  forget(): void {
    this.#cutBelow.clear();
    this.#judgementsUnder.clear();
    this.#effectiveBelow.clear();
    this.#faults.clear();
    this.#votesAgainst.clear();
    this.#lastUses.clear();
    this.#good.clear();
    this.#terms.clear();
  }

  /** Was something written by an operator's key after its cut? */
  isCutOff(key: KeyId, written: Written): boolean {
    return agree(this.judgements.get(key), (cuts) => cuts.leaveOut(written));
  }

  /** The grants of a key that were for their issuers to give; an issuer can have written thousands that were not. */
  good(key: KeyId): readonly Grant[] {
    const isGood = (grant: Grant) => this.issueFault(grant) === undefined;
    const grants = this.#book.ofSubject(key);
    if (grants.length <= GRANTS_FEW) return grants.filter(isGood);
    let good = this.#good.get(key);
    if (good === undefined) {
      good = grants.filter(isGood);
      this.#good.set(key, good);
    }
    return good;
  }

  /** What the good grants of a key give, the last to end first: each of thousands of its records is asked about. */
  terms(key: KeyId): readonly Term[] {
    if (this.#book.ofSubject(key).length <= GRANTS_FEW) return this.good(key).map(termOf).sort(byEnd);
    let terms = this.#terms.get(key);
    if (terms === undefined) {
      const last = new Map<string, Term>();
      for (const term of this.good(key).map(termOf)) {
        const place = `${placeBelow(term.grant)} ${term.bits}`;
        const known = last.get(place);
        if (known === undefined || byEnd(term, known) < 0) last.set(place, term);
      }
      terms = [...last.values()].sort(byEnd);
      this.#terms.set(key, terms);
    }
    return terms;
  }

  /** Does any grant of a key stand that gives it a role? Also where one comes or goes with each question. */
  hasStanding(key: KeyId): boolean {
    const gives = (grant: Grant) => !isAppointment(grant.body) && this.stands(grant, undefined);
    const last = this.#stood.get(key);
    if (last !== undefined && this.#book.grant(last.record.digest) === last && gives(last)) return true;
    const grants = this.#book.ofSubject(key);
    const found = grants.find(gives);
    if (found === undefined) this.#stood.delete(key);
    else if (grants.length > GRANTS_FEW) this.#stood.set(key, found);
    return found !== undefined;
  }

  /** In force: it was not revoked for its subject, nor was it ended by `now`; undefined: whenever it ends. */
  stands(grant: Grant, now: number | undefined): boolean {
    return this.lasts(grant, now) && this.issueFault(grant) === undefined;
  }

  /** The same of one that is good. */
  lasts(grant: Grant, now: number | undefined): boolean {
    const { notAfter_ms } = grant.body;
    if (now !== undefined && notAfter_ms !== null && now > notAfter_ms + EXPIRY_GRACE_MS) return false;
    return !this.isCutBelow(grant);
  }

  /** Is there something left for its subject to issue by it at this time? */
  mayIssue(grant: Grant, now: number): boolean {
    const { body, record } = grant;
    if (body.renews !== undefined || !this.stands(grant, undefined)) return false;
    if (body.uses !== null && this.#book.children(record.digest).length >= body.uses) return false;
    return [grant, ...this.#book.renewalsOf(record.digest)].some(
      (each) =>
        (each.body.notAfter_ms === null || now <= each.body.notAfter_ms) && this.stands(each, undefined),
    );
  }

  /** Why a grant was not for its issuer to give; undefined when it was. Who its subject is now does not matter. */
  issueFault(grant: Grant): IssueFault | undefined {
    if (grant.body.renews !== undefined) {
      const original = this.#book.grant(grant.body.renews);
      const fault = original === undefined ? 'void' : this.issueFault(original);
      if (fault !== undefined) return fault;
    }
    let link = grant;
    for (let length = 0; length < CHAIN_LENGTH_MAX; length += 1) {
      const { record, body } = link;
      const above = body.parent === null ? undefined : this.#book.grant(body.parent);
      if (this.#isVoid(record, above)) return 'void';
      if (body.parent === null) {
        if (!this.operators.has(record.author)) return 'void';
        return isAppointment(grant.body) && !this.operators.has(grant.body.subject) ? 'awaiting' : undefined;
      }
      if (above === undefined || isPast(this.#book.lastEnd(above), record.hlc)) return 'void';
      if (above.body.uses !== null && body.renews === undefined) {
        if (this.#isOverUsed(above, above.body.uses, link)) return 'over-used';
      }
      link = above;
    }
    return 'void';
  }

  /**
   * What counts against a key, of what hangs on this grant of it. Where an admitter above that has revoked it, its own word
   * about itself counts no more: what the admitter has kept would go by the word of who stole the key.
   */
  judgementUnder(key: KeyId, held: Grant | undefined): Judgement | undefined {
    const judgement = this.judgements.get(key);
    if (judgement === undefined || held === undefined || this.operators.has(key)) return judgement;
    const below = this.#below(held);
    if (below.votes.length === 0) return judgement;
    let under = this.#judgementsUnder.get(below);
    if (under === undefined) {
      under = judgementOf(
        judgement.votes.filter(({ record }) => record.author !== key),
        1,
      );
      this.#judgementsUnder.set(below, under);
    }
    return under;
  }

  /** Do revocations of its author void a grant? @param above the one that it was issued by. */
  #isVoid(record: LedgerRecord, above: Grant | undefined): boolean {
    if (agree(this.judgementUnder(record.author, above), (cuts) => cuts.void(record))) return true;
    return above !== undefined && this.#below(above).cuts.void(record);
  }

  /** Was its subject revoked by an admitter that the grant comes from? */
  isCutBelow(grant: Grant): boolean {
    return this.#below(grant).votes.length > 0;
  }

  /** The revocations by which it was. */
  cutsBelow(grant: Grant): readonly Revocation[] {
    return this.#below(grant).votes;
  }

  /** Was something written by its subject after a cut, as far as it goes by this grant? */
  isAfterCut(grant: Grant, written: Written): boolean {
    if (agree(this.judgementUnder(grant.body.subject, grant), (cuts) => cuts.leaveOut(written))) return true;
    return this.#below(grant).cuts.leaveOut(written);
  }

  /** The same of a revocation by its subject of what hangs on it. */
  #isSilenced(grant: Grant, act: Act): boolean {
    if (isSilenced(this.judgementUnder(grant.body.subject, grant), act)) return true;
    return this.#below(grant).cuts.silence(act);
  }

  /** Does a revocation change what its subject may do? */
  isEffective({ record, body: { subject } }: Revocation): boolean {
    if (this.judgements.get(subject)?.cuts.some((cuts) => cuts.has(record.digest))) return true;
    let effective = this.#effectiveBelow.get(subject);
    if (effective === undefined) {
      const found = new Set(this.#book.ofSubject(subject).map((grant) => this.#below(grant)));
      effective = new Set([...found].flatMap(({ votes }) => votes.map((vote) => vote.record.digest)));
      this.#effectiveBelow.set(subject, effective);
    }
    return effective.has(record.digest);
  }

  /** Would a revocation of this key by that one change anything, or be a vote towards it, if it came now? */
  mayRevoke(author: KeyId, subject: KeyId, now: number): boolean {
    const operator = this.operators.get(author);
    if (operator !== undefined) return operator.cut === undefined || this.#mayAnswer(operator, subject);
    if (this.judgements.has(author)) return false;
    if (author === subject) return !this.operators.has(subject);
    const next = { author, digest: '', epoch: Number.MAX_SAFE_INTEGER, seq: 0, hlc: { ms: now, n: 0 } };
    const isFirst = ({ body }: Grant) => body.renews === undefined;
    return this.#book.ofSubject(subject).some((grant) => isFirst(grant) && this.#isBelow(grant, next));
  }

  /** Was it voted for as an operator, and is it nothing else? Those votes count until it takes office, whatever revokes it. */
  isCandidate(key: KeyId): boolean {
    const grants = this.#book.ofSubject(key);
    return !this.operators.has(key) && grants.length > 0 && grants.every(({ body }) => isAppointment(body));
  }

  /** Operators that have voted against a key and may, or may once others have too: too few, unless it is revoked. */
  votesAgainst(subject: KeyId): number {
    let votes = this.#votesAgainst.get(subject);
    if (votes === undefined) {
      votes = this.#countVotesAgainst(subject);
      this.#votesAgainst.set(subject, votes);
    }
    return votes;
  }

  #countVotesAgainst(subject: KeyId): number {
    const judgement = this.judgements.get(subject);
    if (judgement !== undefined)
      return authorsOf(judgement.votes.filter(({ record }) => this.operators.has(record.author)));
    const votes = this.#book.revocationsOf(subject).filter((vote) => {
      const voter = this.operators.get(vote.record.author);
      return this.#mayVote(vote) || (voter !== undefined && this.#mayAnswer(voter, subject));
    });
    // As many as it takes may each count, and not together.
    return Math.min(authorsOf(votes), this.#init.threshold - 1);
  }

  state(grant: Grant, now: number): GrantState {
    const { body, record } = grant;
    if (this.#isRefused(grant) || this.isCutBelow(grant)) return 'revoked';
    const fault = this.issueFault(grant);
    if (fault !== undefined) return fault;
    if (body.notAfter_ms !== null && now > body.notAfter_ms) return 'expired';
    const used = this.#book.children(record.digest).length;
    return body.uses !== null && used >= body.uses ? 'used-up' : 'valid';
  }

  /**
   * Has its subject nothing by it, whatever others who are no more senior vote? A vote counts until as many were cast
   * against its subject.
   */
  #isRefused({ body }: Grant): boolean {
    if (!isAppointment(body) || this.operators.has(body.subject)) return this.judgements.has(body.subject);
    return this.votesAgainst(body.subject) >= this.#init.threshold;
  }

  #settle(): Settlement {
    const { founders, threshold } = this.#init;
    const operators = settleOperators({ genesis: founders, threshold, book: this.#book });
    const judgements = new Map<KeyId, Judgement>();
    this.#settled = { operators, judgements };
    for (const { key, judgement } of operators.values())
      if (judgement !== undefined) judgements.set(key, judgement);
    for (const [subject, cast] of this.#book.revocations()) {
      if (operators.has(subject)) continue;
      const byOperators = cast.filter((vote) => this.#mayVote(vote));
      // Its own word about itself counts until an operator has spoken: numbers and stamps do not say which came first.
      const votes =
        byOperators.length > 0 ? byOperators : cast.filter(({ record }) => record.author === subject);
      if (votes.length > 0) judgements.set(subject, judgementOf(votes, 1));
    }
    return this.#settled;
  }

  /**
   * Could a vote of an operator that was dismissed count all the same? It does where as many as it takes, of whom it is
   * one, are senior to those who dismissed it (operators.ts): each of them has to be heard before the others have voted.
   */
  #mayAnswer({ key, rank, dismissers: heard }: Operator, subject: KeyId): boolean {
    const { threshold } = this.#init;
    if (!this.operators.has(subject)) return false;
    const ranks = Array.from(heard, (dismisser) => this.operators.get(dismisser)?.rank ?? -1);
    const dismissers = ranks.slice(0, threshold).sort((a, b) => a - b);
    const others = [...this.operators.values()].filter((other) => other.key !== key && other.key !== subject);
    const most = others.slice(0, threshold - 1).map((other) => other.rank);
    const answer = [...most, rank].sort((a, b) => a - b);
    const at = answer.findIndex((each, index) => each !== dismissers[index]);
    return answer.length === threshold && at >= 0 && answer[at]! < dismissers[at]!;
  }

  /** Was the author an operator when it cast this vote? */
  #mayVote({ record }: Revocation): boolean {
    const voter = this.operators.get(record.author);
    return voter !== undefined && !isSilenced(voter.judgement, record);
  }

  /** Of a renewal what is of its original: whoever renews a host has not let it in, and takes it back from nobody. */
  #below(grant: Grant): CutBelow {
    const { subject, parent, renews } = grant.body;
    if (renews !== undefined) {
      const original = this.#book.grant(renews);
      return original === undefined ? NOT_CUT : this.#below(original);
    }
    // An operator's word, such as an appointment, hangs on no admitter.
    if (parent === null) return NOT_CUT;
    const cast = this.#book.revocationsOf(subject);
    if (cast.length === 0) return NOT_CUT;
    const place = `${subject} ${parent}`;
    let found = this.#cutBelow.get(place);
    if (found === undefined) {
      const votes = cast.filter(({ record }) => record.author !== subject && this.#isBelow(grant, record));
      found = votes.length === 0 ? NOT_CUT : { votes, cuts: new Cuts(votes) };
      this.#cutBelow.set(place, found);
    }
    return found;
  }

  /** Do as many with smaller digests that are not void take all uses of the grant above? */
  #isOverUsed(above: Grant, uses: number, { record }: Grant): boolean {
    const siblings = this.#book.children(above.record.digest);
    if (this.#book.revocationsOf(above.body.subject).length === 0)
      return placeOf(siblings, record.digest) >= uses;
    let last = this.#lastUses.get(above.record.digest);
    if (last === undefined) {
      last = this.#lastUse(above, uses, siblings);
      this.#lastUses.set(above.record.digest, last);
    }
    return record.digest > last;
  }

  #lastUse(above: Grant, uses: number, siblings: readonly Grant[]): string {
    if (uses === 0) return '';
    let used = 0;
    for (const { record } of siblings) {
      if (this.#isVoid(record, above)) continue;
      used += 1;
      if (used === uses) return record.digest;
    }
    return AFTER_ALL;
  }

  #faultOf(grant: Grant): IssueFault | undefined {
    const { digest } = grant.record;
    if (!this.#faults.has(digest)) this.#faults.set(digest, this.issueFault(grant));
    return this.#faults.get(digest);
  }

  /** Does a grant that is no renewal come from the author of a vote, who was an admitter when casting it? */
  #isBelow({ body: { parent } }: Grant, vote: Vote): boolean {
    let above = parent === null ? undefined : this.#book.grant(parent);
    for (let length = 0; above !== undefined && length < CHAIN_LENGTH_MAX; length += 1) {
      if (above.body.subject === vote.author && this.#mayRevokeBelow(above, vote)) return true;
      above = above.body.parent === null ? undefined : this.#book.grant(above.body.parent);
    }
    return false;
  }

  #mayRevokeBelow(above: Grant, vote: Vote): boolean {
    return (
      above.body.roles.includes('admitter') &&
      !isPast(this.#book.lastEnd(above), vote.hlc) &&
      !this.#isSilenced(above, vote) &&
      this.#faultOf(above) === undefined
    );
  }
}

/** Grants of one key with the same are below the same admitters. */
function placeBelow({ body: { parent, renews } }: Grant): string {
  return `${parent} ${renews}`;
}

function termOf(grant: Grant): Term {
  return { grant, bits: bitsGiven(grant.body) };
}

/** The last to end first. */
function byEnd({ grant: { body: a } }: Term, { grant: { body: b } }: Term): number {
  return (b.notAfter_ms ?? Number.MAX_VALUE) - (a.notAfter_ms ?? Number.MAX_VALUE);
}

function authorsOf(votes: readonly Revocation[]): number {
  return new Set(votes.map(({ record }) => record.author)).size;
}
