/**
 * What a node does without being asked: it tells its watchers in turn that it lives, misses those that it watches
 * when they do not, and looks over its duties and links once a round.
 * A beat is one datagram one way, so an idle cluster costs half of what asking would. Each says when the next one
 * is due: how often is the sender's own affair.
 */
import type { NodeId } from '../base/ids.ts';
import { MEMBERSHIP_LIMITS } from './config.ts';
import { isOnDuty, isStranded, rankedFor, subjectsOf, wantedLinks, watchersOf } from './duties.ts';
import { dial, endRedial, fillRedials, pruneLinks } from './links.ts';
import { encodeMessage, type Message } from './messages.ts';
import { gaugeRoundTrip, startProbe } from './probing.ts';
import {
  jittered,
  type Listener,
  type Member,
  type MembershipState,
  meetsIn_ms,
  memberOf,
  mendHealth,
  NEVER_MS,
  silence_ms,
  startTimer,
  stopTimer,
  type Turn,
} from './state.ts';
import { endSuspicion, heard, hearIncarnation } from './suspicion.ts';
import { isSettled, recallAll } from './votes.ts';
import { lossSilence_ms, noteBeatOf } from './weather.ts';

/** Beats between two rounds of upkeep. */
const ROUND_TICKS = 2;
/** Round trips to slow members are measured once in so many rounds, by lot: they may be quick again. */
const SLOW_ROUNDS = 4;

/** @param lag_ms how much too late it comes; the next one makes up for that, or beats would come ever later than promised. */
export function onTick(turn: Turn, lag_ms: number): void {
  const { state } = turn;
  const { beat_interval_ms } = state.config;
  const late_ms = Math.min(lag_ms, beat_interval_ms / 2);
  startTimer(turn, 'tick', null, jittered(turn, beat_interval_ms) - late_ms);
  sendBeat(turn);
  state.ticks_count += 1;
  if (state.ticks_count >= ROUND_TICKS) {
    state.ticks_count = 0;
    keepUp(turn);
  }
}

/**
 * To the watcher that was promised the earliest beat. One that comes has its first turn when the others have had theirs:
 * so no promise is broken when watchers come and go, and lateness tells of the network alone.
 */
function sendBeat(turn: Turn): void {
  const { state, now } = turn;
  const { audience } = state;
  let listeners_count = 0;
  for (const { isConnected } of audience) if (isConnected) listeners_count += 1;
  const next_ms = listeners_count * state.config.beat_interval_ms;
  let next: Listener | undefined;
  for (const listener of audience) {
    if (!listener.isConnected) continue;
    // Never further ahead, whatever the clock was set to.
    listener.due_ms = Math.min(listener.due_ms, now + next_ms);
    if (next === undefined || listener.due_ms < next.due_ms) next = listener;
  }
  if (next === undefined) return;
  // At the end: of those with equal dues it is the last now.
  audience.splice(audience.indexOf(next), 1);
  audience.push(next);
  next.due_ms = now + next_ms;
  turn.effects.push({ kind: 'send', to: next.id, body: beatOf(state, next_ms) });
}

function beatOf(state: MembershipState, next_ms: number): Uint8Array {
  const { incarnation, beat } = state;
  if (beat?.incarnation === incarnation && beat.next_ms === next_ms) return beat.body;
  const body = encodeMessage({ type: 'beat', incarnation, next_ms });
  state.beat = { incarnation, next_ms, body };
  return body;
}

export function onBeat(turn: Turn, from: NodeId, message: Message & { type: 'beat' }): void {
  const { state } = turn;
  const member = state.members.get(from);
  if (member === undefined) return;
  const { beat_ms, promise_ms } = member;
  // What came while this node was stalled was not late.
  if (promise_ms !== null && beat_ms > state.stalled_ms && state.targets.has(from))
    noteBeatOf(turn, member, turn.now - beat_ms - promise_ms);
  member.beat_ms = turn.now;
  const promise_ms_max = MEMBERSHIP_LIMITS.promiseIntervals_max * state.config.beat_interval_ms;
  member.promise_ms = Math.min(message.next_ms, promise_ms_max);
  if (member.probe === null && member.suspicion === null) mendHealth(state);
  hearIncarnation(turn, member, message.incarnation);
  // What was on its way when the connection closed proves nothing.
  if (!member.isConnected) return;
  heard(turn, member);
  if (member.late === null) {
    expect(turn, member);
    return;
  }
  // Far from due it is left: however many beats come, no timers pile up outside that nobody ends.
  if (state.timers.get(member.late)!.at_ms - turn.now > 2 * grace_ms(state, member)) return;
  // The timer for this beat has nothing to look for any more.
  stopTimer(turn, member.late);
  member.late = startTimer(turn, 'late', member, lateIn_ms(turn, member));
}

