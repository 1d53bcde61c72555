/** Answers about a view in the terms of the API, and the names that users give. Pure: reads a snapshot, changes nothing. */
import { ShoalError } from '../protocols/base/errors.ts';
import { type Digest, type KeyId, type NodeId, shortId } from '../protocols/base/ids.ts';
import type { AllocationBody } from '../protocols/base/records.ts';
import { type SlotName, slotName, workloadName } from '../protocols/base/workload.ts';
import type { LedgerMachine } from '../protocols/ledger/machine.ts';
import type { LedgerRecord } from '../protocols/ledger/record.ts';
import { bodyOf } from '../protocols/view/bodies.ts';
import { workloadDifference } from '../protocols/view/change.ts';
import type { ClusterView, MemberStatus, MemberView, WorkloadView } from '../protocols/view/view.ts';
import { isHealthy, isLivePhase, isPresent, isTerminalPhase, slotOf, slotsOf } from '../scheduler/slots.ts';
import type { InstanceRef, WorkloadRef } from './api/backend.ts';
import type { AllocationInfo, ImageInfo, NodeInfo, Sibling, WorkloadInfo } from './api/schemas.ts';

/** Shortest end of an id that stands for it. */
const ID_END_LENGTH_MIN = 8;
/** Ids of nodes of one name in a message. */
const NAMESAKES_TOLD_MAX = 8;

/** Keys of which people are warned. */
export interface DoubtfulKeys {
  /** Used for two records with one number. */
  readonly flagged: { has(key: KeyId): boolean };
  /** In use by two daemons now. */
  readonly copied: { has(key: KeyId): boolean };
}

export function nodeInfo(view: ClusterView, member: MemberView, { flagged, copied }: DoubtfulKeys): NodeInfo {
  const own = view.allocations.filter(({ node, phase }) => node === member.id && !isTerminalPhase(phase));
  return {
    ...member,
    self: member.id === view.self,
    flagged: flagged.has(member.id),
    copied: copied.has(member.id),
    used: {
      cpu_millis: own.reduce((sum, { resources }) => sum + resources.cpu_millis, 0),
      memory_bytes: own.reduce((sum, { resources }) => sum + resources.memory_bytes, 0),
    },
    instances: own.length,
  };
}

export function memberCounts(members: Iterable<MemberView>): Record<MemberStatus, number> {
  const counts = { alive: 0, suspect: 0, failed: 0 };
  for (const { status } of members) counts[status] += 1;
  return counts;
}

export function workloadInfo(view: ClusterView, workload: WorkloadView): WorkloadInfo {
  const { namespace, name, generation, revision, stopped, spec, author, written_ms, siblings } = workload;
  const own = view.allocations.filter(
    (body) =>
      body.namespace === namespace &&
      body.workload === name &&
      isPresent(view, body) &&
      isLivePhase(body.phase),
  );
  return {
    namespace,
    name,
    generation,
    revision,
    stopped,
    spec,
    author,
    authorName: nodeName(view, author),
    written_ms,
    siblings: siblings.map(({ body, ...sibling }) => ({
      ...sibling,
      authorName: nodeName(view, sibling.author),
      difference: body === null ? 'deleted' : workloadDifference(body, workload) || 'the same',
    })),
    desired: slotsOf(view, workload).length,
    running: own.filter(({ phase }) => phase === 'running').length,
    healthy: own.filter((body) => isHealthy(body)).length,
  };
}

export function allocationInfo(view: ClusterView, body: AllocationBody): AllocationInfo {
  return {
    ...body,
    slot: slotOf(body),
    nodeName: nodeName(view, body.node),
    nodeStatus: view.members.get(body.node)?.status ?? 'failed',
  };
}

/** A key that is no member, or is one no more, is told by the end of its id. */
export function nodeName(view: ClusterView, id: KeyId): string {
  return view.members.get(id)?.name ?? shortId(id);
}

