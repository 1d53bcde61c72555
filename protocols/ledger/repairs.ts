/**
 * Which repairs run, and who waits for one. One at a time, so that what one peer gives is not asked of three. Two that
 * wait for one another meet only when both are free, and a few peers could see to it that they never are: so each has
 * this node alone for a small part of the time at most, and beside one that has had its part others are answered.
 */
import type { NodeId } from '../base/ids.ts';

export interface RepairsConfig {
  /** A repair in which nothing came for so long has ended. Above the round trip of the slowest link. */
  readonly repairSilence_ms: number;
  /** No repair takes longer: others wait. A peer may have so much time alone at once, and `ALONE_AGAIN` of it later. */
  readonly repair_ms_max: number;
}

/**
 * So much of each second a peer gets back of the time that it has had this node alone. Five that do nothing else have it
 * for less than half of the time, so of any two nodes both are free now and then, whatever the five do.
 */
const ALONE_AGAIN = 0.1;
/** Peers of which it is known how long they had this node alone; the one whose repair ended first goes first. */
const ALONE_MAX = 4096;

export interface Repair {
  readonly peer: NodeId;
  since_ms: number;
  /** Others wait until then; from then on some of them need not. */
  alone_until_ms: number;
  heard_ms: number;
  changed: boolean;
  /** This side has begun it, and waits for the first answer: one that no beginning of the peer can be taken for. */
  isOpening: boolean;
}

export class Repairs {
  readonly #config: RepairsConfig;
  readonly #running = new Map<NodeId, Repair>();
  readonly #waiting = new Set<NodeId>();
  /** Peers that had a turn while others waited, and when; and until when they leave the next one to those. */
  readonly #served = new Map<NodeId, number>();
  #yield_ms = 0;
  /** For how long a peer may have this node alone yet, as of when. Kept when it goes: it could come back at once. */
  readonly #alone = new Map<NodeId, { readonly left_ms: number; at_ms: number }>();

  constructor(config: RepairsConfig) {
    this.#config = config;
  }

  of(peer: NodeId): Repair | undefined {
    return this.#running.get(peer);
  }

