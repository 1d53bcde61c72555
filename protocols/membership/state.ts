/**
 * The state of the membership machine, its events and effects, and timers as data. No rules live here.
 * What concerns all members is in the roster, a value that nodes may share; a Member is kept only of those that
 * this node has to do with, so that its state is small however large the cluster.
 */
import type { NodeId } from '../base/ids.ts';
import type { MemberStatus } from '../view/view.ts';
import type { MembershipConfig } from './config.ts';
import { encodeMessage, type Message } from './messages.ts';
import type { Roster } from './roster.ts';
import { type TimerKind, Timers } from './timers.ts';

export type Verdict = 'alive' | 'failed';

export type MembershipEvent =
  | { readonly kind: 'start' }
  /** All members by the ledger; one that is missing has been removed. For the start, and when much has changed. */
  | { readonly kind: 'members'; readonly members: Iterable<readonly [NodeId, number]> | Roster }
  /** A member by the ledger, new or with a new incarnation. */
  | { readonly kind: 'member'; readonly id: NodeId; readonly incarnation: number }
  | { readonly kind: 'removed'; readonly id: NodeId }
  | { readonly kind: 'connected'; readonly peer: NodeId }
  | { readonly kind: 'disconnected'; readonly peer: NodeId }
  | { readonly kind: 'message'; readonly from: NodeId; readonly body: Uint8Array }
  /** Something else came from it: it lives. */
  | { readonly kind: 'heard'; readonly peer: NodeId }
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
  /** Abort the connection hard: it is silent, or nobody needs it. */
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
  /**
   * Tell again the verdicts that are on record of each of `watchers` on `member`, and of `member` on each of `subjects`:
   * what came before the member, or its incarnation, could not be kept.
   */
  | {
      readonly kind: 'recall';
      readonly member: NodeId;
      readonly watchers: Iterable<NodeId>;
      readonly subjects: Iterable<NodeId>;
    }
  /** More than half of the members that this node has to do with vanished at once (true), or are back (false). */
  | { readonly kind: 'isolated'; readonly isolated: boolean };

/** One question to a member. */
export interface Probe {
  readonly seq: number;
  readonly asked_ms: number;
  /** Asked alone and without an answer, so that it is being asked through relays too. */
  isUnanswered: boolean;
  /** It was asked because a beat that was promised did not come. */
  readonly isLate: boolean;
  timer: number;
  /** Who was asked to ask for it: nobody else answers for it. */
  relays: ReadonlySet<NodeId>;
  nacks_count: number;
  /** Stalls of this node that have put its end off. */
  stalls_count: number;
  /** Other watchers that suspect it already, and whether their connections closed. */
  readonly doubters: Map<NodeId, boolean>;
}

/** This node's own doubt of a member, from its first sign until the member is heard or takes a new incarnation. */
export interface Suspicion {
  /** Relayed answers to questions before this one are too old to count. */
  readonly seqFirst: number;
  readonly since_ms: number;
  /** How much of the time since then this node itself was stalled. */
  pushed_ms: number;
  stalls_count: number;
  /** How long it lasts, as far as was known when the deadline was set. */
  wait_ms: number;
  readonly confirmedBy: Set<NodeId>;
  /** Those whose connection to it closed, this node too. */
  readonly closedBy: Set<NodeId>;
  /** Who was asked to ask for it since. */
  readonly relays: Set<NodeId>;
  /** The timer that ends it; null once it has run out. */
  deadline: number | null;
  /** The last question before it ran out, and when it did. */
  seqWaited: number;
  ended_ms: number;
  /** The timer of the next question; null when there is no way to ask. */
  reprobe: number | null;
  postponements_count: number;
  /** Enough others are about to give their verdicts, and this node has left it to them. */
  isLeft: boolean;
}