/** Has the timer look for the next sign of life of a target. */
export function expect(turn: Turn, member: Member): void {
  const { state } = turn;
  if (!state.started || member.late !== null || !state.targets.has(member.id)) return;
  member.late = startTimer(turn, 'late', member, lateIn_ms(turn, member));
}

function lateIn_ms(turn: Turn, member: Member): number {
  const { state } = turn;
  // Never in the future, whatever the clock was set to.
  member.heard_ms = Math.min(member.heard_ms, turn.now);
  member.beat_ms = Math.min(member.beat_ms, turn.now);
  const due_ms = dueAt_ms(state, member) + grace_ms(state, member) - turn.now;
  const isMet = member.isConnected || state.doubted.has(member.id);
  return isMet ? due_ms : Math.max(due_ms, meetsIn_ms(turn, member));
}

/** By how much a sign of life may miss its time. */
function grace_ms(state: MembershipState, member: Member): number {
  const { late_ms, lateChance } = state.config;
  return late_ms + member.roundTrip_ms + lossSilence_ms(state, lateChance);
}

/**
 * When the next sign of life is due. Others before the promised beat do not put it off: all watchers hear a busy member
 * at once, and would all miss it as late as can be.
 */
function dueAt_ms(state: MembershipState, member: Member): number {
  const { beat_ms, promise_ms, heard_ms } = member;
  const promised_ms = beat_ms + (promise_ms ?? 0);
  return promised_ms > heard_ms ? promised_ms : heard_ms + silence_ms(state, member);
}

export function onLate(turn: Turn, member: Member): void {
  member.late = null;
  if (member.probe !== null || member.suspicion !== null) return;
  if (lateIn_ms(turn, member) <= 0) startProbe(turn, member, true);
  if (member.probe === null && member.status !== 'failed') expect(turn, member);
}

/** This node was stalled: what it did not read in that time was not late. There is less grace at each further stall. */
export function pushLate({ state, now }: Turn, member: Member): void {
  member.stalls_count += 1;
  const spent_ms = grace_ms(state, member) * (1 - 1 / member.stalls_count);
  const least_ms = now - silence_ms(state, member) - spent_ms;
  member.heard_ms = Math.max(member.heard_ms, least_ms);
  if (member.beat_ms !== NEVER_MS) member.beat_ms = Math.max(member.beat_ms, least_ms);
}

/** Derives again whom this node watches, who watches it and whom it is connected to. */
export function refreshDuties(turn: Turn): void {
  const { state } = turn;
  const { self, targets: targetsBefore, wanted: wantedBefore } = state;
  state.dutiesDirty = false;
  state.candidates = subjectsOf(state, self);
  const targets = [...state.candidates].filter((id) => isOnDuty(state, id));
  state.targets = new Set(targets);
  const watched = rankedFor(state, self).slice(0, state.config.watchers_count);
  tellTo(state, new Set([...watched, ...watchersOf(state, self)]));
  state.wanted = wantedLinks(state);
  state.unlinked = new Set([...state.wanted, ...targets].filter((id) => !state.connected.has(id)));
  state.isolationDirty = true;
  for (const id of [...state.wanted, ...targets]) {
    const member = memberOf(turn, id);
    if (member === undefined || wantedBefore.has(id) || targetsBefore.has(id)) continue;
    // Both sides learn of one another at about the same time: the lesser id goes first.
    dial(turn, member, self > id);
  }
  for (const id of [...wantedBefore, ...targetsBefore]) {
    const member = state.members.get(id);
    if (member === undefined || state.targets.has(id)) continue;
    stopTimer(turn, member.late);
    member.late = null;
    if (!state.wanted.has(id)) endRedial(turn, member);
  }
  for (const id of targets) {
    const member = memberOf(turn, id);
    if (member === undefined || targetsBefore.has(id) || !state.started) continue;
    // It has not been told to whom it should beat.
    member.heard_ms = turn.now;
    // One that is accused already is asked at once.
    if (state.doubted.has(id)) startProbe(turn, member);
    expect(turn, member);
  }
}

/** Those who were told before keep what they were promised. */
function tellTo(state: MembershipState, ids: Set<NodeId>): void {
  const audience = state.audience.filter(({ id }) => ids.delete(id));
  for (const id of ids) {
    audience.push({ id, isConnected: state.connected.has(id), due_ms: Number.POSITIVE_INFINITY });
  }
  state.audience = audience;
}

function keepUp(turn: Turn): void {
  const { state } = turn;
  fillRedials(turn);
  pruneLinks(turn);
  resumeQuestions(turn);
  lapseUnrecorded(turn);
  for (const id of state.targets) {
    const member = state.members.get(id);
    if (member === undefined || isSettled(state, member)) continue;
    if (wantsRoundTrip(turn, member)) gaugeRoundTrip(turn, member);
    expect(turn, member);
  }
  widen(turn);
  askStrangers(turn);
  unsettleSome(turn);
  forgetIdle(state);
}

