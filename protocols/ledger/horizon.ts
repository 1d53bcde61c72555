/**
 * What this node holds of the past: up to where deletions were collected, and whether its own disk can be trusted
 * about the time before. A disk is in doubt when it shows itself that it is old: records of its own came from others
 * that it does not know, it lost records, or all agreed on a round that it never acknowledged. Doubt is durable, and ends
 * when this node has the same past as a peer that has collected as far, is in no doubt (cover.ts) and could delete
 * anything itself; until then it vouches for nothing. So who is in no doubt holds nothing that was deleted before its horizon.
 * Not here: who has to acknowledge what (collection.ts).
 */
import { type Ack, hasSaid, ROUNDS_MAX, type Round } from './collection.ts';
import { Cover } from './cover.ts';
import { isGrowOnly } from './ledger.ts';
import type { LedgerRecord } from './record.ts';

/** The horizon of a disk in doubt. */
export const HORIZON_UNKNOWN = -1;

/**
 * What came late is held so long though others lack it: whoever gave it may not have met them yet. Well above the time in
 * which all that are connected have compared their ledgers; where two never are, it comes and goes no more often than this.
 */
export const HEARSAY_MS = 600_000;

/** Rounds of which the tombstones are known one by one; of older ones only while their hash tells (collection.ts). */
const KNOWN_MAX = 4;

/** A round, and the digests of the tombstones that it is about. */
interface Known extends Round {
  readonly of: ReadonlySet<string>;
}

export class Horizon {
  #ms: number;
  #isInDoubt: boolean;
  /** What is held here from before that stamp may have been collected elsewhere; 0 while no round says so. */
  #doubted_ms = 0;
  /** How much of what is doubted was seen at a peer that has collected as far. */
  #cover: Cover | undefined;
  /** What this very disk has acknowledged since it last collected. */
  #said: readonly Round[];
  /** Of those the latest, as they were acknowledged. */
  #known: readonly Known[] = [];
  /**
   * What is from before the horizon and others may lack, to whom this node could not give it: when it came after the horizon,
   * or was kept here when they collected the deletion beside it.
   */
  readonly #late = new WeakMap<LedgerRecord, number>();

  /** @param stored as `durable_ms` last was. @param acked what the disk holds of its own acknowledgements. */
  constructor(stored: number, acked: Ack | undefined) {
    this.#ms = Math.max(0, stored);
    this.#isInDoubt = stored === HORIZON_UNKNOWN;
    this.#said = acked?.rounds ?? [];
  }

  /** Milliseconds; 0 before the first collection. */
  get ms(): number {
    return this.#ms;
  }

  get isInDoubt(): boolean {
    return this.#isInDoubt;
  }

  /** For the disk. */
  get durable_ms(): number {
    return this.#isInDoubt ? HORIZON_UNKNOWN : this.#ms;
  }

  /** For peers: one that is in doubt itself must not make others let go of anything. */
  get told_ms(): number {
    return this.#isInDoubt ? 0 : this.#ms;
  }

  /** Not always the same as the record says: what came back from others this disk has not said itself. */
  acknowledge(round: Round, of: readonly LedgerRecord[] = []): void {
    // As the record does: what is beyond that it does not say any more.
    this.#said = [...this.#said, round].sort((a, b) => a.upTo_ms - b.upTo_ms).slice(-ROUNDS_MAX);
    this.#know(round, of);
  }

  /** @param tombstonesOf what is held of a round, if that is what its hash is of. */
  recall(tombstonesOf: (round: Round) => readonly LedgerRecord[] | undefined): void {
    for (const round of this.#said.slice(-KNOWN_MAX)) {
      const of = tombstonesOf(round);
      if (of !== undefined) this.#know(round, of);
    }
  }

