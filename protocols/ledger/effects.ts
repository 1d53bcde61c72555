/** What the ledger's core asks of its driver (machine.ts), and what several effects come to. */
import type { ShoalError } from '../base/errors.ts';
import type { KeyId, NodeId } from '../base/ids.ts';
import { DISHONEST, type Rejected } from './intake.ts';
import type { LedgerRecord, StreamId } from './record.ts';

const NO_NUMBERS: ReadonlySet<number> = new Set();

export type LedgerEffect =
  | {
      readonly kind: 'persist';
      readonly put: readonly LedgerRecord[];
      readonly remove: readonly LedgerRecord[];
      /** The last number that was given, of this node's own streams: it must never be given twice. */
      readonly streams: readonly (readonly [StreamId, number])[];
      /**
       * Of what is removed: one too many of their author. Left out for none, and by gossip: whoever passes that on need not
       * have held them, and each counted when it came.
       */
      readonly evicted_count?: number;
    }
  | { readonly kind: 'publish'; readonly body: Uint8Array }
  | { readonly kind: 'send'; readonly to: NodeId; readonly body: Uint8Array }
  | { readonly kind: 'schedule'; readonly token: string; readonly at_ms: number }
  /** The live set changed: what came, and what went without another in its place. */
  | { readonly kind: 'changed'; readonly records: readonly LedgerRecord[] }
  /** Answers a write; follows its `persist`. */
  | { readonly kind: 'written'; readonly record: LedgerRecord }
  /** The clock was ahead when this node wrote records that all others refuse: they were written anew, as of now. */
  | { readonly kind: 'clock'; readonly ahead_ms: number; readonly records_count: number }
  /** What this node had to say by itself, by kinds, and could not. */
  | { readonly kind: 'unsaid'; readonly what: readonly string[]; readonly error: ShoalError }
  | Rejected
  /** Of a gossip message: so many of its records are known here, or replaced by others of it. */
  | { readonly kind: 'known'; readonly records_count: number }
  /** Of a gossip message with news: it had more, whose signature was not looked at or is false. */
  | { readonly kind: 'unchecked' }
  | {
      readonly kind: 'equivocation';
      readonly author: KeyId;
      readonly records: readonly [LedgerRecord, LedgerRecord];
    }
  /** Our own records came from elsewhere: this disk is older than the ledger. Later writes use the new epoch. */
  | { readonly kind: 'epoch'; readonly author: KeyId; readonly epoch: number }
  /** What this disk may be believed about: all that was deleted up to here is gone from it. Durable like a persist. */
  | { readonly kind: 'horizon'; readonly horizon_ms: number };

/**
 * What a mesh shall do with a gossip message that had these effects: pass it on, keep it, or hold it against its sender. What
 * has a part that was not checked here, or not taken, is not passed on: where nobody knows that part, its false signatures
 * would be held against this node, and so would what is refused there as well. Not what has waited: that is no part of it.
 */
export function gossipVerdict(effects: readonly LedgerEffect[]): 'accept' | 'ignore' | 'reject' {
  let isNews = false;
  let isTaken = true;
  for (const effect of effects) {
    if (effect.kind === 'rejected' && DISHONEST.has(effect.reason)) return 'reject';
    if (effect.kind === 'unchecked' || (effect.kind === 'rejected' && !effect.hasWaited)) isTaken = false;
    if (effect.kind === 'changed' || effect.kind === 'equivocation') isNews = true;
  }
  return isNews && isTaken ? 'accept' : 'ignore';
}

/** How many records a message held, by its effects. */
export function recordsIn(effects: readonly LedgerEffect[]): number {
  let records_count = 0;
  for (const effect of effects) {
    if (effect.kind === 'persist') records_count += effect.put.length + (effect.evicted_count ?? 0);
    else if (effect.kind === 'known') records_count += effect.records_count;
    else if (effect.kind === 'rejected') records_count += 1;
  }
  return records_count;
}

/**
 * What several records have come to: a record may come, go and come again among them. What is live and was not there
 * before is to be put on the disk, what was there and is live no more is to be removed from it.
 */
export function netOf(
  added: readonly LedgerRecord[],
  removed: readonly LedgerRecord[],
  evicted: readonly LedgerRecord[],
): { put: readonly LedgerRecord[]; remove: readonly LedgerRecord[] } {
  const gone = evicted.length === 0 ? removed : [...removed, ...evicted];
  const both = sharedNumbers(added, gone);
  if (both.size === 0) return { put: added, remove: gone };
  // By name, for what comes again is another object: names are dear, and few records can be meant.
  const balance = new Map<string, number>();
  const count = (records: readonly LedgerRecord[], by: 1 | -1) => {
    for (const record of records)
      if (both.has(record.seq)) balance.set(record.digest, (balance.get(record.digest) ?? 0) + by);
  };
  count(added, 1);
  count(gone, -1);
  const isLeft = (record: LedgerRecord, by: 1 | -1) =>
    !both.has(record.seq) || ((balance.get(record.digest) ?? 0) * by > 0 && balance.delete(record.digest));
  return {
    put: added.filter((record) => isLeft(record, 1)),
    remove: gone.filter((record) => isLeft(record, -1)),
  };
}

/** Numbers that records of both lists have: one record has one number. */
function sharedNumbers(added: readonly LedgerRecord[], gone: readonly LedgerRecord[]): ReadonlySet<number> {
  if (gone.length === 0 || added.length === 0) return NO_NUMBERS;
  if (gone.length === 1 && added.length === 1 && gone[0]!.seq !== added[0]!.seq) return NO_NUMBERS;
  const came = new Set(added.map(({ seq }) => seq));
  return new Set(gone.flatMap(({ seq }) => (came.has(seq) ? seq : [])));
}

/** With what went though nothing stays in its place: what had come there was one too many itself. */
export function withLost(
  put: readonly LedgerRecord[],
  remove: readonly LedgerRecord[],
): readonly LedgerRecord[] {
  const [one] = put;
  const isOfOne = ({ kind, key }: LedgerRecord) => key === one?.key && kind === one.kind;
  if (put.length <= 1 && remove.every(isOfOne)) return put;
  const kinds = new Map(put.map(({ kind, key }) => [key, kind]));
  const lost = remove.filter(
    ({ kind, key }) =>
      kinds.get(key) !== kind && !put.some((other) => other.key === key && other.kind === kind),
  );
  return lost.length === 0 ? put : [...put, ...lost];
}
