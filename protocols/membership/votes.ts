/**
 * From verdicts to statuses: whose verdict counts, when they agree, and when it is we who are cut off.
 * Every node derives this from the same records, so views converge as the records do.
 * Not here: how this node comes to a verdict of its own (suspicion.ts).
 */
import type { NodeId } from '../base/ids.ts';
import type { MemberStatus } from '../view/view.ts';
import { MEMBERSHIP_LIMITS } from './config.ts';
import {
  concernsDuties,
  isAlone,
  isLarge,
  isOnDuty,
  isStranded,
  rankedFor,
  rankedSubjects,
  subjectsOf,
  watchersOf,
} from './duties.ts';
import {
  type Member,
  type MembershipState,
  memberOf,
  type PendingVerdict,
  startTimer,
  stopTimer,
  type Turn,
  type Verdict,
} from './state.ts';
import { isBack, noteAlone } from './strangers.ts';

/** What a watcher holds of this incarnation. Verdicts of older ones are void, and are not kept. */
export function heldVerdict(member: Member, watcher: NodeId): Verdict | null {
  return member.verdicts.get(watcher)?.verdict ?? null;
}

/** At least two, and most of those who can be heard; all of them when they are one or two. */
export function agreement(watchers_count: number): number {
  return watchers_count <= 2 ? watchers_count : Math.floor(watchers_count / 2) + 1;
}

function heldVerdicts(state: MembershipState, member: Member): (Verdict | null)[] {
  return watchersOf(state, member.id).map((watcher) => heldVerdict(member, watcher));
}

function isAgreed(verdicts: readonly (Verdict | null)[]): boolean {
  const failed_count = verdicts.filter((verdict) => verdict === 'failed').length;
  return verdicts.length > 0 && failed_count >= agreement(verdicts.length);
}

/**
 * Held as failed, and nobody need ask: those who have a say agree, or this node has waited in vain. Others may have agreed
 * who have lost their say since; then whoever has to watch it now comes to a verdict of its own, or newcomers would wait for
 * one for ever.
 */
export function isSettled(state: MembershipState, member: Member): boolean {
  if (member.status !== 'failed') return false;
  return member.suspicion?.deadline === null || isAgreed(heldVerdicts(state, member));
}

function deriveStatus(
  state: MembershipState,
  member: Member,
  verdicts: readonly (Verdict | null)[],
): MemberStatus {
  const { incarnation, suspicion } = member;
  if (isAgreed(verdicts)) {
    member.agreed_incarnation = incarnation;
    return 'failed';
  }
  if (suspicion?.deadline === null && isStranded(state)) return 'failed';
  // Once agreed it holds until a watcher takes it back: watchers that are lost later change nothing. It does not hold of a
  // later incarnation, or no watcher that thinks so would ask, and those who do would wait for its verdict.
  const wasAgreed = member.agreed_incarnation === incarnation;
  return wasAgreed && !verdicts.includes('alive') && isAccused(member) ? 'failed' : 'suspect';
}

/** It is held as failed for this node's own doubt alone. No record says so, and nobody else learns of it. */
export function isGivenUp({ status, incarnation, agreed_incarnation }: Member): boolean {
  return status === 'failed' && agreed_incarnation !== incarnation;
}

/** Somebody holds it as failed at this incarnation. */
export function isAccused(member: Member): boolean {
  for (const { verdict } of member.verdicts.values()) if (verdict === 'failed') return true;
  return false;
}

/** To be called after every change of a member's suspicion, verdicts or incarnation. */
export function refreshDoubt(turn: Turn, member: Member): void {
  const { state } = turn;
  const accused = isAccused(member);
  if (member.suspicion !== null || accused) {
    state.doubted.add(member.id);
    state.unsettled.add(member.id);
  } else {
    state.doubted.delete(member.id);
    state.unsettled.delete(member.id);
    setStatus(turn, member, 'alive');
  }
  if (isLarge(state)) concernsIsolation(state, member.id);
  // Strangers that do not answer keep their say: or this node would stand in for them, and perhaps write of it.
  const isStranger = state.cutOff?.strangers.get(member.id)?.answer === 'missing';
  refreshHearing(turn, member.id, accused || (member.suspicion?.deadline === null && !isStranger));
}

/** A suspect keeps its say while the suspicion runs: loss alone must not leave the verdict to a few. */
function refreshHearing(turn: Turn, id: NodeId, isMute: boolean): void {
  const { state } = turn;
  const incarnation = state.roster.get(id);
  if (incarnation === undefined || state.hearable.has(id) !== isMute) return;
  const hearable = isMute ? state.hearable.without(id) : state.hearable.with(id, incarnation);
  state.hearable = hearable.size === state.roster.size ? state.roster : hearable;
  onWatcherChanged(turn, id);
}

/** A watcher came, went, or has or lost its say: duties follow, and whom it watches is judged again if in doubt. */
export function onWatcherChanged(turn: Turn, watcher: NodeId): void {
  const { state } = turn;
  const subjects = subjectsOf(state, watcher);
  if (concernsDuties(state, watcher, subjects)) state.dutiesDirty = true;
  for (const subject of subjects) if (state.doubted.has(subject)) state.unsettled.add(subject);
}

