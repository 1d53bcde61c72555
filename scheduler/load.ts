/**
 * What each node is known to run: resources in use, instances by workload, images. Placement works on a copy and
 * adds to it what it hands out, so that many slots planned at once spread as if they came one by one.
 * Not here: what a node really reserved, which only its own journal knows (journal.ts).
 */
import type { NodeId } from '../protocols/base/ids.ts';
import type { AllocationBody } from '../protocols/base/records.ts';
import { type Resources, type WorkloadName, workloadName } from '../protocols/base/workload.ts';
import type { ClusterView } from '../protocols/view/view.ts';
import { isLivePhase, isTerminalPhase } from './slots.ts';

export interface Load {
  cpu_millis: number;
  memory_bytes: number;
  /** Live instances of each workload. */
  readonly instances: Map<WorkloadName, number>;
  /** Images, as specs name them, of what is live there: their layers are on that host's disk. */
  readonly images: Set<string>;
}

export type Loads = Map<NodeId, Load>;

export function nodeLoads(view: ClusterView): Loads {
  const loads: Loads = new Map();
  for (const node of view.members.keys()) {
    loads.set(node, { cpu_millis: 0, memory_bytes: 0, instances: new Map(), images: new Set() });
  }
  for (const allocation of view.allocations) {
    const load = loads.get(allocation.node);
    if (!load || isTerminalPhase(allocation.phase)) continue;
    load.cpu_millis += allocation.resources.cpu_millis;
    load.memory_bytes += allocation.resources.memory_bytes;
    if (!isLivePhase(allocation.phase)) continue;
    const name = workloadOf(allocation);
    load.instances.set(name, (load.instances.get(name) ?? 0) + 1);
    const workload = view.workloads.get(name);
    if (workload && workload.revision === allocation.revision) load.images.add(workload.spec.image);
  }
  return loads;
}

export function workloadOf(allocation: AllocationBody): WorkloadName {
  return workloadName(allocation.namespace, allocation.workload);
}

/** Counts an instance that is about to be there. */
export function addInstance(load: Load, name: WorkloadName, resources: Resources): void {
  load.cpu_millis += resources.cpu_millis;
  load.memory_bytes += resources.memory_bytes;
  load.instances.set(name, (load.instances.get(name) ?? 0) + 1);
}

/** Takes an instance away again, for a look at the node without it. @returns a copy. */
export function withoutInstance(load: Load, name: WorkloadName, resources: Resources): Load {
  const instances = new Map(load.instances);
  instances.set(name, Math.max(0, (instances.get(name) ?? 0) - 1));
  return {
    ...load,
    cpu_millis: load.cpu_millis - resources.cpu_millis,
    memory_bytes: load.memory_bytes - resources.memory_bytes,
    instances,
  };
}
