/**
 * Keeping connections: to whom, and how often a lost one is dialled again. For ever: no member is given up.
 */
import { MEMBERSHIP_LIMITS } from './config.ts';
import { isRanked } from './rendezvous.ts';
import { jittered, type Member, type MembershipState, startTimer, stopTimer, type Turn } from './state.ts';

/** A connection that broke sooner than this is redialled with the backoff going on. */
const FLAP_MS = 1000;
const FLAP_ATTEMPTS = 2;
/** After so many attempts a place is given up for another member when all places are taken. */
const ATTEMPTS_PER_PLACE = 8;

/** Everybody in a small cluster; in a large one whom we watch, with whom, who watches us, and who is lost. */
function isWanted(state: MembershipState, member: Member): boolean {
  if (state.members.size < state.config.meshMembers_max || member.status !== 'alive') return true;
  const { watchers_count } = state.config;
  return (
    isRanked(state.ranking, member.id, state.self, watchers_count) ||
    isRanked(state.ranking, state.self, member.id, watchers_count) ||
    state.fellows.has(member.id) ||
    member.suspicion !== null
  );
}

function backoff_ms(turn: Turn, attempts_count: number): number {
  const { redialFirst_ms, redialCap_ms } = turn.state.config;
  return jittered(turn, Math.min(redialCap_ms, redialFirst_ms * 2 ** Math.min(attempts_count, 30)));
}

function schedule(turn: Turn, member: Member, attempts_count: number): void {
  const timer = startTimer(turn, { kind: 'redial', id: member.id }, backoff_ms(turn, attempts_count));
  member.redial = { attempts_count, timer };
  turn.state.redialling.add(member.id);
}

/** Dials now, and again until connected. @param isLater leave the other side the first attempt. */
export function dial(turn: Turn, member: Member, isLater = false): void {
  const { state } = turn;
  if (!state.started || state.connected.has(member.id) || !isWanted(state, member)) return;
  if (member.redial === null && state.redialling.size >= MEMBERSHIP_LIMITS.redials_max) return;
  endRedial(turn, member);
  if (!isLater) turn.effects.push({ kind: 'connect', peer: member.id });
  schedule(turn, member, isLater ? 1 : 0);
}

export function redialAfterLoss(turn: Turn, member: Member, connected_ms: number): void {
  if (turn.now - connected_ms >= FLAP_MS) dial(turn, member);
  else if (isWanted(turn.state, member) && turn.state.redialling.size < MEMBERSHIP_LIMITS.redials_max) {
    schedule(turn, member, FLAP_ATTEMPTS);
  }
}

export function onRedial(turn: Turn, member: Member): void {
  const { state } = turn;
  const attempts_count = (member.redial?.attempts_count ?? 0) + 1;
  endRedial(turn, member);
  if (state.connected.has(member.id) || !isWanted(state, member)) return;
  turn.effects.push({ kind: 'connect', peer: member.id });
  const isFull = state.redialling.size >= MEMBERSHIP_LIMITS.redials_max - 1;
  if (isFull && attempts_count >= ATTEMPTS_PER_PLACE) return;
  schedule(turn, member, attempts_count);
}

export function endRedial(turn: Turn, member: Member): void {
  if (member.redial === null) return;
  stopTimer(turn, member.redial.timer);
  member.redial = null;
  turn.state.redialling.delete(member.id);
}

/** Once a round: fills free places with members that nobody here dials, targets first, then lost ones by lot. */
export function fillRedials(turn: Turn): void {
  const { state } = turn;
  for (const id of [...state.targets, ...state.fellows]) {
    const member = state.members.get(id)!;
    if (member.redial === null) dial(turn, member);
  }
  const lost = [...state.failed.keys()];
  for (let tries = 0; tries < lost.length && tries < MEMBERSHIP_LIMITS.redials_max; tries += 1) {
    const member = state.members.get(lost[Math.floor(turn.random() * lost.length)]!)!;
    if (member.redial === null) dial(turn, member);
  }
}