export function setStatus(turn: Turn, member: Member, status: MemberStatus): void {
  const { state } = turn;
  if (member.status === status) return;
  member.status = status;
  if (status === 'failed') state.failed.set(member.id, turn.now);
  else {
    state.failed.delete(member.id);
    member.agreed_incarnation = null;
  }
  concernsIsolation(state, member.id);
  turn.effects.push({ kind: 'status', member: member.id, status });
}

function concernsIsolation(state: MembershipState, id: NodeId): void {
  if (state.wanted.has(id) || state.cutOff?.vanished.has(id) === true) state.isolationDirty = true;
}

/** This node's own verdict: a record for the others, unless there is one, and it counts here at once. */
function giveVerdict(turn: Turn, member: Member): void {
  const { state } = turn;
  const { id, incarnation, charge } = member;
  member.verdicts.set(state.self, { incarnation, verdict: 'failed' });
  stopTimer(turn, charge?.takeBack ?? null);
  member.charge = { incarnation, takeBack: null };
  if (charge?.incarnation !== incarnation) {
    state.counters.verdictsGiven_count += 1;
    turn.effects.push({ kind: 'verdict', subject: id, incarnation, verdict: 'failed' });
  }
  refreshDoubt(turn, member);
}

/**
 * It was heard: this node's verdict counts no more here. Its record is for the member to void: that is one record in
 * place of one by each watcher. A node that was cut off takes it back itself, since others have not heard of it yet.
 */
export function awaitRefutation(turn: Turn, member: Member): void {
  const { state } = turn;
  const { charge, incarnation } = member;
  if (charge === null) return;
  if (heldVerdict(member, state.self) === 'failed') {
    member.verdicts.set(state.self, { incarnation, verdict: 'alive' });
    refreshDoubt(turn, member);
  }
  if (state.cutOff !== null) takeBack(turn, member);
  else charge.takeBack ??= startTimer(turn, 'takeBack', member, state.config.takeBack_ms);
}

/** What it told us of its incarnation does not reach the others: only its record voids verdicts for all. */
export function takeBack(turn: Turn, member: Member): void {
  const { state } = turn;
  const { charge, id, incarnation } = member;
  if (charge === null) return;
  if (heldVerdict(member, state.self) === 'failed') {
    // What it told has lapsed since, and the verdict counts again.
    charge.takeBack = null;
    return;
  }
  endCharge(turn, member);
  // Until that is on record the older one may be told again.
  member.verdicts.set(state.self, { incarnation, verdict: 'alive' });
  refreshDoubt(turn, member);
  state.counters.verdictsTakenBack_count += 1;
  turn.effects.push({ kind: 'verdict', subject: id, incarnation: charge.incarnation, verdict: 'alive' });
}

/** No verdict of this node stands against it any more. */
export function endCharge(turn: Turn, member: Member): void {
  stopTimer(turn, member.charge?.takeBack ?? null);
  member.charge = null;
}

/** Keeps the verdict of a record. One that came before its members waits for them. */
export function keepVerdict(turn: Turn, record: PendingVerdict): void {
  const { state } = turn;
  const { watcher, subject, incarnation, verdict } = record;
  const known_incarnation = state.roster.get(subject);
  if (known_incarnation === undefined || !state.roster.has(watcher)) {
    state.pending.push(record);
    if (state.pending.length > MEMBERSHIP_LIMITS.verdictsPending_max) {
      state.pending.shift();
      state.counters.verdictsDropped_count += 1;
    }
    return;
  }
  // Its subject would not follow so far to refute it, and so it would stand for ever.
  if (incarnation > known_incarnation + MEMBERSHIP_LIMITS.incarnationLeap_max) {
    state.counters.verdictsDropped_count += 1;
    return;
  }
  // Of a member that nobody doubts it is no news that it is alive, or was dead in another life.
  const isNews = state.members.has(subject) || (verdict === 'failed' && incarnation >= known_incarnation);
  const member = isNews ? memberOf(turn, subject) : undefined;
  if (member === undefined) return;
  const held = member.verdicts.get(watcher);
  // Own records come back late; what this process has said since is newer.
  if (watcher === state.self && held !== undefined && held.incarnation >= incarnation) return;
  if (incarnation < member.incarnation) {
    if (!member.verdicts.delete(watcher)) return;
  } else if (held !== undefined || hasRoom(state, member, watcher)) {
    member.verdicts.set(watcher, { incarnation, verdict });
    if (watcher === state.self && verdict === 'failed') member.charge ??= { incarnation, takeBack: null };
  } else {
    state.counters.verdictsDropped_count += 1;
  }
  refreshDoubt(turn, member);
}

/**
 * `id` is new, or its incarnation has risen. Records come in any order: what is on record of it, by those whose verdicts
 * count, and by itself when it is new, may have come too soon to be kept.
 */
