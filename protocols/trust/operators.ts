/**
 * Who is an operator: appointments and revocations of operators, settled from the set of votes alone. In whatever
 * order and on whatever side of a partition they came, every node that has the same votes has the same operators.
 *
 * The rule. Operators have ranks: first those of genesis in its order, then appointed ones in the order of their
 * appointment. It takes `threshold` of them to appoint or to revoke one, each by a record of its own. Decisions are
 * made one at a time, and next is always the one whose voters are the most senior (the voters' ranks compared, the
 * highest first; among equals revocations first, the stricter first, then the smallest digest). A decision to revoke
 * - voids what its subject wrote after the cut, or by its stamp after the decision, and with `descendants` all that is not
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
import type { KeyId } from '../base/ids.ts';
import type { Grant, Revocation } from './acts.ts';
import { type Cut, compareCuts } from './cut.ts';
import { isSilenced, type Judgement, judgementOf } from './judgement.ts';

/** Operators that there ever were in one cluster; later appointments are passed over. Bounds the work here. */
export const OPERATORS_EVER_MAX = 64;

export interface Operator {
  readonly key: KeyId;
  /** 0 is the most senior. */
  readonly rank: number;
  /** The votes that appointed it; none for those of genesis. */
  readonly appointedBy: readonly Grant[];
  /** The votes that revoked it, those first that were enough first; none: it is in force. */
  readonly revokedBy: readonly Revocation[];
  /** Where it was cut off; undefined: it is in force. */
  readonly cut: Cut | undefined;
  /** What those votes leave of what it wrote; undefined: all. */
  readonly judgement: Judgement | undefined;
}

export interface OperatorVotes {
  readonly genesis: readonly KeyId[];
  readonly threshold: number;
  /** By subject: grants with the role `operator`. */
  readonly appointments: Iterable<readonly [KeyId, readonly Grant[]]>;
  /** By subject; those of keys that are never appointed do no harm. */
  readonly revocations: Iterable<readonly [KeyId, readonly Revocation[]]>;
}

const IN_FORCE = { revokedBy: [], cut: undefined, judgement: undefined };

/** The state of one settling; an operator's entry is replaced as it is decided about. */
type Office = Map<KeyId, Operator>;

interface Decision {
  /** Ranks of the voters that it takes, the most senior first. */
  readonly ranks: readonly number[];
  readonly subject: KeyId;
  /** undefined appoints. */
  readonly cut: Cut | undefined;
  /** All that these voters cast for it: they may have said it more than once. */
  readonly votes: readonly (Grant | Revocation)[];
}

