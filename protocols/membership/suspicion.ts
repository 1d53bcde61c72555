/**
 * A doubt of this node's own, from its first sign to a verdict or to its end.
 * Source: Lifeguard sections IV-A (local health), IV-B (dynamic suspicion timeouts) and IV-C (buddy system).
 */
import type { NodeId } from '../base/ids.ts';
import { MEMBERSHIP_LIMITS } from './config.ts';
import { isOnDuty, rankedFor, watchersOf } from './duties.ts';
import {
  type Member,
  type MembershipState,
  patienceOf,
  type Suspicion,
  send,
  startTimer,
  stopTimer,
  type Turn,
  worsenHealth,
} from './state.ts';
import { noteHeard } from './strangers.ts';
import { agreement, awaitRefutation, heldVerdict, refreshDoubt } from './votes.ts';
import { lossSilence_ms } from './weather.ts';

/** `silenceChance` is for members that so many watchers must fail. */
const AGREEING_COUNT = 3;
/** Of a member that no two watchers can tell about, the closing of one connection says too little. */
const CLOSED_MIN = 2;

/**
 * From `suspicion_ms` (longer in large clusters) down to `suspicionConfirmed_ms` as others confirm, that being
 * longer on a network that loses much. Connections that closed all around are no matter of loss.
 */
function timeout_ms(state: MembershipState, member: Member, suspicion: Suspicion): number {
  const { config } = state;
  const watchers_count = watchersOf(state, member.id).length;
  const { confirmedBy, closedBy } = suspicion;
  if (closedBy.has(state.self) && closedBy.size >= Math.max(CLOSED_MIN, agreement(watchers_count))) {
    return config.suspicionClosed_ms + 2 * member.roundTrip_ms;
  }
  const alone_ms =
    config.suspicion_ms * Math.max(1, Math.log10(state.roster.size)) + networkWait_ms(state, member);
  const enough = Math.max(1, Math.min(config.confirmations_count, watchers_count - 1));
  const confirmed = Math.log(Math.min(confirmedBy.size, enough) + 1) / Math.log(enough + 1);
  return alone_ms - (alone_ms - confirmed_ms(state, member)) * confirmed;
}

/**
 * A question after the first, and what loss may make of it. Where few are left who could agree each of them waits for
 * longer, so that loss fools all of them at once as seldom as it fools three.
 */
function networkWait_ms(state: MembershipState, member: Member): number {
  const { hearable, config } = state;
  const others_count = hearable.size - (hearable.has(member.id) ? 1 : 0);
  const agreeing_count = agreement(Math.min(config.watchers_count, Math.max(1, others_count)));
  const chance = config.silenceChance ** Math.max(1, AGREEING_COUNT / agreeing_count);
  return 2 * member.roundTrip_ms + lossSilence_ms(state, chance);
}

/** From suspicion to verdict when enough others have confirmed. */
export function confirmed_ms(state: MembershipState, member: Member): number {
  return patienceOf(state) * state.config.suspicionConfirmed_ms + networkWait_ms(state, member);
}

/**
 * Begins to doubt, tells the other watchers, and asks the suspect at once. One that is doubted already is doubted
 * all the more when its connection closes.
 * @param doubters other watchers that were heard to doubt it, and whether their connections closed.
 */
export function suspect(
  turn: Turn,
  member: Member,
  isClosed: boolean,
  doubters: ReadonlyMap<NodeId, boolean> = new Map(),
): void {
  const { state } = turn;
  const { suspicion } = member;
  if (suspicion !== null) {
    if (!isClosed || suspicion.deadline === null || suspicion.closedBy.has(state.self)) return;
    suspicion.closedBy.add(state.self);
    armDeadline(turn, member);
    tellWatchers(turn, member, true);
    return;
  }
  const confirmedBy = new Set<NodeId>();
  for (const watcher of [...member.verdicts.keys(), ...doubters.keys()]) {
    const isDoubter = doubters.has(watcher) || heldVerdict(member, watcher) === 'failed';
    if (isDoubter && isConfirmation(state, member, watcher)) confirmedBy.add(watcher);
  }
  const closedBy = new Set([...confirmedBy].filter((id) => doubters.get(id) === true));
  if (isClosed) closedBy.add(state.self);
  const isDuty = isOnDuty(state, member.id);
  // Who is not on duty leaves the asking to those who are, unless the doubt lasts.
  const ask_ms = isDuty ? 1 : state.config.suspicion_ms;
  const started: Suspicion = {
    seqFirst: state.seq + 1,
    since_ms: turn.now,
    pushed_ms: 0,
    stalls_count: 0,
    wait_ms: 0,
    confirmedBy,
    closedBy,
    relays: new Set(),
    deadline: null,
    seqWaited: 0,
    ended_ms: 0,
    reprobe: startTimer(turn, 'reprobe', member, ask_ms),
    postponements_count: 0,
    isLeft: false,
  };
  started.wait_ms = timeout_ms(state, member, started);
  started.deadline = startTimer(turn, 'deadline', member, started.wait_ms);
  member.suspicion = started;
  if (isDuty) tellWatchers(turn, member, isClosed);
  refreshDoubt(turn, member);
}

