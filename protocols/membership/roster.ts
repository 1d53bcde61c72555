/**
 * The member list as an immutable value: who is a member, at which incarnation, and who watches whom.
 * All members stand on RINGS_COUNT rings, each in an order of its own; a member is watched by the one after it on
 * each ring. So watchers follow from the list alone, watching is spread evenly, and the links between watchers and
 * watched make a graph that is very hard to cut.
 * A change copies one bucket of each ring and shares the rest: some microseconds at 10,000 members, and views of
 * many nodes may share one value. Not here: who of them lives.
 * Source: Suresh et al., "Stable and Consistent Membership at Scale with Rapid" (2018), section 4.1.
 */
import type { NodeId } from '../base/ids.ts';

export const RINGS_COUNT = 4;
/** A bucket holds the places whose point begins with its number. */
const BUCKET_BITS = 8;
const BUCKETS_COUNT = 2 ** BUCKET_BITS;
const BUCKET_SHIFT = 32 - BUCKET_BITS;

interface Place {
  readonly id: NodeId;
  readonly incarnation: number;
  /** Where it stands on each ring, 32 bits. */
  readonly points: readonly number[];
}

type Bucket = readonly Place[];
type Ring = readonly Bucket[];
/** What was asked for of the order on the rings, by member. */
interface Ranks {
  /** The watchers of each subject, as far as they were asked for. */
  readonly watchers: Map<NodeId, readonly NodeId[]>;
  readonly subjects: Map<NodeId, { readonly count: number; readonly ids: ReadonlySet<NodeId> }>;
}

/** Members of whom a roster remembers it: those around one node, or all of a process that runs many. */
const RANKS_MAX = 16_384;

function noRanks(): Ranks {
  return { watchers: new Map(), subjects: new Map() };
}

/**
 * Rosters by their contents, so that equal ones are one object. Whoever runs many nodes in one process brings it;
 * what it forgets is built again.
 */
export interface RosterMemo {
  get(fingerprint: string): Roster | undefined;
  set(fingerprint: string, roster: Roster): void;
}

/** FNV-1a and a sibling, each with murmur3's finisher: 64 bits that are equal on every node. Forging gains nothing. */
function hashesOf(id: NodeId): readonly [number, number] {
  let left = 0x811c9dc5;
  let right = 0x2545f491;
  for (let at = 0; at < id.length; at += 1) {
    const code = id.charCodeAt(at);
    left = Math.imul(left ^ code, 0x01000193);
    right = Math.imul(right ^ code, 0x5bd1e995);
  }
  return [mix(left), mix(right)];
}

function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Where members stand follows from their ids alone, and is asked for at every turn. */
const POINTS_KEPT_MAX = 16_384;
const pointsKept = new Map<NodeId, readonly number[]>();

function pointsOf(id: NodeId): readonly number[] {
  const kept = pointsKept.get(id);
  if (kept !== undefined) return kept;
  const hashes = hashesOf(id);
  const points = Array.from({ length: RINGS_COUNT }, (_, ring) => mix(hashes[ring % 2]! + ring * 0x9e3779b1));
  if (pointsKept.size >= POINTS_KEPT_MAX) pointsKept.clear();
  pointsKept.set(id, points);
  return points;
}

/** What one member adds to the fingerprint: two words, joined with the others' by exclusive or. */
function printOf(points: readonly number[], incarnation: number): readonly [number, number] {
  return [
    mix(points[0]! ^ mix(incarnation + 1)),
    mix(points[1]! ^ mix(incarnation ^ 0x5bd1e995) ^ (incarnation / 2 ** 32)),
  ];
}

/** Where `point` and `id` are in a bucket, or would be. */
function search(bucket: Bucket, ring: number, point: number, id: NodeId): number {
  let low = 0;
  let high = bucket.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const place = bucket[middle]!;
    const at = place.points[ring]!;
    if (at < point || (at === point && place.id < id)) low = middle + 1;
    else high = middle;
  }
  return low;
}

const EMPTY_RINGS: readonly Ring[] = Array.from({ length: RINGS_COUNT }, () =>
  Array.from({ length: BUCKETS_COUNT }, () => []),
);

/** Goes around one ring from a point, either way. */
class Walk {
  readonly #ring: Ring;
  #bucket: number;
  #at: number;

  /** @param at the next place forward is the one at this index of the bucket. */
  constructor(ring: Ring, bucket: number, at: number) {
    this.#ring = ring;
    this.#bucket = bucket;
    this.#at = at;
  }

