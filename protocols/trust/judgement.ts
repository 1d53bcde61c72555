/** What counts against one key: who must agree, and what that leaves of what it wrote. */
import type { Revocation } from './acts.ts';
import { type Act, Cuts } from './cuts.ts';

/** Revocations of a key that count, and how many authors must agree before something is void. */
export interface Judgement {
  readonly votes: readonly Revocation[];
  readonly needed: number;
  /** Of each author; of all together where one is enough. */
  readonly cuts: readonly Cuts[];
}

export function judgementOf(votes: readonly Revocation[], needed: number): Judgement {
  if (needed === 1) return { votes, needed, cuts: [new Cuts(votes)] };
  const byAuthor = Map.groupBy(votes, ({ record }) => record.author);
  return { votes, needed, cuts: Array.from(byAuthor.values(), (cast) => new Cuts(cast)) };
}

/** Do as many authors as it takes say so? Nobody has said anything of a key that is not judged. */
export function agree(judgement: Judgement | undefined, says: (cuts: Cuts) => boolean): boolean {
  return judgement !== undefined && judgement.cuts.filter(says).length >= judgement.needed;
}

/** Does a revocation or a vote by the key count no more? */
export function isSilenced(judgement: Judgement | undefined, act: Act): boolean {
  return agree(judgement, (cuts) => cuts.silence(act));
}
