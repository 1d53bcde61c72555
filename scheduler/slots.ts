/**
 * The places that a workload's instances may fill, and who fills them. Slots are never stored: every node
 * derives the same ones from the same view.
 * Not here: which of several instances of a slot is kept (settle.ts), and who should take a free one (plan.ts).
 */
import type { NodeId } from '../protocols/base/ids.ts';
import type { AllocationBody, Phase } from '../protocols/base/records.ts';
import { type SlotName, slotName, type WorkloadSpec } from '../protocols/base/workload.ts';
import type { ClusterView, MemberView, WorkloadView } from '../protocols/view/view.ts';
import { hashText } from './hash.ts';

export interface Slot {
  readonly name: SlotName;
  readonly index: number;
  /** The only node that may fill it (kind `daemon`); null: any node may. */
  readonly home: NodeId | null;
}

const LIVE: ReadonlySet<Phase> = new Set(['claimed', 'pulling', 'starting', 'running']);
const TERMINAL: ReadonlySet<Phase> = new Set(['stopped', 'failed', 'refused']);

/** From claimed to running: it fills its slot. */
export function isLivePhase(phase: Phase): boolean {
  return LIVE.has(phase);
}

/** Stopped, failed or refused: it holds nothing of its host any more. */
export function isTerminalPhase(phase: Phase): boolean {
  return TERMINAL.has(phase);
}

export function slotOf(allocation: AllocationBody): SlotName {
  return slotName(allocation.namespace, allocation.workload, allocation.index);
}

/** All constraints hold; the label `name` is the node's name. */
export function matchesConstraints(member: MemberView, constraints: WorkloadSpec['constraints']): boolean {
  return Object.entries(constraints).every(([label, wanted]) => {
    const has = label === 'name' ? member.name : Object.hasOwn(member.labels, label) && member.labels[label];
    return has === wanted;
  });
}

/** What a member has of a workload may stay there: neither its grant, its labels nor an operator say otherwise. */
export function mayStay(member: MemberView, spec: WorkloadSpec): boolean {
  return member.worker && member.intent !== 'draining' && matchesConstraints(member, spec.constraints);
}

/**
 * A stopped workload has none. A service has 0 to replicas-1. A daemon has one for each node that it may stay on.
 */
export function slotsOf(view: ClusterView, workload: WorkloadView): Slot[] {
  const { namespace, name, spec, stopped } = workload;
  if (stopped) return [];
  if (spec.kind === 'service') {
    return Array.from({ length: spec.replicas }, (_, index) => ({
      name: slotName(namespace, name, index),
      index,
      home: null,
    }));
  }
  const slots: Slot[] = [];
  for (const [node, index] of daemonIndexes(view)) {
    const member = view.members.get(node);
    if (member && mayStay(member, spec))
      slots.push({ name: slotName(namespace, name, index), index, home: node });
  }
  return slots.sort((a, b) => a.index - b.index);
}

/**
 * The index of a daemon's instance on each node: 32 bits of the node id's hash. A rank in the sorted member list
 * would be prettier, but would rename (and so restart) the instances of others whenever a node comes or goes.
 * Two nodes with equal bits (1 in 10,000 at a thousand nodes) take the next free number, in order of id.
 */
export function daemonIndexes(view: ClusterView): Map<NodeId, number> {
  const taken = new Set<number>();
  const indexes = new Map<NodeId, number>();
  for (const node of [...view.members.keys()].sort()) {
    let index = hashText(node).high;
    while (taken.has(index)) index = (index + 1) % 2 ** 32;
    taken.add(index);
    indexes.set(node, index);
  }
  return indexes;
}

/** The host of the allocation is there as far as this node knows; one under suspicion still is. */
export function isPresent(view: ClusterView, allocation: AllocationBody): boolean {
  const member = view.members.get(allocation.node);
  return member !== undefined && (member.status !== 'failed' || member.id === view.self);
}

/** The allocations of one slot. */
export interface SlotHolders {
  /** Those that fill it, of any generation. */
  readonly live: readonly AllocationBody[];
  /** Those that are being stopped: they still hold resources of their host. */
  readonly leaving: readonly AllocationBody[];
  /** Those that are over, wherever: they say who refused the slot and until when, and whether its work is done. */
  readonly ended: readonly AllocationBody[];
}

const NOBODY: SlotHolders = { live: [], leaving: [], ended: [] };

/** One pass over the view's allocations; slots that nobody ever held are absent: see `holdersOf`. */
export function indexHolders(view: ClusterView): ReadonlyMap<SlotName, SlotHolders> {
  const holders = new Map<SlotName, Record<keyof SlotHolders, AllocationBody[]>>();
  for (const allocation of view.allocations) {
    const { phase } = allocation;
    if (!isTerminalPhase(phase) && !isPresent(view, allocation)) continue;
    const slot = slotOf(allocation);
    const entry = holders.get(slot) ?? { live: [], leaving: [], ended: [] };
    entry[isLivePhase(phase) ? 'live' : isTerminalPhase(phase) ? 'ended' : 'leaving'].push(allocation);
    holders.set(slot, entry);
  }
  return holders;
}

export function holdersOf(holders: ReadonlyMap<SlotName, SlotHolders>, slot: SlotName): SlotHolders {
  return holders.get(slot) ?? NOBODY;
}

/** Serving: running, and its health check passes or it has none and stayed up. */
export function isHealthy({ phase, health }: AllocationBody): boolean {
  return phase === 'running' && health === 'healthy';
}

/** It runs exactly what the workload's winning record asks for. */
export function isCurrent(allocation: AllocationBody, workload: WorkloadView): boolean {
  return allocation.revision === workload.revision;
}

/**
 * It ended by itself, and the restart policy says that this was that. One that was told to stop carries no exit
 * code of this kind: with these policies an instance that has ended well, or at all, is not started again.
 */
export function isFinished({ phase, exitCode }: AllocationBody, spec: WorkloadSpec): boolean {
  if (spec.restart === 'always' || exitCode === null) return false;
  return phase === 'stopped' ? exitCode === 0 : phase === 'failed' && spec.restart === 'never';
}