export function recall(turn: Turn, id: NodeId, isNew: boolean): void {
  const { state } = turn;
  // At the start all that is on record is told after the members.
  if (!state.started) return;
  const watchers = new Set([...rankedFor(state, id), ...watchersOf(state, id), state.self]);
  turn.effects.push({
    kind: 'recall',
    member: id,
    watchers,
    subjects: isNew ? rankedSubjects(state, id) : [],
  });
}

/**
 * What voided the verdicts on it has lapsed: those on record count again. Of anybody, for who has no say yet may be a
 * stand-in later, and nothing else brings its verdict back.
 */
export function recallAll({ state, effects }: Turn, id: NodeId): void {
  const watchers = Array.from(state.roster.entries(), ([watcher]) => watcher);
  effects.push({ kind: 'recall', member: id, watchers, subjects: [] });
}

/** A full list makes room for a ranked watcher by dropping one that is not. */
function hasRoom(state: MembershipState, member: Member, watcher: NodeId): boolean {
  if (member.verdicts.size < MEMBERSHIP_LIMITS.verdictsPerSubject_max) return true;
  const ranked = rankedFor(state, member.id);
  if (!ranked.includes(watcher)) return false;
  for (const id of member.verdicts.keys()) {
    if (id === state.self || ranked.includes(id)) continue;
    member.verdicts.delete(id);
    state.counters.verdictsDropped_count += 1;
    return true;
  }
  return false;
}

/** Derives what the event has changed: own verdicts that are due, and statuses. */
export function settle(turn: Turn): void {
  const { state } = turn;
  // A verdict may unsettle others, which then come up in this same loop.
  for (const id of state.unsettled) {
    state.unsettled.delete(id);
    const member = state.members.get(id);
    if (member === undefined || !state.doubted.has(id)) continue;
    let verdicts = heldVerdicts(state, member);
    const isDue = member.suspicion !== null && member.suspicion.deadline === null;
    // When others have agreed one more says nothing new; should they get lost it is due again.
    const isSpare = heldVerdict(member, state.self) === 'failed' || isAgreed(verdicts);
    if (isDue && !isSpare && mayAccuse(turn) && isOnDuty(state, id)) {
      giveVerdict(turn, member);
      verdicts = heldVerdicts(state, member);
    }
    setStatus(turn, member, deriveStatus(state, member, verdicts));
  }
}

/**
 * What one thinks of all others that has lost them all is no news to anybody, and each of them would have to refute it. Nor is
 * what it still thinks when it has just met one of them again.
 */
function mayAccuse({ state, now }: Turn): boolean {
  if (!isLarge(state)) return true;
  const [since_ms] = state.connected.values();
  // A connection of before a clock was set back is none of this moment.
  return since_ms !== undefined && Math.abs(now - since_ms) >= state.config.meet_ms;
}

/**
 * When a member was lost. In a large cluster those who would have to agree on that may be lost too, and not be known to be, for
 * this node has no links with them: there its own doubt is enough, once it has run out.
 */
function lostAt_ms(state: MembershipState, id: NodeId): number | undefined {
  const failed_ms = state.failed.get(id);
  if (failed_ms !== undefined || !isLarge(state)) return failed_ms;
  const suspicion = state.members.get(id)?.suspicion;
  return suspicion?.deadline === null ? suspicion.ended_ms : undefined;
}

/** Judged by those with whom this node keeps connections: in a large cluster they are a sample of it. */
export function settleIsolation(turn: Turn): void {
  const { state } = turn;
  state.isolationDirty = false;
  if (state.cutOff === null) {
    const since_ms = turn.now - state.config.isolationWindow_ms;
    const vanished = new Set<NodeId>();
    // This node counts, members that were gone before do not.
    let of_count = 1;
    for (const id of state.wanted) {
      const at_ms = lostAt_ms(state, id);
      if (at_ms !== undefined && at_ms > since_ms) vanished.add(id);
      if (at_ms === undefined || at_ms > since_ms) of_count += 1;
    }
    if (vanished.size * 2 <= of_count) return;
    state.cutOff = {
      since_ms: turn.now,
      vanished,
      of_count,
      strangers: new Map(),
      surplus: 1,
      reachesFew: false,
      wasAlone: false,
    };
    if (isAlone(state)) noteAlone(state.cutOff);
    turn.effects.push({ kind: 'isolated', isolated: true });
    return;
  }
  const { since_ms: cut_ms, vanished, of_count } = state.cutOff;
  if (isLarge(state))
    for (const id of state.wanted) {
      // Who was lost a moment later belongs to those.
      const at_ms = lostAt_ms(state, id);
      if (at_ms !== undefined && at_ms > cut_ms - state.config.isolationWindow_ms) vanished.add(id);
    }
  for (const id of vanished) if (lostAt_ms(state, id) === undefined) vanished.delete(id);
  if (vanished.size * 2 > of_count && !isBack(state.cutOff)) return;
  state.cutOff = null;
  turn.effects.push({ kind: 'isolated', isolated: false });
}
