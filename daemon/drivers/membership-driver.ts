/** Drives the membership core: connections, datagrams and records in; probes, dials, verdicts and refutations out. */
import type { NodeId } from '../../protocols/base/ids.ts';
import type { VerdictBody } from '../../protocols/base/records.ts';
import { MEMBERSHIP_DEFAULTS } from '../../protocols/membership/config.ts';
import {
  createMembership,
  handle,
  type MembershipEffect,
  type MembershipEvent,
  type MembershipState,
  memberStatus,
} from '../../protocols/membership/membership.ts';
import { decodeMessage } from '../../protocols/membership/messages.ts';
import type { Mesh } from '../../protocols/mesh/mesh.ts';
import type { MemberStatus } from '../../protocols/view/view.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { GuardDriver } from './guard-driver.ts';

export const MEMBERSHIP_CHANNEL = 'member';

export interface MembershipDriverInit {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly log: Log;
  readonly guard: Pick<GuardDriver, 'charge'>;
  readonly addressesOf: (member: NodeId) => readonly string[];
  readonly writeVerdict: (body: VerdictBody) => void;
  readonly refute: (incarnation: number) => void;
  /** To be told again what the ledger has of this watcher on this subject, if anything. */
  readonly recall: (watcher: NodeId, subject: NodeId) => void;
  /** The status of somebody changed. */
  readonly onStatus: (member: NodeId, status: MemberStatus) => void;
}

export class MembershipDriver implements Disposable {
  readonly #init: MembershipDriverInit;
  readonly #state: MembershipState;
  readonly #timers = new Set<() => void>();
  /** Attempts under way, and whether another was asked for meanwhile. */
  readonly #dialling = new Map<NodeId, boolean>();
  /** Members that were held as failed and have not been alive since. */
  readonly #failed = new Set<NodeId>();
  readonly #stopping = new AbortController();
  #mesh: Mesh | undefined;

  constructor(init: MembershipDriverInit) {
    this.#init = init;
    this.#state = createMembership(MEMBERSHIP_DEFAULTS, init.self, this.#env());
  }

  start(mesh: Mesh): void {
    this.#mesh = mesh;
    mesh.on('connected', (peer) => this.#dispatch({ kind: 'connected', peer }));
    mesh.on('disconnected', (peer) => this.#dispatch({ kind: 'disconnected', peer }));
    mesh.on('message', (from, channel, body) => {
      if (channel !== MEMBERSHIP_CHANNEL) this.#dispatch({ kind: 'heard', peer: from });
      // A newer version may say what this one cannot read: a little of that is no offence.
      else if (decodeMessage(body) === null) this.#init.guard.charge(from, 'repeats', 1);
      else this.#dispatch({ kind: 'message', from, body });
    });
    for (const peer of mesh.peers()) this.#dispatch({ kind: 'connected', peer });
    this.#dispatch({ kind: 'start' });
  }

  /** The whole list: at the start, and when grants have changed who is in it. */
  members(members: Iterable<{ readonly id: NodeId; readonly incarnation: number }>): void {
    const entries = Array.from(members, ({ id, incarnation }) => [id, incarnation] as const);
    const known = new Set(entries.map(([id]) => id));
    for (const id of this.#failed) if (!known.has(id)) this.#failed.delete(id);
    this.#dispatch({ kind: 'members', members: entries });
  }

  /** One member that is new or has a new incarnation. */
  member(id: NodeId, incarnation: number): void {
    this.#dispatch({ kind: 'member', id, incarnation });
  }

  removed(id: NodeId): void {
    this.#failed.delete(id);
    this.#dispatch({ kind: 'removed', id });
  }

  verdict(watcher: NodeId, { subject, incarnation, verdict }: VerdictBody): void {
    this.#dispatch({ kind: 'verdict', watcher, subject, incarnation, verdict });
  }

  status(member: NodeId): MemberStatus {
    return memberStatus(this.#state, member) ?? 'alive';
  }

  [Symbol.dispose](): void {
    this.#stopping.abort();
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
  }

  #env() {
    const { clock } = this.#init;
    return { now: clock.now(), random: () => clock.random() };
  }

  #dispatch(event: MembershipEvent): void {
    if (this.#stopping.signal.aborted) return;
    for (const effect of handle(this.#state, event, this.#env())) this.#carryOut(effect);
  }

  #carryOut(effect: MembershipEffect): void {
    const { clock, log } = this.#init;
    switch (effect.kind) {
      case 'send':
        this.#mesh?.send(effect.to, MEMBERSHIP_CHANNEL, effect.body);
        break;
      case 'schedule': {
        const { token } = effect;
        const cancel = clock.after(effect.at_ms - clock.now(), () => {
          this.#timers.delete(cancel);
          this.#dispatch({ kind: 'timer', token });
        });
        this.#timers.add(cancel);
        break;
      }
      case 'connect':
        void this.#dial(effect.peer);
        break;
      case 'disconnect':
        void this.#mesh?.disconnect(effect.peer);
        break;
      case 'verdict':
        log('info', `this node holds a member as ${effect.verdict}`, { member: effect.subject });
        this.#init.writeVerdict({
          subject: effect.subject,
          incarnation: effect.incarnation,
          verdict: effect.verdict,
        });
        break;
      case 'refute':
        log('warn', 'this node was held as failed and refutes it', { incarnation: effect.incarnation });
        this.#init.refute(effect.incarnation);
        break;
      case 'status':
        this.#logStatus(effect.member, effect.status);
        this.#init.onStatus(effect.member, effect.status);
        break;
      case 'recall':
        for (const watcher of effect.watchers) this.#init.recall(watcher, effect.member);
        for (const subject of effect.subjects) this.#init.recall(effect.member, subject);
        break;
      case 'isolated':
        log(
          'warn',
          effect.isolated
            ? 'most members are gone: presuming that this node is cut off'
            : 'most members are back',
        );
        break;
    }
  }

  /** Who fails and who is back matters to people; a doubt that comes to nothing does not. */
  #logStatus(member: NodeId, status: MemberStatus): void {
    const wasFailed = status === 'alive' ? this.#failed.delete(member) : this.#failed.has(member);
    if (status === 'failed') this.#failed.add(member);
    const level = status === 'failed' || (status === 'alive' && wasFailed) ? 'info' : 'debug';
    this.#init.log(level, `a member is ${status}`, { member });
  }

  /** Failing is silence: the core asks again. What it asked for while an attempt was under way follows that one. */
  async #dial(peer: NodeId): Promise<void> {
    const isUnderWay = this.#dialling.has(peer);
    this.#dialling.set(peer, isUnderWay);
    if (isUnderWay) return;
    const { signal } = this.#stopping;
    try {
      const addresses = this.#init.addressesOf(peer);
      if (addresses.length > 0) await this.#mesh?.connect(peer, addresses, { signal });
      this.#dialling.set(peer, false);
    } catch (error) {
      const { cause } = error as Error;
      const detail = { member: peer, error: String(error), cause: String(cause) };
      this.#init.log('debug', 'a member could not be dialled', detail);
    }
    const isAskedAgain = this.#dialling.get(peer) === true;
    this.#dialling.delete(peer);
    if (isAskedAgain && !signal.aborted) void this.#dial(peer);
  }
}
