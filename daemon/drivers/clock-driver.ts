/**
 * Asks the members that this node is connected to for their time, and says in the log when its own clock is found wrong
 * and when it is right again. What is made of the answers is protocols/clocks. Where clocks differ by more than an hour
 * members may not come to be connected at all, for their certificates are not valid yet: that is told too.
 */
import { clockCode } from '../../protocols/base/clock.ts';
import type { NodeId } from '../../protocols/base/ids.ts';
import { sample } from '../../protocols/base/sample.ts';
import {
  CLOCK_PROTOCOL,
  decodeClockAnswer,
  encodeClockAnswer,
  encodeClockQuestion,
} from '../../protocols/clocks/clock-messages.ts';
import {
  CLOCK_OFF_MS,
  CLOCK_RIGHT_MS,
  CLOCK_STEP_MS,
  ClockOffsets,
  COMPARED_MAX,
  refusedUntil_ms,
  type WrongClock,
} from '../../protocols/clocks/clock-offsets.ts';
import type { Mesh } from '../../protocols/mesh/mesh.ts';
import { type Clock, pause } from '../clock.ts';
import type { Log } from '../log.ts';

/**
 * Between two questions, on average. One member is asked at a time, in turn: when it tells that a clock was set, or while
 * ours is wrong, all are. So that it is known within that time, and costs little for ever.
 */
const TURN_MS = 30_000;
/** Longer than from one turn to the next, and a step that is shorter has no stamp refused. */
const OUTDATED_MS = 1.5 * TURN_MS;
/** How long a certificate that was out of time is told: longer than between two dials. */
const UNTIMELY_MS = 300_000;
const UNTIMELY_MAX = 1_024;
/** Who waits for a look at the clocks waits no longer than this. */
const LOOK_MS = 2_000;

export interface ClockDriverInit {
  readonly clock: Clock;
  readonly log: Log;
  /** Members besides this node. */
  readonly others_count: () => number;
  /** The last stamp that this node gave or follows, milliseconds. */
  readonly stamped_ms: () => number;
}

/** Why no other member takes what this node writes now. */
export interface StampRefusal {
  /** By how much the clock of this node is ahead; about nothing when only its stamps are. */
  readonly lead_ms: number;
  /** When they take it, if nobody sets the clock; by the clock of this node. */
  readonly until_ms: number;
}

export class ClockDriver implements Disposable {
  readonly #init: ClockDriverInit;
  readonly #offsets = new ClockOffsets();
  readonly #asking = new Map<NodeId, Promise<void>>();
  readonly #stopping = new AbortController();
  /** Members whose certificates are out of time, by how much at least their clocks are ahead of ours, and when it was seen. */
  readonly #untimely = new Map<NodeId, { readonly ahead_ms: number; readonly seen_ms: number }>();
  #mesh: Pick<Mesh, 'peers' | 'request'> | undefined;
  #cancelTurn: (() => void) | undefined;
  /** When the last answer came, by the clock of this host. */
  #heard_ms: number | undefined;
  #isOff = false;

  constructor(init: ClockDriverInit) {
    this.#init = init;
  }

