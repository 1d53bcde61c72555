/**
 * Membership: SWIM with Lifeguard over connections, as a pure machine (DESIGN section 4).
 * Each member is watched by K others; a closed connection or silence starts a suspicion; what watchers conclude
 * are ledger records, and a member is failed where the watchers that can be heard agree.
 * Not here: sockets, clocks and the ledger. The driver in daemon/ and the simulator carry the effects out.
 */
import type { Env } from '../base/clock.ts';
import type { NodeId } from '../base/ids.ts';
import type { MemberStatus } from '../view/view.ts';
import { expect, onBeat, onLate, onTick, pushLate, refreshDuties } from './beats.ts';
import { assertConfig, MEMBERSHIP_LIMITS, type MembershipConfig } from './config.ts';
import { onDeadline } from './deadline.ts';
import { isAlone, isLarge, isStranded } from './duties.ts';
import { dial, endRedial, hurryRedials, onRedial, redialAfterLoss } from './links.ts';
import { decodeMessage } from './messages.ts';
import {
  accusation,
  onAck,
  onNack,
  onProbeTimeout,
  onRelayed,
  onRelayTimeout,
  onReprobe,
  onRequest,
  pushProbe,
  startProbe,
} from './probing.ts';
import { Roster } from './roster.ts';
import {
  type CutOff,
  createState,
  type Member,
  type MembershipEffect,
  type MembershipEvent,
  type MembershipState,
  memberOf,
  NEVER_MS,
  send,
  startTimer,
  stopTimer,
  type Turn,
  worsenHealth,
} from './state.ts';
import { confirm, endProbe, heard, pushSuspicion, raiseIncarnation, suspect } from './suspicion.ts';
import {
  endCharge,
  isGivenUp,
  keepVerdict,
  onWatcherChanged,
  recall,
  refreshDoubt,
  setStatus,
  settle,
  settleIsolation,
  takeBack,
} from './votes.ts';

export type { MembershipEffect, MembershipEvent, MembershipState } from './state.ts';

/**
 * @param empty the roster that this node's descend from: one with a memo is shared by all nodes of a process.
 * @throws RangeError when the settings contradict one another.
 */
export function createMembership(
  config: MembershipConfig,
  self: NodeId,
  env: Env,
  empty = Roster.empty(),
): MembershipState {
  return createState(assertConfig(config), self, env.now, empty.with(self, 0));
}

/** @returns what this node holds of `id`; undefined when it is not a member. This node itself is alive. */
export function memberStatus(state: MembershipState, id: NodeId): MemberStatus | undefined {
  if (id === state.self) return 'alive';
  return state.members.get(id)?.status ?? (state.roster.has(id) ? 'alive' : undefined);
}

/** Changes `state` and returns what the driver must do, in order. Never throws on what others send. */
export function handle(state: MembershipState, event: MembershipEvent, env: Env): MembershipEffect[] {
  const turn: Turn = { state, now: env.now, random: env.random, effects: [] };
  const wasStranded = isStranded(state);
  take(turn, event);
  derive(turn);
  if (state.isolationDirty) {
    const { cutOff } = state;
    settleIsolation(turn);
    if (cutOff !== null && state.cutOff === null && isLarge(state)) forgetDoubts(turn, cutOff);
  }
  if (isStranded(state) && !wasStranded) for (const id of state.doubted) state.unsettled.add(id);
  derive(turn);
  return turn.effects;
}

/** Duties follow doubts, and verdicts that are due follow duties, and may raise new doubts. */
function derive(turn: Turn): void {
  const { state } = turn;
  while (state.dutiesDirty || state.unsettled.size > 0) {
    if (state.dutiesDirty) refreshDuties(turn);
    settle(turn);
  }
}

function take(turn: Turn, event: MembershipEvent): void {
  switch (event.kind) {
    case 'start':
      onStart(turn);
      break;
    case 'members':
      onMembers(turn, event.members);
      break;
    case 'member':
      onMember(turn, event.id, event.incarnation);
      replayPending(turn, event.id);
      break;
    case 'removed':
      drop(turn, event.id);
      break;
    case 'connected':
      onConnected(turn, event.peer);
      break;
    case 'disconnected':
      onDisconnected(turn, event.peer);
      break;
    case 'message':
      onMessage(turn, event.from, event.body);
      break;
    case 'heard':
      onHeard(turn, event.peer);
      break;
    case 'timer':
      onTimer(turn, event.token);
      break;
    case 'verdict':
      onVerdict(turn, event);
      break;
  }
}

