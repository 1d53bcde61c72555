/**
 * When a tombstone may go: once every unrevoked member has shown that it holds it. Members write `ack` records: "all
 * tombstones that I hold and that are stamped up to T have this hash". When those of all members agree, T is the new
 * horizon: the tombstones are collected, and a record from before the horizon that a node does not hold is stale.
 *
 * Nobody claims another's state: the horizon follows from signed records alone. A member that is away holds collection
 * up until it is back or removed; one that was granted after T need not have acknowledged it. A node whose disk is found
 * to be old (its own future comes from others), to have lost records, or to have missed a round doubts what it has from
 * before the horizon, through restarts, until it equals a peer that has collected as far and is in no doubt: what that
 * peer lacks is dropped, not given. While in doubt it vouches for nothing. Nothing that a peer says begins a doubt.
 * Source: causal stability, Baquero et al., "Making Operation-Based CRDTs Operation-Based" (2014).
 */
import { fromHex, type KeyId, type NodeId, toHex } from '../base/ids.ts';
import type { AckBody } from '../base/records.ts';
import { isGrowOnly, type Ledger } from './ledger.ts';
import type { LedgerRecord } from './record.ts';

export interface CollectionConfig {
  /** Tombstones younger than this are never collected: longer than any message may be under way. */
  readonly tombstone_ms: number;
  /** How often acknowledgements are looked at, jittered by a quarter. */
  readonly collect_ms: number;
}

export const COLLECTION_DEFAULTS: CollectionConfig = { tombstone_ms: 3_600_000, collect_ms: 60_000 };

/** Rounds begin at multiples of this part of `tombstone_ms`, so that members mostly choose the same T unasked. */
const QUANTUM_PART = 4;

/** Of an unrevoked member: since when it is one, by the stamp of its grant. */
export type Members = ReadonlyMap<NodeId, number>;

export interface Round {
  readonly upTo_ms: number;
  /** Hex, 16 bytes. */
  readonly hash: string;
}

/**
 * Tombstones stamped up to `upTo_ms` that stand alone: while a sibling is beside one, its going could bring the sibling
 * back. O(records).
 */
export function tombstones(ledger: Ledger, upTo_ms: number): LedgerRecord[] {
  if (ledger.tombstones_count === 0) return [];
  const found: LedgerRecord[] = [];
  for (const record of ledger.records()) {
    if (!record.isTombstone || record.hlc.ms > upTo_ms || isGrowOnly(record.kind)) continue;
    if (ledger.siblings(record.kind, record.key).length === 1) found.push(record);
  }
  return found;
}

export function roundOf(ledger: Ledger, upTo_ms: number): Round {
  const hash = new Uint8Array(16);
  for (const { digest } of tombstones(ledger, upTo_ms)) {
    for (const [at, byte] of fromHex(digest.slice(0, 32)).entries()) hash[at]! ^= byte;
  }
  return { upTo_ms, hash: toHex(hash) };
}

/** What a member has acknowledged, and what it had before that, so that who goes on at once leaves nobody behind. */
export interface Ack extends Round {
  readonly before: Round | null;
}

export function ackOf(ledger: Ledger, member: KeyId): Ack | undefined {
  const body = ledger.get('ack', member)?.body as Partial<AckBody> | undefined;
  const round = readRound(body);
  return round === null ? undefined : { ...round, before: readRound(body?.before) };
}

function readRound(value: Partial<Round> | null | undefined): Round | null {
  if (typeof value?.upTo_ms !== 'number' || typeof value.hash !== 'string') return null;
  return { upTo_ms: value.upTo_ms, hash: value.hash };
}

/** The same round again, better known, keeps the one before it. */
export function following(last: Ack | undefined, { upTo_ms, hash }: Round): Ack {
  if (last === undefined) return { upTo_ms, hash, before: null };
  const isAgain = last.upTo_ms >= upTo_ms;
  return { upTo_ms, hash, before: isAgain ? last.before : { upTo_ms: last.upTo_ms, hash: last.hash } };
}