/** @returns all who ever were in office, by key, the most senior first; those with a cut are in force no more. */
export function settleOperators(votes: OperatorVotes): ReadonlyMap<KeyId, Operator> {
  const office: Office = new Map();
  for (const key of votes.genesis) office.set(key, { ...IN_FORCE, key, rank: office.size, appointedBy: [] });
  const appointments = [...votes.appointments];
  // By author: whoever ever was an admitter may have cast thousands, which are not looked at here.
  const revocations = Array.from(
    votes.revocations,
    ([subject, cast]) => [subject, Map.groupBy(cast, ({ record }) => record.author)] as const,
  );
  for (;;) {
    let next: Decision | undefined;
    const consider = (decision: Decision | undefined) => {
      if (decision !== undefined && (next === undefined || comesFirst(decision, next))) next = decision;
    };
    for (const [subject, grants] of appointments) {
      if (!office.has(subject) && office.size < OPERATORS_EVER_MAX)
        consider(decide(office, votes.threshold, subject, grants, undefined));
    }
    for (const [subject, cast] of revocations) {
      const operator = office.get(subject);
      if (operator === undefined) continue;
      const allVoters = [...office.values()].flatMap((voter) => {
        const own = (cast.get(voter.key) ?? []).filter((vote) => mayVote(voter, vote, subject));
        return own.length === 0 ? [] : [{ key: voter.key, own, strictest: strictestOf(own) }];
      });
      // Where it takes several, and others are enough, it has no say in what is left of it: what its thief keeps would stay.
      const others = allVoters.filter(({ key }) => key !== subject);
      const byVoters = votes.threshold > 1 && others.length >= votes.threshold ? others : allVoters;
      const hear = (voters: typeof byVoters, cut: Cut) => {
        const cast = voters.flatMap(({ own }) => own);
        consider(decide(office, votes.threshold, subject, cast, cut));
      };
      // A cut between the strictest of two voters has the voters of the stricter of them, and comes after it.
      for (const { strictest: cut } of byVoters) {
        if (operator.cut !== undefined && compareCuts(cut, operator.cut) >= 0) continue;
        hear(
          byVoters.filter(({ strictest }) => compareCuts(strictest, cut) <= 0),
          cut,
        );
      }
      if (operator.cut === undefined) continue;
      // The others are heard as late as if each agreed with those right above it alone.
      for (const [at, { key }] of byVoters.entries()) {
        if (operator.revokedBy.some(({ record }) => record.author === key)) continue;
        hear(byVoters.slice(Math.max(0, at + 1 - votes.threshold), at + 1), operator.cut);
      }
    }
    if (next === undefined) return office;
    carryOut(office, votes.threshold, next);
  }
}

function decide(
  office: Office,
  threshold: number,
  subject: KeyId,
  cast: readonly (Grant | Revocation)[],
  cut: Cut | undefined,
): Decision | undefined {
  const byVoter = new Map<number, (Grant | Revocation)[]>();
  for (const vote of cast) {
    const voter = office.get(vote.record.author);
    if (voter === undefined || !mayVote(voter, vote, subject)) continue;
    const own = byVoter.get(voter.rank);
    if (own === undefined) byVoter.set(voter.rank, [vote]);
    else own.push(vote);
  }
  if (byVoter.size < threshold) return undefined;
  const ranks = [...byVoter.keys()].sort((a, b) => a - b).slice(0, threshold);
  return { ranks, subject, cut, votes: ranks.flatMap((rank) => byVoter.get(rank)!) };
}

function mayVote(voter: Operator, { record }: Grant | Revocation, subject: KeyId): boolean {
  if (voter.cut === undefined) return true;
  if (subject === voter.key || isSilenced(voter.judgement, record)) return false;
  return !voter.revokedBy.some((vote) => vote.record.author === subject);
}

function strictestOf(votes: readonly Revocation[]): Cut {
  return votes.reduce<Cut>(
    (least, { body }) => (compareCuts(body, least) < 0 ? body : least),
    votes[0]!.body,
  );
}

function comesFirst(a: Decision, b: Decision): boolean {
  for (const [at, rank] of a.ranks.entries()) if (rank !== b.ranks[at]) return rank < b.ranks[at]!;
  if ((a.cut === undefined) !== (b.cut === undefined)) return a.cut !== undefined;
  const strictness = a.cut === undefined || b.cut === undefined ? 0 : compareCuts(a.cut, b.cut);
  return strictness === 0 ? smallestDigest(a) < smallestDigest(b) : strictness < 0;
}

function smallestDigest({ votes }: Decision): string {
  return votes.reduce((least, { record }) => (record.digest < least ? record.digest : least), 'g');
}

function carryOut(office: Office, threshold: number, { subject, cut, votes }: Decision): void {
  const before = office.get(subject);
  if (before === undefined) {
    office.set(subject, { ...IN_FORCE, key: subject, rank: office.size, appointedBy: votes as Grant[] });
  } else {
    // Whoever votes again, for a stricter cut, has said what it said before.
    const revokedBy = [...new Set([...before.revokedBy, ...(votes as Revocation[])])];
    office.set(subject, { ...before, revokedBy, cut, judgement: judgementOf(revokedBy, threshold) });
  }
}