function onStart(turn: Turn): void {
  const { state } = turn;
  if (state.started) return;
  state.started = true;
  startTimer(turn, 'tick', null, turn.random() * state.config.beat_interval_ms);
  for (const id of state.wanted) {
    const member = memberOf(turn, id);
    if (member === undefined) continue;
    member.meetBy_ms = turn.now + state.config.meet_ms;
    dial(turn, member, state.self > id);
  }
  for (const id of state.targets) {
    const member = memberOf(turn, id);
    if (member === undefined) continue;
    member.heard_ms = turn.now;
    expect(turn, member);
  }
}

function onMembers(turn: Turn, members: Iterable<readonly [NodeId, number]> | Roster): void {
  const { state } = turn;
  const before = state.roster;
  const own = before.get(state.self) ?? 0;
  const given = members instanceof Roster ? members : before.emptied().withAll(members);
  const after = given.with(state.self, Math.max(own, given.get(state.self) ?? 0));
  // At the start there is nobody to compare with: the list is taken as it is, and is shared.
  const isFirst = before.size === 1 && after.size <= MEMBERSHIP_LIMITS.members_max;
  if (isFirst) {
    state.roster = after;
    state.hearable = after;
    state.dutiesDirty = true;
    state.incarnation = Math.max(state.incarnation, after.get(state.self) ?? 0);
    for (const [id] of after.entries()) recall(turn, id, true);
  } else {
    for (const [id, , incarnation] of after.changesSince(before)) {
      if (incarnation === undefined) drop(turn, id);
      else onMember(turn, id, incarnation);
    }
  }
  for (const record of state.pending.splice(0)) keepVerdict(turn, record);
}

function onMember(turn: Turn, id: NodeId, incarnation: number): void {
  const { state } = turn;
  const before = state.roster;
  const known = before.get(id);
  if (known !== undefined && known >= incarnation) return;
  if (known === undefined && before.size >= MEMBERSHIP_LIMITS.members_max) {
    state.counters.membersRefused_count += 1;
    return;
  }
  state.roster = before.with(id, incarnation);
  const isMute = known !== undefined && !state.hearable.has(id);
  if (state.hearable === before) state.hearable = state.roster;
  else if (!isMute) state.hearable = state.hearable.with(id, incarnation);
  if (id === state.self) {
    state.incarnation = Math.max(state.incarnation, incarnation);
    recall(turn, id, false);
    return;
  }
  if (known === undefined) {
    onWatcherChanged(turn, id);
    recall(turn, id, true);
    return;
  }
  const member = state.members.get(id);
  if (member?.charge != null && member.charge.incarnation < incarnation) endCharge(turn, member);
  // Perhaps it is back at other addresses: dialled at once, whatever the backoff was.
  if (member !== undefined && raiseIncarnation(turn, member, incarnation)) {
    state.cutOff?.strangers.delete(id);
    dial(turn, member);
  }
  recall(turn, id, false);
}

function replayPending(turn: Turn, id: NodeId): void {
  const { pending } = turn.state;
  if (pending.length === 0) return;
  const waiting = pending.splice(0);
  for (const record of waiting) {
    if (record.watcher === id || record.subject === id) keepVerdict(turn, record);
    else pending.push(record);
  }
}

function drop(turn: Turn, id: NodeId): void {
  const { state } = turn;
  if (id === state.self || !state.roster.has(id)) return;
  onWatcherChanged(turn, id);
  const member = state.members.get(id);
  if (member !== undefined) {
    endProbe(turn, member);
    endSuspicionOf(turn, member);
    endRedial(turn, member);
    endCharge(turn, member);
    stopTimer(turn, member.late);
  }
  const isShared = state.hearable === state.roster;
  state.roster = state.roster.without(id);
  state.hearable = isShared ? state.roster : state.hearable.without(id);
  if (state.hearable.size === state.roster.size) state.hearable = state.roster;
  state.members.delete(id);
  state.doubted.delete(id);
  state.unsettled.delete(id);
  state.failed.delete(id);
  state.wanted.delete(id);
  state.isolationDirty = true;
  state.targets.delete(id);
  state.unlinked.delete(id);
  state.cutOff?.strangers.delete(id);
  for (const other of state.members.values()) {
    if (other.verdicts.delete(id)) refreshDoubt(turn, other);
  }
}

