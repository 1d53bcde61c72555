/**
 * Who is an operator: appointments and revocations of operators, settled from the set of votes alone. In whatever
 * order and on whatever side of a partition they came, every node that has the same votes has the same operators.
 *
 * The rule. Operators have ranks: first those of genesis in its order, then appointed ones in the order of their
 * appointment. It takes `threshold` of them to appoint or to revoke one, each by a record of its own. Decisions are
 * made one at a time, and next is always the one whose voters are the most senior (the voters' ranks compared, the
 * highest first; among equals revocations first, the stricter first, then the smallest digest). A decision to revoke
 * - voids what its subject wrote after the cut, or by its stamp after the decision, with `descendants` all, but for what is
 *   named, and so the votes that it cast so, for all later decisions; nor does its word about itself count then;
 * - voids all votes of its subject against those who decided it, wherever they stand: who is accused by seniors
 *   cannot have struck first;
 * and what is decided stays decided. A stricter cut is a decision of its own, and so is the word of each further operator:
 * what it voids besides is void too, as far as `threshold` of them agree, and a later word takes nothing back.
 *
 * What follows. With threshold 1 a thief of a junior key can undo juniors to it until a senior answers, and the
 * answer undoes the thief's acts wherever the cut is set before them. A thief of the most senior key cannot be
 * answered, which is why that key is kept offline, and why more than one host is better served by a threshold of 2:
 * then one stolen key, even the most senior, decides nothing about operators, and any two others replace it. Two
 * camps of `threshold` keys each that revoke one another leave the camp with the most senior key.
 * A key that was dismissed and is senior to those who did it can come back by answering: destroy it, or have a
 * threshold. A dismissed key is never appointed again: make a new one. A vote to appoint cannot be taken back, for
 * nobody could tell whether that came before the appointment or is one vote to dismiss. So revocations of a key that is
 * not in office wait: as many as it takes dismiss it in the moment of its appointment, fewer change nothing. Nor do
 * as many where those who appointed it, with itself, are senior to them and dismiss one of them first.
 */
import { Heap } from '../base/heap.ts';
import type { KeyId } from '../base/ids.ts';
import type { Grant, Revocation } from './acts.ts';
import { type Cut, compareCuts } from './cut.ts';
import type { GrantBook } from './grant-book.ts';
import { isSilenced, type Judgement, judgementOf } from './judgement.ts';

/** Operators that there ever were in one cluster; later appointments are passed over. Bounds the work here. */
export const OPERATORS_EVER_MAX = 64;

export interface Operator {
  readonly key: KeyId;
  /** 0 is the most senior. */
  readonly rank: number;
  /** The votes that appointed it; none for those of genesis. */
  readonly appointedBy: readonly Grant[];
  /** The votes that revoked it; none: it is in force. */
  readonly revokedBy: readonly Revocation[];
  /** Who cast them, those first that were enough first. */
  readonly dismissers: ReadonlySet<KeyId>;
  /** Where it was cut off; undefined: it is in force. */
  readonly cut: Cut | undefined;
  /** What those votes leave of what it wrote; undefined: all. */
  readonly judgement: Judgement | undefined;
}

export interface OperatorVotes {
  readonly genesis: readonly KeyId[];
  readonly threshold: number;
  readonly book: Pick<GrantBook, 'appointmentsOf' | 'votedForBy' | 'votersFor' | 'revocationsOf'>;
}

const IN_FORCE = { revokedBy: [], dismissers: new Set<KeyId>(), cut: undefined, judgement: undefined };

interface Voter {
  readonly operator: Operator;
  /** All that it has cast for the subject, and that counts: it may have said it more than once. */
  readonly own: readonly (Grant | Revocation)[];
}

/** One who votes against a subject, and the strictest of its cuts. */
interface Accuser extends Voter {
  readonly strictest: Cut;
}

interface Decision {
  readonly subject: KeyId;
  /** undefined appoints. */
  readonly cut: Cut | undefined;
  /** Those that it takes, the most senior first. */
  readonly voters: readonly Operator[];
  readonly votes: readonly (Grant | Revocation)[];
  /** The smallest of the votes. */
  readonly digest: string;
}

