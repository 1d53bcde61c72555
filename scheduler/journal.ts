/**
 * What this node itself has promised: its own claims that are not over. It runs ahead of the ledger, since a claim
 * counts from when it was decided, and it is what admission goes by: so a node is never overcommitted, whatever
 * it or others believe of the view.
 * Not here: deciding what to claim (machine.ts), and keeping it on disk (the ledger's own records restore it).
 */
import type { AllocationBody } from '../protocols/base/records.ts';
import {
  type Resources,
  type SlotName,
  type WorkloadSpec,
  workloadName,
} from '../protocols/base/workload.ts';
import type { ClusterView, MemberView } from '../protocols/view/view.ts';
import { isLivePhase, isTerminalPhase, slotOf } from './slots.ts';

export interface Holding {
  readonly slot: SlotName;
  /** What its record says, or will say once it is written. */
  readonly allocation: AllocationBody;
  /** What runs; null when this process did not start it and nobody told. */
  readonly spec: WorkloadSpec | null;
  /** It was told to stop. */
  readonly leaving: boolean;
}

export type Journal = Map<SlotName, Holding>;

export type KnownSpecs = Pick<ReadonlyMap<SlotName, WorkloadSpec>, 'get'>;

/**
 * Takes over what the view says of this node's own allocations: phases and health, and what runs since before
 * this process began. Drops what is over.
 * @param known specs of instances that the runtime found again, by slot.
 */
export function syncJournal(journal: Journal, view: ClusterView, known: KnownSpecs): void {
  for (const allocation of view.allocations) {
    if (allocation.node !== view.self) continue;
    const slot = slotOf(allocation);
    const holding = journal.get(slot);
    // The record of an earlier attempt: the claim that the journal holds is on its way to the ledger.
    if (holding && holding.allocation.attempt > allocation.attempt) continue;
    if (isTerminalPhase(allocation.phase)) {
      journal.delete(slot);
    } else if (holding) {
      // The runner counts its own restarts as attempts. A renewal that was decided may not be written yet.
      const { generation, revision } = holding.allocation;
      journal.set(slot, { ...holding, allocation: { ...allocation, generation, revision } });
    } else {
      const workload = view.workloads.get(workloadName(allocation.namespace, allocation.workload));
      const isCurrent = workload?.revision === allocation.revision;
      const spec = (isCurrent ? workload?.spec : known.get(slot)) ?? null;
      journal.set(slot, { slot, allocation, spec, leaving: !isLivePhase(allocation.phase) });
    }
  }
}

/** The view with this node's own promises in place of its own records. */
export function overlayJournal(view: ClusterView, journal: Journal): ClusterView {
  const others = view.allocations.filter(({ node, phase }) => node !== view.self || isTerminalPhase(phase));
  const own = [...journal.values()].map(({ allocation, leaving }) =>
    leaving && isLivePhase(allocation.phase) ? { ...allocation, phase: 'stopping' as const } : allocation,
  );
  return { ...view, allocations: [...others, ...own] };
}

/** Whether this node can promise `asked` on top of everything it has not seen the end of. */
export function admits(journal: Journal, self: MemberView, asked: readonly Resources[]): boolean {
  const held = [...journal.values()].map(({ allocation }) => allocation.resources);
  let [cpu_millis, memory_bytes] = [0, 0];
  for (const resources of [...held, ...asked]) {
    cpu_millis += resources.cpu_millis;
    memory_bytes += resources.memory_bytes;
  }
  return cpu_millis <= self.capacity.cpu_millis && memory_bytes <= self.capacity.memory_bytes;
}

/** Claims of a slot are counted by node, for ever, so that a late record of an old one is known as such. */
export function nextAttempt(view: ClusterView, journal: Journal, slot: SlotName): number {
  let attempt = journal.get(slot)?.allocation.attempt ?? 0;
  for (const allocation of view.allocations) {
    if (allocation.node === view.self && slotOf(allocation) === slot) {
      attempt = Math.max(attempt, allocation.attempt);
    }
  }
  return attempt + 1;
}
