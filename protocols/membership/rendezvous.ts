/**
 * Who watches whom: for each member the others in the order of a rendezvous hash, the best first, kept up to date
 * as members come and go. A change touches the lists that it must and no others.
 * Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates" (1998).
 */
import type { NodeId } from '../base/ids.ts';

interface Ranked {
  readonly id: NodeId;
  readonly score: number;
}

export interface Ranking {
  /** How many of the order are kept for each member. */
  readonly length: number;
  readonly hashes: Map<NodeId, number>;
  readonly lists: Map<NodeId, Ranked[]>;
}

export function createRanking(length: number): Ranking {
  return { length, hashes: new Map(), lists: new Map() };
}

/** FNV-1a with murmur3's finisher: cheap, and equal on every node. Nobody gains by forging a place in the order. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return mix(hash);
}

function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Not symmetric: that a watches b says nothing of b watching a. */
function scoreOf(watcherHash: number, subjectHash: number): number {
  return mix(watcherHash ^ Math.imul(subjectHash, 0x9e3779b1));
}

function before(a: Ranked, b: Ranked): boolean {
  return a.score > b.score || (a.score === b.score && a.id < b.id);
}

/** Inserts in order; the list never grows past `length`. */
function insert(list: Ranked[], entry: Ranked, length: number): void {
  const last = list.at(-1);
  if (list.length >= length && last !== undefined && !before(entry, last)) return;
  let at = list.length;
  while (at > 0 && before(entry, list[at - 1]!)) at -= 1;
  list.splice(at, 0, entry);
  if (list.length > length) list.pop();
}

function listFor(ranking: Ranking, subject: NodeId, subjectHash: number): Ranked[] {
  const list: Ranked[] = [];
  for (const [id, hash] of ranking.hashes) {
    if (id !== subject) insert(list, { id, score: scoreOf(hash, subjectHash) }, ranking.length);
  }
  return list;
}

/** O(members). */
export function rankingAdd(ranking: Ranking, id: NodeId): void {
  if (ranking.hashes.has(id)) return;
  const hash = hashOf(id);
  for (const [subject, list] of ranking.lists) {
    const score = scoreOf(hash, ranking.hashes.get(subject)!);
    insert(list, { id, score }, ranking.length);
  }
  ranking.hashes.set(id, hash);
  ranking.lists.set(id, listFor(ranking, id, hash));
}

/** O(members) for each list that `id` was in: about `length` of them. */
export function rankingRemove(ranking: Ranking, id: NodeId): void {
  if (!ranking.hashes.delete(id)) return;
  ranking.lists.delete(id);
  for (const [subject, list] of ranking.lists) {
    if (list.some((entry) => entry.id === id)) {
      ranking.lists.set(subject, listFor(ranking, subject, ranking.hashes.get(subject)!));
    }
  }
}

/** The kept head of the order for `subject`; empty when it is not a member. */
export function rankedFor(ranking: Ranking, subject: NodeId): readonly Ranked[] {
  return ranking.lists.get(subject) ?? [];
}

/** Is `watcher` among the first `count` for `subject`? */
export function isRanked(ranking: Ranking, subject: NodeId, watcher: NodeId, count: number): boolean {
  const list = rankedFor(ranking, subject);
  for (let at = 0; at < count && at < list.length; at += 1) if (list[at]!.id === watcher) return true;
  return false;
}

/** The whole order for `subject` among the members that pass `accept`, cut to `count`. O(members). */
export function rankAmong(
  ranking: Ranking,
  subject: NodeId,
  count: number,
  accept: (id: NodeId) => boolean,
): NodeId[] {
  const subjectHash = ranking.hashes.get(subject);
  if (subjectHash === undefined) return [];
  const list: Ranked[] = [];
  for (const [id, hash] of ranking.hashes) {
    if (id !== subject && accept(id)) insert(list, { id, score: scoreOf(hash, subjectHash) }, count);
  }
  return list.map((entry) => entry.id);
}
