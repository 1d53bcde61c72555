/**
 * Which nodes can take a slot, and why the others cannot: one reason each, from a closed set that log, metric and
 * CLI share. Not here: which of those that can is best (score.ts).
 */
import { isDigest, type NodeId } from '../protocols/base/ids.ts';
import type { AllocationBody } from '../protocols/base/records.ts';
import type { WorkloadSpec } from '../protocols/base/workload.ts';
import type { ClusterView, MemberView } from '../protocols/view/view.ts';
import type { Load } from './load.ts';
import { matchesConstraints, type Slot, type SlotHolders } from './slots.ts';

/** Reason to text. The text completes "node <name>: …". A reason is never renamed or given new meaning. */
export const REFUSALS = {
  'not-worker': 'its grant does not let it run workloads',
  'not-alive': 'the members that can be heard agree that it has failed',
  cordoned: 'an operator has cordoned it',
  draining: 'an operator is draining it',
  'not-home': 'this instance belongs to another node',
  constraint: 'its labels do not meet the constraints',
  'image-unknown': 'nobody has imported the image',
  'still-leaving': 'an earlier instance of this slot is still being stopped there',
  refused: 'it tried lately and could not run it',
  'insufficient-cpu': 'it has too little CPU left',
  'insufficient-memory': 'it has too little memory left',
} as const;

export type Refusal = keyof typeof REFUSALS;
export const REFUSAL_REASONS = Object.keys(REFUSALS) as readonly Refusal[];

export interface NodeRefusal {
  readonly node: NodeId;
  readonly name: string;
  readonly reason: Refusal;
  /** Particulars such as the missing label; null where the reason says all. */
  readonly detail: string | null;
  /** When it ends by itself, in milliseconds since the epoch; null: it does not. */
  readonly until_ms: number | null;
}

/** What is asked of a node. */
export interface Request {
  readonly view: ClusterView;
  readonly now: number;
  readonly spec: WorkloadSpec;
  /** The workload record's digest: failures of another revision say nothing about this one. */
  readonly revision: string;
  readonly slot: Slot;
  readonly holders: SlotHolders;
}

/** Waiting after a failed attempt that carries no time of its own: doubles with each attempt, up to five minutes. */
export const RETRY_MS_MIN = 5_000;
export const RETRY_MS_MAX = 300_000;

/** @param failures in a row, 1 or more. @returns milliseconds that a node should not try this slot again. */
export function retryDelay_ms(failures: number): number {
  return Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(16, Math.max(0, failures - 1)));
}

/** @param load of the node, without what would make room first. @returns null when the node can take the slot. */
export function refusalOf(request: Request, member: MemberView, load: Load): NodeRefusal | null {
  const { view, spec, slot, holders } = request;
  const refuse = (reason: Refusal, detail: string | null = null, until_ms: number | null = null) => ({
    node: member.id,
    name: member.name,
    reason,
    detail,
    until_ms,
  });
  if (!member.worker) return refuse('not-worker');
  if (slot.home !== null && slot.home !== member.id) return refuse('not-home');
  // A node that reads a verdict on itself knows better.
  if (member.status === 'failed' && member.id !== view.self) return refuse('not-alive');
  if (member.intent === 'draining') return refuse('draining');
  if (member.intent === 'cordoned') return refuse('cordoned');
  if (!matchesConstraints(member, spec.constraints)) return refuse('constraint', unmet(member, spec));
  if (!isImageKnown(view, spec.image)) return refuse('image-unknown', spec.image);
  if (holders.leaving.some(({ node }) => node === member.id)) return refuse('still-leaving');
  const until_ms = refusedUntil(request, member.id);
  if (until_ms !== null) return refuse('refused', lastReason(holders, member.id), until_ms);
  const { cpu_millis, memory_bytes } = spec.resources;
  const cpu_free = member.capacity.cpu_millis - load.cpu_millis;
  if (cpu_millis > cpu_free) return refuse('insufficient-cpu', `${cpu_free} of ${cpu_millis} millicores`);
  const memory_free = member.capacity.memory_bytes - load.memory_bytes;
  if (memory_bytes > memory_free) {
    return refuse('insufficient-memory', `${memory_free} of ${memory_bytes} bytes`);
  }
  return null;
}

/** A manifest digest, a tag, or a tag without its `:latest`, that the ledger knows. */
export function isImageKnown(view: ClusterView, image: string): boolean {
  if (isDigest(image)) return view.images.has(image);
  const digest = view.tags.get(image) ?? view.tags.get(`${image}:latest`);
  return digest !== undefined && view.images.has(digest);
}

/** The first constraint that does not hold, as `label=value`. */
export function unmet(member: MemberView, spec: WorkloadSpec): string | null {
  const entry = Object.entries(spec.constraints).find(
    ([label, value]) => !matchesConstraints(member, { [label]: value }),
  );
  return entry ? `${entry[0]}=${entry[1]}` : null;
}

/** Both refused and failed are refusals: the node gave up on this revision and says until when. */
function refusedUntil({ holders, revision, now }: Request, node: NodeId): number | null {
  let until_ms: number | null = null;
  for (const allocation of holders.ended) {
    if (allocation.node !== node || allocation.revision !== revision) continue;
    const ends_ms = refusalEnd(allocation);
    if (ends_ms !== null && ends_ms > now) until_ms = Math.max(until_ms ?? 0, ends_ms);
  }
  return until_ms;
}

function refusalEnd({ phase, until_ms, since_ms, attempt }: AllocationBody): number | null {
  if (phase !== 'refused' && phase !== 'failed') return null;
  return until_ms ?? since_ms + retryDelay_ms(attempt);
}

function lastReason(holders: SlotHolders, node: NodeId): string | null {
  return holders.ended.find((allocation) => allocation.node === node)?.reason ?? null;
}
