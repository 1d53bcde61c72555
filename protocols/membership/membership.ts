/**
 * Membership: SWIM with Lifeguard over connections, as a pure machine (DESIGN section 4).
 * Each member is watched by K others; a closed connection or silence starts a suspicion; what watchers conclude
 * are ledger records, and a member is failed where the watchers that can be heard agree.
 * Not here: sockets, clocks and the ledger. The driver in daemon/ and the simulator carry the effects out.
 */
import type { Env } from '../base/clock.ts';
import type { NodeId } from '../base/ids.ts';
import type { MemberStatus } from '../view/view.ts';
import { assertConfig, MEMBERSHIP_LIMITS, type MembershipConfig } from './config.ts';
import { decodeMessage } from './messages.ts';
import {
  endProbe,
  onAck,
  onNack,
  onProbeTimeout,
  onRelayed,
  onRelayTimeout,
  onReprobe,
  onRequest,
  onTick,
  probeConnected,
  pushProbe,
  refreshTargets,
  startProbe,
} from './probing.ts';
import { dial, endRedial, onRedial, redialAfterLoss } from './redial.ts';
import { rankingAdd, rankingRemove } from './rendezvous.ts';
import {
  createState,
  type Member,
  type MembershipEffect,
  type MembershipEvent,
  type MembershipState,
  send,
  startTimer,
  type Timer,
  type Turn,
  worsenHealth,
} from './state.ts';
import {
  confirm,
  endSuspicion,
  heard,
  onDeadline,
  pushSuspicion,
  raiseIncarnation,
  suspect,
} from './suspicion.ts';
import { keepVerdict, refreshDoubt, settle } from './votes.ts';

export type { MembershipEffect, MembershipEvent, MembershipState } from './state.ts';

/** @throws RangeError when the settings contradict one another. */
export function createMembership(config: MembershipConfig, self: NodeId, env: Env): MembershipState {
  const state = createState(assertConfig(config), self, env.now);
  rankingAdd(state.ranking, self);
  return state;
}

/** @returns what this node holds of `id`; undefined when it is not a member. This node itself is alive. */
export function memberStatus(state: MembershipState, id: NodeId): MemberStatus | undefined {
  return id === state.self ? 'alive' : state.members.get(id)?.status;
}

/** Changes `state` and returns what the driver must do, in order. Never throws on what others send. */
export function handle(state: MembershipState, event: MembershipEvent, env: Env): MembershipEffect[] {
  const turn: Turn = { state, now: env.now, random: env.random, effects: [] };
  switch (event.kind) {
    case 'start':
      onStart(turn);
      break;
    case 'members':
      onMembers(turn, event.members);
      break;
    case 'connected':
      onConnected(turn, event.peer);
      break;
    case 'disconnected':
      onDisconnected(turn, event.peer);
      break;
    case 'message':
      onMessage(turn, event.from, event.body);
      break;
    case 'timer':
      onTimer(turn, event.token);
      break;
    case 'verdict':
      onVerdict(turn, event);
      break;
  }
  // Duties follow doubts, and verdicts that are due follow duties.
  if (state.targetsDirty) refreshTargets(turn);
  if (state.dirty) settle(turn);
  return turn.effects;
}

function onStart(turn: Turn): void {
  const { state } = turn;
  if (state.started) return;
  state.started = true;
  startTimer(turn, { kind: 'tick' }, turn.random() * state.config.probe_interval_ms);
  for (const member of state.members.values()) {
    member.meetBy_ms = turn.now + state.config.meet_ms;
    dial(turn, member, state.self > member.id);
  }
}

function onMembers(turn: Turn, members: ReadonlyMap<NodeId, { readonly incarnation: number }>): void {
  const { state } = turn;
  for (const member of [...state.members.values()]) if (!members.has(member.id)) drop(turn, member);
  for (const [id, { incarnation }] of members) {
    if (id === state.self) {
      state.incarnation = Math.max(state.incarnation, incarnation);
      continue;
    }
    const member = state.members.get(id);
    if (member === undefined) add(turn, id, incarnation);
    // Perhaps it is back at other addresses: dialled at once, whatever the backoff was.
    else if (raiseIncarnation(turn, member, incarnation)) dial(turn, member);
  }
  for (const record of state.pending.splice(0)) keepVerdict(turn, record);
}

function add(turn: Turn, id: NodeId, incarnation: number): void {
  const { state } = turn;
  if (state.members.size >= MEMBERSHIP_LIMITS.members_max) {
    state.counters.membersRefused_count += 1;
    return;
  }
  const member: Member = {
    id,
    incarnation,
    status: 'alive',
    meetBy_ms: turn.now + state.config.meet_ms,
    probe: null,
    suspicion: null,
    redial: null,
    verdicts: new Map(),
  };
  state.members.set(id, member);
  rankingAdd(state.ranking, id);
  state.targetsDirty = true;
  // Both sides learn of one another at about the same time: the lesser id goes first.
  dial(turn, member, state.self > id);
}

function drop(turn: Turn, member: Member): void {
  const { state } = turn;
  endProbe(turn, member);
  endSuspicion(turn, member);
  endRedial(turn, member);
  state.members.delete(member.id);
  state.doubted.delete(member.id);
  state.failed.delete(member.id);
  rankingRemove(state.ranking, member.id);
  for (const other of state.members.values()) {
    if (other.verdicts.delete(member.id)) refreshDoubt(turn, other);
  }
  state.targetsDirty = true;
  state.dirty = true;
}