/** Is `text` how a person would name this key: by id, by the end of it, or by name? */
export function isCalled(text: string, key: KeyId, name: string): boolean {
  return name === text || key === text || (text.length >= ID_END_LENGTH_MIN && key.endsWith(text));
}

export type TagConflict = ImageInfo['conflicts'][number] & { readonly digest: Digest };

/** Names of images that were given to several at the same time: which has it, and which would have had it. */
export function tagConflicts(
  view: ClusterView,
  { ledger, authority }: Pick<LedgerMachine, 'ledger' | 'authority'>,
): TagConflict[] {
  const told = (record: LedgerRecord): Sibling => ({
    author: record.author,
    authorName: nodeName(view, record.author),
    generation: record.generation,
    written_ms: record.hlc.ms,
    revision: record.digest,
    difference: bodyOf('tag', record)?.digest ?? 'deleted',
  });
  return [...ledger.ofKind('tag')].flatMap(([name, all]) => {
    if (all.length < 2) return [];
    const [winner, ...others] = all.filter((record) => authority.counts(record));
    const digest = winner && bodyOf('tag', winner)?.digest;
    if (digest === undefined || others.length === 0) return [];
    return [{ name, digest, winner: told(winner!), siblings: others.map(told) }];
  });
}

export function findWorkload(view: ClusterView, { namespace, name }: WorkloadRef): WorkloadView {
  const workload = view.workloads.get(workloadName(namespace, name));
  if (workload === undefined)
    throw new ShoalError('E_NOT_FOUND', `there is no workload ${workloadName(namespace, name)}`);
  return workload;
}

/** By id, by the end of an id, or by name. @throws E_NOT_FOUND, E_AMBIGUOUS */
export function findMember(view: ClusterView, text: string): MemberView {
  const exact = view.members.get(text);
  if (exact !== undefined) return exact;
  const found = [...view.members.values()].filter(({ id, name }) => isCalled(text, id, name));
  if (found.length === 1) return found[0]!;
  if (found.length > 1) throw ambiguousNode(text, found, '`shoal node ls` tells of each where it is');
  throw new ShoalError('E_NOT_FOUND', `there is no node ${text}; \`shoal node ls\` has their ids`);
}

/** @param where what tells more of each. */
export function ambiguousNode(
  text: string,
  found: readonly { readonly id: NodeId }[],
  where: string,
): ShoalError {
  const ids = found.slice(0, NAMESAKES_TOLD_MAX).map(({ id }) => id);
  const more = found.length > ids.length ? ` and ${found.length - ids.length} more` : '';
  return new ShoalError(
    'E_AMBIGUOUS',
    `${found.length} nodes are called ${text}: ${ids.join(', ')}${more}; ${where}; nothing was changed`,
  );
}

/** The instance that a user means: running ones first, then the latest. */
export function findInstance(
  view: ClusterView,
  ref: InstanceRef,
  fits: (body: AllocationBody) => boolean,
): { node: NodeId; slot: SlotName } {
  const node = ref.node === undefined ? undefined : findMember(view, ref.node).id;
  const known = view.allocations.filter(
    (body) =>
      body.namespace === ref.namespace &&
      body.workload === ref.name &&
      (ref.index === undefined || body.index === ref.index) &&
      (node === undefined || body.node === node),
  );
  if (known.length === 0)
    throw new ShoalError(
      'E_NOT_FOUND',
      `there is no such instance of ${workloadName(ref.namespace, ref.name)}`,
    );
  const fitting = known.filter((body) => fits(body) && isPresent(view, body));
  const rank = ({ phase }: AllocationBody) => (phase === 'running' ? 0 : isLivePhase(phase) ? 1 : 2);
  fitting.sort((a, b) => rank(a) - rank(b) || a.index - b.index || b.since_ms - a.since_ms);
  const [best] = fitting;
  if (best === undefined) {
    throw new ShoalError(
      'E_NOT_RUNNING',
      `no such instance of ${workloadName(ref.namespace, ref.name)} runs now`,
    );
  }
  return { node: best.node, slot: slotName(best.namespace, best.workload, best.index) };
}

export function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
