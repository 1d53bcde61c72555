/**
 * A doubt of this node's own, from its first sign to a verdict or to its end.
 * Source: Lifeguard sections IV-A (local health), IV-B (dynamic suspicion timeouts) and IV-C (buddy system).
 */
import type { NodeId } from '../base/ids.ts';
import { isRanked } from './rendezvous.ts';
import { type Member, type MembershipState, send, startTimer, stopTimer, type Turn } from './state.ts';
import { giveVerdict, heldVerdict, isOnDuty, refreshDoubt, watchersOf } from './votes.ts';

/** From `suspicion_ms` down to `suspicionConfirmed_ms` as others confirm; longer in large clusters. */
function timeout_ms(state: MembershipState, confirmations_count: number): number {
  const { suspicion_ms, suspicionConfirmed_ms, confirmations_count: enough } = state.config;
  const scale = Math.max(1, Math.log10(state.members.size + 1));
  const confirmed = Math.log(Math.min(confirmations_count, enough) + 1) / Math.log(enough + 1);
  return scale * (suspicion_ms - (suspicion_ms - suspicionConfirmed_ms) * confirmed);
}

/** Begins to doubt, tells the other watchers, and asks the suspect at once. No effect on one that is doubted already. */
export function suspect(turn: Turn, member: Member): void {
  const { state } = turn;
  if (member.suspicion !== null) return;
  const confirmedBy = new Set<NodeId>();
  for (const watcher of member.verdicts.keys()) {
    if (isConfirmation(state, member, watcher) && heldVerdict(member, watcher) === 'failed')
      confirmedBy.add(watcher);
  }
  const timer = { kind: 'deadline', id: member.id } as const;
  member.suspicion = {
    seqFirst: state.seq + 1,
    since_ms: turn.now,
    pushed_ms: 0,
    confirmedBy,
    deadline: startTimer(turn, timer, timeout_ms(state, confirmedBy.size)),
    reprobe: startTimer(turn, { kind: 'reprobe', id: member.id }, 1),
    postponements_count: 0,
  };
  if (isOnDuty(state, member.id)) {
    for (const watcher of watchersOf(state, member.id)) {
      send(turn, watcher, { type: 'suspect', subject: member.id, incarnation: member.incarnation });
    }
  }
  refreshDoubt(turn, member);
}

function isConfirmation(state: MembershipState, member: Member, by: NodeId): boolean {
  return (
    by !== state.self && by !== member.id && isRanked(state.ranking, member.id, by, state.ranking.length)
  );
}

/** Another watcher doubts it too: the suspicion ends sooner. */
export function confirm(turn: Turn, member: Member, by: NodeId): void {
  const { suspicion } = member;
  if (suspicion?.deadline == null || suspicion.confirmedBy.has(by)) return;
  if (!isConfirmation(turn.state, member, by)) return;
  suspicion.confirmedBy.add(by);
  armDeadline(turn, member);
}

function armDeadline(turn: Turn, member: Member): void {
  const suspicion = member.suspicion!;
  stopTimer(turn, suspicion.deadline);
  const whole_ms = timeout_ms(turn.state, suspicion.confirmedBy.size);
  const left_ms = suspicion.since_ms + suspicion.pushed_ms + whole_ms - turn.now;
  // The bound matters when the clock was set back since the suspicion began.
  const after_ms = Math.min(left_ms, whole_ms + turn.state.config.probe_timeout_ms);
  suspicion.deadline = startTimer(turn, { kind: 'deadline', id: member.id }, after_ms);
}

/** This node was stalled for `stall_ms`: that time says nothing about others. */
export function pushSuspicion(turn: Turn, member: Member, stall_ms: number): void {
  if (member.suspicion?.deadline == null) return;
  member.suspicion.pushed_ms += stall_ms;
  armDeadline(turn, member);
}

/** The time is up: the verdict is due, unless this node is not well and nobody agrees. */
export function onDeadline(turn: Turn, member: Member): void {
  const { state } = turn;
  const suspicion = member.suspicion;
  if (suspicion === null) return;
  const isAlone = suspicion.confirmedBy.size === 0 && state.health > state.config.healthAlone_max;
  if (isAlone && isOnDuty(state, member.id)) {
    const others_count = watchersOf(state, member.id).filter((id) => id !== state.self).length;
    if (others_count > 0 || suspicion.postponements_count < state.config.postponements_max) {
      suspicion.postponements_count += 1;
      const timer = { kind: 'deadline', id: member.id } as const;
      suspicion.deadline = startTimer(turn, timer, state.config.suspicionConfirmed_ms);
      return;
    }
  }
  suspicion.deadline = null;
  // It is silent: a fresh connection is worth more than this one.
  if (state.connected.has(member.id)) turn.effects.push({ kind: 'disconnect', peer: member.id });
  state.dirty = true;
}

export function endSuspicion(turn: Turn, member: Member): void {
  if (member.suspicion === null) return;
  stopTimer(turn, member.suspicion.deadline);
  stopTimer(turn, member.suspicion.reprobe);
  member.suspicion = null;
  refreshDoubt(turn, member);
}

/** It lives: this node's doubt ends, and its own failed verdict is taken back. */
export function heard(turn: Turn, member: Member): void {
  endSuspicion(turn, member);
  if (heldVerdict(member, turn.state.self) === 'failed') giveVerdict(turn, member, 'alive');
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
