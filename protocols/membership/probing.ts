/**
 * Asking members whether they live: directly, through relays, and as a relay for others.
 * Source: SWIM sections 3.1 and 4; Lifeguard section IV-A for nacks and local health.
 */
import type { NodeId } from '../base/ids.ts';
import { MEMBERSHIP_LIMITS } from './config.ts';
import type { Message } from './messages.ts';
import { fillRedials } from './redial.ts';
import { isRanked, rankedFor } from './rendezvous.ts';
import {
  jittered,
  type Member,
  type MembershipState,
  mendHealth,
  send,
  startTimer,
  stopTimer,
  type Turn,
  worsenHealth,
} from './state.ts';
import { heard, raiseIncarnation, suspect } from './suspicion.ts';
import { isOnDuty } from './votes.ts';

/** A relay answers for the subject, or says nack, within this part of the probe timeout. */
const NACK_PART = 0.8;

/** Derives the targets again; one that is accused already and new to us is asked at once. */
export function refreshTargets(turn: Turn): void {
  const { state } = turn;
  state.targetsDirty = false;
  const before = new Set(state.targets);
  state.targets = [...state.members.keys()].filter((id) => isOnDuty(state, id));
  state.fellows = new Set();
  for (const id of state.targets) {
    const watchers = rankedFor(state.ranking, id).slice(0, state.config.watchers_count);
    for (const watcher of watchers) if (watcher.id !== state.self) state.fellows.add(watcher.id);
    const member = state.members.get(id)!;
    if (!before.has(id) && state.doubted.has(id) && state.started) startProbe(turn, member);
  }
}

/** One target's turn. All targets have theirs within one interval, spread over it. */
export function onTick(turn: Turn): void {
  const { state } = turn;
  const round_ms = state.config.probe_interval_ms * (state.health + 1);
  startTimer(turn, { kind: 'tick' }, jittered(turn, round_ms / Math.max(1, state.targets.length)));
  if (state.turn >= state.targets.length) {
    state.turn = 0;
    fillRedials(turn);
    resumeQuestions(turn);
    widen(turn);
  }
  const id = state.targets[state.turn];
  state.turn += 1;
  if (id !== undefined) startProbe(turn, state.members.get(id)!);
}

/** Others took back that a member is failed; our own doubt of it stays until it is asked again. */
function resumeQuestions(turn: Turn): void {
  for (const id of turn.state.doubted) {
    const { suspicion, status } = turn.state.members.get(id)!;
    if (suspicion === null || suspicion.reprobe !== null || status === 'failed') continue;
    suspicion.reprobe = startTimer(turn, { kind: 'reprobe', id }, 1);
  }
}

/** Most targets are in doubt: perhaps all the world is. Others are asked too, so that we know soon. */
function widen(turn: Turn): void {
  const { state } = turn;
  const doubted_count = state.targets.filter((id) => state.doubted.has(id)).length;
  if (state.targets.length < 2 || doubted_count * 2 <= state.targets.length) return;
  const others = [...state.members.values()].filter((member) => !state.doubted.has(member.id));
  for (const member of pick(turn, others, MEMBERSHIP_LIMITS.widened_max)) startProbe(turn, member);
}

/** `count` of `items` by lot; `items` is reordered. */
function pick<T>(turn: Turn, items: T[], count: number): T[] {
  const taken_count = Math.min(count, items.length);
  for (let at = 0; at < taken_count; at += 1) {
    const other = at + Math.floor(turn.random() * (items.length - at));
    [items[at], items[other]] = [items[other]!, items[at]!];
  }
  return items.slice(0, taken_count);
}

function probeTimeout_ms(state: MembershipState): number {
  return state.config.probe_timeout_ms * (state.health + 1);
}

/** What the member should refute, if anything. */
function accusation(state: MembershipState, member: Member): number | null {
  return state.doubted.has(member.id) ? member.incarnation : null;
}

/** A suspect has questions of its own; a failed member without a connection is dialled, not asked. */
export function startProbe(turn: Turn, member: Member): void {
  const { state } = turn;
  if (member.probe !== null || member.suspicion !== null) return;
  const isConnected = state.connected.has(member.id);
  if (!isConnected && (member.status === 'failed' || turn.now < member.meetBy_ms)) return;
  state.seq += 1;
  const timer = startTimer(turn, { kind: 'probe', id: member.id }, probeTimeout_ms(state));
  member.probe = { seq: state.seq, phase: 'direct', timer, relays_count: 0, nacks_count: 0 };
  send(turn, member.id, { type: 'ping', seq: state.seq, suspected: accusation(state, member) });
}

export function onProbeTimeout(turn: Turn, member: Member): void {
  const { state } = turn;
  const { probe } = member;
  if (probe === null) return;
  if (probe.phase === 'direct') {
    probe.phase = 'relayed';
    probe.relays_count = askRelays(turn, member, probe.seq);
    send(turn, member.id, { type: 'ping', seq: probe.seq, suspected: accusation(state, member) });
    probe.timer = startTimer(turn, { kind: 'probe', id: member.id }, probeTimeout_ms(state));
    return;
  }
  member.probe = null;
  // Relays that did not even say nack: perhaps it is us.
  if (probe.nacks_count < Math.max(1, probe.relays_count)) worsenHealth(state);
  suspect(turn, member);
}

/** The node was stalled: an answer may be waiting. The question gets its whole time again. */
export function pushProbe(turn: Turn, member: Member): void {
  if (member.probe === null) return;
  stopTimer(turn, member.probe.timer);
  const timer = { kind: 'probe', id: member.id } as const;
  member.probe.timer = startTimer(turn, timer, probeTimeout_ms(turn.state));
}