export interface Member {
  readonly id: NodeId;
  /** The highest that the ledger or the member itself has told. */
  incarnation: number;
  status: MemberStatus;
  /** At which incarnation watchers agreed that it is failed; null: not since it was held as failed here. */
  agreed_incarnation: number | null;
  /** Until then it need not be connected; 0 once it was. */
  meetBy_ms: number;
  /** As `connected` of the state has it. */
  isConnected: boolean;
  /** The last sign of life. */
  heard_ms: number;
  /** Stalls of this node since then. */
  stalls_count: number;
  /** How long after it the next one is due, as it promised; null: it never did, and is asked this often instead. */
  promise_ms: number | null;
  /** When its last beat came; NEVER_MS: none did on this connection. */
  beat_ms: number;
  /** How much of its beats came late, as `lateness` of the state; null: none was counted yet. */
  lateness: number | null;
  /** Beats until then are accounted for: there are no more in a time than are counted. */
  sampled_ms: number;
  /** The last question that only asks for the round trip. No answer to it is no news. */
  gauge: { readonly seq: number; readonly asked_ms: number } | null;
  /** Of questions to it over this connection and those before; null: none was answered yet. */
  readonly roundTrips_ms: number[];
  /** What nearly all its answers take on their way beyond a LAN's round trip, by these; 0 when nothing is known. */
  roundTrip_ms: number;
  /** So many more questions shall measure them. */
  gauges_count: number;
  /** The timer that looks whether it is late; targets have one. */
  late: number | null;
  probe: Probe | null;
  suspicion: Suspicion | null;
  redial: { readonly since_ms: number; readonly attempts_count: number; readonly timer: number } | null;
  /** This node's failed verdict that is on record and that no record voids yet; and the timer that takes it back. */
  charge: { readonly incarnation: number; takeBack: number | null } | null;
  readonly verdicts: Map<NodeId, { readonly incarnation: number; readonly verdict: Verdict }>;
}

export interface Stranger {
  dialled_ms: number;
  /** Whether it has answered: 'none' while there is time left for it. */
  answer: 'none' | 'missing' | 'came';
}

/** What a node knows that is cut off. */
export interface CutOff {
  readonly since_ms: number;
  /** Of those with whom it keeps links: who vanished, and of how many. */
  readonly vanished: Set<NodeId>;
  readonly of_count: number;
  /** In a large cluster: those with whom it keeps no links, and that it has dialled since. */
  readonly strangers: Map<NodeId, Stranger>;
  /** How far those that did not answer in time outweigh those that did. */
  surplus: number;
  /** Hardly any answer: what this node does not reach is lost to it. */
  reachesFew: boolean;
  /** At some moment since it had no connection at all. */
  wasAlone: boolean;
}

/** Before all times; no null, which would cost an object at each change. */
export const NEVER_MS = Number.NEGATIVE_INFINITY;

/** A watcher of this node, and by when it was promised the next sign of life. */
export interface Listener {
  readonly id: NodeId;
  isConnected: boolean;
  /** Infinite when nothing was promised on this connection. */
  due_ms: number;
}

export interface Relay {
  readonly origin: NodeId;
  readonly originSeq: number;
  readonly subject: NodeId;
  readonly timer: number;
  /** It has said that no answer came in time. */
  readonly isNacked: boolean;
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
  verdictsTakenBack_count: number;
  refutations_count: number;
}

export interface MembershipState {
  readonly config: MembershipConfig;
  readonly self: NodeId;
  started: boolean;
  incarnation: number;
  /** When a message had this node refute last. */
  refuted_ms: number;
  /** Lifeguard's local health multiplier less one: 0 is well. */
  health: number;
  /** 0 to 1: how much of what this node expects comes late by a retransmission or more. */
  lateness: number;
  /** Timers due before this were held up by a stall that has been dealt with. */
  stalled_ms: number;
  /** How much too late its last timer came. */
  lag_ms: number;
  seq: number;
  readonly timers: Timers;
  /** All members by the ledger, this node too. */
  roster: Roster;
  /** Those of them that have a say in verdicts: not accused, and not silent for as long as a suspicion lasts. */
  hearable: Roster;
  /** Whom this node has to do with; never itself. */
  readonly members: Map<NodeId, Member>;
  /** Peers with an open connection, members or not yet, and since when. */
  readonly connected: Map<NodeId, number>;
  /** Whom this node watches. */
  targets: Set<NodeId>;
  /** Whom it would watch if others had no say, and those around them on the rings: `subjectsOf` itself. */
  candidates: ReadonlySet<NodeId>;
  /** Who watches this node; whoever was told last is the last. */
  audience: Listener[];
  /** The last beat, and what it says: most say the same. */
  beat: { readonly incarnation: number; readonly next_ms: number; readonly body: Uint8Array } | null;
  /** To whom connections are kept by the roster. Those whom this node watches as a stand-in are not in it. */
  wanted: Set<NodeId>;
  /** Those of them, and of the targets, without a connection. */
  unlinked: Set<NodeId>;
  /** Ticks since the last round of upkeep. */
  ticks_count: number;
  /** Members with a suspicion here or a failed verdict that holds. */
  readonly doubted: Set<NodeId>;
  /** Members that have told a higher incarnation than is on record of them. */
  readonly unrecorded: Set<NodeId>;
  /** Members that are failed in this view, and since when. */
  readonly failed: Map<NodeId, number>;
  /** Doubted members whose status must be derived again before this event is done. */
  readonly unsettled: Set<NodeId>;
  dutiesDirty: boolean;
  /** What says whether it is this node that is cut off has changed. */
  isolationDirty: boolean;
  readonly relays: Map<number, Relay>;
  readonly pending: PendingVerdict[];
  /** Members being redialled. */
  readonly redialling: Set<NodeId>;
  cutOff: CutOff | null;
  readonly counters: MembershipCounters;
}