/** What an acknowledgement says of the round up to `upTo_ms`. */
export function acknowledged(ack: Ack | undefined, upTo_ms: number): Round | undefined {
  if (ack?.upTo_ms === upTo_ms) return ack;
  return ack?.before?.upTo_ms === upTo_ms ? ack.before : undefined;
}

/** Whether there is anything to acknowledge or collect; cheap, for it is asked for ever. */
export function isRoundOpen(ledger: Ledger, horizon_ms: number): boolean {
  if (ledger.tombstones_count > 0) return true;
  for (const [member] of ledger.ofKind('ack'))
    if ((ackOf(ledger, member)?.upTo_ms ?? 0) > horizon_ms) return true;
  return false;
}

/** The latest round up to `until_ms` on which all members agree that had to; undefined when there is none. */
export function agreed(ledger: Ledger, members: Members, until_ms: number): Round | undefined {
  const acks = new Map([...members.keys()].map((member) => [member, ackOf(ledger, member)]));
  const rounds = [...acks.values()].flatMap((ack) =>
    ack === undefined ? [] : ack.before === null ? [ack] : [ack, ack.before],
  );
  const ends = new Set(rounds.map(({ upTo_ms }) => upTo_ms).filter((upTo_ms) => upTo_ms <= until_ms));
  for (const upTo_ms of [...ends].sort((a, b) => b - a)) {
    const said = [...members].flatMap(([member, since_ms]) => {
      const round = acknowledged(acks.get(member), upTo_ms);
      return round === undefined && since_ms > upTo_ms ? [] : [round?.hash];
    });
    const [hash] = said;
    if (hash !== undefined && said.every((other) => other === hash)) return { upTo_ms, hash };
  }
  return undefined;
}

/** Who has still to acknowledge before tombstones can go. */
export function missing(ledger: Ledger, members: Members, until_ms: number): NodeId[] {
  const round = latest(ledger, members, until_ms);
  if (round === undefined) return [];
  return [...members].flatMap(([member, since_ms]) => {
    const ack = ackOf(ledger, member);
    const isDone = ack?.upTo_ms === round.upTo_ms && ack.hash === round.hash;
    return isDone || since_ms > round.upTo_ms ? [] : [member];
  });
}

/** The acknowledgement that this node shall write now; undefined when its last one stands, or nothing is due. */
export function dueAck(
  ledger: Ledger,
  init: {
    readonly self: NodeId;
    readonly members: Members;
    readonly horizon_ms: number;
    readonly now: number;
    readonly config: CollectionConfig;
  },
): Round | undefined {
  const { self, members, horizon_ms, now, config } = init;
  const own = ackOf(ledger, self);
  const open = latest(ledger, members, roundEnd_ms(config, now));
  if (open !== undefined && open.upTo_ms > horizon_ms) {
    const round = roundOf(ledger, open.upTo_ms);
    return own?.upTo_ms === round.upTo_ms && own.hash === round.hash ? undefined : round;
  }
  const quantum = config.tombstone_ms / QUANTUM_PART;
  const upTo_ms = Math.floor((now - config.tombstone_ms) / quantum) * quantum;
  if (upTo_ms <= horizon_ms || tombstones(ledger, upTo_ms).length === 0) return undefined;
  return roundOf(ledger, upTo_ms);
}

/** No round is taken up whose T is later: a member that lies about it must not have us collect what is young. */
export function roundEnd_ms(config: CollectionConfig, now: number): number {
  return now - config.tombstone_ms / 2;
}

function latest(ledger: Ledger, members: Members, until_ms: number): Round | undefined {
  let round: Round | undefined;
  for (const member of members.keys()) {
    const ack = ackOf(ledger, member);
    if (ack === undefined || ack.upTo_ms > until_ms) continue;
    if (round === undefined || ack.upTo_ms > round.upTo_ms) round = ack;
  }
  return round;
}
