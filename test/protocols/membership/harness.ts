/**
 * One membership machine under a test's hand: a clock that stands still until told, chance by a fixed rule unless the
 * test has one, effects kept. It asks for no round trips unless told.
 */
import type { NodeId } from '../../../protocols/base/ids.ts';
import { MEMBERSHIP_DEFAULTS, type MembershipConfig } from '../../../protocols/membership/config.ts';
import {
  createMembership,
  handle,
  type MembershipEffect,
  type MembershipEvent,
  type MembershipState,
} from '../../../protocols/membership/membership.ts';
import { decodeMessage, encodeMessage, type Message } from '../../../protocols/membership/messages.ts';

export class Machine {
  readonly state: MembershipState;
  now: number;
  effects: MembershipEffect[] = [];
  /** Timers that were asked for and not given yet. */
  readonly due = new Map<number, number>();
  /** The ledger: the last verdict of each watcher on each subject. */
  readonly #records = new Map<string, MembershipEvent & { kind: 'verdict' }>();
  readonly #random: () => number;

  constructor(
    self: NodeId,
    config: Partial<MembershipConfig> = {},
    now = 1_000_000,
    random: () => number = () => 0.5,
  ) {
    this.now = now;
    this.#random = random;
    this.state = createMembership(
      { ...MEMBERSHIP_DEFAULTS, jitter: 0, roundTrips_count: 0, ...config },
      self,
      this.#env(),
    );
  }

  #env() {
    return { now: this.now, random: this.#random };
  }

  give(event: MembershipEvent): MembershipEffect[] {
    if (event.kind === 'verdict') this.#records.set(`${event.watcher}/${event.subject}`, event);
    const effects = handle(this.state, event, this.#env());
    for (const effect of effects) if (effect.kind === 'schedule') this.due.set(effect.token, effect.at_ms);
    this.effects.push(...effects);
    for (const effect of effects) if (effect.kind === 'recall') this.#recall(effect);
    return effects;
  }

  #recall({ member, watchers, subjects }: MembershipEffect & { kind: 'recall' }): void {
    const keys = [
      ...Array.from(watchers, (id) => `${id}/${member}`),
      ...Array.from(subjects, (id) => `${member}/${id}`),
    ];
    for (const key of keys) {
      const record = this.#records.get(key);
      if (record !== undefined) this.give(record);
    }
  }

  /** A started machine that is connected to all of `others`, all at incarnation 1. */
  join(...others: NodeId[]): this {
    this.give({ kind: 'members', members: others.map((id) => [id, 1] as const) });
    this.give({ kind: 'start' });
    for (const peer of others) this.give({ kind: 'connected', peer });
    for (const peer of others) this.hear(peer, { type: 'ack', seq: this.state.seq, incarnation: 1 });
    this.effects = [];
    return this;
  }

  hear(from: NodeId, message: Message): MembershipEffect[] {
    return this.give({ kind: 'message', from, body: encodeMessage(message) });
  }

  /** Time goes by; each timer is given when it is due. @returns the effects of it. */
  pass(duration_ms: number): MembershipEffect[] {
    const end = this.now + duration_ms;
    const from = this.effects.length;
    for (;;) {
      const [next] = [...this.due].sort((a, b) => a[1] - b[1] || a[0] - b[0]);
      if (next === undefined || next[1] > end) break;
      this.due.delete(next[0]);
      this.now = Math.max(this.now, next[1]);
      this.give({ kind: 'timer', token: next[0] });
    }
    this.now = end;
    return this.effects.slice(from);
  }

  /** The loop stands still for so long; what was due in it comes at its end. */
  stall(duration_ms: number): MembershipEffect[] {
    this.now += duration_ms;
    return this.pass(0);
  }

  of<K extends MembershipEffect['kind']>(kind: K): Extract<MembershipEffect, { kind: K }>[] {
    return this.effects.filter((effect) => effect.kind === kind) as Extract<MembershipEffect, { kind: K }>[];
  }

  /** What was sent, decoded. */
  sent(): { to: NodeId; message: Message }[] {
    return this.of('send').map(({ to, body }) => ({ to, message: decodeMessage(body)! }));
  }
}