  #know({ upTo_ms, hash }: Round, of: readonly LedgerRecord[]): void {
    const digests = new Set(of.map(({ digest }) => digest));
    this.#known = [...this.#known.slice(1 - KNOWN_MAX), { upTo_ms, hash, of: digests }];
  }

  /** The digests of the tombstones of a round that was acknowledged, where they are known. */
  acknowledgedOf({ upTo_ms, hash }: Round): ReadonlySet<string> | undefined {
    return this.#known.find((known) => known.upTo_ms === upTo_ms && known.hash === hash)?.of;
  }

  /** Has this very disk? */
  hasAcknowledged(round: Round): boolean {
    return hasSaid({ rounds: this.#said }, round);
  }

  /**
   * All have agreed on a round.
   * @param areAllInDoubt what they hold together is then all that there is. What a disk holds that was put back since is not
   * part of it: others may have collected the round by now, and have not said yet that they are in doubt no more.
   */
  advance(round: Round, areAllInDoubt: boolean): void {
    const hasAcknowledged = this.hasAcknowledged(round);
    if (!hasAcknowledged) this.doubt();
    this.#said = this.#said.filter(({ upTo_ms }) => upTo_ms >= round.upTo_ms);
    this.#known = this.#known.filter(({ upTo_ms }) => upTo_ms > round.upTo_ms);
    this.#ms = round.upTo_ms;
    if (areAllInDoubt && hasAcknowledged) this.#vouch();
    if (!this.#isInDoubt) return;
    this.#doubted_ms = round.upTo_ms;
    this.#cover = new Cover(round.upTo_ms);
  }

  /** As after a restart: a disk in doubt has no horizon until the next look at what all agree on. */
  doubt(): void {
    if (this.#isInDoubt) return;
    this.#isInDoubt = true;
    this.#ms = 0;
  }

  /**
   * A peer that tells this horizon holds what we hold, of what is doubted. Before the first look at what all agree on
   * that ends no doubt: without a horizon what was collected would be taken from whoever still holds it.
   * @returns whether it ends a doubt.
   */
  equals(theirs_ms: number): boolean {
    if (!this.#isInDoubt || this.#ms === 0 || theirs_ms < Math.max(this.#doubted_ms, this.#ms)) return false;
    this.#vouch();
    return true;
  }

  #vouch(): void {
    this.#isInDoubt = false;
    this.#doubted_ms = 0;
    this.#cover = undefined;
  }

  /** Undefined when a peer that tells this horizon cannot end a doubt, or there is none that a round gives a bound. */
  coverOf(theirs_ms: number): Cover | undefined {
    return this.#doubted_ms > 0 && theirs_ms >= this.#doubted_ms ? this.#cover : undefined;
  }

  /** Records came from a peer that tells this horizon. */
  took(records: readonly LedgerRecord[], theirs_ms: number): void {
    if (theirs_ms < this.#doubted_ms && records.some(({ hlc }) => hlc.ms <= this.#doubted_ms))
      this.#cover?.forget();
  }

  /** From before the horizon: all saw it, or it was deleted and collected. */
  isPast(record: LedgerRecord): boolean {
    return !this.#isInDoubt && record.hlc.ms <= this.#ms && isCollectable(record);
  }

  /**
   * A record from before the horizon was taken on the word of one peer, and nobody would take it from here. Or that may be
   * so, for all that this node still knows: a deletion that others collect stands beside it.
   */
  tookLate(record: LedgerRecord, now: number): void {
    this.#late.set(record, now);
  }

  /** Held here, and lacked by a peer that tells this horizon: may it have been collected? */
  isDoubtful(record: LedgerRecord, theirs_ms: number, now: number): boolean {
    if (this.#isHearsay(record, theirs_ms, now)) return true;
    const doubted_ms = this.#doubted_ms;
    return doubted_ms > 0 && theirs_ms >= doubted_ms && record.hlc.ms <= doubted_ms && isCollectable(record);
  }

  /** Had it been true, a peer that could have got it directly would have it by now: its word weighs as much as the other's. */
  #isHearsay(record: LedgerRecord, theirs_ms: number, now: number): boolean {
    const since_ms = this.#late.get(record);
    // A clock that was set back does not hold it for longer.
    if (since_ms === undefined || Math.abs(now - since_ms) < HEARSAY_MS) return false;
    return this.isPast(record) && theirs_ms >= this.#ms;
  }
}

function isCollectable(record: LedgerRecord): boolean {
  return !isGrowOnly(record.kind) && record.kind !== 'genesis' && record.kind !== 'ack';
}
