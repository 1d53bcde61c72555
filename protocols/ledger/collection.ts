/**
 * When a tombstone may go: once every unrevoked member has shown that it holds it. Members write `ack` records: "all
 * tombstones that I hold, from after my horizon and stamped up to T, have this hash". When those of all members agree, T is
 * the new horizon: the tombstones are collected, and a record from before the horizon that a node does not hold is stale.
 *
 * Nobody claims another's state: the horizon follows from signed records alone. A member that is away holds collection
 * up until it is back or removed; one that was granted after T need not have acknowledged it. So that nobody is left
 * behind, whatever was acknowledged stays acknowledged until its author has collected as far: as long as one member has
 * not seen an agreement that others have acted on, all of it is still there to be seen. Acknowledgements of two lives of
 * a node stand beside one another until one of them knows the other (ledger.ts): an old disk cannot unsay what its
 * former self has said. And nobody acknowledges or collects anything while it does not see how others could have
 * collected what they say: that is how an old disk waits for its former self's acknowledgement, which puts it in doubt
 * (horizon.ts). Unless all but itself have agreed: it was no member then, which a revocation that was undone may have
 * brought about. It follows them in doubt, and so does who said one hash of a round when those who have collected said
 * another.
 * Source: causal stability, Baquero et al., "Making Operation-Based CRDTs Operation-Based" (2014).
 */
import type { KeyId, NodeId } from '../base/ids.ts';
import type { AckBody } from '../base/records.ts';
import { sumFromHex, summandsOf, sumOf, sumToHex } from './digest-sum.ts';
import { isGrowOnly, type Ledger } from './ledger.ts';
import type { LedgerRecord } from './record.ts';

export interface CollectionConfig {
  /** Tombstones younger than this are never collected: longer than any message may be under way. */
  readonly tombstone_ms: number;
  /** How often acknowledgements are looked at, jittered by a quarter. */
  readonly collect_ms: number;
  /**
   * An agreement is acted on once it was seen for so long, and nothing of its time has come for so long: who comes back may
   * hear it before it hears of a member that has to agree as well, and before older writes, which all would let go of then.
   * Less than between two looks, more than between two messages of a repair.
   */
  readonly caughtUp_ms: number;
}

export const COLLECTION_DEFAULTS: CollectionConfig = {
  tombstone_ms: 3_600_000,
  collect_ms: 60_000,
  caughtUp_ms: 40_000,
};

/** Rounds begin at multiples of this part of `tombstone_ms`, so that members mostly choose the same T unasked. */
const QUANTUM_PART = 4;
/** In one acknowledgement. More are open at once only where members that cannot hear one another open their own. */
export const ROUNDS_MAX = 16;
const NO_ROUNDS: ReadonlySet<number> = new Set();

/** Of an unrevoked member: since when it is one, by the stamp of its grant. */
export type Members = ReadonlyMap<NodeId, number>;

export interface Round {
  readonly upTo_ms: number;
  /** Hex, 16 bytes. */
  readonly hash: string;
}

/** A round that all agree on. */
export interface Agreement extends Round {
  /** Has a member, which has collected as far since, said another hash of it? Then it was not this that it agreed to. */
  readonly isDisputed: boolean;
}

/**
 * Tombstones stamped up to `upTo_ms` that stand alone: while a sibling is beside one, its going could bring the sibling
 * back. With a horizon also those from after it that stand beside nothing but what is from before it: they stay, and are to
 * be acknowledged all the same, for others may never see what keeps them. O(records).
 * @param horizon_ms up to where this node has collected; 0 for one in doubt.
 */
export function tombstones(ledger: Ledger, upTo_ms: number, horizon_ms = 0): LedgerRecord[] {
  return lone(ledger, upTo_ms, (sibling, { hlc }) => hlc.ms > horizon_ms && sibling.hlc.ms <= horizon_ms);
}

/** Tombstones up to a stamp, whatever they stand beside. O(records) where there are any. */
export function tombstonesUpTo(ledger: Ledger, upTo_ms: number): LedgerRecord[] {
  if (ledger.tombstones_count === 0) return [];
  const found: LedgerRecord[] = [];
  for (const record of ledger.records())
    if (record.isTombstone && record.hlc.ms <= upTo_ms && !isGrowOnly(record.kind)) found.push(record);
  return found;
}

