/**
 * Asking members whether they live: directly, through relays, and as a relay for others.
 * Source: SWIM sections 3.1 and 4; Lifeguard section IV-A for nacks and local health.
 */
import type { NodeId } from '../base/ids.ts';
import { sample } from '../base/sample.ts';
import { MEMBERSHIP_LIMITS } from './config.ts';
import { isLarge, isOnDuty, isStranded, isWatcher } from './duties.ts';
import type { Message } from './messages.ts';
import {
  jittered,
  type Member,
  type MembershipState,
  meetsIn_ms,
  mendHealth,
  type Probe,
  patienceOf,
  type Suspicion,
  send,
  startTimer,
  stopTimer,
  type Turn,
  worsenHealth,
} from './state.ts';
import { confirmed_ms, heard, hearIncarnation, suspect } from './suspicion.ts';
import { isAccused, isSettled } from './votes.ts';
import { lossSilence_ms, noteAnswer, noteRoundTrip } from './weather.ts';

/** A relay answers for the subject, or says nack, within this part of the probe timeout. */
const NACK_PART = 0.8;

/**
 * What the member should refute, if anything: what is on record. A mere doubt ends with the answer, and a record
 * for each would flood a network that loses much.
 */
export function accusation(member: Member): number | null {
  return isAccused(member) ? member.incarnation : (member.charge?.incarnation ?? null);
}

/** Until then an answer is not late: with what the network needs. */
function answerIn_ms(state: MembershipState, member: Member): number {
  const { probe_timeout_ms, lateChance } = state.config;
  return probe_timeout_ms * patienceOf(state) + member.roundTrip_ms + lossSilence_ms(state, lateChance);
}

function startQuestion(turn: Turn, member: Member, isLate: boolean): Probe {
  const { state } = turn;
  state.seq += 1;
  const timer = startTimer(turn, 'probe', member, answerIn_ms(state, member));
  member.probe = {
    seq: state.seq,
    asked_ms: turn.now,
    isUnanswered: false,
    isLate,
    timer,
    relays: new Set(),
    nacks_count: 0,
    stalls_count: 0,
    doubters: new Map(),
  };
  return member.probe;
}

/**
 * A suspect has questions of its own; a member without a connection on which all agree is dialled, not asked.
 * Without a connection only relays can tell.
 * @param isUrgent it is overdue: relays are asked along with it, for time is short.
 */
export function startProbe(turn: Turn, member: Member, isUrgent = false): void {
  const { state } = turn;
  if (member.probe !== null || member.suspicion !== null) return;
  const isUnmet = meetsIn_ms(turn, member) > 0 && !state.doubted.has(member.id);
  if (!state.connected.has(member.id) && (isUnmet || isSettled(state, member))) return;
  const probe = startQuestion(turn, member, isUrgent && member.promise_ms !== null);
  const isAsked = send(turn, member.id, { type: 'ping', seq: probe.seq, suspected: accusation(member) });
  if (isUrgent || !isAsked) probe.relays = askRelays(turn, member, probe.seq);
}

/** Asks for nothing but the time that an answer takes. */
export function gaugeRoundTrip(turn: Turn, member: Member): void {
  const { state } = turn;
  state.seq += 1;
  member.gauge = { seq: state.seq, asked_ms: turn.now };
  send(turn, member.id, { type: 'ping', seq: state.seq, suspected: accusation(member) });
}

/** No answer: what was asked alone is asked through relays, and what others doubt too is suspected. */
export function onProbeTimeout(turn: Turn, member: Member): void {
  const { state } = turn;
  const { probe } = member;
  if (probe === null) return;
  if (!probe.isUnanswered && probe.relays.size === 0 && probe.doubters.size === 0) {
    probe.isUnanswered = true;
    probe.relays = askRelays(turn, member, probe.seq);
    send(turn, member.id, { type: 'ping', seq: probe.seq, suspected: accusation(member) });
    probe.timer = startTimer(turn, 'probe', member, answerIn_ms(state, member));
    return;
  }
  member.probe = null;
  if (probe.relays.size > 0) noteAnswer(state, probe.nacks_count < probe.relays.size);
  // Relays that did not even say nack: perhaps it is us.
  const isAgreed = probe.doubters.size > 0 || probe.nacks_count >= Math.max(1, probe.relays.size);
  if (!isAgreed) worsenHealth(state);
  suspect(turn, member, false, probe.doubters);
}

/**
 * The node was stalled: an answer may be waiting. The question gets its whole time again, and less at each further stall,
 * or there would be no end to it where the loop stalls again and again.
 */
export function pushProbe(turn: Turn, member: Member): void {
  const { state } = turn;
  const { probe } = member;
  if (probe === null) return;
  probe.stalls_count += 1;
  const left_ms = (state.timers.get(probe.timer)?.at_ms ?? turn.now) - turn.now;
  const again_ms = answerIn_ms(state, member) / probe.stalls_count;
  stopTimer(turn, probe.timer);
  probe.timer = startTimer(turn, 'probe', member, Math.max(left_ms, again_ms));
}

/**
 * Those with a connection to the subject first: the other watchers are. Where few are reached any of them may have one.
 * @returns who was asked.
 */
function askRelays(turn: Turn, member: Member, seq: number): Set<NodeId> {
  const { state } = turn;
  const { relays_count } = state.config;
  const isAnyLinked = !isLarge(state) || isStranded(state);
  const watchers: NodeId[] = [];
  const linked: NodeId[] = [];
  for (const id of state.connected.keys()) {
    if (id === member.id || state.doubted.has(id)) continue;
    if (!state.members.has(id) && !state.roster.has(id)) continue;
    if (isWatcher(state, member.id, id)) watchers.push(id);
    else if (isAnyLinked || isWatcher(state, id, member.id)) linked.push(id);
  }
  const relays = sample(watchers, relays_count, turn.random);
  relays.push(...sample(linked, relays_count - relays.length, turn.random));
  const suspected = accusation(member);
  for (const relay of relays) send(turn, relay, { type: 'request', seq, subject: member.id, suspected });
  return new Set(relays);
}