function endSuspicionOf(turn: Turn, member: Member): void {
  stopTimer(turn, member.suspicion?.deadline ?? null);
  stopTimer(turn, member.suspicion?.reprobe ?? null);
  member.suspicion = null;
}

/**
 * It was cut off or alone, and is back: what it thought of others meanwhile those may know better. If it has reached few
 * it listens anew to whom it has to watch too.
 */
function forgetDoubts(turn: Turn, cutOff: CutOff | null): void {
  const { state, now } = turn;
  for (const member of state.members.values()) {
    const { id, charge } = member;
    if (isGivenUp(member)) setStatus(turn, member, 'suspect');
    const isOurs = state.wanted.has(id) || state.targets.has(id);
    if (charge === null && !(isOurs && cutOff?.reachesFew === false)) {
      endProbe(turn, member);
      endSuspicionOf(turn, member);
      member.heard_ms = now;
      if (!member.isConnected) member.meetBy_ms = now + state.config.meet_ms;
    }
    refreshDoubt(turn, member);
    expect(turn, member);
  }
}

function onConnected(turn: Turn, peer: NodeId): void {
  const { state } = turn;
  if (peer === state.self) return;
  if (isAlone(state) && state.cutOff === null) forgetDoubts(turn, null);
  if (!state.connected.has(peer)) state.connected.set(peer, turn.now);
  state.unlinked.delete(peer);
  tellListener(state, peer, true);
  const member = memberOf(turn, peer);
  if (member === undefined) return;
  member.isConnected = true;
  const wasFailed = member.status === 'failed';
  member.meetBy_ms = 0;
  member.beat_ms = NEVER_MS;
  endRedial(turn, member);
  // The handshake is an answer that nobody else can give.
  heard(turn, member);
  stopTimer(turn, member.late);
  member.late = null;
  expect(turn, member);
  if (wasFailed) hurryRedials(turn);
  if (accusation(member) !== null) startProbe(turn, member);
}

function onDisconnected(turn: Turn, peer: NodeId): void {
  const { state } = turn;
  const connected_ms = state.connected.get(peer);
  if (connected_ms === undefined) return;
  state.connected.delete(peer);
  const isWanted = state.wanted.has(peer) || state.targets.has(peer);
  if (isWanted) state.unlinked.add(peer);
  tellListener(state, peer, false);
  const member = state.members.get(peer);
  if (member === undefined) return;
  member.isConnected = false;
  if (!state.started) return;
  const doubters = member.probe?.doubters;
  endProbe(turn, member);
  // In a large cluster connections that nobody needs are closed by either side.
  if (!isWanted) return;
  suspect(turn, member, true, doubters);
  redialAfterLoss(turn, member, connected_ms);
}

function tellListener({ audience }: MembershipState, id: NodeId, isConnected: boolean): void {
  const listener = audience.find((each) => each.id === id);
  if (listener === undefined) return;
  listener.isConnected = isConnected;
  if (!isConnected) listener.due_ms = Number.POSITIVE_INFINITY;
}

function onMessage(turn: Turn, from: NodeId, body: Uint8Array): void {
  const { state } = turn;
  const message = decodeMessage(body);
  if (message === null) {
    state.counters.malformed_count += 1;
    return;
  }
  if (message.type === 'beat') {
    onBeat(turn, from, message);
    return;
  }
  if (message.type === 'ack') onAck(turn, from, message);
  onHeard(turn, from);
  switch (message.type) {
    case 'ack':
      break;
    case 'ping':
      if (message.suspected !== null) onAccused(turn, message.suspected);
      send(turn, from, { type: 'ack', seq: message.seq, incarnation: state.incarnation });
      break;
    case 'request':
      onRequest(turn, from, message);
      break;
    case 'relayed':
      onRelayed(turn, from, message);
      break;
    case 'nack':
      onNack(turn, from, message);
      break;
    case 'suspect':
      onSuspect(turn, from, message.subject, message.incarnation, message.closed === true);
      break;
  }
}

/** What was on its way when the connection closed proves nothing. */
function onHeard(turn: Turn, from: NodeId): void {
  const member = turn.state.members.get(from);
  if (member === undefined || !member.isConnected) return;
  heard(turn, member);
  expect(turn, member);
}

