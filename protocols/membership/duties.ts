/**
 * Who watches whom, as this node sees it: watchers by the roster, and stand-ins where too few of them can be heard.
 * Only questions; what follows from the answers is in beats.ts and votes.ts.
 */
import type { NodeId } from '../base/ids.ts';
import { MEMBERSHIP_LIMITS } from './config.ts';
import type { MembershipState } from './state.ts';

/** Two watchers at least shall be heard for each member, stand-ins filling up. */
const WATCHERS_HEARD_MIN = 2;

/** Does this node keep links with some of the members only? */
export function isLarge({ roster, config }: MembershipState): boolean {
  return roster.size > config.meshMembers_max;
}

/** Has it no connection at all, in a large cluster? Then nobody can share its doubts, or hear of them. */
export function isAlone(state: MembershipState): boolean {
  return state.connected.size === 0 && isLarge(state);
}

/**
 * Is it cut off, in a cluster that was large then, and reaches few others? Then whom it does not reach is lost to it,
 * whatever others say.
 */
export function isStranded(state: MembershipState): boolean {
  return state.cutOff?.reachesFew === true;
}

/** The watchers of `subject` by the roster, and as many after them: they are the likeliest stand-ins. */
export function rankedFor(state: MembershipState, subject: NodeId): readonly NodeId[] {
  return state.roster.watchers(subject, state.config.watchers_count * 2);
}

/** All for whom `watcher` may be ranked, and those that it may have to watch as a stand-in. */
export function rankedSubjects(state: MembershipState, watcher: NodeId): Set<NodeId> {
  const { roster, config } = state;
  return new Set([...roster.subjects(watcher, config.watchers_count * 2), ...subjectsOf(state, watcher)]);
}

/** Whether `watcher` is one of the K by the roster. */
export function isWatcher(state: MembershipState, subject: NodeId, watcher: NodeId): boolean {
  const at = rankedFor(state, subject).indexOf(watcher);
  return at >= 0 && at < state.config.watchers_count;
}

/**
 * The watchers of `subject` whom this node can hear; when fewer than two of the K are left, the next on the rings
 * of those who can be heard step in. A member that is accused has no say, nor one that has been silent for as long
 * as a suspicion lasts: in a partition the other side's silence must not block ours.
 */
export function watchersOf(state: MembershipState, subject: NodeId): NodeId[] {
  const { hearable, config } = state;
  const ranked = rankedFor(state, subject).slice(0, config.watchers_count);
  if (hearable === state.roster) return ranked;
  const watchers = ranked.filter((id) => hearable.has(id));
  if (watchers.length >= WATCHERS_HEARD_MIN) return watchers;
  for (const id of hearable.watchers(subject, WATCHERS_HEARD_MIN)) {
    if (watchers.length < WATCHERS_HEARD_MIN && !watchers.includes(id)) watchers.push(id);
  }
  return watchers;
}

export function isOnDuty(state: MembershipState, subject: NodeId): boolean {
  if (isWatcher(state, subject, state.self)) return true;
  return state.hearable !== state.roster && watchersOf(state, subject).includes(state.self);
}

/**
 * All whom `watcher` may have to watch, and perhaps some more: for each of the K watchers there is a ring where no
 * more than K stand from the subject to it, and a stand-in is the first on ring 0 or the second on ring 1 of those
 * who can be heard.
 */
export function subjectsOf(state: MembershipState, watcher: NodeId): ReadonlySet<NodeId> {
  const { roster, hearable, config } = state;
  const subjects = roster.subjects(watcher, config.watchers_count);
  if (hearable === roster) return subjects;
  let all: Set<NodeId> | undefined;
  for (let ring = 0; ring < WATCHERS_HEARD_MIN; ring += 1) {
    let left_count = ring + 1;
    let looked_count = 0;
    const isLast = (id: NodeId) => {
      if (hearable.has(id)) left_count -= 1;
      looked_count += 1;
      return left_count === 0 || looked_count >= MEMBERSHIP_LIMITS.standIns_max;
    };
    for (const id of roster.before(ring, watcher, isLast)) {
      if (subjects.has(id)) continue;
      all ??= new Set(subjects);
      all.add(id);
    }
  }
  return all ?? subjects;
}

/**
 * Whether this node's duties may change because `id` came, went, or has or lost its say. In a large cluster most
 * changes are far away on every ring, and to know that is much cheaper than to derive the duties again.
 * @param subjects `subjectsOf(state, id)`.
 */
export function concernsDuties(state: MembershipState, id: NodeId, subjects: ReadonlySet<NodeId>): boolean {
  const { roster, config, candidates, self } = state;
  // One more than the cap, since the last departure makes a cluster small.
  if (roster.size <= config.meshMembers_max + 1 || candidates.has(id) || subjects.has(self)) return true;
  for (const subject of subjects) if (candidates.has(subject)) return true;
  return isWatcher(state, id, self);
}

/**
 * To whom this node keeps connections, by the roster alone: everybody in a small cluster; else its watchers, those
 * that it watches, and their other watchers.
 */
export function wantedLinks(state: MembershipState): Set<NodeId> {
  const { roster, config, self } = state;
  const wanted = new Set<NodeId>();
  if (!isLarge(state)) {
    for (const [id] of roster.entries()) wanted.add(id);
  } else {
    for (const id of rankedFor(state, self).slice(0, config.watchers_count)) wanted.add(id);
    for (const target of state.candidates) {
      if (!isWatcher(state, target, self)) continue;
      wanted.add(target);
      for (const id of rankedFor(state, target).slice(0, config.watchers_count)) wanted.add(id);
    }
  }
  wanted.delete(self);
  return wanted;
}