/** Asks a suspect again, by every way there is. Watchers ask often until their verdict; after it only slowly. */
export function onReprobe(turn: Turn, member: Member): void {
  const { state } = turn;
  const { suspicion } = member;
  if (suspicion === null) return;
  suspicion.reprobe = null;
  state.seq += 1;
  const ping = { type: 'ping', seq: state.seq, suspected: accusation(member) } as const;
  const isConnected = send(turn, member.id, ping);
  const isOpen = !isSettled(state, member);
  if (isOpen) for (const relay of askRelays(turn, member, state.seq)) suspicion.relays.add(relay);
  if (!isConnected && !isOpen) return;
  const isUrgent = suspicion.deadline !== null && isOnDuty(state, member.id);
  const { reprobe_interval_ms, suspicionConfirmed_ms, suspicion_ms } = state.config;
  // As often as a suspicion on a good network: more questions would only queue behind those that were lost.
  const urgent_ms = reprobe_interval_ms * (confirmed_ms(state, member) / suspicionConfirmed_ms);
  const after_ms = jittered(turn, isUrgent ? urgent_ms : suspicion_ms);
  suspicion.reprobe = startTimer(turn, 'reprobe', member, after_ms);
}

/** Of one that is given up others may have heard meanwhile. */
export function askOthers(turn: Turn, member: Member): void {
  if (member.suspicion === null) return;
  turn.state.seq += 1;
  for (const relay of askRelays(turn, member, turn.state.seq)) member.suspicion.relays.add(relay);
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
  hearIncarnation(turn, member, message.incarnation);
  const question = [member.gauge, member.probe].find((asked) => asked?.seq === message.seq);
  if (question != null) noteRoundTrip(member, turn.now - question.asked_ms);
  if (member.probe?.isLate === false && message.seq >= member.probe.seq) mendHealth(state);
}

/** Of those alone who were asked: whoever else could keep the dead alive. */
export function onRelayed(turn: Turn, from: NodeId, message: Message & { type: 'relayed' }): void {
  const { state } = turn;
  const member = state.members.get(message.subject);
  if (member === undefined || message.seq > state.seq) return;
  const { probe, suspicion } = member;
  const isAnswer =
    (probe?.seq === message.seq && probe.relays.has(from)) ||
    (suspicion?.relays.has(from) && isTimely(turn, suspicion, message.seq));
  if (!isAnswer) return;
  hearIncarnation(turn, member, message.incarnation);
  heard(turn, member);
}

/**
 * Is this question of this doubt? And when it was waited for in vain, was that not long ago? An answer that a broken way
 * held back for so long says nothing of whether its author lives.
 */
function isTimely({ now }: Turn, suspicion: Suspicion, seq: number): boolean {
  if (seq < suspicion.seqFirst) return false;
  const isWaited = suspicion.deadline === null && seq <= suspicion.seqWaited;
  return !isWaited || now - suspicion.ended_ms <= MEMBERSHIP_LIMITS.lossSilence_ms_max;
}

export function onNack(turn: Turn, from: NodeId, message: Message & { type: 'nack' }): void {
  const probe = turn.state.members.get(message.subject)?.probe;
  if (probe?.seq === message.seq && probe.relays.has(from))
    probe.nacks_count = Math.min(probe.relays.size, probe.nacks_count + 1);
}

/** Asks `subject` for `from`. Whoever watches it too has then asked for itself as well. */
export function onRequest(turn: Turn, from: NodeId, message: Message & { type: 'request' }): void {
  const { state } = turn;
  const { subject, suspected } = message;
  const isFull = state.relays.size >= MEMBERSHIP_LIMITS.relays_max;
  if (isFull) state.counters.relaysRefused_count += 1;
  if (isFull || subject === state.self || !state.connected.has(subject)) {
    send(turn, from, { type: 'nack', seq: message.seq, subject });
    return;
  }
  const member = state.targets.has(subject) ? state.members.get(subject) : undefined;
  if (member !== undefined && member.probe === null && member.suspicion === null) {
    startQuestion(turn, member, false);
  } else {
    state.seq += 1;
  }
  const { seq } = state;
  // A peer need not be a member yet.
  const known = state.members.get(subject);
  const away_ms = known === undefined ? 0 : known.roundTrip_ms;
  const nack_ms = state.config.probe_timeout_ms * NACK_PART + away_ms;
  const timer = startTimer(turn, 'relay', seq, nack_ms);
  state.relays.set(seq, { origin: from, originSeq: message.seq, subject, timer, isNacked: false });
  send(turn, subject, { type: 'ping', seq, suspected });
}

export function onRelayTimeout(turn: Turn, seq: number): void {
  const relay = turn.state.relays.get(seq);
  if (relay === undefined) return;
  if (relay.isNacked) {
    endRelay(turn, seq);
    return;
  }
  // What was lost on its way is still worth passing on when it comes.
  const timer = startTimer(turn, 'relay', seq, MEMBERSHIP_LIMITS.relay_ms_max);
  turn.state.relays.set(seq, { ...relay, timer, isNacked: true });
  send(turn, relay.origin, { type: 'nack', seq: relay.originSeq, subject: relay.subject });
}

function endRelay(turn: Turn, seq: number): void {
  stopTimer(turn, turn.state.relays.get(seq)?.timer ?? null);
  turn.state.relays.delete(seq);
}
