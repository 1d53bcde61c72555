/**
 * The state of the membership machine, its events and effects, and timers as data. No rules live here.
 */
import type { NodeId } from '../base/ids.ts';
import type { MemberStatus } from '../view/view.ts';
import type { MembershipConfig } from './config.ts';
import { encodeMessage, type Message } from './messages.ts';
import { createRanking, type Ranking } from './rendezvous.ts';

export type Verdict = 'alive' | 'failed';

export type MembershipEvent =
  | { readonly kind: 'start' }
  /** All members by the ledger; one that is missing has been removed. */
  | { readonly kind: 'members'; readonly members: ReadonlyMap<NodeId, { readonly incarnation: number }> }
  | { readonly kind: 'connected'; readonly peer: NodeId }
  | { readonly kind: 'disconnected'; readonly peer: NodeId }
  | { readonly kind: 'message'; readonly from: NodeId; readonly body: Uint8Array }
  | { readonly kind: 'timer'; readonly token: number }
  /** A verdict record that is in the ledger now, own ones too. */
  | {
      readonly kind: 'verdict';
      readonly watcher: NodeId;
      readonly subject: NodeId;
      readonly incarnation: number;
      readonly verdict: Verdict;
    };

export type MembershipEffect =
  /** A datagram on the mesh channel `member`; it may be dropped. */
  | { readonly kind: 'send'; readonly to: NodeId; readonly body: Uint8Array }
  /** Give {kind: 'timer', token} at `at_ms` of the clock that `env.now` reads. There is no cancelling. */
  | { readonly kind: 'schedule'; readonly token: number; readonly at_ms: number }
  /** Dial, at all addresses that are known. Failure is silence: this machine asks again. */
  | { readonly kind: 'connect'; readonly peer: NodeId }
  /** Abort the connection hard: it is silent. */
  | { readonly kind: 'disconnect'; readonly peer: NodeId }
  /** Write the ledger record verdict/<self>/<subject>. */
  | {
      readonly kind: 'verdict';
      readonly subject: NodeId;
      readonly incarnation: number;
      readonly verdict: Verdict;
    }
  /** Write the own member record with this incarnation. */
  | { readonly kind: 'refute'; readonly incarnation: number }
  | { readonly kind: 'status'; readonly member: NodeId; readonly status: MemberStatus }
  /** More than half of the members vanished at once (true), or are back (false). */
  | { readonly kind: 'isolated'; readonly isolated: boolean };

/** One question to a target, asked directly and then through relays. */
export interface Probe {
  seq: number;
  phase: 'direct' | 'relayed';
  timer: number;
  relays_count: number;
  nacks_count: number;
}

/** This node's own doubt of a member, from its first sign until the member is heard or takes a new incarnation. */
export interface Suspicion {
  /** Relayed answers to questions before this one are too old to count. */
  readonly seqFirst: number;
  readonly since_ms: number;
  /** How much of the time since then this node itself was stalled. */
  pushed_ms: number;
  readonly confirmedBy: Set<NodeId>;
  /** The timer that ends it; null once it has run out. */
  deadline: number | null;
  /** The timer of the next question; null when there is no way to ask. */
  reprobe: number | null;
  postponements_count: number;
}

export interface Member {
  readonly id: NodeId;
  /** The highest that the ledger or the member itself has told. */
  incarnation: number;
  status: MemberStatus;
  /** Until then it need not be connected; 0 once it was. */
  meetBy_ms: number;
  probe: Probe | null;
  suspicion: Suspicion | null;
  redial: { attempts_count: number; timer: number } | null;
  readonly verdicts: Map<NodeId, { readonly incarnation: number; readonly verdict: Verdict }>;
}

export type Timer =
  | { readonly kind: 'tick'; readonly at_ms: number }
  | {
      readonly kind: 'probe' | 'deadline' | 'reprobe' | 'redial';
      readonly at_ms: number;
      readonly id: NodeId;
    }
  | { readonly kind: 'relay'; readonly at_ms: number; readonly seq: number };

export interface Relay {
  readonly origin: NodeId;
  readonly originSeq: number;
  readonly subject: NodeId;
  readonly timer: number;
}

export interface PendingVerdict {
  readonly watcher: NodeId;
  readonly subject: NodeId;
  readonly incarnation: number;
  readonly verdict: Verdict;
}

