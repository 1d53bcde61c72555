/**
 * From verdicts to statuses: whose verdict counts, when they agree, and when it is we who are cut off.
 * Every node derives this from the same records, so views converge as the records do.
 * Not here: how this node comes to a verdict of its own (suspicion.ts).
 */
import type { NodeId } from '../base/ids.ts';
import type { MemberStatus } from '../view/view.ts';
import { MEMBERSHIP_LIMITS } from './config.ts';
import { isRanked, rankAmong, rankedFor } from './rendezvous.ts';
import type { Member, MembershipState, PendingVerdict, Turn, Verdict } from './state.ts';

/** Two watchers at least shall be heard for each member, stand-ins filling up. */
const WATCHERS_HEARD_MIN = 2;

/** A member that is doubted has no say: in a partition the other side's silence must not block ours. */
function isHearable(state: MembershipState, id: NodeId): boolean {
  return id === state.self || (state.members.has(id) && !state.doubted.has(id));
}

/**
 * The watchers of `subject` whom this node can hear: those of the first K; when fewer than two of them are left,
 * the next in the rendezvous order step in.
 */
export function watchersOf(state: MembershipState, subject: NodeId): NodeId[] {
  const watchers: NodeId[] = [];
  const ranked = rankedFor(state.ranking, subject);
  for (let at = 0; at < ranked.length; at += 1) {
    if (at >= state.config.watchers_count && watchers.length >= WATCHERS_HEARD_MIN) break;
    const id = ranked[at]!.id;
    if (isHearable(state, id)) watchers.push(id);
  }
  if (watchers.length >= Math.min(WATCHERS_HEARD_MIN, state.members.size)) return watchers;
  return rankAmong(state.ranking, subject, WATCHERS_HEARD_MIN, (id) => isHearable(state, id));
}

export function isOnDuty(state: MembershipState, subject: NodeId): boolean {
  if (isRanked(state.ranking, subject, state.self, state.config.watchers_count)) return true;
  return state.doubted.size > 0 && watchersOf(state, subject).includes(state.self);
}

/** What a watcher holds of this incarnation. Verdicts of older ones are void, and are not kept. */
export function heldVerdict(member: Member, watcher: NodeId): Verdict | null {
  return member.verdicts.get(watcher)?.verdict ?? null;
}

/** At least two, and most of those who can be heard; all of them when they are one or two. */
function agreement(watchers_count: number): number {
  return watchers_count <= 2 ? watchers_count : Math.floor(watchers_count / 2) + 1;
}

function deriveStatus(state: MembershipState, member: Member): MemberStatus {
  const verdicts = watchersOf(state, member.id).map((watcher) => heldVerdict(member, watcher));
  const failed_count = verdicts.filter((verdict) => verdict === 'failed').length;
  if (verdicts.length > 0 && failed_count >= agreement(verdicts.length)) return 'failed';
  // Once agreed it holds until a watcher takes it back: watchers that are lost later change nothing.
  const isKept = member.status === 'failed' && !verdicts.includes('alive') && isAccused(member);
  return isKept ? 'failed' : 'suspect';
}

function isAccused(member: Member): boolean {
  for (const { verdict } of member.verdicts.values()) if (verdict === 'failed') return true;
  return false;
}

/** To be called after every change of a member's suspicion, verdicts or incarnation. */
export function refreshDoubt(turn: Turn, member: Member): void {
  const { state } = turn;
  const isDoubted = member.suspicion !== null || isAccused(member);
  if (isDoubted !== state.doubted.has(member.id)) {
    if (isDoubted) state.doubted.add(member.id);
    else state.doubted.delete(member.id);
    state.targetsDirty = true;
  }
  if (!isDoubted) setStatus(turn, member, 'alive');
  state.dirty = true;
}