/**
 * A member that dies with its refutation on its lips has told a few, and no record will ever tell the others. The
 * verdicts of these are of the incarnation before, and must count again where it was heard: from when its record should
 * have come, and it has not been heard for as long. Who is connected is asked meanwhile, for it may owe no beat here.
 */
function lapseUnrecorded(turn: Turn): void {
  const { state, now } = turn;
  const { takeBack_ms, silenceChance, beat_interval_ms } = state.config;
  for (const id of state.unrecorded) {
    const member = state.members.get(id);
    const recorded = state.roster.get(id);
    if (member !== undefined && recorded !== undefined && recorded < member.incarnation) {
      // Never in the future, whatever the clock was set to.
      member.heard_ms = Math.min(member.heard_ms, now);
      const silent_ms = now - member.heard_ms;
      const wait_ms = Math.max(takeBack_ms, member.promise_ms ?? 0) + lossSilence_ms(state, silenceChance);
      if (silent_ms < wait_ms) {
        if (member.isConnected && silent_ms > beat_interval_ms) gaugeRoundTrip(turn, member);
        continue;
      }
      member.incarnation = recorded;
      recallAll(turn, id);
    }
    state.unrecorded.delete(id);
  }
}

/** Whether a question is due that only asks for the round trip. */
function wantsRoundTrip({ state: { config }, random }: Turn, member: Member): boolean {
  if (!member.isConnected) return false;
  if (member.gauges_count > 0) return true;
  return member.roundTrip_ms > config.probe_timeout_ms / 2 && random() < 1 / SLOW_ROUNDS;
}

/**
 * Others took back that a member is failed; our own doubt of it stays until it is asked again. That of one
 * whom it had to watch as a stand-in ends with the duty: it has no link with the member, nor with anybody who has.
 */
function resumeQuestions(turn: Turn): void {
  const { state } = turn;
  for (const id of state.doubted) {
    const member = state.members.get(id)!;
    const { suspicion, status, isConnected } = member;
    const isOurs = isConnected || state.wanted.has(id) || state.targets.has(id) || isStranded(state);
    if (suspicion !== null && status === 'suspect' && !isOurs) {
      endSuspicion(turn, member);
      continue;
    }
    if (suspicion === null || suspicion.reprobe !== null || status === 'failed') continue;
    suspicion.reprobe = startTimer(turn, 'reprobe', member, 1);
  }
}

/** Most targets are in doubt: perhaps all the world is. Others are asked too, so that we know soon. */
function widen(turn: Turn): void {
  const { state } = turn;
  if (state.doubted.size === 0) return;
  let doubted_count = 0;
  for (const id of state.targets) if (state.doubted.has(id)) doubted_count += 1;
  if (state.targets.size < 2 || doubted_count * 2 <= state.targets.size) return;
  let asked_count = 0;
  for (const id of state.wanted) {
    const member = state.members.get(id);
    if (member === undefined || state.doubted.has(id) || member.probe !== null) continue;
    if (turn.now - member.heard_ms < silence_ms(state, member) + state.config.late_ms) continue;
    startProbe(turn, member);
    asked_count += 1;
    if (asked_count >= MEMBERSHIP_LIMITS.widened_max) return;
  }
}

/** Who reaches few asks for those it has dialled in vain: perhaps another that it reaches has a way to them. */
function askStrangers(turn: Turn): void {
  const { state } = turn;
  if (state.cutOff === null || !isStranded(state)) return;
  for (const [id, { answer }] of state.cutOff.strangers) {
    if (answer !== 'missing' || state.failed.has(id)) continue;
    const member = memberOf(turn, id);
    if (member === undefined || member.probe !== null || member.suspicion !== null) continue;
    member.meetBy_ms = 0;
    startProbe(turn, member);
  }
}

/** A net under the rule that says whom a change concerns: it looks no further than its caps. */
function unsettleSome(turn: Turn): void {
  const { doubted, unsettled } = turn.state;
  let skip_count = Math.floor(turn.random() * Math.max(0, doubted.size - MEMBERSHIP_LIMITS.resettled_max));
  for (const id of doubted) {
    skip_count -= 1;
    if (skip_count >= 0) continue;
    unsettled.add(id);
    if (unsettled.size >= MEMBERSHIP_LIMITS.resettled_max) return;
  }
}

/** Members with whom this node has nothing to do any more. Its own word is kept: an older one may still come. */
function forgetIdle(state: MembershipState): void {
  // All who are wanted are kept, and mostly nobody else is.
  if (state.members.size <= state.wanted.size) return;
  for (const [id, member] of state.members) {
    const { probe, suspicion, redial, charge, verdicts } = member;
    if (state.wanted.has(id) || state.targets.has(id) || state.connected.has(id)) continue;
    if (probe !== null || suspicion !== null || redial !== null || charge !== null) continue;
    // Verdicts on record of one that has told a refutation may count again.
    if (state.doubted.has(id) || state.unrecorded.has(id)) continue;
    if (!verdicts.has(state.self)) state.members.delete(id);
  }
}