/** Another watcher doubts `subject`: a confirmation, or a reason to ask it now. */
function onSuspect(turn: Turn, from: NodeId, subject: NodeId, incarnation: number, isClosed: boolean): void {
  const { state } = turn;
  if (subject === state.self) {
    // Only a verdict needs a record against it. A doubt needs an answer.
    send(turn, from, { type: 'ack', seq: 0, incarnation: state.incarnation });
    return;
  }
  const member = state.members.get(subject);
  if (member === undefined || incarnation < member.incarnation) return;
  if (member.suspicion !== null) {
    confirm(turn, member, from, isClosed);
    return;
  }
  if (!state.targets.has(subject)) return;
  startProbe(turn, member);
  const { probe } = member;
  if (probe === null) return;
  probe.doubters.set(from, isClosed || probe.doubters.get(from) === true);
  // Its answer to our own question is overdue already.
  if (!probe.isUnanswered) return;
  endProbe(turn, member);
  suspect(turn, member, false, probe.doubters);
}

function onVerdict(turn: Turn, event: MembershipEvent & { kind: 'verdict' }): void {
  const { state } = turn;
  const { watcher, subject, incarnation, verdict } = event;
  if (watcher === subject) return;
  if (subject === state.self) {
    if (verdict === 'failed' && watcher !== state.self) refute(turn, incarnation);
    return;
  }
  keepVerdict(turn, { watcher, subject, incarnation, verdict });
  const member = state.members.get(subject);
  if (member === undefined || verdict !== 'failed') return;
  if (incarnation >= member.incarnation) confirm(turn, member, watcher, false);
}

/**
 * A message says that there is a verdict. It costs its sender nothing, and a refutation is a record: no more than one in
 * the time that accusers wait for it. What is on record is refuted whenever it comes.
 */
function onAccused(turn: Turn, accused: number): void {
  const { state, now } = turn;
  // Never in the future, whatever the clock was set to.
  state.refuted_ms = Math.min(state.refuted_ms, now);
  if (now - state.refuted_ms < state.config.takeBack_ms) return;
  if (refute(turn, accused)) state.refuted_ms = now;
}

/** SWIM section 4.2: only the member itself raises its incarnation. To be accused is a sign of poor health. */
function refute(turn: Turn, accused: number): boolean {
  const { state } = turn;
  const leap = accused - state.incarnation;
  if (leap < 0 || leap > MEMBERSHIP_LIMITS.incarnationLeap_max) return false;
  state.incarnation = accused + 1;
  state.counters.refutations_count += 1;
  worsenHealth(state);
  turn.effects.push({ kind: 'refute', incarnation: state.incarnation });
  return true;
}

function onTimer(turn: Turn, token: number): void {
  const { state } = turn;
  const timer = state.timers.get(token);
  if (timer === undefined) return;
  const { kind, of, at_ms } = timer;
  state.timers.stop(token);
  state.lag_ms = Math.max(0, turn.now - at_ms);
  if (isStalled(turn, at_ms)) {
    // Its probes and deadlines have new timers; the others go on, late.
    pushDeadlines(turn, turn.now - at_ms);
    if (kind === 'probe' || kind === 'deadline') return;
  }
  if (of === null) onTick(turn, state.lag_ms);
  else if (typeof of === 'number') onRelayTimeout(turn, of);
  else if (kind === 'late') onLate(turn, of);
  else if (kind === 'probe') onProbeTimeout(turn, of);
  else if (kind === 'deadline') onDeadline(turn, of);
  else if (kind === 'reprobe') onReprobe(turn, of);
  else if (kind === 'takeBack') takeBack(turn, of);
  else onRedial(turn, of);
}

/** True for the first timer that comes much too late after a stall; those that waited with it are not news. */
function isStalled(turn: Turn, at_ms: number): boolean {
  const { state, now } = turn;
  // A clock that was set back must not hide the stalls to come.
  state.stalled_ms = Math.min(state.stalled_ms, now);
  if (now - at_ms <= state.config.stall_ms || at_ms <= state.stalled_ms) return false;
  state.stalled_ms = now;
  state.counters.stalls_count += 1;
  return true;
}

function pushDeadlines(turn: Turn, stall_ms: number): void {
  const { state } = turn;
  worsenHealth(state);
  for (const member of state.members.values()) {
    pushLate(turn, member);
    pushProbe(turn, member);
    pushSuspicion(turn, member, stall_ms);
  }
}