function setStatus(turn: Turn, member: Member, status: MemberStatus): void {
  if (member.status === status) return;
  member.status = status;
  if (status === 'failed') turn.state.failed.set(member.id, turn.now);
  else turn.state.failed.delete(member.id);
  turn.effects.push({ kind: 'status', member: member.id, status });
}

/** This node's own verdict: a record for the others, and it counts here at once. */
export function giveVerdict(turn: Turn, member: Member, verdict: Verdict): void {
  const { incarnation } = member;
  member.verdicts.set(turn.state.self, { incarnation, verdict });
  turn.state.counters.verdictsGiven_count += 1;
  turn.effects.push({ kind: 'verdict', subject: member.id, incarnation, verdict });
  refreshDoubt(turn, member);
}

/** Keeps the verdict of a record. One that came before its members waits for them. */
export function keepVerdict(turn: Turn, record: PendingVerdict): void {
  const { state } = turn;
  const { watcher, subject, incarnation, verdict } = record;
  const member = state.members.get(subject);
  if (member === undefined || (watcher !== state.self && !state.members.has(watcher))) {
    if (subject === state.self) return;
    state.pending.push(record);
    if (state.pending.length > MEMBERSHIP_LIMITS.verdictsPending_max) {
      state.pending.shift();
      state.counters.verdictsDropped_count += 1;
    }
    return;
  }
  const held = member.verdicts.get(watcher);
  // Own records come back late; what this process has said since is newer.
  if (watcher === state.self && held !== undefined && held.incarnation >= incarnation) return;
  if (incarnation < member.incarnation) {
    member.verdicts.delete(watcher);
  } else if (held !== undefined || hasRoom(state, member, watcher)) {
    member.verdicts.set(watcher, { incarnation, verdict });
  } else {
    state.counters.verdictsDropped_count += 1;
  }
  refreshDoubt(turn, member);
}

/** A full list makes room for a ranked watcher by dropping one that is not. */
function hasRoom(state: MembershipState, member: Member, watcher: NodeId): boolean {
  if (member.verdicts.size < MEMBERSHIP_LIMITS.verdictsPerSubject_max) return true;
  const { length } = state.ranking;
  if (!isRanked(state.ranking, member.id, watcher, length)) return false;
  for (const id of member.verdicts.keys()) {
    if (id === state.self || isRanked(state.ranking, member.id, id, length)) continue;
    member.verdicts.delete(id);
    state.counters.verdictsDropped_count += 1;
    return true;
  }
  return false;
}

/** Derives what the event has changed: own verdicts that are due, statuses, and whether we are cut off. */
export function settle(turn: Turn): void {
  const { state } = turn;
  state.dirty = false;
  for (const id of [...state.doubted]) {
    const member = state.members.get(id)!;
    const isDue = member.suspicion !== null && member.suspicion.deadline === null;
    if (isDue && heldVerdict(member, state.self) !== 'failed' && isOnDuty(state, id)) {
      giveVerdict(turn, member, 'failed');
    }
    setStatus(turn, member, deriveStatus(state, member));
  }
  state.dirty = false;
  settleIsolation(turn);
}

function settleIsolation(turn: Turn): void {
  const { state } = turn;
  if (state.cutOff === null) {
    const since_ms = turn.now - state.config.isolationWindow_ms;
    const vanished = [...state.failed].filter(([, at_ms]) => at_ms > since_ms).map(([id]) => id);
    // This node counts, members that were gone before do not.
    const of_count = 1 + state.members.size - (state.failed.size - vanished.length);
    if (vanished.length * 2 <= of_count) return;
    state.cutOff = { vanished: new Set(vanished), of_count };
    turn.effects.push({ kind: 'isolated', isolated: true });
    return;
  }
  for (const id of state.cutOff.vanished) if (!state.failed.has(id)) state.cutOff.vanished.delete(id);
  if (state.cutOff.vanished.size * 2 > state.cutOff.of_count) return;
  state.cutOff = null;
  turn.effects.push({ kind: 'isolated', isolated: false });
}