/** One call of `handle`: what every rule is given. */
export interface Turn {
  readonly state: MembershipState;
  readonly now: number;
  readonly random: () => number;
  readonly effects: MembershipEffect[];
}

export function createState(
  config: MembershipConfig,
  self: NodeId,
  now: number,
  roster: Roster,
): MembershipState {
  return {
    config,
    self,
    started: false,
    incarnation: 0,
    refuted_ms: NEVER_MS,
    health: 0,
    lateness: 0,
    stalled_ms: now,
    lag_ms: 0,
    seq: 0,
    timers: new Timers(),
    roster,
    hearable: roster,
    members: new Map(),
    connected: new Map(),
    targets: new Set(),
    candidates: new Set(),
    audience: [],
    beat: null,
    wanted: new Set(),
    unlinked: new Set(),
    ticks_count: 0,
    doubted: new Set(),
    unrecorded: new Set(),
    failed: new Map(),
    unsettled: new Set(),
    dutiesDirty: false,
    isolationDirty: false,
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
      verdictsTakenBack_count: 0,
      refutations_count: 0,
    },
  };
}

/** What this node keeps of `id` from now on; undefined for itself and for those that are not members. */
export function memberOf(turn: Turn, id: NodeId): Member | undefined {
  const { state } = turn;
  const known = state.members.get(id);
  if (known !== undefined || id === state.self) return known;
  const incarnation = state.roster.get(id);
  if (incarnation === undefined) return undefined;
  const isConnected = state.connected.has(id);
  const member: Member = {
    id,
    incarnation,
    status: 'alive',
    agreed_incarnation: null,
    meetBy_ms: isConnected ? 0 : turn.now + state.config.meet_ms,
    isConnected,
    heard_ms: turn.now,
    stalls_count: 0,
    promise_ms: null,
    beat_ms: NEVER_MS,
    lateness: null,
    sampled_ms: NEVER_MS,
    gauge: null,
    roundTrips_ms: [],
    roundTrip_ms: 0,
    gauges_count: turn.state.config.roundTrips_count,
    late: null,
    probe: null,
    suspicion: null,
    redial: null,
    charge: null,
    verdicts: new Map(),
  };
  state.members.set(id, member);
  return member;
}

/** @param of whom it concerns: a member, or the question of a relay by its number. @returns the token. */
export function startTimer(
  turn: Turn,
  kind: TimerKind,
  of: Member | number | null,
  after_ms: number,
): number {
  const at_ms = turn.now + Math.max(1, Math.round(after_ms));
  const token = turn.state.timers.start(kind, of, at_ms);
  turn.effects.push({ kind: 'schedule', token, at_ms });
  return token;
}

/** It is stale from now on, and stale timers are ignored. */
export function stopTimer(turn: Turn, token: number | null): void {
  if (token !== null) turn.state.timers.stop(token);
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
  state.health = Math.max(0, state.health - state.config.beatMends);
}

/** How long after a sign of life the next one is due. */
export function silence_ms({ config }: MembershipState, member: Member): number {
  return member.promise_ms ?? config.beat_interval_ms * config.watchers_count;
}

/** How long it need not be connected yet. Never for longer than a new member, whatever the clock was set to. */
export function meetsIn_ms({ state, now }: Turn, member: Member): number {
  member.meetBy_ms = Math.min(member.meetBy_ms, now + state.config.meet_ms);
  return member.meetBy_ms - now;
}

/** By how much this node draws out its questions and suspicions. */
export function patienceOf(state: MembershipState): number {
  return Math.min(state.config.patience_max, 1 + state.health);
}