function tellWatchers(turn: Turn, member: Member, isClosed: boolean): void {
  const { id: subject, incarnation } = member;
  const closed = isClosed ? { closed: true as const } : {};
  for (const watcher of watchersOf(turn.state, subject)) {
    send(turn, watcher, { type: 'suspect', subject, incarnation, ...closed });
  }
}

function isConfirmation(state: MembershipState, member: Member, by: NodeId): boolean {
  if (by === state.self || by === member.id) return false;
  return rankedFor(state, member.id).includes(by) || watchersOf(state, member.id).includes(by);
}

/** Another watcher doubts it too: the suspicion ends sooner. */
export function confirm(turn: Turn, member: Member, by: NodeId, isClosed: boolean): void {
  const { suspicion } = member;
  if (suspicion?.deadline == null || !isConfirmation(turn.state, member, by)) return;
  const isNews = !suspicion.confirmedBy.has(by) || (isClosed && !suspicion.closedBy.has(by));
  if (!isNews) return;
  suspicion.confirmedBy.add(by);
  if (isClosed) suspicion.closedBy.add(by);
  armDeadline(turn, member);
}

function armDeadline(turn: Turn, member: Member): void {
  const { suspicion } = member;
  if (suspicion === null) return;
  stopTimer(turn, suspicion.deadline);
  // Never in the future, whatever the clock was set to.
  const elapsed_ms = Math.max(0, turn.now - suspicion.since_ms) - suspicion.pushed_ms;
  suspicion.wait_ms = timeout_ms(turn.state, member, suspicion);
  suspicion.deadline = startTimer(turn, 'deadline', member, suspicion.wait_ms - elapsed_ms);
}

/** The network has become worse since the deadline was set. @returns whether it was put off for that. */
export function outlastWeather(turn: Turn, member: Member, suspicion: Suspicion): boolean {
  const more_ms = timeout_ms(turn.state, member, suspicion) - suspicion.wait_ms;
  if (more_ms < 1) return false;
  suspicion.wait_ms += more_ms;
  suspicion.deadline = startTimer(turn, 'deadline', member, more_ms);
  return true;
}

/**
 * The node was stalled for `stall_ms`: that time says nothing about others, and what waited is to be read first. There is
 * less time for that at each further stall: whoever answers is heard after the first ones, and the others must not be
 * waited for as long as this node's loop stalls again and again.
 */
export function pushSuspicion(turn: Turn, member: Member, stall_ms: number): void {
  const { suspicion } = member;
  if (suspicion?.deadline == null) return;
  // One that began after it was not held up by it: a clock that leapt looks like a stall that has no end.
  const held_ms = Math.min(stall_ms, Math.max(0, turn.now - suspicion.since_ms));
  suspicion.stalls_count += 1;
  suspicion.pushed_ms += held_ms + turn.state.config.suspicionConfirmed_ms / suspicion.stalls_count;
  armDeadline(turn, member);
}

export function endSuspicion(turn: Turn, member: Member): void {
  if (member.suspicion === null) return;
  stopTimer(turn, member.suspicion.deadline);
  stopTimer(turn, member.suspicion.reprobe);
  member.suspicion = null;
  refreshDoubt(turn, member);
}

export function endProbe(turn: Turn, member: Member): void {
  if (member.probe === null) return;
  stopTimer(turn, member.probe.timer);
  member.probe = null;
}

/** It lives: this node's doubt ends, and its own failed verdict counts no more here. */
export function heard(turn: Turn, member: Member): void {
  const { state } = turn;
  member.heard_ms = turn.now;
  member.stalls_count = 0;
  noteHeard(state, member);
  // Asked for nothing: the network loses much, or this node is slow.
  if (member.probe?.isLate === true) worsenHealth(state);
  // Perhaps the way to it has become longer.
  if (member.suspicion !== null) member.gauges_count = state.config.roundTrips_count;
  endProbe(turn, member);
  endSuspicion(turn, member);
  awaitRefutation(turn, member);
}

/** A higher incarnation ends every doubt of the ones before it. */
export function raiseIncarnation(turn: Turn, member: Member, incarnation: number): boolean {
  if (incarnation <= member.incarnation) return false;
  member.incarnation = incarnation;
  for (const [watcher, held] of member.verdicts) {
    if (held.incarnation < incarnation) member.verdicts.delete(watcher);
  }
  endSuspicion(turn, member);
  refreshDoubt(turn, member);
  return true;
}

/** As a message tells it. What leaps too far is for a record to say: nobody could be accused at where it leads. */
export function hearIncarnation(turn: Turn, member: Member, incarnation: number): void {
  // Nearly always: the roster is not looked at for what each beat repeats.
  if (incarnation <= member.incarnation) return;
  const { state } = turn;
  const recorded = state.roster.get(member.id) ?? 0;
  if (incarnation > recorded + MEMBERSHIP_LIMITS.incarnationLeap_max) return;
  raiseIncarnation(turn, member, incarnation);
  state.unrecorded.add(member.id);
}
