/**
 * What several revocations of one key leave of what it wrote. Whoever may revoke can do so thousands of times, and each
 * of the key's records is asked about: so no question here looks at each of them.
 */
import type { Hlc } from '../base/clock.ts';
import type { LedgerRecord } from '../ledger/record.ts';
import type { Revocation } from './acts.ts';
import { type Cut, compareCuts, isAfter, NOTHING, type Place } from './cut.ts';

/**
 * A key that was cut off has numbers left that it never used, below its cut. What it writes under them later has to
 * bear a stamp of before: by how much later a stamp may be, for clocks differ.
 */
export const STAMP_LATE_MS = 60_000;

/** Where and when a key wrote something. */
export interface Written extends Place {
  readonly hlc: Hlc;
}

/** A revocation, or a vote for an operator. */
export type Act = Pick<LedgerRecord, 'digest' | 'epoch' | 'seq' | 'hlc'>;

/** Of revocations that keep some grants, how many are at or below each cut; and the same of those that keep one grant. */
interface Keeping {
  readonly cuts: readonly Cut[];
  readonly byKept: ReadonlyMap<string, readonly Cut[]>;
}

export class Cuts {
  readonly #revocations: readonly Revocation[];
  /** The strictest. */
  readonly #cut: Cut | undefined;
  readonly #written_ms: number;
  /** The strictest of those that keep no grants, with descendants: of nothing. */
  readonly #voiding: Cut | undefined;
  #keeping: Keeping | undefined;
  #digests: ReadonlySet<string> | undefined;

  /** @param revocations of one key; any of them is enough. */
  constructor(revocations: readonly Revocation[]) {
    this.#revocations = revocations;
    this.#cut = strictest(revocations.map(({ body }) => body));
    this.#written_ms = revocations.reduce((least, { record }) => Math.min(least, record.hlc.ms), Infinity);
    this.#voiding = strictest(
      revocations.filter(({ body }) => !keepsAny(body)).map(({ body }) => voiding(body)),
    );
  }

  /** Is a revocation with this digest among them? */
  has(digest: string): boolean {
    this.#digests ??= new Set(this.#revocations.map(({ record }) => record.digest));
    return this.#digests.has(digest);
  }

  /** Was it written after one of the cuts, or, by its stamp, after one of the revocations? Not for grants. */
  leaveOut(written: Written): boolean {
    if (this.#cut === undefined) return false;
    return isAfter(written, this.#cut) || written.hlc.ms > this.#written_ms + STAMP_LATE_MS;
  }

  /**
   * The same of a revocation or a vote. Where the descendants go, so does what is not named: of what bears an old number and
   * an old stamp nobody can tell whether the key's thief signed it afterwards.
   */
  silence(act: Act): boolean {
    return this.leaveOut(act) || this.void(act);
  }

  /** Does one of them void this grant, which the key issued? */
  void(grant: Pick<LedgerRecord, 'digest' | 'epoch' | 'seq'>): boolean {
    if (this.#cut === undefined) return false;
    if (this.#voiding !== undefined && isAfter(grant, this.#voiding)) return true;
    this.#keeping ??= keeping(this.#revocations);
    const kept = this.#keeping.byKept.get(grant.digest) ?? [];
    return countBefore(this.#keeping.cuts, grant) > countBefore(kept, grant);
  }
}

type Body = Revocation['body'];

function keepsAny({ keeps }: Body): boolean {
  return keeps !== undefined && keeps.length > 0;
}

/** Does this one alone void a grant that its subject issued? @param kept of what it keeps, all that is asked about. */
export function voids(
  body: Body,
  kept: ReadonlySet<string>,
  grant: Pick<LedgerRecord, 'digest' | 'epoch' | 'seq'>,
): boolean {
  return isAfter(grant, voiding(body)) && !kept.has(grant.digest);
}

/** Whatever grant comes after it is void. */
function voiding(body: Body): Cut {
  return body.descendants === true ? NOTHING : body;
}

function strictest(cuts: readonly Cut[]): Cut | undefined {
  return cuts.reduce<Cut | undefined>(
    (least, cut) => (least === undefined || compareCuts(cut, least) < 0 ? cut : least),
    undefined,
  );
}

function keeping(revocations: readonly Revocation[]): Keeping {
  const cuts: Cut[] = [];
  const byKept = new Map<string, Cut[]>();
  const sorted = revocations
    .filter(({ body }) => keepsAny(body))
    .map(({ body }) => ({ cut: voiding(body), keeps: new Set(body.keeps) }))
    .sort((a, b) => compareCuts(a.cut, b.cut));
  for (const { cut, keeps } of sorted) {
    cuts.push(cut);
    for (const digest of keeps) {
      const list = byKept.get(digest);
      if (list === undefined) byKept.set(digest, [cut]);
      else list.push(cut);
    }
  }
  return { cuts, byKept };
}

/** @param cuts the strictest first. @returns how many of them a place is after. */
function countBefore(cuts: readonly Cut[], place: Place): number {
  let [low, high] = [0, cuts.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isAfter(place, cuts[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
}