/** Tombstones up to a stamp that stand beside nothing but what does not matter. */
function lone(
  ledger: Ledger,
  upTo_ms: number,
  isNothing: (sibling: LedgerRecord, tombstone: LedgerRecord) => boolean,
): LedgerRecord[] {
  return tombstonesUpTo(ledger, upTo_ms).filter((record) =>
    ledger
      .siblings(record.kind, record.key)
      .every((sibling) => sibling === record || isNothing(sibling, record)),
  );
}

/**
 * Those that go with a round on which all agree, and this node with them: what stands alone, and what stands beside nothing
 * but what is newer than the round, if all have acknowledged it. They held it alone then, so whoever wrote what is newer had
 * collected it; left there it could hide that, being of a later generation. No stamp tells whether it was acknowledged, for
 * clocks differ, but the hash of the round does.
 * @param horizon_ms as of `tombstones`. @param known digests of the tombstones of the round, where they are known.
 */
export function collectable(
  ledger: Ledger,
  round: Round,
  horizon_ms: number,
  known?: ReadonlySet<string>,
): LedgerRecord[] {
  const { upTo_ms } = round;
  const isAlone = ({ kind, key }: LedgerRecord) => ledger.siblings(kind, key).length === 1;
  const found = lone(ledger, upTo_ms, ({ hlc }) => hlc.ms > upTo_ms);
  if (found.every(isAlone)) return found;
  const acknowledged = known ?? acknowledgedBesideNewer(ledger, round, horizon_ms);
  return found.filter((record) => isAlone(record) || acknowledged.has(record.digest));
}

/**
 * Tombstones of a round that stay when it is collected, with what they stand beside: that is from before the horizon.
 * @param horizon_ms as of `tombstones`.
 */
export function keptBesidePast(ledger: Ledger, upTo_ms: number, horizon_ms: number): LedgerRecord[] {
  return hashed(ledger, upTo_ms, horizon_ms).flatMap(({ kind, key }) => {
    const siblings = ledger.siblings(kind, key);
    return siblings.length > 1 ? siblings : [];
  });
}

/**
 * What stands from before the horizon with a tombstone from before it beside it: others may have collected the tombstone
 * and lack both, or have both.
 */
export function besidePast(ledger: Ledger, horizon_ms: number): LedgerRecord[] {
  if (horizon_ms <= 0) return [];
  const isPast = ({ hlc }: LedgerRecord) => hlc.ms <= horizon_ms;
  const found = new Set<LedgerRecord>();
  for (const { kind, key } of tombstonesUpTo(ledger, horizon_ms)) {
    const siblings = ledger.siblings(kind, key).filter(isPast);
    if (siblings.length > 1) for (const sibling of siblings) found.add(sibling);
  }
  return [...found];
}

/**
 * Of the tombstones that a round is about, those beside something newer than it. None where its hash does not tell: others
 * have come or gone since it was acknowledged, or the horizon has moved. Then they stay, and may hide what is newer until that
 * is written once more: only where something came or went between its acknowledgement and a new start of this node.
 */
function acknowledgedBesideNewer(
  ledger: Ledger,
  { upTo_ms, hash }: Round,
  horizon_ms: number,
): ReadonlySet<string> {
  const sum = sumFromHex(hash);
  if (sum === undefined) return new Set();
  const others = new Set(hashed(ledger, upTo_ms, horizon_ms));
  const besideNewer = lone(ledger, upTo_ms, ({ hlc }) => hlc.ms > upTo_ms || hlc.ms <= horizon_ms).filter(
    (record) => record.hlc.ms > horizon_ms && !others.has(record),
  );
  return new Set(summandsOf(besideNewer, sum ^ sumOf(others)).map(({ digest }) => digest));
}

/**
 * It is about tombstones from after the horizon. One from before it came late, and who may not write the like gives it to
 * nobody (intake.ts): a member that alone was shown one could never agree with the others. It goes with the next round.
 * @param horizon_ms as of `tombstones`.
 */
export function roundOf(ledger: Ledger, upTo_ms: number, horizon_ms = 0): Round {
  return { upTo_ms, hash: sumToHex(sumOf(hashed(ledger, upTo_ms, horizon_ms))) };
}