/** @returns all who ever were in office, by key, the most senior first; those with a cut are in force no more. */
export function settleOperators(votes: OperatorVotes): ReadonlyMap<KeyId, Operator> {
  return new Settling(votes).settle();
}

/** The state of one settling. One key may have voted for thousands, so nobody is looked at again without a reason. */
class Settling {
  readonly #votes: OperatorVotes;
  /** The most senior first. An operator's entry is replaced as it is decided about. */
  readonly #office = new Map<KeyId, Operator>();
  /** For whom enough have voted; once some of those count no more it is late enough to ask again when it comes up. */
  readonly #appointments = new Heap<Decision>(comesFirst);
  readonly #carried = new Set<KeyId>();
  /** By subject that is in office: the first of what is to be decided about it. */
  readonly #dismissals = new Map<KeyId, Decision | undefined>();
  /** Subjects about which that may come later, or never: it is late enough to look again when it comes up. */
  readonly #stale = new Set<KeyId>();
  /** By subject and author: whoever ever was an admitter may have cast thousands, which are not looked at here. */
  readonly #cast = new Map<KeyId, ReadonlyMap<KeyId, readonly Revocation[]>>();

  constructor(votes: OperatorVotes) {
    this.#votes = votes;
  }

  settle(): ReadonlyMap<KeyId, Operator> {
    const { genesis } = this.#votes;
    for (const key of genesis) this.#seat(key, []);
    for (const key of genesis) this.#isHeard(key);
    for (let next = this.#next(); next !== undefined; next = this.#next()) this.#carryOut(next);
    return this.#office;
  }

  #seat(key: KeyId, appointedBy: readonly Grant[]): void {
    this.#office.set(key, { ...IN_FORCE, key, rank: this.#office.size, appointedBy });
    const cast = Map.groupBy(this.#votes.book.revocationsOf(key), ({ record }) => record.author);
    this.#cast.set(key, cast);
  }

  /** It has come to office, and may carry others, and dismiss them. */
  #isHeard(key: KeyId): void {
    for (const [subject, cast] of this.#cast) if (subject === key || cast.has(key)) this.#lookAt(subject);
    for (const subject of this.#votes.book.votedForBy(key)) this.#appoint(subject);
  }

  /** It was dismissed, or more of what it wrote is void, and of its votes fewer count. */
  #isCut(key: KeyId): void {
    this.#lookAt(key);
    for (const [subject, cast] of this.#cast) {
      if (subject === key || !cast.has(key)) continue;
      // Where it takes several, a subject of which fewer others say so has a say itself, and may be the most senior.
      if (this.#votes.threshold === 1) this.#stale.add(subject);
      else this.#lookAt(subject);
    }
  }

  /** What is to be decided about a key may be another thing now. */
  #lookAt(subject: KeyId): void {
    this.#stale.delete(subject);
    this.#dismissals.set(subject, this.#dismissal(subject));
  }

  #appoint(subject: KeyId): void {
    const { threshold, book } = this.#votes;
    if (this.#office.has(subject) || this.#carried.has(subject)) return;
    if (book.votersFor(subject).length < threshold) return;
    const cast = Map.groupBy(book.appointmentsOf(subject), ({ record }) => record.author);
    const decision = this.#decision(subject, this.#voters(subject, cast), undefined);
    if (decision === undefined) return;
    this.#carried.add(subject);
    this.#appointments.add(decision);
  }

  #next(): Decision | undefined {
    for (;;) {
      let next = this.#nextAppointment();
      for (const decision of this.#dismissals.values())
        if (decision !== undefined && (next === undefined || comesFirst(decision, next))) next = decision;
      if (next === undefined || !this.#stale.has(next.subject)) return next;
      this.#lookAt(next.subject);
    }
  }

  #nextAppointment(): Decision | undefined {
    while (this.#office.size < OPERATORS_EVER_MAX) {
      const { first } = this.#appointments;
      if (first === undefined) return undefined;
      const { subject, voters } = first;
      if (!this.#office.has(subject) && voters.every((voter) => this.#office.get(voter.key) === voter))
        return first;
      this.#appointments.take();
      this.#carried.delete(subject);
      this.#appoint(subject);
    }
    return undefined;
  }

  /** The most senior first. */
  #voters<T extends Grant | Revocation>(subject: KeyId, cast: ReadonlyMap<KeyId, readonly T[]>) {
    const voters: { readonly operator: Operator; readonly own: readonly T[] }[] = [];
    for (const [author, votes] of cast) {
      const operator = this.#office.get(author);
      const own = operator === undefined ? [] : votes.filter((vote) => mayVote(operator, vote, subject));
      if (own.length > 0) voters.push({ operator: operator!, own });
    }
    return voters.sort((a, b) => a.operator.rank - b.operator.rank);
  }

  #dismissal(subject: KeyId): Decision | undefined {
    const { threshold } = this.#votes;
    const { cut: before, dismissers } = this.#office.get(subject)!;
    const all = this.#voters(subject, this.#cast.get(subject)!).map(
      (voter): Accuser => ({ ...voter, strictest: strictestOf(voter.own) }),
    );
    // Where it takes several, and others are enough, it has no say in what is left of it: what its thief keeps would stay.
    const others = all.filter(({ operator }) => operator.key !== subject);
    const accusers = threshold > 1 && others.length >= threshold ? others : all;
    let next: Decision | undefined;
    const consider = (voters: readonly Accuser[], cut: Cut) => {
      const decision = this.#decision(subject, voters, cut);
      if (decision !== undefined && (next === undefined || comesFirst(decision, next))) next = decision;
    };
    // A cut between the strictest of two voters has the voters of the stricter of them, and comes after it.
    for (const { strictest: cut } of accusers) {
      if (before !== undefined && compareCuts(cut, before) >= 0) continue;
      consider(
        accusers.filter(({ strictest }) => compareCuts(strictest, cut) <= 0),
        cut,
      );
    }
    if (before === undefined) return next;
    // The others are heard as late as if each agreed with those right above it alone: of these the most senior is the next.
    const at = accusers.findIndex(
      ({ operator }, place) => place + 1 >= threshold && !dismissers.has(operator.key),
    );
    if (at >= 0) consider(accusers.slice(at + 1 - threshold, at + 1), before);
    return next;
  }

  #decision(subject: KeyId, all: readonly Voter[], cut: Cut | undefined): Decision | undefined {
    const { threshold } = this.#votes;
    if (all.length < threshold) return undefined;
    const those = all.slice(0, threshold);
    const votes = those.flatMap(({ own }) => own);
    const digest = votes.reduce((least, { record }) => (record.digest < least ? record.digest : least), 'g');
    return { subject, cut, voters: those.map(({ operator }) => operator), votes, digest };
  }

  #carryOut({ subject, cut, voters, votes }: Decision): void {
    const before = this.#office.get(subject);
    if (before === undefined) {
      this.#seat(subject, votes as Grant[]);
      this.#isHeard(subject);
    } else {
      // Whoever votes again, for a stricter cut, has said what it said before.
      const revokedBy = [...new Set([...before.revokedBy, ...(votes as Revocation[])])];
      const dismissers = new Set([...before.dismissers, ...voters.map(({ key }) => key)]);
      const judgement = judgementOf(revokedBy, this.#votes.threshold);
      this.#office.set(subject, { ...before, revokedBy, dismissers, cut, judgement });
      this.#isCut(subject);
    }
  }
}

function mayVote(voter: Operator, { record }: Grant | Revocation, subject: KeyId): boolean {
  if (voter.cut === undefined) return true;
  if (subject === voter.key || isSilenced(voter.judgement, record)) return false;
  return !voter.dismissers.has(subject);
}

function strictestOf(votes: readonly Revocation[]): Cut {
  return votes.reduce<Cut>(
    (least, { body }) => (compareCuts(body, least) < 0 ? body : least),
    votes[0]!.body,
  );
}

function comesFirst(a: Decision, b: Decision): boolean {
  const at = a.voters.findIndex(({ rank }, index) => rank !== b.voters[index]!.rank);
  if (at >= 0) return a.voters[at]!.rank < b.voters[at]!.rank;
  if ((a.cut === undefined) !== (b.cut === undefined)) return a.cut !== undefined;
  const strictness = a.cut === undefined || b.cut === undefined ? 0 : compareCuts(a.cut, b.cut);
  return strictness === 0 ? a.digest < b.digest : strictness < 0;
}