  start(mesh: Pick<Mesh, 'peers' | 'request' | 'handle' | 'on'>): void {
    const { clock } = this.#init;
    this.#mesh = mesh;
    mesh.handle(CLOCK_PROTOCOL, async () => encodeClockAnswer(clock.now()));
    mesh.on('untimely', (peer, ahead_ms) => this.#onUntimely(peer, ahead_ms));
    mesh.on('connected', (peer) => {
      this.#untimely.delete(peer);
      if (this.#offsets.peers.length + this.#asking.size < COMPARED_MAX) void this.#ask(peer);
    });
    mesh.on('disconnected', (peer) => this.#offsets.forget(peer));
    void this.#round();
    this.#schedule();
  }

  /** By how much the clock of this node is ahead of most others, negative: behind; null: it is not, as far as is known. */
  get off_ms(): number | null {
    return (this.#isOff ? this.#lead_ms : undefined) ?? null;
  }

  /** Members whose clocks are wrong, the worst first. */
  get wrong(): readonly WrongClock[] {
    return this.#offsets.wrong(this.#lead_ms);
  }

  /** What is right follows from enough members. */
  get isMiddleKnown(): boolean {
    return this.#lead_ms !== undefined;
  }

  /** Members that cannot be connected to, for their certificates are out of time by the clock of this host. */
  get untimely(): readonly WrongClock[] {
    const now = this.#init.clock.now();
    // The clock may have been set since.
    for (const [peer, { seen_ms }] of this.#untimely)
      if (Math.abs(now - seen_ms) > UNTIMELY_MS) this.#untimely.delete(peer);
    return [...this.#untimely].map(([peer, { ahead_ms }]) => ({ peer, ahead_ms }));
  }

  /**
   * What is known now; null also where too few members have told. Of two hosts nobody knows which clock is wrong, and the one
   * that is right shall not be stopped by the other.
   */
  get refusal(): StampRefusal | null {
    const lead_ms = this.#lead_ms;
    if (lead_ms === undefined || this.#offsets.peers.length < 2) return null;
    const until_ms = refusedUntil_ms(this.#init.clock.now(), this.#init.stamped_ms(), lead_ms);
    return until_ms === undefined ? null : { lead_ms, until_ms };
  }

  /** As `refusal`, but the others are asked anew before there is one, or where the clock may have been set since. */
  async lookAtRefusal(): Promise<StampRefusal | null> {
    if (this.refusal === null && !this.#isOutdated) return null;
    await Promise.race([this.#round(), pause(this.#init.clock, LOOK_MS, this.#stopping.signal)]);
    return this.refusal;
  }

  [Symbol.dispose](): void {
    this.#stopping.abort();
    this.#cancelTurn?.();
  }

  /** What is known may be of another clock: by this one more time has gone by than between two turns, or less than none. */
  get #isOutdated(): boolean {
    const now = this.#init.clock.now();
    if (this.#heard_ms === undefined) return this.#asking.size > 0;
    return now < this.#heard_ms || now - this.#heard_ms > OUTDATED_MS;
  }

  get #lead_ms(): number | undefined {
    return this.#offsets.lead_ms(this.#init.others_count());
  }

  #schedule(): void {
    const { clock } = this.#init;
    this.#cancelTurn = clock.after(TURN_MS * (0.75 + clock.random() / 2), () => {
      void this.#turn();
      this.#schedule();
    });
  }

  async #turn(): Promise<void> {
    const [oldest] = this.#offsets.peers;
    const told_ms = () => (oldest === undefined ? 0 : (this.#offsets.of(oldest) ?? 0));
    const before_ms = told_ms();
    await this.#askAll([...this.#offsets.peers.slice(0, 1), ...this.#others(1)]);
    if (this.#isOff || Math.abs(told_ms() - before_ms) > CLOCK_STEP_MS) await this.#round();
  }

  /** The same ones as before, and others where there is room. */
  async #round(): Promise<void> {
    await this.#askAll([...this.#offsets.peers, ...this.#others(COMPARED_MAX)]);
  }

  async #askAll(peers: readonly NodeId[]): Promise<void> {
    await Promise.all(peers.map((peer) => this.#ask(peer)));
  }

  /** Connected members that are not compared with, by lot, as far as there is room. */
  #others(count_max: number): NodeId[] {
    const known = this.#offsets.peers;
    const others = (this.#mesh?.peers() ?? []).filter((peer) => !known.includes(peer));
    const count = Math.min(count_max, COMPARED_MAX - known.length);
    return sample(others, count, () => this.#init.clock.random());
  }

  /** One question to each at a time: who asks meanwhile waits for its answer. */
  #ask(peer: NodeId): Promise<void> {
    const asking = this.#asking.get(peer) ?? this.#hear(peer).finally(() => this.#asking.delete(peer));
    this.#asking.set(peer, asking);
    return asking;
  }

  async #hear(peer: NodeId): Promise<void> {
    const { clock, log } = this.#init;
    const mesh = this.#mesh!;
    const { signal } = this.#stopping;
    const asked_ms = clock.now();
    try {
      const theirs_ms = decodeClockAnswer(
        await mesh.request(peer, CLOCK_PROTOCOL, encodeClockQuestion(), { signal }),
      );
      this.#heard_ms = clock.now();
      // It may be gone by now.
      if (mesh.peers().includes(peer))
        this.#offsets.heard(peer, { asked_ms, answered_ms: clock.now(), theirs_ms });
    } catch (error) {
      // One that does not know the question, or is too busy, is not compared with.
      this.#offsets.forget(peer);
      log('debug', 'a member did not tell its time', { peer, error: String(error) });
    }
    this.#notice();
  }

  #onUntimely(peer: NodeId, ahead_ms: number): void {
    const isKnown = this.untimely.some((one) => one.peer === peer);
    if (!isKnown && this.#untimely.size >= UNTIMELY_MAX) return;
    this.#untimely.set(peer, { ahead_ms, seen_ms: this.#init.clock.now() });
    if (isKnown) return;
    this.#init.log(
      'warn',
      'a member cannot be connected to: by the clock of this host its certificate is out of time',
      { peer, ahead_s: Math.round(ahead_ms / 1000) },
    );
  }

  #notice(): void {
    const lead_ms = this.#lead_ms;
    if (lead_ms === undefined || this.#stopping.signal.aborted) return;
    const isOff = Math.abs(lead_ms) > (this.#isOff ? CLOCK_RIGHT_MS : CLOCK_OFF_MS);
    if (isOff === this.#isOff) return;
    this.#isOff = isOff;
    const off_s = Math.round(lead_ms / 1000);
    if (isOff)
      this.#init.log('warn', 'the clock of this host is wrong, by those of the other members', {
        code: clockCode(lead_ms),
        off_s,
      });
    else
      this.#init.log('warn', 'the clock of this host agrees with those of the other members again', {
        off_s,
      });
  }
}