/** What a round is about, if that is what is held here now; undefined where it is not. @param horizon_ms as of `tombstones`. */
export function heldOf(ledger: Ledger, round: Round, horizon_ms: number): LedgerRecord[] | undefined {
  const held = hashed(ledger, round.upTo_ms, horizon_ms);
  return sumToHex(sumOf(held)) === round.hash ? held : undefined;
}

/** What the hash of a round is of. */
export function hashed(ledger: Ledger, upTo_ms: number, horizon_ms: number): LedgerRecord[] {
  return tombstones(ledger, upTo_ms, horizon_ms).filter(({ hlc }) => hlc.ms > horizon_ms);
}

/** What a member has said in all its lives. */
export interface Ack {
  /** Acknowledged, and not yet left behind; the last is the latest. */
  readonly rounds: readonly Round[];
  /** Up to where it has collected; 0 before the first time. */
  readonly collected_ms: number;
  readonly isInDoubt: boolean;
}

/** Undefined when it has never acknowledged anything. */
export function ackOf(ledger: Ledger, member: KeyId): Ack | undefined {
  const rounds: Round[] = [];
  let collected_ms = 0;
  let isInDoubt = true;
  for (const { body } of ledger.siblings('ack', member)) {
    if (!isRound(body)) continue;
    const { before, collected_ms: theirs_ms, isInDoubt: doubts } = body as Partial<AckBody>;
    isInDoubt &&= doubts === true;
    if (typeof theirs_ms === 'number') collected_ms = Math.max(collected_ms, theirs_ms);
    for (const round of [...(Array.isArray(before) ? before.slice(1 - ROUNDS_MAX) : []), body])
      if (isRound(round)) rounds.push({ upTo_ms: round.upTo_ms, hash: round.hash });
  }
  if (rounds.length === 0) return undefined;
  return { rounds: rounds.sort((a, b) => a.upTo_ms - b.upTo_ms), collected_ms, isInDoubt };
}

function isRound(value: unknown): value is Round {
  const round = value as Partial<Round> | null | undefined;
  return typeof round?.upTo_ms === 'number' && typeof round.hash === 'string';
}

/** The next acknowledgement: what was said before stays said until it is collected. */
export function following(
  ack: Pick<Ack, 'rounds' | 'collected_ms'> | undefined,
  round: Round,
  horizon: { readonly ms: number; readonly isInDoubt: boolean },
): AckBody {
  const { upTo_ms, hash } = round;
  const collected_ms = Math.max(horizon.ms, ack?.collected_ms ?? 0);
  const others = (ack?.rounds ?? []).filter(
    (other) => other.upTo_ms >= collected_ms && (other.upTo_ms !== upTo_ms || other.hash !== hash),
  );
  const { isInDoubt } = horizon;
  return { upTo_ms, hash, collected_ms, isInDoubt, before: others.slice(1 - ROUNDS_MAX) };
}

export function hasSaid(ack: Pick<Ack, 'rounds'> | undefined, { upTo_ms, hash }: Round): boolean {
  return ack?.rounds.some((round) => round.upTo_ms === upTo_ms && round.hash === hash) ?? false;
}

/** Whether there is anything to acknowledge or collect; cheap, for it is asked for ever. */
export function isRoundOpen(ledger: Ledger, horizon_ms: number): boolean {
  if (ledger.tombstones_count > 0) return true;
  for (const [member] of ledger.ofKind('ack'))
    if ((ackOf(ledger, member)?.rounds.at(-1)?.upTo_ms ?? 0) > horizon_ms) return true;
  return false;
}

/** What all members have said, as one of them sees it. Made anew for each look. */
export class Acknowledgements {
  readonly #members: Members;
  readonly #acks = new Map<NodeId, Ack>();
  readonly #self: NodeId;
  readonly #horizon_ms: number;
  /** As far as they were looked for: members times what was said of them, each. */
  readonly #agreements = new Map<number, readonly Agreement[]>();
  #unaccounted: readonly number[] | undefined;
  /** Hashes that were said of each T. */
  readonly #hashes = new Map<number, Set<string>>();
  /** Has any member collected, and this one neither done so nor acknowledged anything? It came later, or its disk is old. */
  readonly isNew: boolean;
  /** A round that nobody has collected yet a new node has to acknowledge as all do. */
  readonly #collectedUpTo_ms: number;
  /** Up to where others have collected with the agreement of all but this node: it was no member then, or its disk is old. */
  readonly #missed: ReadonlySet<number> = NO_ROUNDS;

