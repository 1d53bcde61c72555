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

export class Cuts {
  readonly #revocations: readonly Revocation[];
  /** The strictest. */
  readonly #cut: Cut | undefined;
  readonly #written_ms: number;
  readonly #voiding: Bounds;
  #silencing: Bounds | undefined;
  #digests: ReadonlySet<string> | undefined;

  /** @param revocations of one key; any of them is enough. */
  constructor(revocations: readonly Revocation[]) {
    this.#revocations = revocations;
    this.#cut = strictest(revocations.map(({ body }) => body));
    this.#written_ms = revocations.reduce((least, { record }) => Math.min(least, record.hlc.ms), Infinity);
    this.#voiding = new Bounds(revocations, ({ body }) => voiding(body));
  }

  /** Is a revocation with this digest among them? */
  has(digest: string): boolean {
    this.#digests ??= new Set(this.#revocations.map(({ record }) => record.digest));
    return this.#digests.has(digest);
  }

  /** Was it written after one of the cuts, or, by its stamp, after one of the revocations? Not for grants, nor for acts. */
  leaveOut(written: Written): boolean {
    if (this.#cut === undefined) return false;
    return isAfter(written, this.#cut) || written.hlc.ms > this.#written_ms + STAMP_LATE_MS;
  }

  /**
   * The same of a revocation or a vote. Where the descendants go, so does what is not named: of what bears an old number and
   * an old stamp nobody can tell whether the key's thief signed it afterwards. What is named stays, as grants do: who named it
   * knows it, whatever its number and stamp.
   */
  silence(act: Act): boolean {
    if (this.void(act)) return true;
    if (act.hlc.ms <= this.#written_ms + STAMP_LATE_MS) return false;
    this.#silencing ??= new Bounds(this.#revocations, ({ record }) => lateness(record));
    return this.#silencing.exclude(byStamp(act), act.digest);
  }

  /** Does one of them void this grant, which the key issued? */
  void(grant: Pick<LedgerRecord, 'digest' | 'epoch' | 'seq'>): boolean {
    return this.#voiding.exclude(grant, grant.digest);
  }
}

/** Up to where each of several revocations leaves what it does not keep. */
class Bounds {
  readonly #revocations: readonly Revocation[];
  readonly #boundOf: (revocation: Revocation) => Cut;
  /** The strictest of those that keep nothing. */
  readonly #bare: Cut | undefined;
  /** Of those that keep something, the strictest first; and the same of those that keep one record. */
  #keeping: readonly Cut[] | undefined;
  readonly #byKept = new Map<string, Cut[]>();

  constructor(revocations: readonly Revocation[], boundOf: (revocation: Revocation) => Cut) {
    this.#revocations = revocations;
    this.#boundOf = boundOf;
    this.#bare = strictest(revocations.filter(({ body }) => !keepsAny(body)).map(boundOf));
  }

  /** Is it after the bound of one that does not keep it? */
  exclude(place: Place, digest: string): boolean {
    if (this.#bare !== undefined && isAfter(place, this.#bare)) return true;
    this.#keeping ??= this.#sort();
    return countBefore(this.#keeping, place) > countBefore(this.#byKept.get(digest) ?? [], place);
  }

  #sort(): readonly Cut[] {
    const sorted = this.#revocations
      .filter(({ body }) => keepsAny(body))
      .map((revocation) => ({ bound: this.#boundOf(revocation), keeps: new Set(revocation.body.keeps) }))
      .sort((a, b) => compareCuts(a.bound, b.bound));
    for (const { bound, keeps } of sorted)
      for (const digest of keeps) {
        const list = this.#byKept.get(digest);
        if (list === undefined) this.#byKept.set(digest, [bound]);
        else list.push(bound);
      }
    return sorted.map(({ bound }) => bound);
  }
}

type Body = Revocation['body'];

function keepsAny({ keeps }: Body): boolean {
  return keeps !== undefined && keeps.length > 0;
}

/** Does this one alone void a grant that its subject issued? @param kept of what it keeps, all that is asked about. */
export function voids(
  { body }: Revocation,
  kept: ReadonlySet<string>,
  grant: Pick<LedgerRecord, 'digest' | 'epoch' | 'seq'>,
): boolean {
  return isAfter(grant, voiding(body)) && !kept.has(grant.digest);
}

/** The same of a revocation or a vote that it silences. */
export function silences(revocation: Revocation, kept: ReadonlySet<string>, act: Act): boolean {
  if (kept.has(act.digest)) return false;
  return voids(revocation, kept, act) || isAfter(byStamp(act), lateness(revocation.record));
}

/** Whatever grant comes after it is void. */
function voiding(body: Body): Cut {
  return body.descendants === true ? NOTHING : body;
}

/** The last stamp that it leaves to an act, and where an act stands among stamps, in the terms of cuts. */
function lateness({ hlc }: Pick<LedgerRecord, 'hlc'>): Cut {
  return { epoch: hlc.ms + STAMP_LATE_MS, last: 0 };
}

function byStamp({ hlc }: Act): Place {
  return { epoch: hlc.ms, seq: 0 };
}

function strictest(cuts: readonly Cut[]): Cut | undefined {
  return cuts.reduce<Cut | undefined>(
    (least, cut) => (least === undefined || compareCuts(cut, least) < 0 ? cut : least),
    undefined,
  );
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