  /** The clock was set back: what is remembered here has stood still for as long. */
  setBack(back_ms: number): void {
    for (const repair of this.#running.values()) {
      repair.since_ms -= back_ms;
      repair.alone_until_ms -= back_ms;
      repair.heard_ms -= back_ms;
    }
    for (const known of this.#alone.values()) known.at_ms -= back_ms;
    for (const [peer, served_ms] of this.#served) this.#served.set(peer, served_ms - back_ms);
    this.#yield_ms -= back_ms;
  }

  /** Does one peer have this node alone? */
  isTaken(now: number): boolean {
    for (const repair of this.#running.values())
      if (now < repair.alone_until_ms && !this.#isOver(repair, now)) return true;
    return false;
  }

  /** Whether the repair with `peer` may go on, or begin. Else it waits. */
  admit(peer: NodeId, now: number): boolean {
    const repair = this.#running.get(peer);
    if (repair !== undefined && now < repair.since_ms + this.#config.repair_ms_max) return true;
    if (this.#isFreeFor(peer, now) && !this.#isYielding(peer, now)) return true;
    this.#waiting.add(peer);
    return false;
  }

  /** @returns whether it was not running. Those that are over, or have brought something, end for it. */
  begin(peer: NodeId, now: number, isOpening: boolean): boolean {
    const own = this.#running.get(peer);
    if (own !== undefined) {
      own.heard_ms = now;
      own.isOpening ||= isOpening;
      return false;
    }
    for (const repair of this.#running.values()) {
      if (this.#isOver(repair, now)) {
        this.end(repair, now);
      } else if (repair.changed) {
        // It would go on to give what is asked of this peer. That costs it a silence, and so it costs this one as much.
        this.end(repair, now);
        this.#setAlone(peer, this.#aloneLeft_ms(peer, now) - this.#config.repairSilence_ms, now);
      }
    }
    this.#waiting.delete(peer);
    // Clocks and timers know whole milliseconds.
    const alone_until_ms = Math.ceil(now + this.#aloneLeft_ms(peer, now));
    const times = { since_ms: now, alone_until_ms, heard_ms: now };
    this.#running.set(peer, { peer, ...times, changed: false, isOpening });
    return true;
  }

  /** What it has had this node alone counts. */
  end({ peer, since_ms, alone_until_ms }: Repair, now: number): void {
    this.#running.delete(peer);
    const at_ms = Math.max(since_ms, Math.min(now, alone_until_ms));
    if (at_ms > since_ms) this.#setAlone(peer, alone_until_ms - at_ms, at_ms);
    this.#serve(peer, now);
  }

  over(now: number): readonly Repair[] {
    return [...this.#running.values()].filter((repair) => this.#isOver(repair, now));
  }

  /** When the first ends, or has had this node alone for long enough. @returns undefined where none runs. */
  due_ms(now: number): number | undefined {
    let at_ms: number | undefined;
    for (const repair of this.#running.values()) {
      const isAlone = repair.alone_until_ms > now;
      const own_ms = Math.min(
        this.#end_ms(repair),
        isAlone ? repair.alone_until_ms : Number.POSITIVE_INFINITY,
      );
      at_ms = Math.min(at_ms ?? own_ms, own_ms);
    }
    return at_ms;
  }

  /** Whose turn it would be now. */
  next(now: number): NodeId | undefined {
    return [...this.#waiting].find((waiting) => this.#isFreeFor(waiting, now));
  }

  get isWaitedFor(): boolean {
    return this.#waiting.size > 0;
  }

  /** It is greeted. */
  call(peer: NodeId): void {
    this.#waiting.delete(peer);
  }

  /** It has gone. */
  forget(peer: NodeId): void {
    this.#waiting.delete(peer);
    this.#served.delete(peer);
  }

  /**
   * Beside a peer that has had its time alone there is room for one that has most of its own left. Those that have not,
   * such as several that give all they have to a newcomer, take turns.
   */
  #isFreeFor(peer: NodeId, now: number): boolean {
    if (this.isTaken(now)) return false;
    if (this.#aloneLeft_ms(peer, now) >= this.#config.repair_ms_max / 2) return true;
    for (const repair of this.#running.values())
      if (repair.peer !== peer && !this.#isOver(repair, now)) return false;
    return true;
  }

  /**
   * Whoever has had its turn steps back for a moment while others wait, or one peer could have all turns. But not again
   * and again for one that waits and never takes its own.
   */
  #isYielding(peer: NodeId, now: number): boolean {
    const served_ms = this.#served.get(peer);
    if (served_ms === undefined) return false;
    return now < this.#yield_ms && now < served_ms + this.#config.repair_ms_max;
  }

  #aloneLeft_ms(peer: NodeId, now: number): number {
    const { repair_ms_max } = this.#config;
    const known = this.#alone.get(peer);
    if (known === undefined) return repair_ms_max;
    return Math.min(repair_ms_max, known.left_ms + (now - known.at_ms) * ALONE_AGAIN);
  }

  #isOver(repair: Repair, now: number): boolean {
    return now >= this.#end_ms(repair);
  }

  #end_ms({ heard_ms, since_ms }: Repair): number {
    const { repairSilence_ms, repair_ms_max } = this.#config;
    return Math.min(heard_ms + repairSilence_ms, since_ms + repair_ms_max);
  }

  #setAlone(peer: NodeId, left_ms: number, at_ms: number): void {
    this.#alone.delete(peer);
    this.#alone.set(peer, { left_ms: Math.max(0, left_ms), at_ms });
    if (this.#alone.size > ALONE_MAX) this.#alone.delete(this.#alone.keys().next().value!);
  }

  /** Forgets who was served once nobody else waits. */
  #serve(peer: NodeId, now: number): void {
    this.#served.set(peer, now);
    if ([...this.#waiting].every((waiting) => this.#served.has(waiting))) this.#served.clear();
    else this.#yield_ms = now + this.#config.repairSilence_ms;
  }
}