/** Counts of what was refused or noticed, for metrics. */
export interface MembershipCounters {
  malformed_count: number;
  relaysRefused_count: number;
  verdictsDropped_count: number;
  membersRefused_count: number;
  stalls_count: number;
  verdictsGiven_count: number;
  refutations_count: number;
}

export interface MembershipState {
  readonly config: MembershipConfig;
  readonly self: NodeId;
  started: boolean;
  incarnation: number;
  /** Lifeguard's local health multiplier less one: 0 is well. */
  health: number;
  /** Timers due before this were held up by a stall that has been dealt with. */
  stalled_ms: number;
  seq: number;
  token: number;
  readonly timers: Map<number, Timer>;
  /** All members but this node. */
  readonly members: Map<NodeId, Member>;
  /** Peers with an open connection, members or not yet, and since when. */
  readonly connected: Map<NodeId, number>;
  readonly ranking: Ranking;
  /** Whom this node probes, in an order of its own, and whose turn is next. */
  targets: NodeId[];
  turn: number;
  /** The other watchers of those targets: they confirm, and relay. */
  fellows: Set<NodeId>;
  /** Members with a suspicion here or a failed verdict that holds: they have no say in verdicts. */
  readonly doubted: Set<NodeId>;
  /** Members that are failed in this view, and since when. */
  readonly failed: Map<NodeId, number>;
  /** Statuses, and targets, must be derived again before this event is done. */
  dirty: boolean;
  targetsDirty: boolean;
  readonly relays: Map<number, Relay>;
  readonly pending: PendingVerdict[];
  /** Members being redialled. */
  readonly redialling: Set<NodeId>;
  /** While cut off: who vanished, and of how many. */
  cutOff: { readonly vanished: Set<NodeId>; readonly of_count: number } | null;
  readonly counters: MembershipCounters;
}

/** One call of `handle`: what every rule is given. */
export interface Turn {
  readonly state: MembershipState;
  readonly now: number;
  readonly random: () => number;
  readonly effects: MembershipEffect[];
}

export function createState(config: MembershipConfig, self: NodeId, now: number): MembershipState {
  return {
    config,
    self,
    started: false,
    incarnation: 0,
    health: 0,
    stalled_ms: now,
    seq: 0,
    token: 0,
    timers: new Map(),
    members: new Map(),
    connected: new Map(),
    // As many stand-ins as watchers: they step in for watchers that are lost themselves.
    ranking: createRanking(config.watchers_count * 2),
    targets: [],
    turn: 0,
    fellows: new Set(),
    doubted: new Set(),
    failed: new Map(),
    dirty: false,
    targetsDirty: false,
    relays: new Map(),
    pending: [],
    redialling: new Set(),
    cutOff: null,
    counters: {
      malformed_count: 0,
      relaysRefused_count: 0,
      verdictsDropped_count: 0,
      membersRefused_count: 0,
      stalls_count: 0,
      verdictsGiven_count: 0,
      refutations_count: 0,
    },
  };
}

type NewTimer = Timer extends infer T ? (T extends Timer ? Omit<T, 'at_ms'> : never) : never;

/** @returns the token; dropping it from `state.timers` makes the timer stale, and stale timers are ignored. */
export function startTimer(turn: Turn, timer: NewTimer, after_ms: number): number {
  const token = ++turn.state.token;
  const at_ms = turn.now + Math.max(1, Math.round(after_ms));
  turn.state.timers.set(token, { ...timer, at_ms } as Timer);
  turn.effects.push({ kind: 'schedule', token, at_ms });
  return token;
}

export function stopTimer(turn: Turn, token: number | null): void {
  if (token !== null) turn.state.timers.delete(token);
}

export function jittered(turn: Turn, duration_ms: number): number {
  return duration_ms * (1 + turn.state.config.jitter * (2 * turn.random() - 1));
}

/** @returns whether there was a connection to send it on. */
export function send(turn: Turn, to: NodeId, message: Message): boolean {
  if (!turn.state.connected.has(to)) return false;
  turn.effects.push({ kind: 'send', to, body: encodeMessage(message) });
  return true;
}

export function worsenHealth(state: MembershipState): void {
  state.health = Math.min(state.config.health_max, state.health + 1);
}

export function mendHealth(state: MembershipState): void {
  state.health = Math.max(0, state.health - 1);
}