function onConnected(turn: Turn, peer: NodeId): void {
  const { state } = turn;
  if (peer === state.self) return;
  if (!state.connected.has(peer)) state.connected.set(peer, turn.now);
  const member = state.members.get(peer);
  if (member === undefined) return;
  member.meetBy_ms = 0;
  endRedial(turn, member);
  probeConnected(turn, member);
}

function onDisconnected(turn: Turn, peer: NodeId): void {
  const { state } = turn;
  const connected_ms = state.connected.get(peer);
  if (connected_ms === undefined) return;
  state.connected.delete(peer);
  const member = state.members.get(peer);
  if (member === undefined || !state.started) return;
  endProbe(turn, member);
  suspect(turn, member);
  redialAfterLoss(turn, member, connected_ms);
}

function onMessage(turn: Turn, from: NodeId, body: Uint8Array): void {
  const { state } = turn;
  const message = decodeMessage(body);
  if (message === null) {
    state.counters.malformed_count += 1;
    return;
  }
  if (message.type === 'ack') onAck(turn, from, message);
  // What was on its way when the connection closed proves nothing.
  const sender = state.members.get(from);
  if (sender !== undefined && state.connected.has(from)) heard(turn, sender);
  switch (message.type) {
    case 'ack':
      break;
    case 'ping':
      if (message.suspected !== null) refute(turn, message.suspected);
      send(turn, from, { type: 'ack', seq: message.seq, incarnation: state.incarnation });
      break;
    case 'request':
      onRequest(turn, from, message);
      break;
    case 'relayed':
      onRelayed(turn, message);
      break;
    case 'nack':
      onNack(turn, message);
      break;
    case 'suspect':
      onSuspect(turn, from, message.subject, message.incarnation);
      break;
  }
}

/** Another watcher doubts `subject`: a confirmation, or a reason to ask it now. */
function onSuspect(turn: Turn, from: NodeId, subject: NodeId, incarnation: number): void {
  const { state } = turn;
  if (subject === state.self) {
    refute(turn, incarnation);
    return;
  }
  const member = state.members.get(subject);
  if (member === undefined || incarnation < member.incarnation) return;
  if (member.suspicion !== null) confirm(turn, member, from);
  else if (state.targets.includes(subject)) startProbe(turn, member);
}

function onVerdict(turn: Turn, event: MembershipEvent & { kind: 'verdict' }): void {
  const { state } = turn;
  const { watcher, subject, incarnation, verdict } = event;
  if (watcher === subject) return;
  if (subject === state.self) {
    if (verdict === 'failed' && watcher !== state.self) refute(turn, incarnation);
    return;
  }
  keepVerdict(turn, { watcher, subject, incarnation, verdict });
  const member = state.members.get(subject);
  if (member === undefined || verdict !== 'failed') return;
  if (incarnation >= member.incarnation) confirm(turn, member, watcher);
}

/** SWIM section 4.2: only the member itself raises its incarnation. To be accused is a sign of poor health. */
function refute(turn: Turn, accused: number): void {
  const { state } = turn;
  const leap = accused - state.incarnation;
  if (leap < 0 || leap > MEMBERSHIP_LIMITS.incarnationLeap_max) return;
  state.incarnation = accused + 1;
  state.counters.refutations_count += 1;
  worsenHealth(state);
  turn.effects.push({ kind: 'refute', incarnation: state.incarnation });
}

function onTimer(turn: Turn, token: number): void {
  const { state } = turn;
  const timer = state.timers.get(token);
  if (timer === undefined) return;
  state.timers.delete(token);
  if (isStalled(turn, timer)) {
    // Its probes and deadlines have new timers; the others go on, late.
    pushDeadlines(turn, turn.now - timer.at_ms);
    if (timer.kind === 'probe' || timer.kind === 'deadline') return;
  }
  if (timer.kind === 'tick') onTick(turn);
  else if (timer.kind === 'relay') onRelayTimeout(turn, timer.seq);
  else {
    const member = state.members.get(timer.id);
    if (member === undefined) return;
    if (timer.kind === 'probe') onProbeTimeout(turn, member);
    else if (timer.kind === 'deadline') onDeadline(turn, member);
    else if (timer.kind === 'reprobe') onReprobe(turn, member);
    else onRedial(turn, member);
  }
}

/** True for the first timer that comes much too late after a stall; those that waited with it are not news. */
function isStalled(turn: Turn, timer: Timer): boolean {
  const { state, now } = turn;
  // A clock that was set back must not hide the stalls to come.
  state.stalled_ms = Math.min(state.stalled_ms, now);
  if (now - timer.at_ms <= state.config.stall_ms || timer.at_ms <= state.stalled_ms) return false;
  state.stalled_ms = now;
  state.counters.stalls_count += 1;
  return true;
}

function pushDeadlines(turn: Turn, stall_ms: number): void {
  const { state } = turn;
  worsenHealth(state);
  for (const member of state.members.values()) {
    pushProbe(turn, member);
    pushSuspicion(turn, member, stall_ms + state.config.probe_timeout_ms);
  }
}
