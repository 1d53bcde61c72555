/**
 * How the clock of this node compares with those of the members that it is connected to. Each is asked for its time; the
 * middle of what they say is held for the time, so that one that lies, or is wrong, moves nothing.
 * An answer is set against the moment halfway between question and answer: by half of the way there and back it may be
 * wrong, and what waits in a queue only makes that longer (Cristian, "Probabilistic Clock Synchronization", 1989). Pure.
 */
import { HLC_AHEAD_MS_MAX } from '../base/clock.ts';
import type { NodeId } from '../base/ids.ts';

/** An answer that took longer says too little. */
export const ROUND_TRIP_MS_MAX = 10_000;
/** Half of HLC_AHEAD_MS_MAX: users are to hear of a wrong clock before anything is refused for it. */
export const CLOCK_OFF_MS = 30_000;
/** What was told as wrong is right again once it is nearer than this: it must not come and go with each answer. */
export const CLOCK_RIGHT_MS = 20_000;
/** One of the two clocks was set: the others are asked anew. */
export const CLOCK_STEP_MS = 5_000;
/** Peers that are compared with. */
export const COMPARED_MAX = 32;

if (CLOCK_OFF_MS + ROUND_TRIP_MS_MAX / 2 >= HLC_AHEAD_MS_MAX)
  throw new RangeError('a wrong clock is to be told before what it stamps is refused');
if (CLOCK_RIGHT_MS >= CLOCK_OFF_MS) throw new RangeError('a clock is right nearer than where it is wrong');

/** One question and its answer; milliseconds, the first two by the clock of this node. */
export interface ClockReading {
  readonly asked_ms: number;
  readonly answered_ms: number;
  readonly theirs_ms: number;
}

export interface WrongClock {
  readonly peer: NodeId;
  /** Ahead of the middle of all, or, where that is not known, of this node. Negative: behind. */
  readonly ahead_ms: number;
}

export class ClockOffsets {
  /** By how much the clock of each is ahead of ours. */
  readonly #offsets_ms = new Map<NodeId, number>();

  /** Who was asked longest ago is the first. */
  get peers(): NodeId[] {
    return [...this.#offsets_ms.keys()];
  }

  /** By how much its clock is ahead of ours, as it last told; undefined: it has not. */
  of(peer: NodeId): number | undefined {
    return this.#offsets_ms.get(peer);
  }

  /** The last answer of a peer counts. Of more than COMPARED_MAX the oldest goes. */
  heard(peer: NodeId, { asked_ms, answered_ms, theirs_ms }: ClockReading): void {
    const roundTrip_ms = answered_ms - asked_ms;
    this.#offsets_ms.delete(peer);
    // Less than nothing: our own clock was set meanwhile.
    if (roundTrip_ms < 0 || roundTrip_ms > ROUND_TRIP_MS_MAX) return;
    this.#offsets_ms.set(peer, Math.round(theirs_ms - asked_ms - roundTrip_ms / 2));
    for (const oldest of this.#offsets_ms.keys()) {
      if (this.#offsets_ms.size <= COMPARED_MAX) break;
      this.#offsets_ms.delete(oldest);
    }
  }

  /** It is connected no longer, or gives no answer: what it said may have been true of another clock of ours. */
  forget(peer: NodeId): void {
    this.#offsets_ms.delete(peer);
  }

  /**
   * By how much this node is ahead of the middle of the others; negative: behind. Of the middle two of an even number that
   * which is nearer to this node, so that it takes more than half of them to find it wrong.
   * @param others_count members besides this node. @returns undefined while fewer than two of them have told, and not all.
   */
  lead_ms(others_count: number): number | undefined {
    const leads = [...this.#offsets_ms.values()].map((offset) => 0 - offset).sort((a, b) => a - b);
    if (leads.length === 0 || leads.length < Math.min(2, others_count)) return undefined;
    const low = leads[Math.floor((leads.length - 1) / 2)]!;
    const high = leads[Math.floor(leads.length / 2)]!;
    return low > 0 ? low : Math.min(high, 0);
  }

  /** Whose clock is wrong by more than CLOCK_OFF_MS, the worst first. @param lead_ms of this node, where that is known. */
  wrong(lead_ms: number | undefined): WrongClock[] {
    return [...this.#offsets_ms]
      .map(([peer, offset_ms]) => ({ peer, ahead_ms: offset_ms + (lead_ms ?? 0) }))
      .filter(({ ahead_ms }) => Math.abs(ahead_ms) > CLOCK_OFF_MS)
      .sort((a, b) => Math.abs(b.ahead_ms) - Math.abs(a.ahead_ms));
  }
}

/**
 * Whether others take what this node stamps next.
 * @param stamped_ms its last stamp: the next is no earlier. @param lead_ms by how much its clock is ahead of theirs.
 * @returns undefined when they do, else when they will by the clock of this node, if nobody sets that; milliseconds.
 */
export function refusedUntil_ms(now: number, stamped_ms: number, lead_ms: number): number | undefined {
  const theirs_ms = now - lead_ms;
  if (Math.max(now, stamped_ms) <= theirs_ms + HLC_AHEAD_MS_MAX) return undefined;
  return Math.max(now, stamped_ms) + lead_ms - HLC_AHEAD_MS_MAX;
}