  /** Only for rings that are not empty. */
  next(): Place {
    while (this.#at >= this.#ring[this.#bucket]!.length) {
      this.#bucket = (this.#bucket + 1) % BUCKETS_COUNT;
      this.#at = 0;
    }
    const place = this.#ring[this.#bucket]![this.#at]!;
    this.#at += 1;
    return place;
  }

  /** Only for rings that are not empty. */
  previous(): Place {
    while (this.#at === 0) {
      this.#bucket = (this.#bucket + BUCKETS_COUNT - 1) % BUCKETS_COUNT;
      this.#at = this.#ring[this.#bucket]!.length;
    }
    this.#at -= 1;
    return this.#ring[this.#bucket]![this.#at]!;
  }
}

export class Roster {
  readonly size: number;
  readonly #rings: readonly Ring[];
  readonly #print: readonly [number, number];
  readonly #memo: RosterMemo | undefined;
  /** Shared by rosters of the same members, whatever their incarnations. */
  readonly #ranks: Ranks;

  private constructor(
    size: number,
    rings: readonly Ring[],
    print: readonly [number, number],
    memo: RosterMemo | undefined,
    ranks: Ranks,
  ) {
    this.size = size;
    this.#rings = rings;
    this.#print = print;
    this.#memo = memo;
    this.#ranks = ranks;
  }

  /** @param memo makes equal rosters that descend from this one the same object. */
  static empty(memo?: RosterMemo): Roster {
    return Roster.#shared(memo, 0, [0, 0], noRanks(), () => EMPTY_RINGS);
  }

