/**
 * When a node asks at doors how its own key stands, and whose. Whoever revokes a key leaves it at once, so the key that
 * is cut off sees only that some or all members are gone: those it asks, for it may be the one who is gone.
 */
import type { NodeId } from '../../protocols/base/ids.ts';
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
  readonly isConnected: boolean;
  /** Of all members but this one. */
  readonly others: readonly MemberDoors[];
  /** In [0, 1). */
  readonly random: () => number;
}

export class Appeals {
  #heard_ms: number;
  #asked_ms = Number.NEGATIVE_INFINITY;
  /** Of members that are gone: when the next question is due, and the pause after it. */
  readonly #gone = new Map<NodeId, { due_ms: number; pause_ms: number }>();

  constructor(now: number) {
    this.#heard_ms = now;
  }

  /** Whom to ask now, in this order, until one answers with news: a different few each time, admitters first. */
  due({ now, isExpired, isConnected, others, random }: Situation): MemberDoors[] {
    if (isConnected) this.#heard_ms = now;
    const gone = others.filter(({ status }) => status === 'failed');
    this.#forget(gone);
    if (now - this.#asked_ms < ROUND_MS) return [];
    const isAlone = now - this.#heard_ms >= ALONE_MS;
    const candidates = isAlone || isExpired ? others : gone.filter(({ id }) => this.#isDue(id, now));
    const order = candidates
      .filter(({ doors }) => doors.length > 0)
      .map((door) => ({ door, at: random() - Number(door.isAdmitter) }))
      .sort((a, b) => a.at - b.at)
      .slice(0, DOORS_MAX)
      .map(({ door }) => door);
    if (order.length > 0) this.#asked_ms = now;
    for (const { id, status } of order) if (status === 'failed') this.#postpone(id, now);
    return order;
  }

  #isDue(id: NodeId, now: number): boolean {
    return now >= (this.#gone.get(id)?.due_ms ?? 0);
  }

  #postpone(id: NodeId, now: number): void {
    const pause_ms = this.#gone.get(id)?.pause_ms ?? AGAIN_MS;
    this.#gone.set(id, { due_ms: now + pause_ms, pause_ms: Math.min(2 * pause_ms, AGAIN_MS_MAX) });
  }

  #forget(gone: readonly MemberDoors[]): void {
    const ids = new Set(gone.map(({ id }) => id));
    for (const id of this.#gone.keys()) if (!ids.has(id)) this.#gone.delete(id);
  }
}
