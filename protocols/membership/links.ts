/**
 * Keeping connections: to whom, and how often a lost one is dialled again. For ever: no member is given up.
 * The wait between two attempts is a part of the time that the member has been gone, so that a link that was down
 * for seconds is found again at once, and one that was down for a day costs next to nothing meanwhile.
 */
import type { NodeId } from '../base/ids.ts';
import { MEMBERSHIP_LIMITS } from './config.ts';
import { isLarge } from './duties.ts';
import { askOthers } from './probing.ts';
import {
  jittered,
  type Member,
  type MembershipState,
  meetsIn_ms,
  memberOf,
  startTimer,
  stopTimer,
  type Turn,
} from './state.ts';
import { drawStrangers, noteDialled } from './strangers.ts';
import { isGivenUp } from './votes.ts';

/** A connection that broke sooner than this is not redialled at once, but after this. */
const FLAP_MS = 1000;
/** Who leaves the first attempt to the other side waits for so many first backoffs: a handshake on a busy host. */
const LATER_TIMES = 4;

function isWanted(turn: Turn, member: Member): boolean {
  const { state } = turn;
  if (state.wanted.has(member.id) || state.targets.has(member.id)) return true;
  return state.cutOff !== null && state.failed.has(member.id);
}

/** Are there more to be dialled than there are places, or may there be? Then those of whom it keeps no link have turns. */
function inTurns(state: MembershipState): boolean {
  if (state.cutOff !== null && isLarge(state)) return true;
  return Math.max(state.failed.size, state.unlinked.size) > MEMBERSHIP_LIMITS.redials_max;
}

/** Not those that it has to watch and that may live: for each of them it may be the only one who does. */
function takesTurns({ state }: Turn, { id }: Member): boolean {
  return inTurns(state) && !state.wanted.has(id) && (state.failed.has(id) || !state.targets.has(id));
}

function backoff_ms(turn: Turn, since_ms: number): number {
  const { redialFirst_ms, redialPart, redialCap_ms } = turn.state.config;
  const wait_ms = (turn.now - since_ms) * redialPart;
  return jittered(turn, Math.min(redialCap_ms, Math.max(redialFirst_ms, wait_ms)));
}

function schedule(
  turn: Turn,
  member: Member,
  since_ms: number,
  attempts_count: number,
  after_ms: number,
): void {
  endRedial(turn, member);
  const timer = startTimer(turn, 'redial', member, after_ms);
  member.redial = { since_ms, attempts_count, timer };
  turn.state.redialling.add(member.id);
}

/**
 * Dials now, and again until connected. Two that never met learn of one another at about the same time, and again of
 * their addresses: the greater id then leaves it to the lesser one for a while. @param isLater leave it in any case.
 */
export function dial(turn: Turn, member: Member, isLater = false): void {
  const { self, connected } = turn.state;
  const isUnmet = meetsIn_ms(turn, member) > 0 && member.status === 'alive';
  const isOthers = isUnmet && self > member.id;
  if (!connected.has(member.id) && isWanted(turn, member)) attempt(turn, member, isLater || isOthers);
}

/** Of one that takes turns: its place would be held for no longer than a first attempt each time. */
function goneSince_ms(turn: Turn, member: Member): number {
  if (!takesTurns(turn, member)) return turn.now;
  return turn.state.failed.get(member.id) ?? turn.now;
}

/** @returns whether there was a place for it. */
function attempt(turn: Turn, member: Member, isLater: boolean): boolean {
  const { state } = turn;
  if (!state.started) return false;
  if (member.redial === null && state.redialling.size >= MEMBERSHIP_LIMITS.redials_max) return false;
  const since_ms = Math.min(turn.now, member.redial?.since_ms ?? goneSince_ms(turn, member));
  const attempts_count = (member.redial?.attempts_count ?? 0) + (isLater ? 0 : 1);
  if (!isLater) turn.effects.push({ kind: 'connect', peer: member.id });
  if (isGivenUp(member)) askOthers(turn, member);
  const after_ms = backoff_ms(turn, since_ms);
  schedule(turn, member, since_ms, attempts_count, isLater ? after_ms * LATER_TIMES : after_ms);
  return true;
}

export function redialAfterLoss(turn: Turn, member: Member, connected_ms: number): void {
  if (turn.now - connected_ms >= FLAP_MS) dial(turn, member);
  else if (isWanted(turn, member) && turn.state.redialling.size < MEMBERSHIP_LIMITS.redials_max) {
    schedule(turn, member, turn.now, 1, jittered(turn, FLAP_MS));
  }
}

export function onRedial(turn: Turn, member: Member): void {
  if (member.redial === null) return;
  const isOver = turn.state.connected.has(member.id) || !isWanted(turn, member);
  if (isOver || takesTurns(turn, member)) endRedial(turn, member);
  else attempt(turn, member, false);
}

export function endRedial(turn: Turn, member: Member): void {
  if (member.redial === null) return;
  stopTimer(turn, member.redial.timer);
  member.redial = null;
  turn.state.redialling.delete(member.id);
}

/** A lost member is back: whatever kept it away may have kept the others away too. */
export function hurryRedials(turn: Turn): void {
  const { state } = turn;
  for (const id of [...state.redialling]) if (state.failed.has(id)) dial(turn, state.members.get(id)!);
}

/**
 * Once a round: whom nobody here dials is dialled. A node that is cut off has its free places for all who are lost,
 * by lot: one that answers is enough. Of more than there are places for those come first to whom it keeps links, and
 * whom it has to watch.
 */
export function fillRedials(turn: Turn): void {
  const { state } = turn;
  const { wanted, unlinked, failed, cutOff } = state;
  const isCrowded = inTurns(state);
  for (const id of isCrowded ? wanted : unlinked) dialAnew(turn, id);
  if (isCrowded) for (const id of unlinked) if (!failed.has(id)) dialAnew(turn, id);
  if (cutOff === null && !isCrowded) return;
  for (const id of drawStrangers(turn)) dialStranger(turn, id);
  const lost = isCrowded ? [...new Set([...failed.keys(), ...unlinked])] : [...failed.keys()];
  for (let tries = 0; tries < lost.length && tries < MEMBERSHIP_LIMITS.redials_max; tries += 1)
    dialAnew(turn, lost[Math.floor(turn.random() * lost.length)]!);
}

function dialAnew(turn: Turn, id: NodeId): void {
  const member = memberOf(turn, id);
  if (member !== undefined && member.redial === null) dial(turn, member);
}

function dialStranger(turn: Turn, id: NodeId): void {
  const member = memberOf(turn, id);
  if (member === undefined || member.redial !== null || turn.state.connected.has(id)) return;
  if (attempt(turn, member, false)) noteDialled(turn, id);
}

/** Once a round: of too many connections the one that serves nothing and was silent for longest is closed. */
export function pruneLinks(turn: Turn): void {
  const { state } = turn;
  const { meshMembers_max, links_max, linkIdle_ms } = state.config;
  if (state.roster.size <= meshMembers_max || state.connected.size <= links_max) return;
  let quietest: Member | undefined;
  for (const peer of state.connected.keys()) {
    const member = state.members.get(peer);
    if (member === undefined || member.status !== 'alive' || isWanted(turn, member)) continue;
    if (turn.now - member.heard_ms < linkIdle_ms) continue;
    if (quietest === undefined || member.heard_ms < quietest.heard_ms) quietest = member;
  }
  if (quietest !== undefined) turn.effects.push({ kind: 'disconnect', peer: quietest.id });
}