  /** Nobody, with the same memo. */
  emptied(): Roster {
    return Roster.empty(this.#memo);
  }

  /** @returns the incarnation of `id`; undefined when it is not a member. */
  get(id: NodeId): number | undefined {
    return this.#find(id, pointsOf(id))?.incarnation;
  }

  has(id: NodeId): boolean {
    return this.get(id) !== undefined;
  }

  *entries(): IterableIterator<readonly [NodeId, number]> {
    for (const bucket of this.#rings[0]!) for (const { id, incarnation } of bucket) yield [id, incarnation];
  }

  /** Every member whose incarnation differs between `before` and this, with both; undefined: no member there. */
  *changesSince(before: Roster): IterableIterator<readonly [NodeId, number | undefined, number | undefined]> {
    if (before === this) return;
    for (const [at, bucket] of this.#rings[0]!.entries()) {
      const old = before.#rings[0]![at]!;
      if (old === bucket) continue;
      for (const { id, points } of old) {
        if (this.#find(id, points) === undefined)
          yield [id, before.#find(id, points)!.incarnation, undefined];
      }
      for (const { id, points, incarnation } of bucket) {
        const earlier = before.#find(id, points)?.incarnation;
        if (earlier !== incarnation) yield [id, earlier, incarnation];
      }
    }
  }

  /** This list with `id` in it at `incarnation`. */
  with(id: NodeId, incarnation: number): Roster {
    const points = pointsOf(id);
    const old = this.#find(id, points);
    if (old?.incarnation === incarnation) return this;
    return this.#changed(points, old, { id, incarnation, points });
  }

  /** Many at once: as `with` for each, at a fraction of the cost. */
  withAll(members: Iterable<readonly [NodeId, number]>): Roster {
    const rings = this.#rings.map((ring) => ring.map((bucket) => [...bucket]));
    const print: [number, number] = [...this.#print];
    let size = this.size;
    for (const [id, incarnation] of members) {
      const points = pointsOf(id);
      const place: Place = { id, incarnation, points };
      for (const [ring, point] of points.entries()) {
        const bucket = rings[ring]![point >>> BUCKET_SHIFT]!;
        const at = search(bucket, ring, point, id);
        const old = bucket[at]?.id === id ? bucket[at] : undefined;
        bucket.splice(at, old === undefined ? 0 : 1, place);
        if (ring > 0) continue;
        if (old === undefined) size += 1;
        for (const each of old === undefined ? [place] : [old, place]) flip(print, each);
      }
    }
    return Roster.#shared(this.#memo, size, print, noRanks(), () => rings);
  }

  without(id: NodeId): Roster {
    const points = pointsOf(id);
    const old = this.#find(id, points);
    return old === undefined ? this : this.#changed(points, old, undefined);
  }

  /**
   * Who watches `subject`: the first `count` members after it, one ring at a time, each once. `subject` need not be
   * in the list. More than RINGS_COUNT gives those who stand in when watchers are lost.
   */
  watchers(subject: NodeId, count: number): readonly NodeId[] {
    const { watchers: ranks } = this.#ranks;
    const known = ranks.get(subject);
    if (known !== undefined) {
      // More of them only ever follow after those that were fewer.
      if (known.length >= count) return known.length === count ? known : known.slice(0, count);
      if (known.length >= this.#others_count(subject)) return known;
    }
    const watchers = this.#walkToWatchers(subject, count);
    if (ranks.size >= RANKS_MAX) ranks.clear();
    ranks.set(subject, watchers);
    return watchers;
  }

  #walkToWatchers(subject: NodeId, count: number): NodeId[] {
    const points = pointsOf(subject);
    const others_count = this.#others_count(subject);
    const walks = points.map((point, ring) => this.#walk(ring, point, subject));
    const watchers: NodeId[] = [];
    for (let turn = 0; watchers.length < Math.min(count, others_count); turn += 1) {
      const walk = walks[turn % RINGS_COUNT]!;
      let { id } = walk.next();
      while (id === subject || watchers.includes(id)) ({ id } = walk.next());
      watchers.push(id);
    }
    return watchers;
  }

  /** The first `count` members before `watcher` on each ring: all that it may be among the first watchers of. */
  subjects(watcher: NodeId, count: number): ReadonlySet<NodeId> {
    const { subjects } = this.#ranks;
    const known = subjects.get(watcher);
    if (known?.count === count) return known.ids;
    const ids = new Set<NodeId>();
    for (let ring = 0; ring < RINGS_COUNT; ring += 1) {
      let left_count = count;
      const isEnough = () => {
        left_count -= 1;
        return left_count === 0;
      };
      for (const id of this.before(ring, watcher, isEnough)) ids.add(id);
    }
    if (subjects.size >= RANKS_MAX) subjects.clear();
    subjects.set(watcher, { count, ids });
    return ids;
  }

  /** Those before `watcher` on a ring, the nearest first, until `isEnough` says so of one, or all were named. */
  *before(ring: number, watcher: NodeId, isEnough: (id: NodeId) => boolean): IterableIterator<NodeId> {
    const points = pointsOf(watcher);
    const others_count = this.#others_count(watcher);
    const walk = this.#walk(ring, points[ring]!, watcher);
    for (let count = 0; count < others_count; count += 1) {
      let { id } = walk.previous();
      while (id === watcher) ({ id } = walk.previous());
      yield id;
      if (isEnough(id)) return;
    }
  }

  #others_count(id: NodeId): number {
    return this.size - (this.has(id) ? 1 : 0);
  }

  #walk(ring: number, point: number, id: NodeId): Walk {
    const bucket = point >>> BUCKET_SHIFT;
    return new Walk(this.#rings[ring]!, bucket, search(this.#rings[ring]![bucket]!, ring, point, id));
  }

  #find(id: NodeId, points: readonly number[]): Place | undefined {
    const bucket = this.#rings[0]![points[0]! >>> BUCKET_SHIFT]!;
    const place = bucket[search(bucket, 0, points[0]!, id)];
    return place?.id === id ? place : undefined;
  }

  #changed(points: readonly number[], old: Place | undefined, place: Place | undefined): Roster {
    const print: [number, number] = [...this.#print];
    if (old !== undefined) flip(print, old);
    if (place !== undefined) flip(print, place);
    const size = this.size + (place === undefined ? 0 : 1) - (old === undefined ? 0 : 1);
    // In the same places stand the same members.
    const ranks = old !== undefined && place !== undefined ? this.#ranks : noRanks();
    return Roster.#shared(this.#memo, size, print, ranks, () =>
      this.#rings.map((ring, number) => {
        const point = points[number]!;
        const { id } = (place ?? old)!;
        const index = point >>> BUCKET_SHIFT;
        const bucket = [...ring[index]!];
        const at = search(bucket, number, point, id);
        bucket.splice(at, old === undefined ? 0 : 1, ...(place === undefined ? [] : [place]));
        const copy = ring.slice();
        copy[index] = bucket;
        return copy;
      }),
    );
  }

  static #shared(
    memo: RosterMemo | undefined,
    size: number,
    print: readonly [number, number],
    ranks: Ranks,
    rings: () => readonly Ring[],
  ): Roster {
    if (memo === undefined) return new Roster(size, rings(), print, undefined, ranks);
    const fingerprint = `${size}/${print[0]}/${print[1]}`;
    const known = memo.get(fingerprint);
    if (known !== undefined) return known;
    const roster = new Roster(size, rings(), print, memo, ranks);
    memo.set(fingerprint, roster);
    return roster;
  }
}

/** Adds a place to a fingerprint, or takes it out. */
function flip(print: [number, number], { points, incarnation }: Place): void {
  const [left, right] = printOf(points, incarnation);
  print[0] = (print[0] ^ left) >>> 0;
  print[1] = (print[1] ^ right) >>> 0;
}
