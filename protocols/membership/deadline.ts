/**
 * The end of a suspicion: the verdict is due, unless this node has reason to mistrust itself.
 * Source: Lifeguard section IV-A.
 */
import type { NodeId } from '../base/ids.ts';
import { isOnDuty, watchersOf } from './duties.ts';
import { startProbe } from './probing.ts';
import {
  type Member,
  type MembershipState,
  memberOf,
  type Suspicion,
  startTimer,
  type Turn,
} from './state.ts';
import { outlastWeather } from './suspicion.ts';
import { agreement, refreshDoubt } from './votes.ts';

export function onDeadline(turn: Turn, member: Member): void {
  const { state } = turn;
  const { suspicion } = member;
  if (suspicion === null || outlastWeather(turn, member, suspicion)) return;
  const isAlone = suspicion.confirmedBy.size === 0 && state.health > state.config.healthAlone_max;
  if (isAlone && isOnDuty(state, member.id) && shallWait(turn, member, suspicion)) {
    suspicion.postponements_count += 1;
    suspicion.deadline = startTimer(turn, 'deadline', member, state.config.suspicionConfirmed_ms);
    return;
  }
  if (isDispensable(state, member, suspicion)) {
    suspicion.isLeft = true;
    suspicion.deadline = startTimer(turn, 'deadline', member, state.config.spare_ms);
    return;
  }
  suspicion.deadline = null;
  suspicion.seqWaited = state.seq;
  suspicion.ended_ms = turn.now;
  // It is silent: a fresh connection is worth more than this one.
  if (state.connected.has(member.id)) turn.effects.push({ kind: 'disconnect', peer: member.id });
  refreshDoubt(turn, member);
}

/** As many watchers as must agree stand before this node in the ranking, and all of them doubt the member too. */
function isDispensable(state: MembershipState, member: Member, suspicion: Suspicion): boolean {
  if (suspicion.isLeft) return false;
  const watchers = watchersOf(state, member.id);
  const needed = watchers.slice(0, agreement(watchers.length));
  return needed.length > 0 && needed.every((id) => suspicion.confirmedBy.has(id) && !state.doubted.has(id));
}

/** While another watcher can be heard that does not agree; and a while longer, for it may be slow. */
function shallWait(turn: Turn, member: Member, suspicion: Suspicion): boolean {
  const { state } = turn;
  const others = watchersOf(state, member.id).filter((id) => id !== state.self && !state.doubted.has(id));
  for (const id of others) askWhetherHeard(turn, id, suspicion.since_ms);
  return others.length > 0 || suspicion.postponements_count < state.config.postponements_max;
}

function askWhetherHeard(turn: Turn, id: NodeId, since_ms: number): void {
  const member = memberOf(turn, id);
  if (member !== undefined && member.heard_ms < since_ms) startProbe(turn, member);
}