export function endProbe(turn: Turn, member: Member): void {
  if (member.probe === null) return;
  stopTimer(turn, member.probe.timer);
  member.probe = null;
}

/** Those with a connection to the subject first. @returns how many were asked. */
function askRelays(turn: Turn, member: Member, seq: number): number {
  const { state } = turn;
  const { relays_count, watchers_count, meshMembers_max } = state.config;
  const linked: NodeId[] = [];
  const others: NodeId[] = [];
  for (const id of state.connected.keys()) {
    if (id === member.id || !state.members.has(id) || state.doubted.has(id)) continue;
    const isLinked =
      state.members.size < meshMembers_max ||
      isRanked(state.ranking, member.id, id, watchers_count) ||
      isRanked(state.ranking, id, member.id, watchers_count);
    (isLinked ? linked : others).push(id);
  }
  const relays = pick(turn, linked, relays_count);
  relays.push(...pick(turn, others, relays_count - relays.length));
  const suspected = accusation(state, member);
  for (const relay of relays) send(turn, relay, { type: 'request', seq, subject: member.id, suspected });
  return relays.length;
}

/** Asks a suspect again, by every way there is. Watchers ask often until their verdict; after it only slowly. */
export function onReprobe(turn: Turn, member: Member): void {
  const { state } = turn;
  const { suspicion } = member;
  if (suspicion === null) return;
  suspicion.reprobe = null;
  state.seq += 1;
  const isConnected = send(turn, member.id, {
    type: 'ping',
    seq: state.seq,
    suspected: member.incarnation,
  });
  const isOpen = member.status !== 'failed';
  if (isOpen) askRelays(turn, member, state.seq);
  if (!isConnected && !isOpen) return;
  const isUrgent = suspicion.deadline !== null && isOnDuty(state, member.id);
  const { reprobe_interval_ms, probe_interval_ms } = state.config;
  const after_ms = jittered(turn, isUrgent ? reprobe_interval_ms : probe_interval_ms);
  suspicion.reprobe = startTimer(turn, { kind: 'reprobe', id: member.id }, after_ms);
}

/** There is a new connection: whoever is in doubt is asked at once, targets too. */
export function probeConnected(turn: Turn, member: Member): void {
  const { state } = turn;
  if (member.suspicion !== null) {
    stopTimer(turn, member.suspicion.reprobe);
    onReprobe(turn, member);
  } else if (member.probe !== null) {
    send(turn, member.id, {
      type: 'ping',
      seq: member.probe.seq,
      suspected: accusation(state, member),
    });
  } else if (member.status !== 'alive' || state.targets.includes(member.id)) {
    startProbe(turn, member);
  }
}

export function onAck(turn: Turn, from: NodeId, message: Message & { type: 'ack' }): void {
  const { state } = turn;
  const relay = state.relays.get(message.seq);
  if (relay?.subject === from) {
    endRelay(turn, message.seq);
    const { originSeq: seq, subject } = relay;
    send(turn, relay.origin, { type: 'relayed', seq, subject, incarnation: message.incarnation });
  }
  const member = state.members.get(from);
  if (member === undefined) return;
  raiseIncarnation(turn, member, message.incarnation);
  if (member.probe !== null && message.seq >= member.probe.seq) {
    endProbe(turn, member);
    mendHealth(state);
  }
}

export function onRelayed(turn: Turn, message: Message & { type: 'relayed' }): void {
  const { state } = turn;
  const member = state.members.get(message.subject);
  if (member === undefined || message.seq > state.seq) return;
  if (member.probe?.seq === message.seq) {
    endProbe(turn, member);
    mendHealth(state);
  } else if (member.suspicion === null || message.seq < member.suspicion.seqFirst) {
    return;
  }
  raiseIncarnation(turn, member, message.incarnation);
  heard(turn, member);
}

export function onNack(turn: Turn, message: Message & { type: 'nack' }): void {
  const probe = turn.state.members.get(message.subject)?.probe;
  if (probe?.seq === message.seq) probe.nacks_count = Math.min(probe.relays_count, probe.nacks_count + 1);
}

/** Asks `subject` for `from`. */
export function onRequest(turn: Turn, from: NodeId, message: Message & { type: 'request' }): void {
  const { state } = turn;
  const { subject, suspected } = message;
  const isFull = state.relays.size >= MEMBERSHIP_LIMITS.relays_max;
  if (isFull) state.counters.relaysRefused_count += 1;
  if (isFull || subject === state.self || !state.connected.has(subject)) {
    send(turn, from, { type: 'nack', seq: message.seq, subject });
    return;
  }
  state.seq += 1;
  const { seq } = state;
  const timer = startTimer(turn, { kind: 'relay', seq }, state.config.probe_timeout_ms * NACK_PART);
  state.relays.set(seq, { origin: from, originSeq: message.seq, subject, timer });
  send(turn, subject, { type: 'ping', seq, suspected });
}

export function onRelayTimeout(turn: Turn, seq: number): void {
  const relay = turn.state.relays.get(seq);
  if (relay === undefined) return;
  endRelay(turn, seq);
  send(turn, relay.origin, { type: 'nack', seq: relay.originSeq, subject: relay.subject });
}

function endRelay(turn: Turn, seq: number): void {
  stopTimer(turn, turn.state.relays.get(seq)?.timer ?? null);
  turn.state.relays.delete(seq);
}
