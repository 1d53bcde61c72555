/**
 * The order of the nodes that can take a slot. First by integer bands, coarse so that views which differ a little
 * agree on the order; then by weighted rendezvous hashing, so that ties fall evenly and stay put as nodes come
 * and go. Not here: who can take it at all (filter.ts).
 *
 * Source of the weighting: Schindelhauer and Schomaker, "Weighted Distributed Hash Tables" (SPAA 2005),
 * the logarithmic method: the node with the greatest -weight / ln(u) wins, in proportion to its weight.
 */
import type { NodeId } from '../protocols/base/ids.ts';
import type { Resources, SlotName, WorkloadName, WorkloadSpec } from '../protocols/base/workload.ts';
import type { MemberView } from '../protocols/view/view.ts';
import { hashPair, hashText, toUnit } from './hash.ts';
import type { Load } from './load.ts';

/** Smaller is better in each; compared in this order. */
export interface Bands {
  /** Instances of the same workload there. */
  readonly spread: number;
  /** 1 for the node that holds the slot now, when its instance is to be replaced: another can start before it stops. */
  readonly incumbent: number;
  /** 0 when more than three quarters of the scarcer resource stay free, 3 when less than a quarter. */
  readonly fullness: number;
  /** 0 when the image is known to be there. */
  readonly image: number;
}

export const BAND_ORDER = ['spread', 'incumbent', 'fullness', 'image'] as const satisfies (keyof Bands)[];

export interface Candidate {
  readonly node: NodeId;
  readonly name: string;
  readonly bands: Bands;
  /** Greater wins within equal bands. */
  readonly weight: number;
}

const FULLNESS_BANDS = 4;

export function bandsOf(
  member: MemberView,
  load: Load,
  name: WorkloadName,
  spec: WorkloadSpec,
  incumbent: boolean,
): Bands {
  return {
    spread: load.instances.get(name) ?? 0,
    incumbent: incumbent ? 1 : 0,
    fullness: fullness(member.capacity, load, spec.resources),
    image: load.images.has(spec.image) ? 0 : 1,
  };
}

function fullness(capacity: Resources, load: Load, asked: Resources): number {
  const cpu = (load.cpu_millis + asked.cpu_millis) / capacity.cpu_millis;
  const memory = (load.memory_bytes + asked.memory_bytes) / capacity.memory_bytes;
  return Math.min(FULLNESS_BANDS - 1, Math.floor(Math.max(cpu, memory) * FULLNESS_BANDS));
}

/** Depends on the node, the slot and the node's size only, never on what runs: the same in every view. */
export function rendezvous(node: NodeId, slot: SlotName, capacity: Resources): number {
  return -capacity.cpu_millis / Math.log(toUnit(hashPair(hashText(node), hashText(slot))));
}

/** Best first. The node id breaks what ties are left. */
export function compareCandidates(a: Candidate, b: Candidate): number {
  for (const band of BAND_ORDER) {
    if (a.bands[band] !== b.bands[band]) return a.bands[band] - b.bands[band];
  }
  return b.weight - a.weight || (a.node < b.node ? -1 : a.node > b.node ? 1 : 0);
}