  /** @param horizon_ms up to where `self` has collected. */
  constructor(ledger: Ledger, members: Members, self: NodeId, horizon_ms: number) {
    this.#members = members;
    this.#self = self;
    this.#horizon_ms = horizon_ms;
    for (const member of members.keys()) {
      const ack = ackOf(ledger, member);
      if (ack === undefined) continue;
      this.#acks.set(member, ack);
      for (const { upTo_ms, hash } of ack.rounds)
        this.#hashes.set(upTo_ms, (this.#hashes.get(upTo_ms) ?? new Set()).add(hash));
    }
    const collected = this.#collected();
    this.isNew = horizon_ms === 0 && !this.#acks.has(self) && collected.size > 0;
    this.#collectedUpTo_ms = Math.max(0, ...collected);
    this.#missed = new Set([...this.#collected()].filter((upTo_ms) => this.#isMissed(upTo_ms)));
    this.#agreements.clear();
  }

  /** Were deletions collected without this node? What it holds may have been deleted meanwhile. */
  hasMissed(until_ms: number): boolean {
    return [...this.#missed].some((upTo_ms) => upTo_ms <= until_ms);
  }

  /** Does nobody vouch for anything, of those who have acknowledged? */
  get areAllInDoubt(): boolean {
    return [...this.#acks.values()].every(({ isInDoubt }) => isInDoubt);
  }

  /**
   * Rounds up to `until_ms`, and after the own horizon, on which all members agree that had to; the latest first, of those
   * with one T what nobody disputes. All may have said several hashes of one T, and each may have been collected by somebody.
   */
  agreed(until_ms: number): Agreement[] {
    const ends = [...this.#hashes.keys()].filter((ms) => ms > this.#horizon_ms && ms <= until_ms);
    return ends
      .sort((a, b) => b - a)
      .flatMap((upTo_ms) => this.#agreedAt(upTo_ms))
      .filter(({ upTo_ms }) => this.#unaccountedUpTo(upTo_ms).length === 0);
  }

  /**
   * The acknowledgement that is due now; undefined when what was said stands, or nothing is due.
   * @param past_ms what is not stamped later is from before the horizon; 0 for a node in doubt.
   */
  due(ledger: Ledger, config: CollectionConfig, past_ms: number, now: number): Round | undefined {
    if (this.#unaccountedUpTo(roundEnd_ms(config, now)).length > 0) return undefined;
    const own = this.#acks.get(this.#self);
    const open_ms = this.#latest_ms(roundEnd_ms(config, now));
    if (open_ms > this.#horizon_ms) {
      const round = roundOf(ledger, open_ms, past_ms);
      return hasSaid(own, round) ? undefined : round;
    }
    // Who has collected without having acknowledged says so: others may still wait for it.
    const isSilent = !this.#isCovered(this.#self, { upTo_ms: this.#horizon_ms, hash: '' });
    const isHeard = own?.rounds.some(({ upTo_ms }) => upTo_ms === this.#horizon_ms) ?? false;
    if (this.#horizon_ms > 0 && isSilent && !isHeard) return roundOf(ledger, this.#horizon_ms, past_ms);
    const quantum = config.tombstone_ms / QUANTUM_PART;
    const upTo_ms = Math.floor((now - config.tombstone_ms) / quantum) * quantum;
    if (upTo_ms <= this.#horizon_ms || tombstones(ledger, upTo_ms, past_ms).length === 0) return undefined;
    return roundOf(ledger, upTo_ms, past_ms);
  }

  /**
   * Who has still to acknowledge before tombstones can go. Where somebody claims to have collected already what others
   * have not acknowledged, whichever are fewer: those others, or those who claim it.
   */
  missing(until_ms: number): NodeId[] {
    const [claimed_ms] = this.#unaccountedUpTo(until_ms);
    const upTo_ms = claimed_ms ?? this.#latest_ms(until_ms);
    const hashes = [...(this.#hashes.get(upTo_ms) ?? [])];
    const of = (hash: string) =>
      [...this.#members.keys()].filter((member) => !this.#hasAgreed(member, { upTo_ms, hash }));
    const missing = hashes.map(of).sort((a, b) => a.length - b.length)[0] ?? [];
    if (claimed_ms === undefined) return missing;
    const claiming = [...this.#members.keys()].filter(
      (member) => this.#acks.get(member)?.collected_ms === claimed_ms,
    );
    if (missing.length === claiming.length) return [...missing, ...claiming];
    return missing.length > 0 && missing.length < claiming.length ? missing : claiming;
  }

  /**
   * Up to where others have collected that this node has not followed yet. Whoever has done so has acknowledged it, and
   * shows that until it collects again; only who was granted later need not.
   */
  #collected(): Set<number> {
    const ends = new Set<number>();
    for (const [member, { collected_ms, rounds }] of this.#acks) {
      if (collected_ms <= this.#horizon_ms) continue;
      const isNew = this.#members.get(member)! > collected_ms;
      if (isNew || rounds.some(({ upTo_ms }) => upTo_ms === collected_ms)) ends.add(collected_ms);
    }
    return ends;
  }

  /**
   * Whatever others have collected all had agreed on. Stamps of which the acknowledgements that are here do not show
   * that: some are still to come, this node's own perhaps, from a life that its disk does not know.
   */
  #unaccountedUpTo(until_ms: number): number[] {
    this.#unaccounted ??= [...this.#collected()].filter(
      (upTo_ms) => this.#agreedAt(upTo_ms).length === 0 && !this.#isAgreed({ upTo_ms, hash: '' }),
    );
    return this.#unaccounted.filter((upTo_ms) => upTo_ms <= until_ms);
  }

  #agreedAt(upTo_ms: number): readonly Agreement[] {
    const known = this.#agreements.get(upTo_ms);
    if (known !== undefined) return known;
    const agreed = [...(this.#hashes.get(upTo_ms) ?? [])]
      .map((hash) => ({ upTo_ms, hash }))
      .filter((round) => this.#isAgreed(round))
      .map((round) => ({ ...round, isDisputed: this.#isDisputed(round) }))
      .sort((a, b) => Number(a.isDisputed) - Number(b.isDisputed));
    this.#agreements.set(upTo_ms, agreed);
    return agreed;
  }

  #isAgreed(round: Round): boolean {
    for (const member of this.#members.keys()) if (!this.#isCovered(member, round)) return false;
    return true;
  }

  #isDisputed(round: Round): boolean {
    for (const ack of this.#acks.values())
      if (!hasSaid(ack, round) && ack.rounds.some(({ upTo_ms }) => upTo_ms === round.upTo_ms)) return true;
    return false;
  }

  /** All others have agreed on it, and this node has said nothing of the kind. */
  #isMissed(upTo_ms: number): boolean {
    if (this.#agreedAt(upTo_ms).length > 0 || this.#isAgreed({ upTo_ms, hash: '' })) return false;
    const others = [...this.#members.keys()].filter((member) => member !== this.#self);
    return [...(this.#hashes.get(upTo_ms) ?? []), ''].some((hash) =>
      others.every((member) => this.#isCovered(member, { upTo_ms, hash })),
    );
  }

  /** It has agreed; or it is this node, and in doubt because it is new or others have gone on without it. */
  #isCovered(member: NodeId, round: Round): boolean {
    const isNewTo = this.isNew && !this.#acks.has(member) && round.upTo_ms <= this.#collectedUpTo_ms;
    const isInDoubt = isNewTo || this.#missed.has(round.upTo_ms);
    return (member === this.#self && isInDoubt) || this.#hasAgreed(member, round);
  }

  /** It has acknowledged the round, or collected as far; or it need not, being granted later. */
  #hasAgreed(member: NodeId, round: Round): boolean {
    const ack = this.#acks.get(member);
    if (hasSaid(ack, round) || (ack?.collected_ms ?? 0) >= round.upTo_ms) return true;
    const hasAnother = ack?.rounds.some(({ upTo_ms }) => upTo_ms === round.upTo_ms) ?? false;
    return this.#members.get(member)! > round.upTo_ms && !hasAnother;
  }

  #latest_ms(until_ms: number): number {
    let latest_ms = 0;
    for (const upTo_ms of this.#hashes.keys())
      if (upTo_ms <= until_ms) latest_ms = Math.max(latest_ms, upTo_ms);
    return latest_ms;
  }
}

/** No round is taken up whose T is later: a member that lies about it must not have us collect what is young. */
export function roundEnd_ms(config: CollectionConfig, now: number): number {
  return now - config.tombstone_ms / 2;
}
