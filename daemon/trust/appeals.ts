/**
 * When a node asks at doors how its own key stands, and whose. Whoever revokes a key leaves it at once, so the key that
 * is cut off sees only that some or all members are gone: those it asks, for it may be the one who is gone.
 */
import type { NodeId } from '../../protocols/base/ids.ts';
import { sample } from '../../protocols/base/sample.ts';
import type { MemberStatus } from '../../protocols/view/view.ts';

/** Between two rounds of questions. */
const ROUND_MS = 20_000;
/** A member that was asked and is still gone is asked again after the first of these, then after twice as long, up to the second. */
const AGAIN_MS = 20_000;
const AGAIN_MS_MAX = 600_000;
/** Nobody talks to it: for so long. */
const ALONE_MS = 5_000;
/** Doors that it asks each time. */
const DOORS_MAX = 4;

export interface MemberDoors {
  readonly id: NodeId;
  readonly status: MemberStatus;
  readonly doors: readonly string[];
  /** Only those can renew a grant. */
  readonly isAdmitter: boolean;
}

export interface Situation {
  readonly now: number;
  /** Its grant has ended: anybody may tell of a newer one. */
  readonly isExpired: boolean;
  /** It was revoked or evicted, as far as it knows: who did it may have been revoked since. */
  readonly isRefused: boolean;
  readonly isConnected: boolean;
  /** Of all members but this one. */
  readonly others: readonly MemberDoors[];
  /** In [0, 1). */
  readonly random: () => number;
}

/** When the next question is due, and the pause after it. */
interface Turn {
  readonly due_ms: number;
  readonly pause_ms: number;
}

export class Appeals {
  #heard_ms: number;
  #asked_ms = Number.NEGATIVE_INFINITY;
  /** Of members that are gone. */
  readonly #gone = new Map<NodeId, Turn>();
  /** While it is refused: the same for all members. */
  #refused: Turn | undefined;

  constructor(now: number) {
    this.#heard_ms = now;
  }

  /** Whom to ask now, in this order, until one answers with news: a different few each time, admitters first. */
  due({ now, isExpired, isRefused, isConnected, others, random }: Situation): MemberDoors[] {
    // The clock was set back: no time that it told before will come for long.
    if (now < this.#asked_ms || now < this.#heard_ms) {
      this.#asked_ms = now;
      this.#heard_ms = now;
      this.#gone.clear();
      this.#refused = undefined;
    }
    if (isConnected) this.#heard_ms = now;
    // It is a member again, and the others may not know: it asks them soon, however long it was none.
    if (!isRefused && this.#refused !== undefined) this.#gone.clear();
    if (!isRefused) this.#refused = undefined;
    const gone = others.filter(({ status }) => status === 'failed');
    this.#forget(gone);
    if (now - this.#asked_ms < ROUND_MS || (isRefused && now < (this.#refused?.due_ms ?? 0))) return [];
    const isAlone = now - this.#heard_ms >= ALONE_MS;
    const asksAll = isAlone || isExpired || isRefused;
    const candidates = asksAll ? others : gone.filter(({ id }) => this.#isDue(id, now));
    const sorted = candidates
      .filter(({ doors }) => doors.length > 0)
      .map((door) => ({ door, at: random() - Number(door.isAdmitter) }))
      .sort((a, b) => a.at - b.at)
      .map(({ door }) => door);
    // Those that were admitters once may all be gone, and any other tells who is one now.
    const first = sorted.slice(0, DOORS_MAX / 2);
    const order = [...first, ...sample(sorted.slice(DOORS_MAX / 2), DOORS_MAX / 2, random)];
    if (order.length > 0) this.#asked_ms = now;
    for (const { id, status } of order)
      if (status === 'failed') this.#gone.set(id, following(this.#gone.get(id), now));
    if (isRefused && order.length > 0) this.#refused = following(this.#refused, now);
    return order;
  }

  #isDue(id: NodeId, now: number): boolean {
    return now >= (this.#gone.get(id)?.due_ms ?? 0);
  }

  #forget(gone: readonly MemberDoors[]): void {
    const ids = new Set(gone.map(({ id }) => id));
    for (const id of this.#gone.keys()) if (!ids.has(id)) this.#gone.delete(id);
  }
}

function following(turn: Turn | undefined, now: number): Turn {
  const pause_ms = turn?.pause_ms ?? AGAIN_MS;
  return { due_ms: now + pause_ms, pause_ms: Math.min(2 * pause_ms, AGAIN_MS_MAX) };
}
